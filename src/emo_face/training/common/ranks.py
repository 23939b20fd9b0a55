"""How a training was launched and which device a process of it has, known before anything is loaded there."""

from collections.abc import Mapping

from emo_face.core.errors import UserError

SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")
"""Kinds of launch by ``ACCELERATE_USE_<kind>``, as accelerate's launcher sets it."""


def check_launch(environ: Mapping[str, str]) -> None:
    """Refuse (UserError) a launch that cuts a model into pieces: checkpoints here hold whole tensors."""
    for kind in SHARDED:
        if environ.get(f"ACCELERATE_USE_{kind}", "").lower() in ("1", "true", "yes"):
            raise UserError(
                f"accelerate's configuration asks for {kind}; training is data-parallel: launch with --multi_gpu "
                "instead (the frozen 7B model in bfloat16 fits one 40 GB GPU with --checkpointing)"
            )


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
