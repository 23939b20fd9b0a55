"""examples/talk: a spoken scene. A WAV is heard, its words get a face, and the answer's lips go with its sound.

The sound is espeak-ng's; what judges the lips is pocketsphinx, which aligns the text to the sound by itself.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emo_face_msgs", reason="needs the messages: run scripts/setup.sh")
pytest.importorskip("espeakng_loader", reason="needs espeak-ng: pip install espeakng-loader")
pytest.importorskip("pocketsphinx", reason="pip install pocketsphinx")
pytest.importorskip("scipy", reason="resamples the sound")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "talk"))

import hear
import talk
from emo_face_msgs.msg import FaceExpression, Visemes
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from voice import Espeak, Program, Spoken, track, visemes, write_wav

from emo_face.nodes.expression import ExpressionNode
from emo_face.nodes.perception import PerceptionNode
from emo_face.ros import qos
from emo_face.ros.clock import stamp_message
from emo_face.ros.images.convert import image_message

HELLO, MOTHER = "I am so happy to see you.", "My mother is in the hospital."
ANSWER = "Maybe my brother may buy a map for my mother."


@pytest.fixture(scope="module")
def voice() -> Espeak:
    return Espeak()


def padded(spoken: Spoken) -> np.ndarray:
    """The sound at 16 kHz with a second of faint noise before and after it."""
    noise = (np.random.default_rng(0).normal(size=hear.RATE) * 20).astype(np.int16)
    return np.concatenate([noise, hear.resampled(spoken.samples, spoken.rate), noise])


def aligned(text: str, sound: np.ndarray) -> dict[str, list[float]]:
    """Word -> when it begins, seconds, as pocketsphinx finds it in ``sound``."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=hear.RATE, loglevel="FATAL", beam=1e-120, wbeam=1e-100, pbeam=1e-120)
    decoder.set_align_text(text)
    decoder.start_utt()
    decoder.process_raw(sound.tobytes(), full_utt=True)
    decoder.end_utt()
    starts: dict[str, list[float]] = {}
    assert decoder.hyp() is not None, "not aligned"
    for part in decoder.seg():
        starts.setdefault(part.word.split("(")[0], []).append(part.start_frame / 100)
    return starts


def test_a_wav_is_heard_answered_by_a_face_and_spoken_with_lips(graph: Any, voice: Espeak, tmp_path: Path) -> None:
    sounds = [padded(voice.say(text)) for text in (HELLO, MOTHER)]
    write_wav(str(tmp_path / "in.wav"), np.concatenate(sounds), hear.RATE)
    for create in (PerceptionNode, ExpressionNode):
        graph.up(graph.start(create))
    camera = graph.talk(Image, "image", qos.sensor())
    faces = graph.hear(FaceExpression, "face/expression", qos.reliable(20))
    heard, lips = graph.hear(String, "speech"), graph.hear(Visemes, "face/visemes")
    played: list[Spoken] = []
    node = talk.Talk(voice, played.append, context=graph.context)
    graph.executor.add_node(node)
    graph.nodes.append(node)
    ear = hear.Pocketsphinx((HELLO, MOTHER, "good morning", "who are you"))
    graph.until(lambda: node._heard.get_subscription_count() >= 2)
    smiled = threading.Event()

    def in_turn() -> Iterator[Any]:
        """The file's blocks, which come faster than speech: the second sentence once the first is answered."""
        heard_until = 0
        for block in hear.from_wav(tmp_path / "in.wav"):
            if heard_until >= len(sounds[0]):
                smiled.wait(60.0)
            heard_until += len(block)
            yield block

    thread = threading.Thread(target=node.listen, args=(in_turn(), ear))
    thread.start()

    def answered() -> bool:
        """An empty room, about ten times per second: who speaks is not in view."""
        header = Header(stamp=stamp_message(graph.now()), frame_id="camera")
        camera.publish(image_message(np.full((120, 160, 3), 90, np.uint8), header))
        graph.executor.spin_once(timeout_sec=0.1)
        if any(face.person_emotion == "Happy" for face in faces):
            smiled.set()
        return len(heard) == 2 and smiled.is_set()

    graph.until(answered, 60.0)
    thread.join()
    assert [msg.data for msg in heard] == ["i am so happy to see you", "my mother is in the hospital"]
    said = graph.talk(String, "say")
    said.publish(String(data=ANSWER))
    graph.until(lambda: lips and played, 30.0)
    assert abs(lips[0].duration - played[0].duration) < 1e-3
    starts = aligned("maybe my brother may buy a map for my mother", padded(played[0]))
    closings = np.array([t for t, name in zip(lips[0].offsets, lips[0].names, strict=True) if name == "PP"])
    late = [
        float(np.abs(closings + 1.0 - start).min())
        for word in ("my", "brother", "may", "buy", "map", "mother")  # of a first word it is unsure by 0.1 s
        for start in starts[word]
    ]
    assert len(late) == 7
    assert max(late) <= 0.05, late


def test_phonemes_have_shapes(voice: Espeak) -> None:
    assert visemes("ˈaɪ") == ["aa", "ih"]
    assert visemes("tʃ") == ["CH"]
    assert visemes("uː") == ["ou"]
    assert visemes("") == ["sil"]
    assert visemes("☃") == ["sil"]
    spoken = voice.say("The quick brown fox jumps over the lazy dog; she measured thin pleasure, how young!")
    shapes = track(spoken)
    assert [start for start, _ in shapes] == sorted(start for start, _ in shapes)
    assert len({name for _, name in shapes}) == 15  # every one


def test_utterances_end_at_pauses_and_silence_is_none() -> None:
    rng = np.random.default_rng(3)
    quiet = (rng.normal(size=hear.RATE * 2) * 15).astype(np.int16)
    word = (rng.normal(size=hear.RATE // 2) * 4000).astype(np.int16)
    assert list(hear.utterances(hear._blocks(quiet))) == []
    found = list(hear.utterances(hear._blocks(np.concatenate([quiet, word, quiet, word, quiet]))))
    assert len(found) == 2
    assert all(len(word) <= len(one) <= len(word) + hear.RATE * 1.2 for one in found)
    assert len(list(hear.utterances(hear._blocks(np.concatenate([word, quiet]))))) == 1  # from the first moment
    cut = list(hear.utterances(hear._blocks(np.concatenate([quiet, *[word] * 9, quiet])), longest=2.0))
    assert len(cut) >= 2


def test_another_synthesiser_takes_the_times_of_the_phonemes(voice: Espeak, tmp_path: Path) -> None:
    spoken = voice.say(HELLO)
    write_wav(str(tmp_path / "slow.wav"), np.repeat(spoken.samples, 2), spoken.rate)
    twice = Program(f"cat {tmp_path / 'slow.wav'}", voice).say(HELLO)
    assert twice.duration == pytest.approx(2 * spoken.duration)
    np.testing.assert_allclose([t for t, _ in twice.phonemes], [2 * t for t, _ in spoken.phonemes], rtol=1e-2)
    with pytest.raises(OSError, match="exit code"):
        Program("false", voice).say(HELLO)
    with pytest.raises(OSError, match="not a WAV"):
        Program("echo no", voice).say(HELLO)
    with pytest.raises(OSError, match="no voice 'xx-nowhere'"):
        Espeak("xx-nowhere")


def test_a_whisper_server_is_asked_as_openai_documents_it(httpserver_whisper: tuple[str, list[bytes]]) -> None:
    url, asked = httpserver_whisper
    assert hear.Whisper(url, "small").words(np.zeros(1600, np.int16)) == "Hello there."
    assert b'name="model"\r\n\r\nsmall\r\n' in asked[0]
    assert b'name="file"; filename="said.wav"' in asked[0]
    assert b"RIFF" in asked[0]
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9/v1"):
        hear.Whisper("http://127.0.0.1:9").words(np.zeros(1600, np.int16))


@pytest.fixture
def httpserver_whisper() -> Any:
    """POST /v1/audio/transcriptions, multipart, answers {"text": ...} (platform.openai.com, "Create transcription")."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    asked: list[bytes] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            good = self.path == "/v1/audio/transcriptions" and "multipart/form-data" in self.headers["Content-Type"]
            self.send_response(200 if good else 404)
            self.end_headers()
            self.wfile.write(b'{"text": "Hello there."}')

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
