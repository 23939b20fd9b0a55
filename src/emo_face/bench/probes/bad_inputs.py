"""Nonsense for everything that the face driver reads: an error with a name or a counted drop must come out."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import ConfigError
from emo_face.core.paths import share_dir
from emo_face.face.control.latch import Latch
from emo_face.face.drivers import open_driver
from emo_face.face.drivers.wire import DynamixelFraming, FeetechFraming, Framing
from emo_face.face.rig import load_rig
from emo_face.web.protocol import CommandError, parse_command

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e999,
    float("nan"),
    2**70,
    "",
    "x" * 300,
    "\ud800",
    [],
    {},
    [64, 65],
    {"a": {}},
    b"\0",
    -0.0,
)


def mutated(text: bytes, rng: np.random.Generator) -> bytes:
    """The same with some bytes changed, cut, doubled or moved."""
    data = bytearray(text)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        at, size = int(rng.integers(len(data))), int(rng.integers(1, 40))
        piece = data[at : at + size]
        choice = rng.integers(4)
        if choice == 0:
            data[at] = int(rng.integers(256))
        elif choice == 1:
            del data[at : at + size]
        elif choice == 2:
            data[at:at] = piece
        else:
            data[at : at + size] = rng.bytes(size)
    return bytes(data)


def try_bad_inputs(count: int, seed: int = 1) -> tuple[int, list[str]]:
    """(inputs tried, the unexpected exceptions)."""
    rng, crashes, done = np.random.default_rng(seed), list[str](), 0
    rigs = [(share_dir() / "config" / "rigs" / f"{n}.yaml").read_bytes() for n in ("minimal_4servo", "head_12servo")]
    with tempfile.TemporaryDirectory() as folder:
        kinds = (
            _rig(rigs, Path(folder), rng),
            _options(rng),
            _latch(Path(folder), rng),
            _page(rng),
            _wire(rng),
            _gate(rng),
        )
        while done < count:
            for attempt in kinds:
                done += 1
                try:
                    attempt()
                except (ConfigError, CommandError):
                    pass
                except Exception as error:
                    crashes.append(f"{attempt.__name__}: {type(error).__name__}: {error}"[:200])
    return done, crashes


def _any(rng: np.random.Generator) -> Any:
    return VALUES[int(rng.integers(len(VALUES)))]


def _rig(rigs: list[bytes], folder: Path, rng: np.random.Generator) -> Callable[[], object]:
    path = folder / "rig.yaml"

    def rig_file() -> None:
        path.write_bytes(mutated(rigs[int(rng.integers(len(rigs)))], rng))
        open_driver(load_rig(path), kind="mock")

    return rig_file


def _options(rng: np.random.Generator) -> Callable[[], object]:
    heads = {
        "feetech": load_rig("head_12servo"),
        "dynamixel": load_rig("head_25channel"),
        "pca9685": load_rig("minimal_4servo"),
    }
    names = (
        "port",
        "baud",
        "timeout",
        "watchdog",
        "address",
        "addresses",
        "frequency",
        "channels",
        "i2c_bus",
        "reference_clock_speed",
        "what",
    )

    def driver_options() -> None:
        kind = str(rng.choice(list(heads)))
        open_driver(heads[kind], **{str(rng.choice(names)): _any(rng)})

    return driver_options


def _latch(folder: Path, rng: np.random.Generator) -> Callable[[], object]:
    path = folder / "latch.json"

    def state_file() -> None:
        path.write_bytes(mutated(b'{"version": 1, "stopped": true, "driving": false}', rng))
        Latch(path)

    return state_file


def _page(rng: np.random.Generator) -> Callable[[], object]:
    def page_command() -> None:
        command = {
            "type": rng.choice(["tune", "preset", "release", "estop", "x"]),
            "values": _any(rng),
            "emotion": _any(rng),
        }
        text = json.dumps(command, default=str)
        parse_command(mutated(text.encode(), rng).decode(errors="replace") if rng.random() < 0.5 else text)

    return page_command


def _wire(rng: np.random.Generator) -> Callable[[], object]:
    framings: tuple[Framing, ...] = (FeetechFraming(), DynamixelFraming())

    def servo_answer() -> None:
        framing = framings[int(rng.integers(2))]
        rest = mutated(framing.instruction(1, 0x55, rng.bytes(int(rng.integers(12)))) * 3, rng)
        while True:
            status, left = framing.take(rest)
            if status is None:
                break
            assert len(left) < len(rest), "never in circles"
            rest = left

    return servo_answer


def _gate(rng: np.random.Generator) -> Callable[[], object]:
    gate = load_rig("head_12servo").gate(0.01)
    gate.enable(gate.limits.neutral, 0.0)
    now = [0.0]

    def gate_command() -> None:
        value = _any(rng)
        offers: tuple[Any, ...] = (value, {"jaw": value}, {str(value): 1.0}, [value] * 12, np.full(12, np.inf))
        now[0] += float(rng.uniform(0, 0.05))
        stamp = float(rng.choice([now[0], np.nan, np.inf, -1e300, 1e300]))
        gate.command(offers[int(rng.integers(len(offers)))], stamp, now[0])
        out = gate.tick(now[0]).position
        assert np.isfinite(out).all()
        assert ((gate.limits.lower <= out) & (out <= gate.limits.upper)).all()

    return gate_command
