"""Checkpoints of a run: weights, optimiser, random state and place in the data, without pickle."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from emo_face.core.errors import UserError
from emo_face.core.versions import known_version
from emo_face.runtime.files import replacing
from emo_face.runtime.weights import read_tensors

KEEP = 2
NEW = ("data", "model")
"""Groups that older checkpoints do not name: nobody can say whether they changed."""
GROUPING = ("batch_size", "gradient_accumulation", "processes")
"""How the examples of an optimiser step are shared out: their product decides which examples those are."""
VERSION = 1


@dataclass
class RunProgress:
    """Where a run is: ``step`` counts optimiser steps, ``position`` micro-batches inside round ``epoch``."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    best: float = float("inf")
    best_step: int = -1


def save(
    out: Path,
    progress: RunProgress,
    weights: dict[str, torch.Tensor],
    optimizer: Any,
    config: dict[str, Any],
    rank_states: list[Any],
) -> Path:
    """Write ``out/step-XXXXXXXX`` whole or not at all and drop all but the newest :data:`KEEP`."""
    folder = out / f"step-{progress.step:08d}"
    need = 3 * sum(value.numel() * value.element_size() for value in weights.values())
    with replacing(folder, need) as scratch:
        scratch.mkdir()
        save_file(weights, str(scratch / "weights.safetensors"))
        save_file(_flatten(optimizer.state_dict()["state"]), str(scratch / "optimizer.safetensors"))
        for rank, state in enumerate(rank_states):
            save_file(state, str(scratch / f"random-{rank}.safetensors"))
        content = {"version": VERSION, "progress": asdict(progress), "config": config}
        (scratch / "progress.json").write_text(json.dumps(content, indent=1))
    for old in sorted(out.glob("step-????????"))[:-KEEP]:
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    return folder


def newest(out: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None."""
    found = sorted(p for p in out.glob("step-????????") if (p / "progress.json").is_file())
    return found[-1] if found else None


def load(
    folder: Path,
    put: Callable[[dict[str, torch.Tensor], Path], None],
    optimizer: Any,
    config: dict[str, Any],
    rank: int = 0,
    regroup: bool = False,
) -> RunProgress:
    """Restore a run exactly; ``put`` takes the weights.

    With ``regroup`` another grouping with the same product goes on with the same examples in each step: the place in
    the data is told in the new micro-batches, and the random state starts anew, so losses differ by dropout and
    rounding.

    Raises UserError if it was made with another configuration or process count, or is of an unknown version.
    """
    content = json.loads((folder / "progress.json").read_text())
    try:
        known_version(VERSION)(content.get("version", 1))
    except ValueError as error:
        raise UserError(f"{folder / 'progress.json'}: field version: {error}") from None
    made = content["config"]
    config, made = _flat({k: v for k, v in config.items() if k in made or k not in NEW}), _flat(made)
    changed = [key for key in config if made.get(key) != config[key]]
    regrouped = regroup and set(changed) <= set(GROUPING) and _examples(made) == _examples(config)
    if changed and not regrouped:
        key = changed[0]
        same = f" (or keep {' x '.join(GROUPING)} at {_examples(made)})" if regroup and key in GROUPING else ""
        raise UserError(
            f"{folder}: made with {key}={made.get(key)!r}, now {config[key]!r}; "
            f"resume with the same settings and data{same} or choose another --out"
        )
    put(read_tensors(folder / "weights.safetensors"), folder / "weights.safetensors")
    state = _unflatten(read_tensors(folder / "optimizer.safetensors"))
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    progress = RunProgress(**content["progress"])
    if changed:
        done = progress.position * made["batch_size"] * made["processes"]
        progress.position = -(-done // (config["batch_size"] * config["processes"]))
        torch.manual_seed(config["seed"] + 1_000_003 * (progress.step + 1) + rank)
        return progress
    path = folder / f"random-{rank}.safetensors"
    if not path.is_file():
        raise UserError(f"{path}: no random state for process {rank}; resume with as many processes as before")
    restore_random(read_tensors(path))
    return progress


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Settings by name, those of a group as ``group.name``."""
    groups = {key: value if isinstance(value, dict) else {"": value} for key, value in config.items()}
    return {f"{key}.{name}".rstrip("."): value for key, group in groups.items() for name, value in group.items()}


def _examples(config: dict[str, Any]) -> int:
    """Of one optimiser step, all processes together."""
    return int(np.prod([config[key] for key in GROUPING]))


def random_state() -> dict[str, torch.Tensor]:
    """Torch's random state of this process (data order needs none: it is a function of seed and epoch)."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random(state: dict[str, torch.Tensor]) -> None:
    """Put back what :func:`random_state` took."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _flatten(state: dict[int, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {f"{i}.{k}": v.detach().cpu().contiguous() for i, values in state.items() for k, v in values.items()}


def _unflatten(flat: dict[str, torch.Tensor]) -> dict[int, dict[str, torch.Tensor]]:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in flat.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    return state
