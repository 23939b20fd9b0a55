"""The base of every node: parameters, QoS, diagnostics and ``~/enable``, written once."""

import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.qos import QoSProfile
from std_srvs.srv import SetBool

from emo_face.core.errors import UserError
from emo_face.ros import diagnostics, network, qos
from emo_face.ros.clock import NodeClock
from emo_face.ros.diagnostics import ERROR, WARN, Health
from emo_face.ros.images.local import LocalPictures
from emo_face.ros.matching import PERIOD, MatchedSubscription
from emo_face.ros.parameters.declare import Parameters
from emo_face.ros.parameters.schema import NodeSchema, Value, load_schema
from emo_face.ros.transitions import TransitionsNode

LOOK = 10.0  # s between two looks at what the process listens on
HOLD = 5.0
"""Seconds that a drop stays visible in diagnostics."""


class EmoNode(TransitionsNode):
    """A lifecycle node. Subclasses fill the hooks; each may raise, ``cleanup`` must work from any half-made state.

    Args:
        name: node name and, unless ``schema`` is given, its section in ``parameters.yaml``.
        pictures: what the nodes of this process hand on by reference; None: it has no other node.

    Raises:
        ConfigError: a parameter given at start breaks the schema.
    """

    def __init__(
        self, name: str, schema: NodeSchema | None = None, pictures: LocalPictures | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name, **kwargs)
        self.pictures = pictures or LocalPictures()
        self.health = Health()
        self.enabled = True
        self.threads = 1  # of the executor; callbacks of one group still exclude each other
        self.exit_code: int | None = None
        self.params = Parameters(self, schema or load_schema(name), self.apply_parameters)
        self.clock = NodeClock(self, self._clock_jumped)
        self._soon: deque[Callable[[], None]] = deque()
        self._wake = self.create_guard_condition(self._run_soon)
        self._degraded: tuple[str, ...] = ()
        self._look_again = 0.0
        self._inputs: dict[str, tuple[str, float]] = {}
        self._running_since = time.monotonic()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # steady: diagnostics go on while simulated time stands still
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.params["diagnostics.period"], self._diagnose, clock=self.steady)
        self.create_service(SetBool, "~/enable", self._on_enable)
        for strange, near in self.params.unknown.items():
            hint = f"; did you mean {near!r}?" if near else ""
            self.report_problem(
                f"parameter {strange}", WARN, f"parameter {strange!r} is unknown and has no effect{hint}"
            )

    # ---- hooks -------------------------------------------------------------------------------------------------

    def apply_parameters(self, values: Mapping[str, Value], changed: frozenset[str]) -> None:
        """Take over a live change; raise ValueError or UserError to refuse it."""

    def clock_jumped(self) -> None:
        """Forget everything that has a time: the clock went back or changed its source."""

    def enable(self, enabled: bool) -> None:
        """React to ``~/enable``; :attr:`running` already tells the new state. A UserError refuses it."""

    # ---- for subclasses ----------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Active and enabled."""
        return self.state == "active" and self.enabled

    def publisher(self, kind: Any, topic: str, profile: QoSProfile) -> Any:
        """Create a lifecycle publisher with overridable QoS whose mismatches are diagnosed."""
        events = qos.publisher_events(self, topic, lambda text: self.report_problem(f"qos {topic}", WARN, text))
        return self._with_events(
            lambda **extra: self.create_lifecycle_publisher(
                kind, topic, profile, qos_overriding_options=qos.overrides(), **extra
            ),
            events,
        )

    def subscription(self, kind: Any, topic: str, callback: Callable[[Any], None], profile: QoSProfile) -> Any:
        """Create a subscription with overridable QoS whose mismatches are diagnosed. Create once, never destroy."""
        events = qos.subscription_events(self, topic, lambda text: self.report_problem(f"qos {topic}", ERROR, text))
        return self._with_events(
            lambda **extra: self.create_subscription(
                kind, topic, callback, profile, qos_overriding_options=qos.overrides(), **extra
            ),
            events,
        )

    def matched_subscription(self, kind: Any, topic: str, callback: Callable[[Any], None], reliability: str) -> None:
        """Subscribe to the newest sample of a large topic, as reliably as its publishers allow (``auto``)."""
        matched = MatchedSubscription(
            self, kind, topic, callback, reliability, lambda text: self.report_problem(f"qos {topic}", ERROR, text)
        )
        self.create_timer(PERIOD, matched.check, clock=self.steady)

    def _with_events(self, create: Callable[..., Any], events: Any) -> Any:
        try:
            return create(event_callbacks=events)
        except qos.UnsupportedEventTypeError:  # a middleware without this event
            return create()

    def watch_input(self, name: str, topic: str, patience: float) -> None:
        """Warn while active when ``health.tick(name)`` stays away for ``patience`` seconds."""
        self._inputs[name] = (topic, patience)

    def report_problem(self, key: str, level: int, text: str, hold: float = float("inf")) -> None:
        """Show a condition for ``hold`` seconds, and log it when it is new."""
        if self.health.raise_condition(key, level, text, time.monotonic() + hold):
            # one call per severity: rclpy binds a severity to the line that logs
            if level >= ERROR:
                self.get_logger().error(text)
            else:
                self.get_logger().warning(text)

    def report_while(self, wrong: object, key: str, level: int, text: str) -> None:
        """Show a condition until this is called with nothing ``wrong``."""
        if wrong:
            self.report_problem(key, level, text)
        else:
            self.health.clear_condition(key)

    def degraded(self, warnings: tuple[str, ...]) -> None:
        """Show what is missing or failing, each text with its fix, until called with other texts."""
        if warnings != self._degraded:
            self._degraded = warnings
            self.health.clear_conditions("degraded")
            for number, text in enumerate(warnings):
                self.report_problem(f"degraded {number}", WARN, text)

    def drop(self, reason: str, text: str) -> None:
        """Count something that is not used; say why for a while."""
        self.health.count(f"dropped.{reason}")
        self.report_problem(f"dropped {reason}", WARN, text, HOLD)

    def failed(self, error: Exception) -> None:
        """Report an exception outside a transition: counted, shown, traceback logged."""
        self.health.count("errors")
        if self.health.raise_condition("error", ERROR, f"{type(error).__name__}: {error}", time.monotonic() + HOLD):
            self.get_logger().error("".join(traceback.format_exception(type(error), error, error.__traceback__)))

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run ``call`` on the executor; for worker threads."""
        self._soon.append(call)
        self._wake.trigger()

    def finish(self, code: int = 0) -> None:
        """End the node, and with it its process, with exit ``code`` (see :mod:`emo_face.ros.run`); any thread.

        The first call counts."""
        if self.exit_code is None:
            self.exit_code = code
            self._wake.trigger()

    def _clock_jumped(self) -> None:
        if self.count_publishers("/clock") > 1:
            who = qos.peers(self, "/clock", publishers=True)
            text = f"simulated time goes back and forth, and everybody is forgotten each time: {who} publish /clock"
            self.report_problem("clock", WARN, text, HOLD)
        self.clock_jumped()

    def _run_soon(self) -> None:
        while self._soon:
            try:
                self._soon.popleft()()
            except Exception as error:
                self.failed(error)

    # ---- diagnostics, services ---------------------------------------------------------------------------------

    def _diagnose(self) -> None:
        now = time.monotonic()
        for name, (topic, patience) in self._inputs.items():
            silence = min(self.health.quiet_for(name, now), now - self._running_since)
            if self.running and silence > patience:
                others = qos.peers(self, topic, publishers=True)
                text = f"no {name} on {self.resolve_topic_name(topic)} for over {patience:g} s; publishers: {others}"
                self.report_problem(f"input {name}", WARN, text)
            else:
                self.health.clear_condition(f"input {name}")
        if now >= self._look_again:
            self._look_again = now + LOOK
            self.health.facts({"network": network.scope(os.environ), "listens": ", ".join(network.listening())})
        self._tell_of_changes()
        self.observe()
        report = self.health.report(self.state if self.enabled else f"{self.state}, disabled", now)
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(diagnostics.message(name, report, self.get_clock().now().to_msg()))

    def _tell_of_changes(self) -> None:
        """Warn of parameters that are set and do not count yet; rclpy hands no word of ours to who sets them."""
        names = ", ".join(sorted(self.params.waiting)) if self.state != "unconfigured" else ""
        text = f"{names}: changed, counts when the node is configured again: deactivate it, then clean it up"
        self.report_while(names, "configure", WARN, text)

    def observe(self) -> None:
        """Add facts and counts right before a diagnostic message is made."""

    def _on_enable(self, request: Any, response: Any) -> Any:
        before, self.enabled = self.enabled, bool(request.data)
        self._running_since = time.monotonic()
        try:
            self.enable(self.enabled)
            response.success = True
            response.message = "enabled" if self.enabled else "disabled"
        except UserError as error:  # refused: all stays as it was
            self.enabled = before
            response.success, response.message = False, str(error)
        except Exception as error:
            self.failed(error)
            response.success, response.message = False, str(error)
        return response

    # ---- what the transitions show -----------------------------------------------------------------------------

    def before_configure(self) -> None:
        self.params.waiting.clear()
        for name in self.params.useless_overrides(self):
            self.report_problem(
                name, WARN, f"{name} fits no topic and policy of this node; see config/qos_overrides.yaml"
            )

    def became_active(self) -> None:
        self._running_since = time.monotonic()

    def transition_done(self) -> None:
        self.health.clear_condition("lifecycle")

    def transition_failed(self, what: str, why: str) -> None:
        self.health.clear_condition("lifecycle")  # the second failure is logged too
        self.report_problem("lifecycle", ERROR, f"cannot {what}: {why}")
