"""Training in several processes ends in order: a group that outlives the interpreter would abort it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from emo_face.training.common.processes import process_group


def _join(folder) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=0, world_size=1)


def _fail(folder) -> None:
    with process_group():
        _join(folder)
        raise RuntimeError("disk")


def test_the_group_is_left_at_the_end(tmp_path) -> None:
    with process_group():
        _join(tmp_path)
        assert torch.distributed.is_initialized()
    assert not torch.distributed.is_initialized()


def test_and_after_an_error_which_goes_on(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="disk"):
        _fail(tmp_path)
    assert not torch.distributed.is_initialized()


def test_one_process_alone_has_nothing_to_leave() -> None:
    with process_group():
        pass
    assert not torch.distributed.is_initialized()
