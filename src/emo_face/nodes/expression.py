"""Expression node: emotion scores and speech in, the expression that answers them out.

Callbacks only store what came; one worker thread keeps the context window and asks the backend.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from emo_face_msgs.msg import Consent, EmotionScoresArray, FaceExpression

from emo_face.core.errors import ImageError
from emo_face.core.labels import top_of
from emo_face.core.types import ExpressionTarget, ImageArray, Speech
from emo_face.expression.context import ContextWindow, WindowSettings
from emo_face.expression.model import Context, ExpressionModel, Scene, SeenPerson
from emo_face.expression.prototypes import PrototypeExpression
from emo_face.nodes.backends import expression_model
from emo_face.nodes.generating import serve_context_questions, serve_generation
from emo_face.nodes.hri.robot_face import RobotFacePublisher
from emo_face.nodes.hri.voices import listen
from emo_face.ros import qos
from emo_face.ros.clock import seconds
from emo_face.ros.diagnostics import WARN
from emo_face.ros.images.latest import Latest, Worker
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.messages.convert import MessageError, expression_message, read_scores
from emo_face.ros.messages.speech import SpeechLimits, SpeechRefused, read_speech
from emo_face.ros.parameters.schema import Value, build
from emo_face.ros.run import run
from emo_face.runtime.engines.select import Engines

REMAPS = ("image:=camera/image_raw", "speech:=speech/text")


class ExpressionNode(EmoNode):
    """Wires the context window and an expression backend to ROS."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("expression", **kwargs)
        self._model: ExpressionModel | None = None
        self._engines = Engines()
        self._worker: Worker[bool] | None = None
        self._newest: Latest[EmotionScoresArray] = Latest()
        self._utterances: deque[Speech] = deque(maxlen=32)
        self._forget = False
        self._frame_id = ""
        self._limits = build(SpeechLimits, self.params.values, "speech")
        self._window = ContextWindow(_window_settings(self.params.values))
        self._out = self.publisher(FaceExpression, "face/expression", qos.reliable())
        # ContextFace looks at the picture itself; only the newest is kept
        self._images = _image_input(self, self._keep) if self.params["backend"] == "contextface" else None
        self._picture: Any = None
        self._may_read = True  # until perception says that somebody has to agree first
        self._seen_now = Context(0.0)
        self._robot = RobotFacePublisher(self) if self.params["ros4hri.enabled"] else None
        self.subscription(EmotionScoresArray, "emotion/scores", self._on_scores, qos.reliable())
        listen(self, self.params["speech.type"], self._on_speech, self._present)
        self.subscription(Consent, "perception/consent", self._on_consent, qos.latched())
        serve_generation(self, lambda: self._model)
        if self._images is not None:
            serve_context_questions(self, lambda: self._model, self._current_context)
        self.watch_input("scores", "emotion/scores", self.params["input_timeout"])

    def configure(self) -> None:
        """Load the backend."""
        self._engines = Engines(self.params["engine"])
        self._model = expression_model(self.params.values, self._engines)
        self.health.facts({"expression_backend": self._model.name, "basis": self._model.basis})
        self.health.facts(self._model.hashes, "model:")
        self.degraded(self._engines.warnings)

    def activate(self) -> None:
        """Start with an empty window."""
        self._window.clear()
        self._seen_now = Context(0.0)
        self._utterances.clear()
        self._newest.clear()
        self._worker = Worker("expression", self._answer, self.failed)

    def deactivate(self) -> None:
        """Finish the answer in hand; the driver eases to neutral when it gets stale."""
        if self._worker is not None and not self._worker.stop():
            self.report_problem("worker", WARN, "the answer in hand took over 5 s and was abandoned")
        self._worker = None

    def cleanup(self) -> None:
        """Free the backend."""
        self._model = None

    def clock_jumped(self) -> None:
        """Empty the window before the next answer."""
        self._forget = True

    def apply_parameters(self, values: Mapping[str, Value], changed: frozenset[str]) -> None:
        """Take over how to answer and limits while running; a perspective that the table lacks is refused."""
        limits, window = build(SpeechLimits, values, "speech"), _window_settings(values)
        if isinstance(self._model, PrototypeExpression):
            self._model = expression_model(values, self._engines)
        elif self._model is not None:  # ContextFace's weights stay
            answering = {name: values[name] for name in ("perspective", "intensity", "valid_for", "timed")}
            self._model.settings = replace(self._model.settings, **answering)  # type: ignore[attr-defined]
        self._limits, self._window.settings = limits, window

    def _on_consent(self, msg: Consent) -> None:
        """Perception holds its scores back itself; pictures and words that come here directly wait for the same yes."""
        self._may_read = msg.mode != "ask" or msg.granted
        if not self._may_read:
            self._picture, self._forget = None, True

    def _keep(self, msg: Any) -> None:
        self._picture = msg if self.running and self._may_read else None

    def _on_scores(self, msg: EmotionScoresArray) -> None:
        worker = self._worker
        if not self.running or worker is None:
            return
        self.health.tick("scores", time.monotonic())
        if self._newest.put(msg):
            self.health.count("scores_dropped")
        worker.slot.put(True)

    def _on_speech(self, msg: Any, speaker: str = "", sure: float = 1.0) -> None:
        worker = self._worker
        if not self.running or worker is None:
            return
        if not self._may_read:
            self.drop("no_consent", "speech not used: nobody has agreed to be read (perception/consent)")
            return
        try:
            speech = replace(read_speech(msg, self.clock.now(), self._limits), speaker=speaker, attribution=sure)
        except SpeechRefused as refused:
            self.drop(refused.reason, f"speech not used: {refused}")
            return
        if len(self._utterances) == self._utterances.maxlen:  # a backend that takes seconds: the oldest goes
            self.health.count("speech_dropped")
        self._utterances.append(speech)
        self.health.count("speech_in")
        worker.slot.put(True)

    def _answer(self, _: bool) -> None:
        """Take in what came and publish the answer, in the worker thread."""
        now = self.clock.now()
        if self._forget:
            self._forget = False
            self._window.clear()
            self.health.count("resets")
        while self._utterances:
            self._window.hear(self._utterances.popleft(), now)
        msg = self._newest.take(0.0)
        if msg is not None:
            try:
                self._window.see(self._scene(msg), now)
            except MessageError as error:
                self.drop("bad_scores", f"scores not used: {error}")
        context = self._seen_now = self._window.context(now)
        model = self._model
        if model is None or (context.scene is None and context.speech is None):
            return
        self._publish(model.express(context, now))
        self.degraded((*filter(None, (model.warning,)), *self._engines.warnings))

    def _present(self) -> Sequence[str]:
        scene = self._seen_now.scene
        return [one.person.person_id for one in scene.people] if scene is not None else []

    def _scene(self, msg: EmotionScoresArray) -> Scene:
        self._frame_id = msg.header.frame_id
        read = [read_scores(entry) for entry in msg.people]
        people = tuple(SeenPerson(person, emotion, emotion.arkit) for person, emotion in read)
        room = read_scores(msg.room[0])[1] if msg.room else None
        return Scene(seconds(msg.header.stamp), int(msg.width), int(msg.height), people, self._look(), room)

    def _look(self) -> ImageArray | None:
        """The newest picture for a backend that wants one; a broken one is counted and left out."""
        picture = self._picture
        if self._images is None or picture is None:
            return None
        try:
            found: ImageArray = self._images.read(picture)
            return found
        except ImageError as error:
            self.drop("bad_image", f"image not used: {error}")
            return None

    def _current_context(self) -> Context:
        """What is in view now, for questions; without a scene the newest picture alone."""
        context, now = self._seen_now, self.clock.now()
        if context.scene is None or abs(now - context.scene.stamp) > self._window.settings.scene_ttl:
            image = self._look()
            return Context(now, None if image is None else Scene(now, image.shape[1], image.shape[0], (), image))
        return context

    def _publish(self, target: ExpressionTarget) -> None:
        latency = max(self.clock.now() - target.stamp, 0.0)
        self._out.publish(expression_message(target, frame_id=self._frame_id, latency=latency))
        self.health.tick("expression", time.monotonic())
        self.health.latency("latency", latency)
        self.health.facts(
            {
                "following": target.person_id or "nobody",
                "person_emotion": top_of(target.feels) or "unknown",
                "shown": target.shown.name,
            }
        )
        if self._robot is not None:
            self._robot.publish(target)

    def observe(self) -> None:
        """Show what the window did not take in."""
        self.health.facts({"dropped": self._window.dropped, "resets": self._window.resets}, "window.")
        self.health.facts(dict(self._engines.facts()))


def _image_input(node: EmoNode, keep: Any) -> Any:
    """The camera's pictures; without them the node needs no OpenCV, which is 16 MB."""
    from emo_face.ros.images.subscribe import ImageInput

    return ImageInput(node, keep)


def _window_settings(values: Mapping[str, Value]) -> WindowSettings:
    ttl, confidence = values["speech.ttl"], values["speech.min_confidence"]
    return build(WindowSettings, values, speech_ttl=ttl, min_speech_confidence=confidence)


def main() -> int:
    """Run the node as a process."""
    return run(ExpressionNode, remaps=REMAPS)


if __name__ == "__main__":
    raise SystemExit(main())
