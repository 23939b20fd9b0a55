"""Batches cut to buckets give what the whole batch gives, and a full GPU costs time, not answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_face.core.errors import ModelError
from emo_face.runtime.engines import parity
from emo_face.runtime.engines.base import DeviceError, OutOfMemory, TensorSpec
from emo_face.runtime.engines.plan import Plan, Range, run_in_buckets
from emo_face.runtime.engines.resilient import Resilient

PLAN = Plan(
    "views",
    {"body": Range((1, 2), (2, 2), (8, 2)), "face": Range((1, 2), (2, 2), (8, 2))},
    rows={"bodies": "body", "faces": "face"},
    buckets=(1, 2, 4, 8),
)


class Views:
    """Doubles its rows; one input is a single row in every call. ``room``: rows that fit its memory."""

    path, metadata = Path("views.onnx"), MappingProxyType({})
    inputs = tuple(TensorSpec(name, "float32", (None, 2)) for name in ("scene", "body", "face"))
    outputs = tuple(TensorSpec(name, "float32", (None, 2)) for name in ("scenes", "bodies", "faces"))

    def __init__(self, name: str = "gpu", room: int = 8, failure: DeviceError | None = None) -> None:
        self.name, self.room, self.failure, self.seen = name, room, failure, []

    def run(self, feeds):
        rows = len(feeds["body"])
        self.seen.append(rows)
        if self.failure is not None:
            raise self.failure
        if rows > self.room:
            raise OutOfMemory("the GPU's memory is full")
        return [feeds[spec.name] * 2 for spec in self.inputs]


def feeds(bodies: int, faces: int):
    return {
        "scene": np.ones((1, 2), np.float32),
        "body": np.arange(bodies * 2, dtype=np.float32).reshape(-1, 2),
        "face": -np.arange(faces * 2, dtype=np.float32).reshape(-1, 2),
    }


@given(st.integers(1, 21), st.integers(1, 21), st.sampled_from(PLAN.buckets))
def test_pieces_give_what_the_whole_gives(bodies: int, faces: int, largest: int) -> None:
    engine, given_ = Views(), feeds(bodies, faces)
    for got, name in zip(run_in_buckets(engine, PLAN, given_, largest), given_, strict=True):
        np.testing.assert_array_equal(got, given_[name] * 2)
    assert set(engine.seen) <= {b for b in PLAN.buckets if b <= largest}
    bare, exact = replace(PLAN, padded=False), Views()
    for got, name in zip(run_in_buckets(exact, bare, given_, largest), given_, strict=True):
        np.testing.assert_array_equal(got, given_[name] * 2)
    assert exact.seen == [len(given_["body"][at : at + largest]) for at in range(0, max(bodies, faces), largest)]


def test_a_full_gpu_takes_smaller_buckets_then_the_cpu_and_says_each_step() -> None:
    said: list[tuple[str, str]] = []
    gpu = Views(room=2)
    engine = Resilient(gpu, PLAN, lambda: Views("cpu"), lambda *words: said.append(words))
    given_ = feeds(7, 5)
    np.testing.assert_array_equal(engine.run(given_)[1], given_["body"] * 2)
    assert [text.split(": ")[-1] for _, text in said] == [
        "at most 4 rows at a time from now on",
        "at most 2 rows at a time from now on",
    ]
    gpu.room = 0
    np.testing.assert_array_equal(engine.run(given_)[2], given_["face"] * 2)
    assert engine.name == "cpu"
    assert said[-1] == ("cpu", "the GPU's memory is full: it runs on the CPU until the node is restarted")
    runs = len(gpu.seen)
    engine.run(given_)
    assert len(gpu.seen) == runs  # a lost GPU is not asked again


def test_a_lost_gpu_goes_to_the_cpu_at_once() -> None:
    said: list[str] = []
    engine = Resilient(
        Views(failure=DeviceError("the GPU failed: cudaErrorLaunchFailure")),
        PLAN,
        lambda: Views("cpu"),
        lambda _, text: said.append(text),
    )
    assert engine.run(feeds(1, 1))[0].tolist() == [[2, 2]]
    assert said == ["the GPU failed: cudaErrorLaunchFailure: it runs on the CPU until the node is restarted"]


def test_a_models_own_refusal_is_no_failure_of_the_gpu() -> None:
    class Refuses(Views):
        def run(self, feeds):
            raise ModelError("views.onnx: input body is wrong")

    engine = Resilient(Refuses(), PLAN, lambda: Views("cpu"), lambda *_: pytest.fail("nothing fell back"))
    with pytest.raises(ModelError, match="body is wrong"):
        engine.run(feeds(1, 1))


def test_wrong_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="grow from least to most"):
        Range((1, 4), (2, 2), (3, 4))
    with pytest.raises(ValueError, match="buckets must ascend"):
        Plan("x", buckets=(4, 2))
    with pytest.raises(ModelError, match="input face is missing"):
        run_in_buckets(Views(), PLAN, {"scene": np.zeros((1, 2)), "body": np.zeros((1, 2))}, 8)


def test_parity_sees_values_shapes_and_nan() -> None:
    given_ = [feeds(2, 2)]
    wanted = parity.reference(Views(), given_)
    assert [row.relative for row in parity.compare(Views(), given_, wanted)] == [0, 0, 0]
    wanted[0][1] = wanted[0][1] + np.float32(0.3)
    rows = parity.compare(Views(), given_, wanted)
    assert rows[1].relative == pytest.approx(0.3 / 6.3, rel=1e-4)
    with pytest.raises(ModelError, match=r"output bodies differs from ONNX by 4\.76e-02"):
        parity.require(rows, "views.onnx")
    wanted[0][1] = given_[0]["body"] * 2
    wanted[0][2] = np.full_like(wanted[0][2], np.nan)
    with pytest.raises(ModelError, match="output faces"):
        parity.require(parity.compare(Views(), given_, wanted), "views.onnx")
    wanted[0][0] = np.zeros((2, 2), np.float32)
    with pytest.raises(ModelError, match=r"output scenes: expected shape \(2, 2\), got \(1, 2\)"):
        parity.compare(Views(), given_, wanted)
