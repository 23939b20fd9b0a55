"""The screen face behind the face driver node: its server, and what the page receives beside the face."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_face.core.labels import top_of
from emo_face.core.types import ExpressionTarget
from emo_face.face.drivers.stop_report import StopReport
from emo_face.ros.parameters.schema import Value
from emo_face.web.server import Command, FaceServer

if TYPE_CHECKING:
    from emo_face.face.motion.player import Shown


class Screen:
    """Serves the page while it is open.

    Args:
        values: the node's parameters, of which ``screen.*`` are read.
        obey: takes a command of a page, in a thread of the server; returns why not, an answer of its own, or None.

    Raises:
        UserError: the address needs a token, or the port is in use; names the parameter.
        ConfigError: an unknown theme, or a model that cannot be shown.
    """

    def __init__(self, values: Mapping[str, Value], obey: Command) -> None:
        p: Any = values
        self._about: dict[str, Any] = {}
        self._server = FaceServer(
            *(p[f"screen.{name}"] for name in ("host", "port", "token", "theme")),
            on_command=obey,
            origins=[origin for origin in p["screen.origins"] if origin],
            max_clients=p["screen.max_clients"],
            rate=p["screen.rate"],
            model=Path(p["screen.model"]).expanduser() if p["screen.model"] else None,
            dashboard=p["screen.dashboard"],
        )
        self._server.start()

    @property
    def url(self) -> str:
        """Where to point a browser."""
        return self._server.url

    @property
    def counters(self) -> dict[str, int]:
        """Pages connected now (``clients``), and what was sent to them, dropped and refused since the start."""
        server, hub = self._server, self._server.hub
        return {
            "clients": server.clients,
            "frames_sent": hub.frames_sent,
            "dropped_slow": hub.dropped_slow,
            "rejected": hub.rejected,
            "refused_commands": server.refused_commands,
        }

    def tell(self, target: ExpressionTarget, age: float) -> None:
        """Remember what is being answered; ``age`` in seconds."""
        self._about = {
            "shown": target.shown.name,
            "strength": target.shown.strength,
            "intensity": target.shown.intensity,
            "person": target.person_id,
            "person_emotion": top_of(target.feels),
            "source": target.source,
            "latency_ms": age * 1e3,
        }

    def show(self, shown: Shown, stop: StopReport | None, notice: str = "") -> None:
        """Put a face on every page, what a latched stop has achieved, and what people are told about being read."""
        about = self._about if shown.by == "expression" else {"shown": "", "person": "", "person_emotion": ""}
        stopped = {"estop": stop is not None, "stop": str(stop or "")}
        self._server.publish(shown.arkit.tolist(), {**about, "by": shown.by, "notice": notice, **stopped})

    def close(self) -> None:
        """Say good-bye to every page and free the port."""
        self._server.stop()
