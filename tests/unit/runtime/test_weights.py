"""Safetensors files whose header says other sizes than the file has (huggingface/safetensors, README, "Format")."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch: scripts/setup.sh full")
pytest.importorskip("safetensors", reason="needs safetensors: scripts/setup.sh full")

from safetensors.torch import save_file

from emo_face.core.errors import ModelError
from emo_face.runtime.weights import read_tensors


def written(path: Path, header: Any, data: bytes, length: int | None = None) -> Path:
    """Eight bytes of length, the header as JSON, the data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def tensor(shape: list[int], *offsets: int, dtype: str = "F32") -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}}


def test_an_honest_file_is_read(tmp_path: Path) -> None:
    save_file({"w": torch.arange(3.0)}, str(tmp_path / "theirs.safetensors"))
    assert read_tensors(tmp_path / "theirs.safetensors")["w"].tolist() == [0, 1, 2]
    ours = written(tmp_path / "ours.safetensors", tensor([2], 0, 8), bytes(8))
    assert read_tensors(ours)["w"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("header", "data", "length"),
    [
        (tensor([2], 0, 8), bytes(8), 10**15),  # a header of a petabyte
        (tensor([2], 0, 8), bytes(8), 2**63),
        (tensor([2], 0, 8), bytes(8), 3),
        (tensor([2], 0, 8), bytes(4), None),  # less data than it says
        (tensor([2], 0, 8), bytes(80), None),  # more
        (tensor([2**40], 0, 8), bytes(8), None),  # a shape of terabytes over eight bytes
        (tensor([2**32, 2**32], 0, 8), bytes(8), None),  # one that overflows
        (tensor([2], 8, 0), bytes(8), None),
        (tensor([2], 10**15, 10**15 + 8), bytes(8), None),
        (tensor([2], 0, 8, dtype="F999"), bytes(8), None),
        ({**tensor([2], 0, 8), "v": tensor([2], 4, 12)["w"]}, bytes(12), None),  # one over the other
        ({**tensor([2], 0, 8), "v": tensor([2], 16, 24)["w"]}, bytes(24), None),  # a hole
        (b"[" * 100_000, bytes(8), None),
        (b"{", bytes(8), None),
        (b"\xff\xfe", bytes(8), None),
    ],
)
def test_one_that_lies_is_refused_by_its_name(tmp_path: Path, header: Any, data: bytes, length: int | None) -> None:
    path = written(tmp_path / "liar.safetensors", header, data, length)
    with pytest.raises(ModelError, match=r"liar\.safetensors: is no safetensors file"):
        read_tensors(path)


def test_an_empty_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "liar.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="is no safetensors file"):
        read_tensors(tmp_path / "liar.safetensors")
