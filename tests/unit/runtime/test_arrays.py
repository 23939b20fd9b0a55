"""runtime/arrays.py, safetensors and ONNX: files that lie about their sizes cost no memory and are named."""

from __future__ import annotations

import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emo_face.core.errors import ModelError
from emo_face.face.expressions.basis import load_basis
from emo_face.face.expressions.ict import load_ict
from emo_face.face.flame.codes import read_codes
from emo_face.face.flame.model import load_flame
from emo_face.runtime.arrays import read_npy, read_npz
from emo_face.runtime.engines.ort import OrtEngine
from emo_face.runtime.weights import read_tensors


def lying_npy(shape: str, data: bytes = b"\0" * 16) -> bytes:
    """NEP 1: magic, version, header length, header; the shape is a promise."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def test_whole_files_are_read(tmp_path: Path) -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.array(["x", "yy"])
    np.savez_compressed(tmp_path / "a.npz", a=a, b=b, c=np.float32(3))
    found = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["a"], a)
    assert list(found["b"]) == ["x", "yy"]
    assert found["c"].shape == ()
    np.save(tmp_path / "f.npy", np.asfortranarray(a))
    np.testing.assert_array_equal(read_npy(tmp_path / "f.npy"), a)


@pytest.mark.parametrize("shape", ["(10000000000,)", "(3,)", "(99999999999, 99999999999)"])
def test_a_header_that_lies_is_refused_unread(shape: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(lying_npy(shape))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", lying_npy(shape))
    for read, name in ((read_npy, "a.npy"), (read_npz, "a.npz")):
        with pytest.raises(ModelError, match=r"wants \d+ bytes, the file has 16"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "read",
    [load_basis, load_ict, read_codes, lambda path: load_flame(path, "flame2023")],
    ids=["basis", "ict", "codes", "flame"],
)
def test_every_reader_of_npz_refuses_what_lies(read: Callable[[Path], object], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("vertices.npy", lying_npy("(10000000000,)"))
    with pytest.raises(ModelError, match=r"wants \d+ bytes, the file has 16"):
        read(tmp_path / "a.npz")


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", lying_npy("(2500000,)", bytes(20_000_000)))
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with pytest.raises(ModelError, match="expected at most 1000000"):
        read_npz(tmp_path / "a.npz", limit=1_000_000)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x93NUMPY\x09\x00", lying_npy("(2,").replace(b"<f8", b"|O8")]
)
def test_rubbish_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    (tmp_path / "b.npy").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.npz"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(ModelError, match=r"b\.npy"):
        read_npy(tmp_path / "b.npy")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match="holds Python objects"):
        read_npy(tmp_path / "a.npy")


# safetensors: 8 bytes header length, JSON with data_offsets into what follows
@pytest.mark.parametrize(
    ("entry", "length"),
    [
        ({"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}, None),
        ({"dtype": "F32", "shape": [1000], "data_offsets": [0, 8]}, None),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, 2**62),
    ],
)
def test_safetensors_that_lie_are_refused(entry: dict[str, object], length: int | None, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads the file: scripts/setup.sh train")
    head = json.dumps({"w": entry}).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", length or len(head)) + head + bytes(8))
    with pytest.raises(ModelError, match="is no safetensors file"):
        read_tensors(tmp_path / "w.safetensors")


# ONNX external data (onnx.proto, TensorProto.external_data): location, offset, length
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin", "nothing.bin", "short.bin"])
def test_onnx_data_outside_its_folder_or_too_short_is_refused(location: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="makes the file: pip install onnx")
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (folder / "link.bin").symlink_to("../secret.bin")
    (folder / "short.bin").write_bytes(bytes(4))
    weight = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    values = [onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"m\.onnx"):
        OrtEngine(folder / "m.onnx")


MEMO = {
    "LONG_BINPUT": b"\x80\x02}r\x00\xe1\xf5\x05.",
    "PUT": b"\x80\x02}p100000000\n.",
    "BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b"ab.",
}


@pytest.mark.parametrize("kind", MEMO)
def test_a_pickle_that_asks_for_memory_is_refused_within_little(kind: str, tmp_path: Path) -> None:
    """CPython grows its memo to twice the index that a file names before it asks for any class."""
    (tmp_path / "flame.pkl").write_bytes(MEMO[kind])
    program = (
        "import sys, resource\nfrom pathlib import Path\nfrom emo_face.core.errors import ModelError\n"
        "from emo_face.face.flame.pickle import load_flame_pickle\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load_flame_pickle(Path(sys.argv[1])); print('read')\n"
        "except ModelError: print('refused', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "flame.pkl")],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32)),
    )
    assert done.stdout.startswith("refused"), done.stderr
    assert int(done.stdout.split()[1]) < 50_000  # kB
