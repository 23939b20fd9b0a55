"""The GLB of a head: read back by the glTF rules, compared with the shapes it was made of."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.arkit import ARKIT_52
from emo_face.core.errors import ConfigError
from emo_face.face.mesh.glb import HeadPart, check_container, write_container, write_head
from emo_face.web.pages import STATIC, load_pages


class Glb:
    """A reader written from the specification, for the test only."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.json: dict[str, Any] = json.loads(data[20 : 20 + size])
        binary, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0"
        self.bin = data[28 + size :]
        assert len(self.bin) == binary == self.json["buffers"][0]["byteLength"]

    def _view(self, index: int, kind: str) -> np.ndarray:
        view = self.json["bufferViews"][index]
        assert view["byteOffset"] % 4 == 0
        return np.frombuffer(self.bin, kind, view["byteLength"] // 4, view["byteOffset"])

    def read(self, index: int) -> np.ndarray:
        accessor = self.json["accessors"][index]
        kind = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
        shape = (accessor["count"], 3) if accessor["type"] == "VEC3" else (accessor["count"],)
        values = (
            self._view(accessor["bufferView"], kind).reshape(shape) if "bufferView" in accessor else np.zeros(shape)
        )
        if sparse := accessor.get("sparse"):
            values = values.copy()
            at = self._view(sparse["indices"]["bufferView"], "<u4")
            assert (np.diff(at.astype(int)) > 0).all(), "indices must rise strictly"
            values[at] = self._view(sparse["values"]["bufferView"], "<f4").reshape(-1, 3)
        if "min" in accessor:
            np.testing.assert_allclose([values.min(0), values.max(0)], [accessor["min"], accessor["max"]], atol=1e-7)
        return values


def test_offsets_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vertices, triangles = rng.normal(size=(9, 3)), rng.integers(0, 9, (5, 3))
    offsets = np.zeros((3, 9, 3))
    offsets[1, 4], offsets[2, :3] = 0.01, rng.normal(size=(3, 3)) * 1e-6  # the last is too small to store
    write_head(
        tmp_path / "h.glb", [HeadPart("skin", vertices, triangles, np.array([0.5, 0.4, 0.3]), offsets)], ["a", "b", "c"]
    )
    glb = Glb(tmp_path / "h.glb")
    mesh = glb.json["meshes"][0]
    assert mesh["extras"]["targetNames"] == ["a", "b", "c"]
    primitive = mesh["primitives"][0]
    np.testing.assert_allclose(glb.read(primitive["attributes"]["POSITION"]), vertices, atol=1e-6)
    np.testing.assert_array_equal(glb.read(primitive["indices"]), triangles.ravel())
    stored = np.stack([glb.read(t["POSITION"]) for t in primitive["targets"]])
    np.testing.assert_allclose(stored[:2], offsets[:2], atol=1e-8)
    assert not stored[2].any()


def test_head_of_the_ict_shapes(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "head.glb"
    assert main(["head3d", "--ict", str(assets / "head3d"), "--out", str(out)]) == 0
    assert "does not show tongueOut\n" in capsys.readouterr().out
    glb = Glb(out)
    mesh = glb.json["meshes"][0]
    assert tuple(mesh["extras"]["targetNames"]) == ARKIT_52
    skin = mesh["primitives"][0]
    rest, jaw, blink = (
        glb.read(skin["attributes"]["POSITION"]),
        glb.read(skin["targets"][ARKIT_52.index("jawOpen")]["POSITION"]),
        glb.read(skin["targets"][ARKIT_52.index("eyeBlinkLeft")]["POSITION"]),
    )
    assert 0.25 < np.ptp(rest[:, 1]) < 0.45, "metres"
    chin = np.argmin(jaw[:, 1])
    assert rest[chin, 1] < 0
    assert jaw[chin, 1] < -0.01
    assert rest[np.argmin(blink[:, 1]), 0] > 0.01, "the face's own left is at +x"
    assert out.stat().st_size < 12_000_000


def test_wrong_sources_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["head3d", "--ict", str(tmp_path), "--out", str(tmp_path / "h.glb")]) == 2
    assert "ict_facekit_light_expressions.npz" in capsys.readouterr().err
    assert main(["head3d", "--ict", str(tmp_path), "--out", str(tmp_path / "h.obj")]) == 2
    assert ".glb" in capsys.readouterr().err


def test_the_3d_page_needs_bundle_and_a_whole_glb(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    shutil.copytree(STATIC, folder, ignore=shutil.ignore_patterns("head3d.js"))
    model = tmp_path / "head.glb"
    write_head(model, [HeadPart("s", np.eye(3), np.array([[0, 1, 2]]), np.ones(3), np.zeros((1, 3, 3)))], ["jawOpen"])
    with pytest.raises(ConfigError, match="build_head3d"):
        load_pages("robot", model, folder)
    (folder / "head3d.js").write_text("export class HeadView {}")
    assert load_pages("robot", model, folder)["/model.glb"].body == model.read_bytes()
    assert "/3d" in load_pages("robot", model, folder)
    assert "/3d" not in load_pages("robot", None, folder)
    model.write_bytes(model.read_bytes()[:-4])
    with pytest.raises(ConfigError, match=r"head\.glb: is not a whole binary glTF"):
        load_pages("robot", model, folder)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_pages("robot", tmp_path / "none.glb", folder)


SAYS = "is not|claims|leaves|lies in|negative|replaces|does not begin"
LIES: list[tuple[list[Any], Any]] = [
    (["buffers", 0, "byteLength"], 10**12),
    (["buffers", 0, "byteLength"], -1),
    (["buffers", 0, "byteLength"], float("nan")),
    (["buffers", 0, "uri"], "file:///etc/passwd"),
    (["bufferViews", 0, "byteLength"], 10**9),
    (["bufferViews", 0, "byteLength"], float("nan")),
    (["bufferViews", 0, "byteOffset"], -8),
    (["bufferViews", 0, "buffer"], 7),
    (["bufferViews", 0, "buffer"], -1),
    (["bufferViews", 0, "byteStride"], 0),
    (["accessors", 0, "count"], 4_000_000_000),
    (["accessors", 0, "count"], 4),
    (["accessors", 0, "count"], "3"),
    (["accessors", 0, "count"], float("inf")),
    (["accessors", 0, "byteOffset"], 10**9),
    (["accessors", 0, "bufferView"], -1),
    (["accessors", 0, "componentType"], 5130),
    (["accessors", 0, "type"], "VEC5"),
    (["accessors", -1, "sparse", "count"], 10**9),
    (["accessors", -1, "sparse", "indices", "bufferView"], 10**6),
    (["accessors", -1, "sparse", "values", "byteOffset"], 10**9),
    (["accessors"], [None]),
    (["bufferViews"], 5),
]


@pytest.fixture
def honest(tmp_path: Path) -> tuple[dict[str, Any], bytes]:
    """(document, buffer) of a head of three corners with one sparse target."""
    path = tmp_path / "honest.glb"
    offsets = np.zeros((1, 3, 3))
    offsets[0, 1] = 0.1
    write_head(path, [HeadPart("s", np.eye(3), np.array([[0, 1, 2]]), np.ones(3), offsets)], ["jawOpen"])
    glb = Glb(path)
    check_container(path.read_bytes())
    glb.json["accessors"].sort(key=lambda accessor: "sparse" in accessor)  # last, for the cases
    return glb.json, glb.bin


@pytest.mark.parametrize(("where", "lie"), LIES)
def test_a_glb_that_lies_about_its_sizes_is_refused(
    honest: tuple[dict[str, Any], bytes], tmp_path: Path, where: list[Any], lie: Any
) -> None:
    document, body = honest
    part: Any = document
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = lie
    path = tmp_path / "liar.glb"
    write_container(path, document, body)
    with pytest.raises(ValueError, match=SAYS):
        check_container(path.read_bytes())


# three.js' own head with ARKit names, examples/models/gltf/facecap.glb, needs the first and the last; its second buffer
# is only a fallback (EXT_meshopt_compression), which claims bytes that the file does not hold
@pytest.mark.parametrize("extension", ["EXT_meshopt_compression", "KHR_draco_mesh_compression", "KHR_texture_basisu"])
def test_a_packed_glb_is_refused_by_what_packs_it(
    extension: str, honest: tuple[dict[str, Any], bytes], tmp_path: Path
) -> None:
    document, body = honest
    buffers = [*document["buffers"], {"byteLength": 10**7, "extensions": {extension: {"fallback": True}}}]
    write_container(tmp_path / "packed.glb", document | {"extensionsRequired": [extension], "buffers": buffers}, body)
    with pytest.raises(ValueError, match=f"packed by {extension}.*save it uncompressed"):
        check_container((tmp_path / "packed.glb").read_bytes())


def test_chunks_that_lie_are_refused(honest: tuple[dict[str, Any], bytes], tmp_path: Path) -> None:
    document, body = honest
    path = tmp_path / "liar.glb"
    write_container(path, document, body)
    whole = path.read_bytes()
    for at, number in ((12, 2**32 - 1), (12, 0), (12, len(whole)), (8, 12)):
        lying = bytearray(whole)
        lying[at : at + 4] = number.to_bytes(4, "little")
        with pytest.raises(ValueError, match=SAYS):
            check_container(bytes(lying))
    for text in (b"[" * 100_000, b"[]", b"\xff", b"{", b'{"accessors": [{}]}'):
        chunk = struct.pack("<I4s", len(text), b"JSON") + text
        with pytest.raises(ValueError, match=SAYS):
            check_container(struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk)
