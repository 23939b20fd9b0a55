#!/usr/bin/env python3
"""Talk with the robot: what is heard goes to `speech/text`, what comes on `say` is spoken with lips in time.

    emo-face up &
    python examples/talk/talk.py                                    # microphone, Whisper server on port 8000
    python examples/talk/talk.py --ear vosk --model vosk-model-small-en-us-0.15
    python examples/talk/talk.py --wav hello.wav --ear pocketsphinx --phrase "i am so happy to see you"
    ros2 topic pub --once /say std_msgs/msg/String "{data: 'I am glad to hear that.'}"

Topics: `speech/text` (std_msgs/String, out), `say` (std_msgs/String, in: what your dialogue system answers),
`face/visemes` (emo_face_msgs/Visemes, out). While the robot speaks it does not listen.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import rclpy
from emo_face_msgs.msg import Visemes
from hear import Pocketsphinx, Recogniser, Vosk, Whisper, from_microphone, from_wav, utterances
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import String
from voice import Espeak, Program, Samples, Spoken, Voice, track, write_wav

AHEAD = 0.2
"""Seconds between the message with the mouth shapes and the sound, so that the lips are ready."""
Play = Callable[[Spoken], None]


class Talk(Node):
    """The node. ``play`` makes the sound heard and returns when it has ended."""

    def __init__(self, voice: Voice, play: Play, **node: Any) -> None:
        super().__init__("talk", **node)
        self._voice, self._play = voice, play
        self._heard = self.create_publisher(String, "speech", 10)
        self._lips = self.create_publisher(Visemes, "face/visemes", 10)
        self.create_subscription(String, "say", self._say, 10)
        self._speaking = threading.Lock()

    def listen(self, blocks: Iterable[Samples], ear: Recogniser) -> None:
        """Publish what is said in ``blocks`` until they end, from a thread of its own."""
        for said in utterances(blocks):
            if self._speaking.locked():
                continue  # its own voice
            words = ear.words(said).strip()
            if words:
                self.get_logger().info(f"heard {words!r}")
                self._heard.publish(String(data=words))

    def _say(self, msg: String) -> None:
        if not msg.data.strip():
            return
        if not self._speaking.acquire(blocking=False):
            self.get_logger().warning(f"not said, still speaking: {msg.data!r}")
            return
        threading.Thread(target=self._speak, args=(msg.data,), daemon=True).start()

    def _speak(self, text: str) -> None:
        try:
            spoken = self._voice.say(text)
            begins = time.monotonic() + AHEAD
            self._lips.publish(self.visemes(spoken))
            time.sleep(max(0.0, begins - time.monotonic()))
            self._play(spoken)
        except OSError as error:
            self.get_logger().error(f"not said: {error}")
        finally:
            self._speaking.release()

    def visemes(self, spoken: Spoken) -> Visemes:
        """The mouth shapes of a sound that begins :data:`AHEAD` seconds from now."""
        msg = Visemes()
        now = self.get_clock().now()
        msg.header.stamp, msg.start = now.to_msg(), (now + Duration(seconds=AHEAD)).to_msg()
        shapes = track(spoken)
        msg.offsets, msg.names = [start for start, _ in shapes], [name for _, name in shapes]
        msg.duration = spoken.duration
        return msg


def loudspeaker(spoken: Spoken) -> None:
    """Play on the default output. Raises OSError if there is none."""
    try:
        import sounddevice

        sounddevice.play(spoken.samples, spoken.rate, blocking=True, latency="low")
    except ImportError:
        raise OSError("no sound: pip install sounddevice, sudo apt-get install libportaudio2") from None
    except Exception as error:  # sounddevice.PortAudioError is known only where PortAudio is
        raise OSError(f"no sound: {error}; --sound FILE.wav writes it instead") from None


def to_file(path: Path) -> Play:
    """Write what is said to ``path`` (the last sentence stays) and take as long as it lasts."""

    def play(spoken: Spoken) -> None:
        write_wav(str(path), spoken.samples, spoken.rate)
        time.sleep(spoken.duration)

    return play


def ear_of(args: argparse.Namespace) -> Recogniser:
    """The recogniser that the command line names."""
    if args.ear == "pocketsphinx":
        return Pocketsphinx(args.phrase)
    if args.ear == "vosk":
        return Vosk(Path(args.model))
    return Whisper(args.url, args.model or "whisper-1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ear", choices=("whisper", "vosk", "pocketsphinx"), default="whisper", help="recogniser")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the Whisper server")
    parser.add_argument("--model", default="", help="vosk: folder of its model; whisper: the server's name of it")
    parser.add_argument("--phrase", action="append", default=[], help="pocketsphinx: what can be said; repeat it")
    parser.add_argument("--wav", type=Path, help="hear a WAV file instead of the microphone, then go on speaking")
    parser.add_argument("--microphone", default="", metavar="NAME", help="name or number (python -m sounddevice)")
    parser.add_argument("--language", default="en-us", help="voice of espeak-ng (default en-us)")
    parser.add_argument("--voice", metavar="COMMAND", help="a program that turns text on stdin into a WAV on stdout")
    parser.add_argument("--sound", type=Path, metavar="FILE.wav", help="write what is said instead of playing it")
    args, ros = parser.parse_known_args()
    try:
        voice: Voice = Espeak(args.language)
        if args.voice:
            voice = Program(args.voice, voice)
        ear = ear_of(args)
    except OSError as error:
        print(f"talk: {error}", file=sys.stderr)
        return 2
    rclpy.init(args=[*ros, "--ros-args", "-r", "speech:=speech/text"])  # the first rule for a name holds: yours
    node = Talk(voice, to_file(args.sound) if args.sound else loudspeaker)
    blocks = from_wav(args.wav) if args.wav else from_microphone(args.microphone)
    failed: list[OSError] = []

    def listen() -> None:
        try:
            node.listen(blocks, ear)
        except OSError as error:
            failed.append(error)
            rclpy.try_shutdown()

    threading.Thread(target=listen, daemon=True).start()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    except Exception:
        if rclpy.ok():
            raise
    if failed:
        print(f"talk: {failed[0]}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
