"""Each process of a launch has a GPU of its own, or is refused with the reason."""

from __future__ import annotations

import pytest

from emo_face.core.errors import UserError
from emo_face.training.common.ranks import SHARDED, check_launch, rank_device


@pytest.mark.parametrize(
    ("wanted", "gpus", "rank", "device"),
    [
        ("", 0, None, "cpu"),
        ("", 2, None, "cuda:0"),
        ("", 2, "1", "cuda:1"),
        ("cuda", 4, "3", "cuda:3"),
        ("cpu", 2, "1", "cpu"),
        ("cuda:1", 2, "0", "cuda:1"),
        ("", 0, "1", "cpu"),
    ],
)
def test_a_process_gets_its_own(wanted, gpus, rank, device):
    assert rank_device(wanted, gpus, {} if rank is None else {"LOCAL_RANK": rank}) == device


def test_a_process_without_a_gpu_is_refused():
    with pytest.raises(
        UserError, match=r"process 2 of this machine has no GPU of its own, 2 are here.*--num_processes 2"
    ):
        rank_device("", 2, {"LOCAL_RANK": "2"})
    with pytest.raises(UserError, match=r"process 0 .* 0 are here"):
        rank_device("cuda", 0, {})


@pytest.mark.parametrize("kind", SHARDED)
def test_sharded_launches_are_refused(kind):
    with pytest.raises(UserError, match=f"asks for {kind}; training is data-parallel: launch with --multi_gpu"):
        check_launch({f"ACCELERATE_USE_{kind}": "true"})
    check_launch({f"ACCELERATE_USE_{kind}": "false"})
