"""The task mixture: ratios at every point, whole data every epoch, the same sequence after a stop."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_face.core.errors import UserError
from emo_face.datasets.contexts.mixture import RATIOS, Mixture

TASKS = {"situation": list(range(97)), "expression": list(range(1000, 1203)), "vqa": list(range(2000, 2011))}


def counts_of(mixture, start, stop):
    """Micro-batches of each task among these."""
    return Counter(mixture.plan(number)[0] for number in range(start, stop))


def test_the_papers_shares_hold_at_every_point():
    mixture = Mixture(TASKS, batch=4, seed=3)
    assert counts_of(mixture, 0, 10) == {"situation": 3, "expression": 4, "vqa": 3}
    drawn = Counter()
    for number in range(2000):
        drawn[mixture.plan(number)[0]] += 1
        for name, share in RATIOS.items():
            assert abs(drawn[name] - share * (number + 1)) <= 5, (number, name)
    assert drawn == {"situation": 600, "expression": 800, "vqa": 600}


def test_the_order_inside_a_block_is_not_always_the_same():
    mixture = Mixture(TASKS, seed=3)
    blocks = {tuple(mixture.plan(10 * b + i)[0] for i in range(10)) for b in range(30)}
    assert len(blocks) > 20


def test_every_sample_once_before_any_comes_again_and_all_within_an_epoch():
    mixture = Mixture(TASKS, batch=4, seed=1)
    seen: dict[str, list[int]] = {name: [] for name in TASKS}
    for number in range(len(mixture)):
        seen[mixture.plan(number)[0]] += mixture[number]
    for name, samples in TASKS.items():
        assert set(seen[name]) == set(samples), name
        for start in range(0, len(seen[name]) - len(samples) + 1, len(samples)):
            turn = seen[name][start : start + len(samples)]
            assert sorted(turn) == samples
    first, second = seen["vqa"][:11], seen["vqa"][11:22]
    assert first != second, "a new order each time round"
    # one micro-batch fewer would miss a sample
    last = mixture[len(mixture) - 1]
    earlier = {sample for number in range(len(mixture) - 1) for sample in mixture[number]}
    assert set(last) - earlier


def test_resumed_from_json_the_sequence_goes_on():
    whole = [Mixture(TASKS, batch=5, seed=9)[k] for k in range(120)]
    state = json.loads(json.dumps(Mixture(TASKS, batch=5, seed=9).state(61)))
    again = Mixture(TASKS, batch=5, seed=9)
    assert [again[k] for k in range(state["next"], 120)] == whole[61:]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"seed": 1}, "seed"), ({"batch": 8}, "batch"), ({"ratios": {"expression": 1.0}}, "sizes")],
)
def test_another_mixture_has_another_state(change, field):
    state = Mixture(TASKS).state(5)
    assert Mixture(TASKS, **change).state(5)[field] != state[field]  # the run compares them and refuses


@pytest.mark.parametrize(
    ("tasks", "ratios", "words"),
    [
        ({"a": []}, {"a": 1.0}, "no samples"),
        ({"a": [1]}, {"b": 1.0}, "tasks are a"),
        ({"a": [1]}, {"a": -1.0}, "negative"),
        ({"a": [1]}, {"a": 0.0}, "over 0"),
        ({"a": [1]}, {"a": float("nan")}, "negative"),
    ],
)
def test_wrong_mixtures_are_refused(tasks, ratios, words):
    with pytest.raises(UserError, match=words):
        Mixture(tasks, ratios)
    with pytest.raises(UserError, match="batch"):
        Mixture({"a": [1]}, {"a": 1}, batch=0)


def test_a_task_without_a_share_needs_no_data():
    mixture = Mixture({"situation": [1, 2], "expression": [], "vqa": [3]}, {"situation": 1, "expression": 0, "vqa": 1})
    assert counts_of(mixture, 0, 100) == {"situation": 50, "vqa": 50}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.lists(st.floats(0.02, 1.0), min_size=4, max_size=4),
    st.integers(1, 7),
    st.integers(0, 2**31),
)
def test_any_mixture_covers_its_data_and_keeps_its_shares(sizes, ratios, batch, seed):
    tasks = {str(i): list(range(size)) for i, size in enumerate(sizes)}
    mixture = Mixture(tasks, {name: ratios[int(name)] for name in tasks}, batch, seed)
    length = len(mixture)
    seen = {name: set() for name in tasks}
    for number in range(length):
        seen[mixture.plan(number)[0]] |= set(mixture[number])
    assert seen == {name: set(samples) for name, samples in tasks.items()}
    counts = counts_of(mixture, 0, length)
    for name, share in zip(mixture.names, mixture.shares, strict=True):
        assert abs(counts[name] - share * length) <= 11
