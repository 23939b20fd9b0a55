"""A rig: which motors a head has, what moves them, and within which limits (``config/rigs/*.yaml``).

rig = load_rig(Path("config/rigs/minimal_4servo.yaml"))
gate = rig.gate(period=0.01)
gate.command(rig.targets(arkit), stamp, now)
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emo_face.core.errors import ConfigError
from emo_face.core.paths import share_dir
from emo_face.core.types import Array, BoolArray
from emo_face.face.rig.features import Feature, FeatureBank, row_of
from emo_face.face.rig.mixing import Mixer
from emo_face.face.rig.schema import DriverModel, DwellRule, InterlockRule, RigFile, Shows, Source, Term, load_rig_file
from emo_face.face.safety.gate import SafetyGate
from emo_face.face.safety.interlocks import Dwell, Interlock
from emo_face.face.safety.limits import RATES, ActuatorLimits


class Rig:
    """A checked rig.

    Args:
        file: its content. source: where each field stands, for errors.

    Raises:
        ConfigError: unknown channel or actuator, a name or id used twice, min not below max, neutral outside, a rule
            that cannot be obeyed; names file, line and field.

    Attributes:
        limits: actuators with ranges and rates in their own units.
    """

    def __init__(self, file: RigFile, source: Source) -> None:
        self.file, self.source = file, source
        _check_actuators(file, source)
        a = file.actuators
        self.limits = ActuatorLimits.of(
            [x.name for x in a],
            lower=[x.min for x in a],
            upper=[x.max for x in a],
            neutral=[x.neutral for x in a],
            velocity=[x.velocity for x in a],
            acceleration=[x.acceleration for x in a],
            jerk=[x.jerk for x in a],
            deadband=[x.deadband for x in a],
        )
        inverted = np.array([x.invert for x in a])
        up, down = self.limits.upper - self.limits.neutral, self.limits.lower - self.limits.neutral
        self._plus, self._minus = np.where(inverted, down, up), np.where(inverted, up, down)
        self.bank, self.mixer = self._mixer()
        self.interlocks = [self._interlock(i, rule) for i, rule in enumerate(file.interlocks)]
        self.dwells = [self._dwell(i, rule) for i, rule in enumerate(file.dwell)]
        try:
            self.gate(0.01)
        except ValueError as error:
            where = "dwell" if str(error).startswith("dwell") else "interlocks"
            raise source.error((where,), str(error)) from None

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.limits.names)

    @property
    def ids(self) -> tuple[int, ...]:
        """Device channel or bus id of each actuator."""
        return tuple(a.id for a in self.file.actuators)

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(a.unit for a in self.file.actuators)

    @property
    def driver(self) -> DriverModel:
        return self.file.driver

    def targets(self, arkit: Array, flame: Array | None = None) -> Array:
        """(n,) actuator positions in their own units that show a face best.

        Args:
            arkit: (52,) in [0, 1], finite.
            flame: (100,) coefficients, only if the rig's terms name ``flame_...``.
        """
        return self.position(self.mixer.drive(self.bank.evaluate(arkit, flame)))

    def position(self, drive: Array) -> Array:
        """(n,) positions of drives in [-1, 1]."""
        return np.asarray(self.limits.neutral + np.where(drive >= 0, drive * self._plus, -drive * self._minus))

    def drive(self, position: Array) -> Array:
        """(n,) drives of positions; 0 if the actuator has no way to go on that side."""
        away = np.asarray(position) - self.limits.neutral
        way = np.where(away * np.sign(self._plus) > 0, self._plus, -self._minus)
        way = np.where((self._plus == 0) & (away * np.sign(self._minus) > 0), -self._minus, way)
        return np.asarray(np.divide(away, way, out=np.zeros_like(away), where=way != 0))

    def gate(self, period: float) -> SafetyGate:
        """The safety gate of this rig for a loop of ``period`` seconds."""
        f = self.file
        return SafetyGate(
            self.limits,
            period=period,
            interlocks=self.interlocks,
            dwells=self.dwells,
            timeout=f.timeout,
            neutral_time=f.neutral_time,
            estop_action=f.estop,
        )

    def shown(self, arkit: Array) -> Array:
        """(52,) how much of a face (52,) the rig shows: each channel as the actuators that serve it give it."""
        return self.shown_at(self.mixer.drive(self.bank.evaluate(arkit)))

    def shown_at(self, drive: Array) -> Array:
        """(52,) the face that actuators at drives (n,) in [-1, 1] show."""
        weights = self.bank.matrix()
        shown = self.mixer.shown(drive)
        serving = (weights != 0).sum(axis=0)
        back = np.divide(weights != 0, serving, out=np.zeros_like(weights), where=serving > 0)
        return np.asarray(np.clip(back.T @ shown, 0.0, 1.0))

    @property
    def channels(self) -> BoolArray:
        """(52,) ARKit channels that move at least one actuator."""
        moved = (self.mixer.plus != 0).any(axis=1) | (self.mixer.minus != 0).any(axis=1)
        return np.asarray((self.bank.matrix()[moved] != 0).any(axis=0))

    def _mixer(self) -> tuple[FeatureBank, Mixer]:
        features: list[Feature] = []
        entries: list[tuple[int, int, float]] = []
        shows: list[tuple[int, int, int, float]] = []
        index: dict[Feature, int] = {}

        def place(feature: Feature) -> int:
            if feature not in index:
                index[feature] = len(features)
                features.append(feature)
            return index[feature]

        for i, actuator in enumerate(self.file.actuators):
            for k, term in enumerate(actuator.drive):
                entries.append((i, place(_feature(term, self.source, ("actuators", i, "drive", k))), term.gain))
            for end, table in enumerate(_ends(actuator.shows)):
                for channel, value in table.items():
                    _known(channel, self.source, ("actuators", i, "shows", ("plus", "minus")[end], channel))
                    shows.append((end, place(Feature((channel,))), i, value))
        n, m = len(self.file.actuators), len(features)
        gains = np.zeros((n, m))
        for i, j, gain in entries:
            gains[i, j] += gain
        ends = np.full((2, m, n), np.nan)
        ends[:, :, [i for i, a in enumerate(self.file.actuators) if a.shows is not None]] = 0.0
        for end, j, i, value in shows:
            ends[end, j, i] = value
        way = np.stack([self._plus != 0, self._minus != 0], axis=1)
        signed = np.array([f.signed for f in features], dtype=bool)
        products = np.array([len(f.channels) == 2 for f in features], dtype=bool)
        mixer = Mixer(gains, ends[0], ends[1], signed, products, way, self.file.mixing == "least_squares")
        return FeatureBank(features), mixer

    def _threshold(self, i: int, share: float) -> float:
        return float(self.limits.neutral[i] + (share * self._plus[i] if share >= 0 else -share * self._minus[i]))

    def _find(self, name: str, loc: tuple[str | int, ...]) -> int:
        if name not in self.names:
            raise self.source.error(loc, f"unknown actuator {name!r}: expected one of {', '.join(self.names)}")
        return self.names.index(name)

    def _side(self, rule: InterlockRule | DwellRule, loc: tuple[str | int, ...]) -> tuple[float, bool]:
        if (rule.above is None) == (rule.below is None):
            raise self.source.error(loc, "expected exactly one of `above` and `below`")
        return (rule.above, True) if rule.above is not None else (float(rule.below or 0.0), False)

    def _interlock(self, k: int, rule: InterlockRule) -> Interlock:
        loc: tuple[str | int, ...] = ("interlocks", k)
        a, b = self._find(rule.when, (*loc, "when")), self._find(rule.then, (*loc, "then"))
        share, above = self._side(rule, loc)
        low, high = sorted(self._threshold(b, s) for s in rule.range)
        if not low < high:
            raise self.source.error((*loc, "range"), f"expected an interval that leaves {rule.then!r} room to move")
        if a == b:
            raise self.source.error(
                (*loc, "then"), "an actuator cannot restrict itself: use a dwell rule or its limits"
            )
        flipped = self.file.actuators[a].invert
        return Interlock(rule.when, self._threshold(a, share), rule.then, low, high, above != flipped)

    def _dwell(self, k: int, rule: DwellRule) -> Dwell:
        loc: tuple[str | int, ...] = ("dwell", k)
        i = self._find(rule.actuator, (*loc, "actuator"))
        share, above = self._side(rule, loc)
        flipped = self.file.actuators[i].invert
        return Dwell(rule.actuator, self._threshold(i, share), rule.max_s, rule.rest_s, above != flipped)


def load_rig(path: Path | str) -> Rig:
    """Load a rig file, or one of ``config/rigs`` by its name without ``.yaml``.

    Raises:
        ConfigError: names file, line, field, expected and got.
    """
    given = Path(path)
    if not given.suffix and not given.exists():
        given = share_dir() / "config" / "rigs" / f"{path}.yaml"
        if not given.is_file():
            known = ", ".join(sorted(p.stem for p in given.parent.glob("*.yaml"))) or "none"
            raise ConfigError(f"no rig called {path!r} in {given.parent}: known are {known}; or give a file")
    return Rig(*load_rig_file(given))


def _check_actuators(file: RigFile, source: Source) -> None:
    names: dict[str, int] = {}
    ids: dict[int, int] = {}
    for i, a in enumerate(file.actuators):
        loc: tuple[str | int, ...] = ("actuators", i)
        if names.setdefault(a.name, i) != i:
            raise source.error((*loc, "name"), f"{a.name!r} is already actuators.{names[a.name]}")
        if ids.setdefault(a.id, i) != i:
            raise source.error((*loc, "id"), f"id {a.id} already belongs to {file.actuators[ids[a.id]].name!r}")
        if not a.min < a.max:
            raise source.error((*loc, "min"), f"expected min < max, got {a.min} and {a.max}")
        if not a.min <= a.neutral <= a.max:
            raise source.error((*loc, "neutral"), f"expected {a.min} to {a.max}, got {a.neutral}")
        for rate in ("velocity", "acceleration", "jerk"):
            if not RATES[0] <= getattr(a, rate) / (a.max - a.min) <= RATES[1]:
                raise source.error((*loc, rate), f"expected {RATES[0]:g} to {RATES[1]:g} times max - min")
        if a.deadband > 0.1 * (a.max - a.min):
            raise source.error((*loc, "deadband"), f"expected at most a tenth of the range, got {a.deadband}")
        if not a.drive and a.shows is None:
            raise source.error(loc, f"{a.name!r} has neither `drive` nor `shows`: nothing would move it")


def _known(channel: str, source: Source, loc: tuple[str | int, ...]) -> None:
    if row_of(channel) is None:
        raise source.error(
            loc,
            f"unknown channel {channel!r}: expected an ARKit name (with or without Left/Right) or flame_000..flame_099",
        )


def _ends(shows: Shows | None) -> Sequence[dict[str, float]]:
    return ({}, {}) if shows is None else (shows.plus, shows.minus)


def _feature(term: Term, source: Source, loc: tuple[str | int, ...]) -> Feature:
    if (term.channel is None) == (term.pair is None):
        raise source.error(loc, "expected exactly one of `channel` and `pair`")
    channels = (term.channel,) if term.channel is not None else tuple(term.pair or ())
    for channel in channels:
        _known(channel, source, (*loc, "channel" if term.pair is None else "pair"))
    if term.gain == 0:
        raise source.error((*loc, "gain"), "expected a number other than 0")
    if term.curve is not None:
        xs = [x for x, _ in term.curve]
        if len(xs) < 2 or any(b <= a for a, b in itertools.pairwise(xs)):
            raise source.error((*loc, "curve"), "expected at least two points with ascending first numbers")
    return Feature(channels, term.curve)
