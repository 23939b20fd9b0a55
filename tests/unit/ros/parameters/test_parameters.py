"""The parameter schema, and that code, parameter file and documentation say the same."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emo_face.cli import params as verb
from emo_face.cli.main import main
from emo_face.core.errors import ConfigError
from emo_face.core.paths import share_dir
from emo_face.expression.context import WindowSettings
from emo_face.expression.policy import Camera
from emo_face.expression.prototypes import PrototypeSettings
from emo_face.perception.build import DetectorSettings
from emo_face.ros.messages.speech import SpeechLimits
from emo_face.ros.parameters.schema import Parameter, build, load_schema, parse_schema, schemas
from emo_face.ros.parameters.text import params_markdown, yaml_value

NODES = ("camera", "perception", "people", "expression", "face_driver")


def test_every_node_has_a_schema_and_every_parameter_a_meaning() -> None:
    assert tuple(schemas()) == NODES
    for node in schemas().values():
        assert len({p.name for p in node.parameters}) == len(node.parameters)
        for p in node.parameters:
            assert p.description.endswith("."), f"{node.name}.{p.name}"
            assert p.type in ("bool", "string", "string_array") or p.minimum is not None, f"{node.name}.{p.name}: range"


def covered(cls: type, node: str, prefix: str = "", elsewhere: tuple[str, ...] = ()) -> None:
    """Every field of ``cls`` is a parameter of the same default."""
    parameters = schemas()[node]
    for item in dataclasses.fields(cls):
        if item.name in elsewhere:
            continue
        name = f"{prefix}.{item.name}" if prefix else item.name
        assert name in parameters, f"{node} has no parameter {name}"
        value = parameters[name].default
        expected = item.default
        assert value == (pytest.approx(expected, abs=1e-4) if isinstance(expected, float) else expected), name


def test_settings_of_the_libraries_are_parameters_with_their_defaults() -> None:
    covered(DetectorSettings, "perception", "detector", ("providers", "memory", "min_hits"))
    shared = ("speech_ttl", "min_speech_confidence")
    covered(WindowSettings, "expression", "", shared)
    covered(PrototypeSettings, "expression", "", ("camera",))
    covered(Camera, "expression", "camera")
    covered(SpeechLimits, "perception", "speech")
    covered(SpeechLimits, "expression", "speech")


def test_generated_files_are_up_to_date() -> None:
    assert verb.outdated(Path(__file__).resolve().parents[4]) == [], "run `emo-face params --write`"


def test_parameter_file_equals_the_defaults() -> None:
    """launch and `emo-face up` start the nodes from this file."""
    raw = yaml.safe_load((share_dir() / "config" / "emo_face.yaml").read_text(encoding="utf-8"))
    assert {key.removeprefix("/**/"): body["ros__parameters"] for key, body in raw.items()} == {
        name: {p.name: p.default for p in node.parameters} for name, node in schemas().items()
    }


def test_documentation_states_every_default() -> None:
    text = params_markdown(schemas())
    for node in schemas().values():
        section = text.split(f"## {node.name}\n")[1].split("\n## ")[0]
        for p in node.parameters:
            assert f"| `{p.name}` | {p.type} | `{yaml_value(p.default)}` | {p.unit} |" in section


values = st.one_of(
    st.booleans(), st.integers(-99, 99), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20)
)


@given(st.one_of(values, st.lists(st.text(max_size=5), min_size=1, max_size=3), st.lists(st.floats(-1, 1), min_size=1)))
def test_yaml_text_reads_back_with_the_same_type(value: object) -> None:
    read = yaml.safe_load(yaml_value(value))  # type: ignore[arg-type]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{type: double, default: 1, description: x.}", "default: expected a double, got 1; write 1.0"),
        ("{type: int, default: 5, range: [0, 3], description: x.}", "expected a value in 0 .. 3, got 5"),
        ("{type: string, default: c, choices: [a, b], description: x.}", "expected one of a, b"),
        ("{type: text, default: c, description: x.}", "type in"),
        ("{type: int, default: 5, ranges: [0, 3], description: x.}", "unknown .'ranges'"),
        ("{type: int, default: 5}", "missing .'description'"),
        ("{type: string_array, default: [], description: x.}", "empty list"),
    ],
)
def test_a_wrong_schema_names_file_node_and_parameter(entry: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"f\.yaml: nodes\.n\.p: .*{says}"):
        parse_schema(f"nodes: {{n: {{description: d., parameters: {{p: {entry}}}}}}}", "f.yaml")


@given(st.one_of(values, st.none(), st.lists(st.integers())))
def test_no_value_crashes_the_check(value: object) -> None:
    for node in schemas().values():
        for p in node.parameters:
            assert isinstance(p.problem(value), str)


@dataclass(frozen=True)
class Inner:
    gain: float
    names: tuple[str, ...] = ("x",)


@dataclass(frozen=True)
class Outer:
    inner: Inner
    file: Path = Path("a")
    seen: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.inner.gain < 0:
            raise ValueError("gain must not be negative")


def test_dataclasses_are_built_from_groups() -> None:
    given_values = {"g.inner.gain": 0.5, "g.inner.names": ["a", "b"], "g.file": "b.yaml", "other": 1}
    assert build(Outer, given_values, "g") == Outer(Inner(0.5, ("a", "b")), Path("b.yaml"))
    with pytest.raises(ConfigError, match=r"Inner\.gain has no default and no parameter 'g\.inner\.gain'"):
        build(Outer, {}, "g")
    with pytest.raises(ConfigError, match="g: gain must not be negative"):
        build(Outer, {"g.inner.gain": -1.0}, "g")


def test_unknown_node_is_named() -> None:
    with pytest.raises(ConfigError, match="no node is called 'x': expected one of camera"):
        load_schema("x")


def test_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["params", "--json", "--node", "camera"]) == 0
    shown = json.loads(capsys.readouterr().out)["camera"]
    assert shown[0]["name"] == "source"
    assert main(["params"]) == 0
    assert "jpeg_quality" in capsys.readouterr().out
    assert main(["params", "--node", "x"]) == 2
    monkeypatch.setattr("emo_face.cli.params.share_dir", lambda: tmp_path)
    assert main(["params", "--check"]) == 1
    assert "run `emo-face params --write`" in capsys.readouterr().err
    assert main(["params", "--write"]) == 0
    assert main(["params", "--check"]) == 0


def test_parameter_range_text() -> None:
    assert Parameter("a", "double", 1.0, "x.", minimum=0, maximum=2.5).range_text == "0 .. 2.5"
