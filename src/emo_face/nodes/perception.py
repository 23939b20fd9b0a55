"""Perception node: images and speech in, emotion scores of everybody in view out.

Image callbacks only store the newest message; one worker thread decodes, detects, tracks, reads and publishes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from emo_face_msgs.msg import EmotionScoresArray

from emo_face.core.errors import ImageError
from emo_face.core.transcript import language
from emo_face.core.types import Emotion, ImageArray, Person, Speech
from emo_face.nodes.asking import PerceivedFrame, serve_questions
from emo_face.nodes.backends import perception_models
from emo_face.nodes.consent import ConsentGate
from emo_face.nodes.debug_image import DebugImage
from emo_face.nodes.hri.others import OthersReader
from emo_face.nodes.hri.provider import Frame, HumansPublisher
from emo_face.nodes.hri.voices import listen
from emo_face.perception.build import DetectorSettings, build_pipeline
from emo_face.perception.nano.upright import turned
from emo_face.perception.pipeline import FrameResult, PerceptionPipeline
from emo_face.ros import qos
from emo_face.ros.clock import StampGate, seconds
from emo_face.ros.diagnostics import WARN
from emo_face.ros.images.latest import Worker
from emo_face.ros.images.subscribe import ImageInput
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.messages.convert import scores_message
from emo_face.ros.messages.speech import Heard, SpeechLimits, SpeechRefused, read_speech
from emo_face.ros.parameters.schema import Value, build
from emo_face.ros.run import run
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import open_store

REMAPS = ("image:=camera/image_raw", "camera_info:=camera/camera_info", "speech:=speech/text")


class PerceptionNode(EmoNode):
    """Wires the perception pipeline to ROS."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("perception", **kwargs)
        self._pipeline: PerceptionPipeline | None = None
        self._worker: Worker[Any] | None = None
        self._forget = False
        self._heard = Heard()
        self._look: PerceivedFrame | None = None
        self._asker: Any = None
        self._engines = Engines()
        self._limits = build(SpeechLimits, self.params.values, "speech")
        self._gate = StampGate(self.params["max_age"], self.params["future_tolerance"])
        self._scores = self.publisher(EmotionScoresArray, "emotion/scores", qos.reliable(5))
        self._debug = DebugImage(self)
        self._humans: HumansPublisher | None = None
        self._others: OthersReader | None = None
        self._voiced: Speech | None = None
        self._images: ImageInput | None = None
        self._consent = ConsentGate(self, self.params["consent"])
        self._open_inputs()
        listen(self, self.params["speech.type"], self._on_speech, self._present)
        if self.params["multiview.ask"]:
            serve_questions(self, lambda: self._asker, self._seen, self.params["multiview.max_tokens"])

    def _present(self) -> Sequence[str]:
        if self._others is not None:
            return self._others.faces.present
        return [person.person_id for person in self._look.people] if self._look is not None else []

    def _seen(self) -> PerceivedFrame | None:
        return self._look if self.running and self._consent.reading else None

    def _open_inputs(self) -> None:
        """Images to look for people in, or the faces that somebody else found."""
        p = self.params
        if p["ros4hri.enabled"] and p["ros4hri.faces"] == "consume":
            self._others = OthersReader(self, self._crop_came)
            self._gate.repeats = True  # several faces of one frame
            self.watch_input("faces", "/humans/faces/tracked", p["input_timeout"])
            return
        if p["ros4hri.enabled"]:
            self._humans = HumansPublisher(self, p["ros4hri.persons"], p["speech.type"] == "string")
        self._images = ImageInput(self, self._on_image)
        self.watch_input("image", self._images.topic, p["input_timeout"])

    def configure(self) -> None:
        """Resolve, check and load the models, then run everything once."""
        store = open_store()
        p = self.params
        engines = self._engines = Engines(p["engine"], p["detector.threads"])
        tracks = {"memory": p["track.memory"], "min_hits": p["track.min_hits"]}
        settings = build(DetectorSettings, p.values, "detector", **tracks)
        emotion, self._asker = perception_models(p.values, store, engines)
        self._pipeline, hashes = build_pipeline(store, emotion, settings, p["emotion.smoothing"], engines)
        warm = self._pipeline.warm_up()
        self.health.facts({"detector": self._pipeline.detector, "emotion_backend": emotion.name})
        self.health.facts(hashes, "model:")
        self.degraded((*self._pipeline.warnings, *engines.warnings))
        self.get_logger().info(f"{self._pipeline.detector} + {emotion.name} ready, first frame took {warm:.2f} s")

    def activate(self) -> None:
        """Start with nobody known."""
        assert self._pipeline is not None
        self._pipeline.reset()
        self._gate.reset()
        self._heard.clear()
        self._worker = Worker("perception", self._handle, self.failed)

    def deactivate(self) -> None:
        """Finish the frame in hand."""
        if self._worker is not None and not self._worker.stop():
            self.report_problem("worker", WARN, "the frame in hand took over 5 s and was abandoned")
        self._worker = None
        for hri in (self._humans, self._others):
            if hri is not None:
                hri.clear()

    def cleanup(self) -> None:
        """Free the models."""
        self._pipeline = self._asker = self._look = None

    def clock_jumped(self) -> None:
        """Forget everybody before the next frame."""
        self._forget = True
        self._heard.clear()

    def apply_parameters(self, values: Mapping[str, Value], changed: frozenset[str]) -> None:
        """Take over limits and smoothing while running."""
        self._limits = build(SpeechLimits, values, "speech")
        self._gate.max_age, self._gate.future = float(values["max_age"]), float(values["future_tolerance"])  # type: ignore[arg-type]
        if self._pipeline is not None:
            self._pipeline.smoother.tau = float(values["emotion.smoothing"])  # type: ignore[arg-type]

    def observe(self) -> None:
        """Show what every model runs on and why."""
        self.health.facts(dict(self._engines.facts()))

    def _on_image(self, msg: Any) -> None:
        worker = self._worker
        if not self.running or worker is None:
            return
        self.health.tick("image", time.monotonic())
        self.health.count("frames_in")
        if self._may_read() and worker.slot.put(msg):
            self.health.count("frames_dropped")

    def _crop_came(self) -> None:
        if self.running and self._worker is not None and self._may_read():
            self._worker.slot.put(True)

    def _may_read(self) -> bool:
        """Whether people agreed; who did not is forgotten."""
        if self._consent.reading:
            return True
        self._skip("no_consent", "image not used: nobody agreed to be read; publish emo_face_msgs/Consent on consent")
        self._forget, self._look = True, None
        self._heard.clear()
        return False

    def _on_speech(self, msg: Any, speaker: str = "", sure: float = 1.0) -> None:
        if not self.running or not self._consent.reading:
            return
        try:
            speech = replace(read_speech(msg, self.clock.now(), self._limits), speaker=speaker, attribution=sure)
            self._heard.hear(speech)
            self.health.count("speech_in")
            known = None if self._pipeline is None else self._pipeline.emotion.languages
            spoken = language(speech.locale)
            if known is not None and spoken and spoken not in known:
                self.drop("speech_language", f"speech tagged {spoken!r}: read only if its words are {', '.join(known)}")
        except SpeechRefused as refused:
            self.drop(refused.reason, f"speech not used: {refused}")

    def _admit(self, msg: Any, what: str) -> float | None:
        """The stamp of a message that can be used, in seconds; why not is counted."""
        assert self._pipeline is not None
        stamp = seconds(msg.header.stamp)
        verdict = self._gate.admit(stamp, self.clock.now())
        if verdict.jumped or self._forget:
            self._forget = False
            self._pipeline.reset()
            self.health.count("resets")
        if verdict.reason:
            self._skip(verdict.reason, f"{what} not used: {verdict.reason}: {verdict.fix}")
            return None
        return stamp

    def _handle(self, msg: Any) -> None:
        """One frame, or some crops of others, in the worker thread."""
        if self._images is None:
            self._handle_others()
            return
        stamp, pipeline = self._admit(msg, "image"), self._pipeline
        if stamp is None or pipeline is None:
            return
        try:
            frame = turned(self._images.read(msg), int(self.params["rotation"]))
        except ImageError as error:
            self._skip("bad_image", f"image not used: {error}")
            return
        if not self._consent.reading:  # taken back while the frame waited
            return
        speech, unseen = self._assigned(self._look.people if self._look is not None else ())
        result = pipeline.process(frame, stamp, speech, unseen)
        told = speech if self._consent.now().words else {}
        said = [replace(e, words=told.get(p.person_id)) for p, e in zip(result.people, result.emotions, strict=True)]
        room = result.room
        if room is not None and not self._consent.now().words:
            room = replace(room, words=None)
        result = replace(result, emotions=tuple(said), room=room)
        self._look = PerceivedFrame(frame, result.people)
        self._publish(result, msg.header, frame, stamp)
        self._voice(told, msg.header)

    def _handle_others(self) -> None:
        others, pipeline = self._others, self._pipeline
        assert others is not None
        assert pipeline is not None
        taken = [(seen, stamp) for seen in others.take() if (stamp := self._admit(seen.crop, "crop")) is not None]
        if not taken:
            return
        self.health.count("frames_in")
        try:
            read = others.read([seen for seen, _ in taken], pipeline, self._speech, taken[-1][1])
        except ImageError as error:
            self._skip("bad_image", f"crop not used: {error}")
            return
        self._tell(read.people, read.emotions, read.header, read.size, taken[-1][1])
        for person, emotion in zip(read.people, read.emotions, strict=True):
            self.call_soon(partial(others.faces.publish, person.person_id, emotion, read.header))

    def _speech(self, people: Sequence[Person]) -> Mapping[str, Speech]:
        return self._assigned(people)[0]

    def _assigned(self, people: Sequence[Person]) -> tuple[Mapping[str, Speech], Speech | None]:
        """Whose words they are: person id -> speech, and what nobody in view said."""
        assert self._pipeline is not None
        ids = [person.person_id for person in people]
        return self._heard.assign(ids, self.clock.now(), self._limits.ttl, self._pipeline.mouths.speaker)

    def _voice(self, speech: Mapping[str, Speech], header: Any) -> None:
        """Tell ROS4HRI of an utterance once, when it is known whose it is."""
        humans = self._humans
        for person_id, said in speech.items():
            if humans is not None and said != self._voiced:
                self._voiced = said
                self.call_soon(partial(humans.heard, said, person_id, header, time.monotonic()))

    def _skip(self, reason: str, text: str) -> None:
        self.health.count("frames_dropped")
        self.drop(reason, text)

    def _publish(self, result: FrameResult, header: Any, frame: ImageArray, stamp: float) -> None:
        self._tell(result.people, result.emotions, header, (frame.shape[1], frame.shape[0]), stamp, result.room)
        self.degraded((*result.warnings, *self._engines.warnings))
        for stage, spent in result.timings.items():
            self.health.latency(f"stage.{stage}", spent)
        pictures = self._consent.now().pictures
        if self._humans is not None:
            seen = Frame(frame, result.people, result.emotions, header, time.monotonic(), pictures)
            self.call_soon(partial(self._humans.publish, seen))
        if pictures and self._pipeline is not None:
            self._debug.show(result, header, frame, stamp, self._pipeline.emotion.label_set)

    def _tell(
        self,
        people: Sequence[Person],
        emotions: Sequence[Emotion],
        header: Any,
        size: tuple[int, int],
        stamp: float,
        room: Emotion | None = None,
    ) -> None:
        """Publish the scores, and what nobody in view said."""
        assert self._pipeline is not None
        latency, model = max(self.clock.now() - stamp, 0.0), self._pipeline.emotion.name
        self._scores.publish(
            scores_message(people, emotions, header=header, size=size, model=model, latency=latency, room=room)
        )
        self.health.count("frames_processed")
        self.health.tick("scores", time.monotonic())
        self.health.latency("latency", latency)
        self.health.fact("persons", len(people))


def main() -> int:
    """Run the node as a process."""
    return run(PerceptionNode, remaps=REMAPS)


if __name__ == "__main__":
    raise SystemExit(main())
