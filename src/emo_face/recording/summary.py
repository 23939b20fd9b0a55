"""The figures of one run as a plain dictionary: what ``demo.json`` holds."""

from typing import Any

import numpy as np

from emo_face.recording.recording import Recording


def percentiles(seconds: list[float]) -> dict[str, float | None]:
    """p50, p95 and p99 in milliseconds; None each if nothing was measured."""
    if not seconds:
        return {"p50": None, "p95": None, "p99": None}
    values = np.percentile(np.asarray(seconds) * 1e3, [50, 95, 99])
    return {name: round(float(value), 2) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


def summarise(recording: Recording, peak_rss_mb: float | None = None) -> dict[str, Any]:
    """The figures of ``recording``.

    ``frames_in`` and ``frames_dropped`` are the perception node's own counters (a frame that a newer one
    replaced before it was looked at counts as dropped); ``latency_ms`` is from capture to ``/face/expression``.
    """
    perception = recording.latest_diagnostics("perception")
    expression = recording.latest_diagnostics("expression")
    return {
        "frames_in": int(perception.get("frames_in", len(recording.frames))),
        "frames_processed": int(perception.get("frames_processed", len(recording.scores))),
        "frames_dropped": int(perception.get("frames_dropped", 0)),
        "persons_max": max((len(s.people) for s in recording.scores), default=0),
        "scores_msgs": len(recording.scores),
        "expression_msgs": len(recording.expressions),
        "latency_ms": percentiles([e.latency for e in recording.expressions]),
        "detector": perception.get("detector", ""),
        "emotion_backend": recording.model,
        "expression_backend": recording.expressions[-1].source if recording.expressions else "",
        "models": model_hashes(perception, expression),
        "peak_rss_mb": None if peak_rss_mb is None else round(peak_rss_mb, 1),
    }


def model_hashes(*nodes: dict[str, str]) -> dict[str, str]:
    """{model file: sha256} from the ``model:NAME`` entries of the nodes' diagnostics."""
    return {
        key.removeprefix("model:"): value for node in nodes for key, value in node.items() if key.startswith("model:")
    }
