"""Which device a process of a launch trains on, known before anything is loaded there."""

from collections.abc import Mapping

from emo_face.core.errors import UserError


def rank_device(wanted: str, gpus: int, environ: Mapping[str, str]) -> str:
    """``cpu``, or this process' own GPU: the one of its number on this machine (``LOCAL_RANK``, as launchers set it).

    Args:
        wanted: ``cpu``, ``cuda``, ``cuda:1``, or empty for a GPU if there is one. gpus: of this machine.

    Raises:
        UserError: there is no GPU for this process; says how many there are and how to launch.
    """
    device = wanted or ("cuda" if gpus else "cpu")
    if device != "cuda":
        return device
    rank = int(environ.get("LOCAL_RANK", "0"))
    if rank >= gpus:
        raise UserError(
            f"process {rank} of this machine has no GPU of its own, {gpus} are here; launch with --num_processes "
            f"{max(gpus, 1)}, or train with --device cpu"
        )
    return f"cuda:{rank}"
