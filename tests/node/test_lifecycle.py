"""ros/lifecycle.py: transitions, parameters, ~/enable, diagnostics and QoS events of the base node."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import SetBool

from emo_face.core.errors import ConfigError, UserError
from emo_face.ros import qos
from emo_face.ros.lifecycle import EmoNode
from emo_face.ros.parameters.schema import parse_schema

SCHEMA = parse_schema(
    """
common:
  diagnostics.period: {type: double, default: 0.1, unit: s, range: [0.1, 60.0], read_only: true, description: Period.}
nodes:
  probe:
    description: A node under test.
    parameters:
      gain: {type: double, default: 1.0, unit: "", range: [0.0, 2.0], description: Gain.}
      mode: {type: string, default: a, choices: [a, b], description: Mode.}
      model: {type: string, default: m, read_only: true, description: Model.}
      weights: {type: double_array, default: [0.5, 0.5], range: [0.0, 1.0], description: Weights.}
      count: {type: int, default: 3, range: [1, 9], description: Count.}
""",
    "test",
)["probe"]


class Probe(EmoNode):
    """Raises what it is told to and notes its calls."""

    def __init__(self, **kwargs: Any) -> None:
        self.calls: list[str] = []
        self.raises: dict[str, Exception] = {}
        super().__init__("probe", SCHEMA, **kwargs)

    def _do(self, what: str) -> None:
        self.calls.append(what)
        if what in self.raises:
            raise self.raises[what]

    def configure(self) -> None:
        self._do("configure")

    def activate(self) -> None:
        self._do("activate")

    def deactivate(self) -> None:
        self._do("deactivate")

    def cleanup(self) -> None:
        self._do("cleanup")

    def enable(self, enabled: bool) -> None:
        self._do("enable")

    def apply_parameters(self, values: Any, changed: frozenset[str]) -> None:
        if values["gain"] > 1.5 and values["mode"] == "b":
            raise ValueError("gain over 1.5 needs mode a")


def change(graph: Any, transition: int) -> bool:
    return bool(graph.call(ChangeState, "/probe/change_state", transition=Transition(id=transition)).success)


def state(graph: Any) -> int:
    return int(graph.call(GetState, "/probe/get_state").current_state.id)


def status(graph: Any, heard: list[DiagnosticArray], contains: str) -> Any:
    """The first diagnostic of the probe whose message contains the text."""

    def find() -> Any:
        found = (a.status[0] for a in heard if a.status[0].name == "probe")
        return next((s for s in found if contains in s.message), None)

    return graph.until(find, why=f"no diagnostic with {contains!r}, got {[a.status[0].message for a in heard]}")


def test_a_manager_takes_the_node_through_its_life(graph: Any) -> None:
    node = graph.start(Probe)
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED  # no self-activation
    for transition in (
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
    ):
        assert change(graph, transition)
    assert node.calls == ["configure", "activate", "deactivate", "cleanup"]
    assert change(graph, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert state(graph) == State.PRIMARY_STATE_FINALIZED


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("model x.onnx is missing: run y"), "cannot configure: model x.onnx"),
        (ZeroDivisionError("z"), "ZeroDivisionError: z"),
    ],
)
def test_a_failed_transition_is_shown_and_can_be_tried_again(graph: Any, error: Exception, expected: str) -> None:
    heard = graph.hear(DiagnosticArray, "/diagnostics")
    node = graph.start(Probe)
    node.raises["configure"] = error
    assert not change(graph, Transition.TRANSITION_CONFIGURE)
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    assert node.calls == ["configure", "cleanup"]  # half-made things are given back
    assert status(graph, heard, expected).level == b"\x02"
    node.raises.clear()
    assert change(graph, Transition.TRANSITION_CONFIGURE)
    heard.clear()
    assert status(graph, heard, "inactive").level == b"\x00"


def test_a_failed_activation_leaves_the_node_inactive_and_silent(graph: Any) -> None:
    node = graph.start(Probe)
    out = node.publisher(String, "out", qos.reliable())
    node.raises["activate"] = UserError("no port")
    assert change(graph, Transition.TRANSITION_CONFIGURE)
    assert not change(graph, Transition.TRANSITION_ACTIVATE)
    assert state(graph) == State.PRIMARY_STATE_INACTIVE
    assert not out.is_activated
    assert not node.running


def test_transition_storm(graph: Any) -> None:
    node = graph.start(Probe)
    for _ in range(50):
        graph.up(node)
        assert node.trigger_deactivate().name == "SUCCESS"
        assert node.trigger_cleanup().name == "SUCCESS"
    assert node.calls.count("activate") == 50


def test_enable_gates_work_and_answers(graph: Any) -> None:
    node = graph.up(graph.start(Probe))
    assert node.running
    answer = graph.call(SetBool, "/probe/enable", data=False)
    assert (answer.success, answer.message, node.running) == (True, "disabled", False)
    assert graph.call(SetBool, "/probe/enable", data=True).success
    assert node.running
    node.raises["enable"] = RuntimeError("stuck")
    answer = graph.call(SetBool, "/probe/enable", data=True)
    assert (answer.success, answer.message) == (False, "stuck")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"gain": 3.0}, r"probe: parameter gain: expected a value in 0 .. 2, got 3"),
        ({"gain": 1}, r"gain: expected a double, got 1; write 1.0"),
        ({"gain": float("nan")}, r"gain: .*finite"),
        ({"mode": "c"}, r"mode: expected one of a, b, got 'c'"),
        ({"count": "many"}, r"count: expected a int"),
        ({"weights": [0.1]}, r"weights: expected 2 items, got 1"),
        ({"weights": [0.1, 7.0]}, r"weights: expected a value in 0 .. 1"),
    ],
)
def test_wrong_start_values_name_parameter_expected_and_got(graph: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        graph.start(Probe, **params)


def set_parameter(graph: Any, name: str, value: Any) -> Any:
    request = [Parameter(name, value=value).to_parameter_msg()]
    return graph.call(SetParameters, "/probe/set_parameters", parameters=request).results[0]


def test_live_changes_are_validated_and_refused_ones_leave_no_trace(graph: Any) -> None:
    node = graph.start(Probe)
    assert set_parameter(graph, "gain", 1.6).successful
    assert node.params["gain"] == 1.6
    for name, value, reason in (
        ("gain", 2.5, ""),
        ("gain", float("inf"), ""),
        ("mode", "c", "expected one of a, b"),
        ("mode", "b", "gain over 1.5 needs mode a"),
        ("model", "other", "read-only"),
        ("count", 1.5, ""),
        ("weights", [0.2, 0.3, 0.5], "expected 2 items"),
    ):
        result = set_parameter(graph, name, value)
        assert not result.successful, name
        assert reason in result.reason, result.reason
    assert (node.params["gain"], node.params["mode"], node.params["weights"]) == (1.6, "a", [0.5, 0.5])
    assert node.get_parameter("gain").value == 1.6


def test_a_misspelt_parameter_is_named_with_the_nearest_one(graph: Any) -> None:
    heard = graph.hear(DiagnosticArray, "/diagnostics")
    graph.start(Probe, gian=1.0)
    assert status(graph, heard, "did you mean 'gain'").level == b"\x01"


def test_an_incompatible_publisher_is_diagnosed_with_the_fix(graph: Any) -> None:
    heard = graph.hear(DiagnosticArray, "/diagnostics")
    node = graph.start(Probe)
    node.subscription(String, "in", lambda _: None, qos.reliable())
    best_effort = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    graph.helper.create_publisher(String, "in", best_effort)
    text = status(graph, heard, "no data on /in").message
    assert "set qos_overrides./in.subscription.reliability to best_effort" in text
    assert "/helper BEST_EFFORT, VOLATILE" in text


def test_the_stated_fix_works(graph: Any) -> None:
    from rclpy.parameter import Parameter as P

    override = P("qos_overrides./in.subscription.reliability", value="best_effort")
    node = Probe(context=graph.context, parameter_overrides=[override])
    graph.executor.add_node(node)
    graph.nodes.append(node)
    heard: list[String] = []
    node.subscription(String, "in", heard.append, qos.reliable())
    talk = graph.talk(String, "in", QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT))
    talk.publish(String(data="hello"))
    assert graph.until(lambda: heard)[0].data == "hello"


def test_an_incompatible_subscriber_is_diagnosed_with_the_fix(graph: Any) -> None:
    heard = graph.hear(DiagnosticArray, "/diagnostics")
    node = graph.start(Probe)
    node.publisher(String, "out", qos.sensor())
    graph.hear(String, "out", QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE))
    text = status(graph, heard, "gets no data").message
    assert "subscribe with reliability best_effort, or set qos_overrides./out.publisher.reliability to reliable" in text


def test_a_silent_input_is_named_with_its_publishers(graph: Any) -> None:
    heard = graph.hear(DiagnosticArray, "/diagnostics")
    node = graph.start(Probe)
    node.watch_input("image", "camera/image", 0.0)
    graph.up(node)
    assert "no image on /camera/image for over 0 s; publishers: nobody" in status(graph, heard, "no image").message


def test_diagnostics_carry_rates_latencies_drops_and_facts(graph: Any) -> None:
    heard = graph.hear(DiagnosticArray, "/diagnostics")
    node = graph.start(Probe)
    start = time.monotonic()
    for i in range(31):
        node.health.tick("image", start - 1 + i / 30)
        node.health.latency("pipeline", 0.010 + 0.001 * i)
    node.health.fact("model.sha256", "abc")
    node.drop("stale", "frames are too old")
    found = status(graph, heard, "frames are too old")
    values = {v.key: v.value for v in found.values}
    assert float(values["image.rate_hz"]) == pytest.approx(30, rel=0.2)
    assert float(values["pipeline.p50_ms"]) == pytest.approx(25, abs=0.5)
    assert float(values["pipeline.p95_ms"]) == pytest.approx(38.5, abs=0.5)
    assert (values["dropped.stale"], values["model.sha256"], values["state"]) == ("1", "abc", "unconfigured")


def test_a_worker_thread_reaches_the_executor(graph: Any) -> None:
    import threading

    node = graph.start(Probe)
    ran: list[str] = []
    threading.Thread(target=lambda: node.call_soon(lambda: ran.append(threading.current_thread().name))).start()
    graph.until(lambda: ran)
    assert ran == [threading.current_thread().name]


def test_a_qos_override_that_fits_nothing_is_named(graph: Any) -> None:
    heard = graph.hear(DiagnosticArray, "/diagnostics")
    node = Probe(
        context=graph.context, parameter_overrides=[Parameter("qos_overrides./imgae.subscription.depth", value=3)]
    )
    graph.executor.add_node(node)
    graph.nodes.append(node)
    node.subscription(String, "image", lambda _: None, qos.reliable())
    assert node.trigger_configure().name == "SUCCESS"
    assert "qos_overrides./imgae.subscription.depth fits no topic" in status(graph, heard, "imgae").message
