"""The lifecycle of every node: hooks that may raise, transitions that tell why they failed and whether to try again.

rclpy swallows what a transition callback raises; here it is logged with its traceback and shown in diagnostics. A
``UserError`` is the user's to fix: it is one line, and the transition fails instead of ending in error processing.
"""

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from emo_face.core.errors import Unavailable, UserError

Result = TransitionCallbackReturn
Tell = Callable[[str, str, str], None]
Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def _transition(passing: str) -> Callable[[Transition], Transition]:
    """Let a transition tell its begin, as the state ``passing``, and its end."""

    def told(work: Transition) -> Transition:
        @wraps(work)
        def run(self: "TransitionsNode", state: LifecycleState) -> TransitionCallbackReturn:
            if passing != "errorprocessing":  # which follows the failure that is to be told
                self._failure = ("", "")
            self._passing = passing
            self.tell(passing, "", "")
            try:
                result = work(self, state)
            finally:
                self._passing = ""
            if result != Result.ERROR:  # else error processing follows, and tells
                self.tell(self.state, *self._failure)
            return result

        return run

    return told


class TransitionsNode(LifecycleNode):
    """A lifecycle node whose subclasses fill the hooks; ``cleanup`` must work from any half-made state.

    Attributes:
        state: its primary state. Inside a hook: the state it leaves, but ``active`` in ``activate``.
        tell: called with (state, kind, trouble) when a transition begins, goes on and has ended; see
            :class:`emo_face.ros.supervision.channel.Report`.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.state = "unconfigured"
        self.tell: Tell = lambda state, kind, trouble: None
        self._passing = ""
        self._failure = ("", "")

    @property
    def ending(self) -> bool:
        """Whether the node is on its way to ``finalized``."""
        return self._passing == "shuttingdown"

    def configure(self) -> None:
        """Resolve, load, warm up."""

    def activate(self) -> None:
        """Start from neutral."""

    def deactivate(self) -> None:
        """Stop work; the face eases to neutral."""

    def cleanup(self) -> None:
        """Free what :meth:`configure` took; may be called twice."""

    def transition_failed(self, what: str, why: str) -> None:
        """Show that the transition ``what`` failed."""

    def transition_done(self) -> None:
        """Show that the lifecycle is well."""

    def before_configure(self) -> None:
        """Look at what cannot be seen earlier, and complain."""

    def became_active(self) -> None:
        """Note the time."""

    def progress(self, what: str) -> None:
        """Say what a transition that takes long is doing: the supervisor's patience begins anew."""
        if self._passing:
            self.tell(self._passing, "", what)

    def _attempt(self, what: str, hook: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            hook()
        except UserError as error:
            self._failure = ("unavailable" if isinstance(error, Unavailable) else "refused", str(error))
            self.transition_failed(what, str(error))
            return Result.FAILURE
        except Exception as error:
            self._failure = ("error", f"{type(error).__name__}: {error}")
            self.transition_failed(what, self._failure[1])
            self.get_logger().error(traceback.format_exc())
            return Result.ERROR
        self.transition_done()
        return Result.SUCCESS

    @_transition("configuring")
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run :meth:`configure`; what it took is given back when it fails."""
        self.before_configure()
        result = self._attempt("configure", self.configure)
        if result == Result.SUCCESS:
            self.state = "inactive"
            return super().on_configure(state)
        if result == Result.FAILURE:
            self._quietly(self.cleanup)
        return result

    @_transition("activating")
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the publishers, then run :meth:`activate`."""
        super().on_activate(state)
        self.state = "active"
        self.became_active()
        result = self._attempt("activate", self.activate)
        if result != Result.SUCCESS:
            self.state = "inactive"
            super().on_deactivate(state)
        return result

    @_transition("deactivating")
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run :meth:`deactivate`, then close the publishers."""
        result = self._attempt("deactivate", self.deactivate)
        self.state = "inactive"
        super().on_deactivate(state)
        return result if result == Result.SUCCESS else Result.ERROR

    @_transition("cleaningup")
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run :meth:`cleanup`."""
        result = self._attempt("clean up", self.cleanup)
        self.state = "unconfigured"
        super().on_cleanup(state)
        return result

    @_transition("shuttingdown")
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate if needed and clean up."""
        if self.state == "active":
            self._attempt("deactivate", self.deactivate)
        self._attempt("clean up", self.cleanup)
        self.state = "finalized"
        super().on_shutdown(state)
        return Result.SUCCESS

    @_transition("errorprocessing")
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured with everything freed; the reason stays in diagnostics."""
        if self.state == "active":
            self._quietly(self.deactivate)
        self._quietly(self.cleanup)
        self.state = "unconfigured"
        super().on_error(state)
        return Result.SUCCESS

    def _quietly(self, hook: Callable[[], None]) -> None:
        """Run a hook on the way out of a failure, whose reason must stay the visible one."""
        try:
            hook()
        except Exception:
            self.get_logger().error(traceback.format_exc())
