"""Choose the engine of every model of a process, and remember which was taken and why."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from emo_face.core.errors import ConfigError, UserError
from emo_face.runtime.engines.base import Engine, EngineUnavailable
from emo_face.runtime.engines.cache import EngineCache
from emo_face.runtime.engines.cuda import Device, device, driver
from emo_face.runtime.engines.ort import OrtEngine, tensorrt_options
from emo_face.runtime.engines.plan import Plan
from emo_face.runtime.engines.resilient import Resilient

log = logging.getLogger(__name__)

Request = Literal["auto", "cpu", "cuda", "tensorrt"]
REQUESTS: tuple[Request, ...] = get_args(Request)

# What is tried for each request, in order. `tensorrt-built` uses an engine from the cache and builds none.
ORDER: dict[str, tuple[str, ...]] = {
    "auto": ("tensorrt-built", "cuda", "cpu"),
    "cpu": ("cpu",),
    "cuda": ("cuda", "cpu"),
    "tensorrt": ("tensorrt", "tensorrt-provider", "cuda", "cpu"),
}


@dataclass
class Choice:
    """What one model runs on. ``why``: one sentence. ``warning``: what is not as it should be, or empty."""

    model: str
    engine: str
    why: str = ""
    warning: str = ""

    def __str__(self) -> str:
        return f"{self.engine} ({self.why})" if self.why else self.engine


@dataclass
class Engines:
    """Loads models on the engine that was asked for, or the next best.

    ``auto`` takes a TensorRT engine that is built, else CUDA, else the CPU. ``tensorrt`` builds what is missing, which
    takes minutes; ``emo-face engine build`` does it beforehand.

    Attributes:
        request: ``auto``, ``cpu``, ``cuda`` or ``tensorrt``. threads: of onnxruntime on the CPU; 0 takes every core.
        cache: of TensorRT engines.
        choices: model -> what it runs on, kept up to date.

    Raises:
        ConfigError: no such request.
    """

    request: str = "auto"
    threads: int = 1
    cache: EngineCache = field(default_factory=EngineCache)
    choices: dict[str, Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.request not in REQUESTS:
            raise ConfigError(f"engine: expected one of {', '.join(REQUESTS)}, got {self.request!r}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not run as asked, each with the reason; grows when a GPU fails."""
        return tuple(choice.warning for choice in self.choices.values() if choice.warning)

    def facts(self) -> Iterator[tuple[str, str]]:
        """(``engine:MODEL``, what and why) for diagnostics."""
        for choice in list(self.choices.values()):
            yield f"engine:{choice.model}", str(choice)

    def load(self, path: Path, plan: Plan, threads: int | None = None) -> Engine:
        """Load a model on the best engine that works.

        Raises:
            ModelError: the file is missing, damaged or refused by every engine; names it.
        """
        count = self.threads if threads is None else threads
        if plan.cpu_only:
            self._chosen(plan.name, Choice(plan.name, "onnxruntime/CPU", plan.cpu_only))
            return OrtEngine(path, count, free_sides=plan.free_sides)
        failed: list[str] = []
        for kind in ORDER[self.request]:
            try:
                if self.request == "auto" and kind != "cpu":
                    driver()  # without one, what else is missing does not matter
                engine = self._open(kind, path, plan, count)
            except EngineUnavailable as error:
                failed.append(str(error))
                continue
            self._chosen(plan.name, self._explained(plan.name, engine.name, failed))
            return engine
        raise AssertionError("the CPU raises ModelError, not EngineUnavailable")

    def torch_device(self, model: str) -> str:
        """``cuda`` or ``cpu`` for a model in torch, chosen by the same request and remembered the same way.

        ``tensorrt`` runs torch weights on CUDA and says that they must be exported first.
        """
        import torch

        failed = ["these are torch weights: export them for TensorRT first"] if self.request == "tensorrt" else []
        chosen = "cpu"
        if self.request != "cpu":
            if torch.cuda.is_available():
                chosen = "cuda"
            else:
                failed.append(_no_torch_cuda(torch))
        self._chosen(model, self._explained(model, f"torch/{chosen}", failed))
        return chosen

    def _open(self, kind: str, path: Path, plan: Plan, threads: int) -> Engine:
        if kind == "cpu":
            return OrtEngine(path, threads, free_sides=plan.free_sides)
        if kind == "cuda":
            engine: Engine = OrtEngine(path, threads, "CUDA", None, plan.free_sides)
        elif kind == "tensorrt-provider":
            self.cache.folder.mkdir(parents=True, exist_ok=True)
            engine = OrtEngine(path, threads, "Tensorrt", tensorrt_options(plan, self.cache.folder), plan.free_sides)
        else:
            engine = self._native(path, plan, build=kind == "tensorrt")
        spare = partial(OrtEngine, path, threads, free_sides=plan.free_sides)
        return Resilient(engine, plan, spare, partial(self._fell, plan))

    def _native(self, path: Path, plan: Plan, build: bool) -> Engine:
        from emo_face.runtime.engines.tensorrt.load import build_and_load, built

        if not build:
            return built(path, plan, self.cache)
        try:
            return build_and_load(path, plan, self.cache, log.warning)
        except UserError as error:  # a failed build must not keep the node from running
            raise EngineUnavailable(str(error)) from None

    def _explained(self, model: str, engine: str, failed: list[str]) -> Choice:
        why = "; ".join(dict.fromkeys(failed))
        asked = {"cuda": "CUDA", "tensorrt": "tensorrt"}.get(self.request, "")
        if asked and asked.lower() not in engine.lower():
            return Choice(model, engine, why, f"{model} runs on {engine}, not on {asked} as asked: {why}")
        if self.request == "auto" and engine.lower().endswith("cpu") and (gpu := _gpu()):
            return Choice(model, engine, why, f"{model} runs on {engine} though there is a {gpu.name}: {why}")
        return Choice(model, engine, why)

    def _chosen(self, model: str, choice: Choice) -> None:
        self.choices[model] = choice
        log.info("%s runs on %s", model, choice)

    def _fell(self, plan: Plan, engine: str, text: str) -> None:
        log.warning("%s: %s", plan.name, text)
        self.choices[plan.name] = Choice(plan.name, engine, text, f"{plan.name}: {text}")


def _gpu() -> Device | None:
    try:
        return device()
    except EngineUnavailable:
        return None


def _no_torch_cuda(torch: object) -> str:
    try:
        return f"this torch ({getattr(torch, '__version__', '?')}) does not see the {device().name}"
    except EngineUnavailable as error:
        return str(error)
