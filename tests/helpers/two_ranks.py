"""Training in two processes (gloo) beside one: what each of the two does, and what the tests hold against it.

``accelerate launch --cpu --num_processes 2`` starts one process, not two; on a CPU it takes torchrun.
Nothing else is set that its user would not set, or two processes could be two runs unseen.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

HELPERS = Path(__file__).parent
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def load(worker: Path) -> ModuleType:
    """The file that both processes run, as a module of a name of its own."""
    spec = importlib.util.spec_from_file_location(f"{worker.parent.name}_{worker.stem}", worker)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launch(worker: Path, root: Path) -> dict[str, Any]:
    """Run ``worker`` on ``root`` in two processes; what it left. Both must have resumed, bit for bit."""
    folders = (str(HELPERS), str(HELPERS.parents[1] / "benchmarks"), os.environ.get("PYTHONPATH"))
    path = os.pathsep.join(filter(None, folders))
    ranks = {"OMP_NUM_THREADS": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *LAUNCH, str(worker), str(root)],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}, **ranks},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((root / "result.json").read_text())
    assert sorted(state["rank"] for state in found["resumed"]) == [0, 1]
    for state in found["resumed"]:
        assert state["equal"]  # dropout and all
        assert state["best"][0] == state["best"][1]
    return found


def work(
    root: Path,
    make: Callable[[str, bool], Any],
    validate: Callable[[Any], Any],
    trained: Callable[[Any], Any],
) -> None:
    """Train, be stopped, go on; leave losses and first gradients of the run without dropout in ``root``.

    Args:
        make: folder's name and whether to drop out -> a run. trained: run -> the module whose parameters are compared.
    """
    import torch
    from accelerate.utils import gather_object
    from safetensors.torch import save_file

    plain = make("plain", False)
    assert plain.accelerator.num_processes == 2
    rank = plain.accelerator.process_index
    first = validate(plain)
    gradients = keep_first_gradients(plain, trained(plain))
    progress = plain.run()

    whole = make("whole", True)
    whole.run()
    make("killed", True).run(stop_after=5)  # saved at 4: one step is lost and done again
    torch.rand(7 + rank)
    again = make("killed", True)
    with torch.no_grad():
        for parameter in _weights(trained(again)).values():
            parameter.normal_()
    again.run()
    own = _weights(trained(whole))
    equal = all(torch.equal(value, own[name]) for name, value in _weights(trained(again)).items())
    states = gather_object([{"rank": rank, "equal": equal, "best": [whole.progress.best, again.progress.best]}])
    if plain.accelerator.is_main_process:
        result = {"first": first, "best": progress.best, "steps": progress.step, "resumed": states}
        (root / "result.json").write_text(json.dumps(result))
        save_file(gradients, str(root / "gradients.safetensors"))


def keep_first_gradients(run: Any, trained: Any) -> dict[str, Any]:
    """What the first optimiser step sees, after clipping; filled while ``run`` runs."""
    step, found = run.optimizer.step, {}

    def record() -> None:
        if not found:
            found.update({n: p.grad.clone() for n, p in trained.named_parameters() if p.grad is not None})
        step()

    run.optimizer.step = record
    return found


def same_gradients(root: Path, gradients: dict[str, Any]) -> None:
    """The two processes' first gradients are those of one process."""
    import torch
    from safetensors.torch import load_file

    both = load_file(str(root / "gradients.safetensors"))
    assert set(both) == set(gradients)
    assert sum(float((value**2).sum()) for value in both.values()) > 0.01
    for name, value in gradients.items():  # later steps drift: Adam divides rounding by its own size
        torch.testing.assert_close(both[name], value, atol=1e-6, rtol=1e-4)


def _weights(trained: Any) -> dict[str, Any]:
    return {name: p for name, p in trained.named_parameters() if p.requires_grad}
