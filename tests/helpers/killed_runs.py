"""Work that is killed at random moments, 20 times, and must end as if nothing had been: a program of its own.

    killed_runs.py contextface|multiview|features|evaluation|annotation FOLDER

Every attempt is a fork of this process, which has loaded everything, so that a kill costs no start. Prints JSON: kills,
the kills after which something was kept (progress was made), and the hashes of what an undisturbed and the killed runs
left; of an annotation also how many questions it asked in all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

KILLS, QUESTIONS, WORKERS = 20, 40, 4
ASKED: list[Counter[str]] = []
"""How often each question of the annotation was asked, over all runs."""
TESTS = Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS.parent / "benchmarks"))  # the fixtures, as tests/conftest.py does


def module(path: Path) -> ModuleType:
    """A test file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return made


def contextface(_: Path) -> Callable[[Path], dict[str, Any]]:
    """ContextFace's training; what it leaves is what it trained."""
    source = module(TESTS / "unit" / "training" / "contextface" / "test_run.py")

    def work(out: Path) -> dict[str, Any]:
        run, _ = source.a_run(out)
        run.run()
        return dict(source.weights(run))

    return work


def multiview(folder: Path) -> Callable[[Path], dict[str, Any]]:
    """Stage 1 of the multi-view model; what it leaves is the encoder's own part."""
    from sceneworld import World

    from emo_face.perception.multiview.checkpoint import own_state

    source, world = module(TESTS / "unit" / "training" / "multiview" / "test_stage1.py"), World(folder / "world")

    def work(out: Path) -> dict[str, Any]:
        run = source.stage1(world, out)
        run.run()
        return dict(own_state(run.encoder))

    return work


def features(folder: Path) -> Callable[[Path], dict[str, Any]]:
    """The feature cache in shards of three people; what it leaves are all features in the order of the records."""
    import torch
    from sceneworld import World

    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.views import Pictures

    world = World(folder / "world")
    encoder = world.vlm().encoder
    pictures = Pictures.of(world.root, world.config, world.records)

    def work(out: Path) -> dict[str, Any]:
        made = FeatureCache(out, encoder).build(world.records, pictures, batch=1, shards=14)
        return {"features": torch.from_numpy(made.features), "present": torch.from_numpy(made.present)}

    return work


def evaluation(folder: Path) -> Callable[[Path], dict[str, Any]]:
    """A tiny ContextFace asked about 28 quotes in shards; what it leaves are its answers and faces."""
    import torch

    from emo_face.datasets.records import Record
    from emo_face.evaluation.contextface.spread import PARTS, AskJob, joined
    from emo_face.runtime.runners import run_shards, runner

    source = module(TESTS / "unit" / "evaluation" / "contextface" / "test_spread.py")
    job = AskJob(source.saved(folder), "", folder, "quote")
    people = [Record(f"r{n}", "", "caers7", ("Sad",), "test", "made", quote=f"Oh, {n} dogs!") for n in range(28)]

    def work(out: Path) -> dict[str, Any]:
        found = joined(run_shards(job, people, out, 14, runner("local", 1, out), lambda done: None))
        assert found.ids == tuple(person.id for person in people)
        return {part: torch.from_numpy(getattr(found, part)) for part in PARTS}

    return work


def annotation(folder: Path) -> Callable[[Path], dict[str, Any]]:
    """``annotate context`` against an endpoint of this process; what it leaves are its records."""
    import numpy as np
    import torch
    from fake_endpoint import FakeEndpoint

    from emo_face.cli.main import main as emo_face

    source = module(TESTS / "unit" / "datasets" / "annotate" / "test_context.py")
    where, server = source.people.__wrapped__(folder)(QUESTIONS), FakeEndpoint(seconds=0.02)
    ASKED.append(server.calls)

    def work(out: Path) -> dict[str, Any]:
        out.mkdir(exist_ok=True)
        assert emo_face(source.command(where, out, server.url, "--workers", WORKERS)) == 0
        assert len(source.rows(out / "out.provenance.jsonl")) == QUESTIONS
        return {"records": torch.from_numpy(np.fromfile(out / "out.jsonl", np.uint8))}

    return work


def digest(tensors: dict[str, Any]) -> str:
    """Of names and bytes."""
    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        total.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def attempt(work: Callable[[Path], dict[str, Any]], out: Path) -> int:
    """Start the work in a fork, which writes the digest when it is done; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        found = digest(work(out))
        out.with_suffix(".digest").write_text(found)
        code = 0
    finally:
        os._exit(code)


def kept(out: Path) -> set[str]:
    """Whole checkpoints, shards, or answers."""
    shards = {path.name for path in out.glob("*.safetensors")}
    shards |= {f"{path.name}: {path.stat().st_size}" for path in out.rglob("*.jsonl")}
    return {path.parent.name for path in out.glob("*/progress.json")} | shards


def main(kind: str, folder: Path) -> None:
    kinds = (contextface, multiview, features, evaluation, annotation)
    work = {make.__name__: make for make in kinds}[kind](folder)
    start = time.monotonic()
    assert os.waitpid(attempt(work, folder / "whole"), 0)[1] == 0
    longest = time.monotonic() - start
    rng, kills, useful, digests, number = random.Random(3), 0, 0, set(), 0
    while kills < KILLS:
        number += 1
        out = folder / f"killed{number}"
        while not out.with_suffix(".digest").is_file():
            before = kept(out)
            pid = attempt(work, out)
            end = time.monotonic() + rng.uniform(0.0, 1.1 * longest) if kills < KILLS else float("inf")
            while (state := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
                time.sleep(0.002)
            if state == (0, 0):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                kills += 1
                useful += kept(out) != before
            else:
                assert state[1] == 0, "the work failed by itself"
        digests.add(out.with_suffix(".digest").read_text())
    whole = (folder / "whole.digest").read_text()
    asked = sum(sum(calls.values()) for calls in ASKED)
    report = {"kills": kills, "useful": useful, "runs": number, "whole": whole, "killed": sorted(digests)}
    print(json.dumps(report | {"asked": asked, "most": QUESTIONS * (number + 1) + WORKERS * kills}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
