"""Heads with morph targets as binary glTF 2.0: written small enough to serve (sparse offsets), checked when read."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray
from emo_face.face.mesh.surface import vertex_normals

_FLOAT, _UINT = 5126, 5125
_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}  # by component type
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
PACKED = {"EXT_meshopt_compression", "KHR_draco_mesh_compression", "KHR_texture_basisu"}
"""Extensions whose decoders the 3D view has not: a file that needs one shows nothing."""
MOST_ELEMENTS = 10_000_000
"""Of an accessor: one without data is zeros, so its number is bounded by nothing else."""


@dataclass(frozen=True)
class HeadPart:
    """One material of a head.

    Attributes:
        vertices: (n, 3) m, y up, looking along +z. triangles: (m, 3) vertex indices.
        colours: (n, 3) linear RGB in [0, 1], or (3,) for the whole part. roughness: in [0, 1].
        offsets: (k, n, 3) m, one per morph target, at full activation.
    """

    name: str
    vertices: FloatArray
    triangles: NDArray[np.integer]
    colours: FloatArray
    offsets: FloatArray
    roughness: float = 0.6


class _Buffer:
    """Blocks of the binary chunk, and the accessors that read them."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: NDArray[Any]) -> int:
        block = data.tobytes()
        self.views.append({"buffer": 0, "byteOffset": sum(map(len, self.blocks)), "byteLength": len(block)})
        self.blocks.append(block + b"\0" * (-len(block) % 4))
        return len(self.views) - 1

    def vectors(self, values: FloatArray, bounds: bool = False) -> int:
        data = values.astype("<f4")
        accessor = {"bufferView": self.view(data), "componentType": _FLOAT, "count": len(data), "type": "VEC3"}
        return self._add({**accessor, **(_bounds(data) if bounds else {})})

    def indices(self, triangles: NDArray[np.integer]) -> int:
        data = triangles.astype("<u4")
        return self._add(
            {"bufferView": self.view(data), "componentType": _UINT, "count": int(data.size), "type": "SCALAR"}
        )

    def sparse(self, offsets: FloatArray, least: float) -> int:
        """Offsets (n, 3) of which those below ``least`` are left out (glTF 2.0, section 3.6.2.3)."""
        data = offsets.astype("<f4")
        moved = np.flatnonzero(np.abs(data).max(axis=1) >= least)
        accessor: dict[str, Any] = {"componentType": _FLOAT, "count": len(data), "type": "VEC3"}
        if len(moved):
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {"bufferView": self.view(moved.astype("<u4")), "componentType": _UINT},
                "values": {"bufferView": self.view(data[moved])},
            }
        kept = np.zeros_like(data)
        kept[moved] = data[moved]
        return self._add({**accessor, **_bounds(kept)})

    def _add(self, accessor: dict[str, Any]) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _bounds(data: NDArray[Any]) -> dict[str, list[float]]:
    return {"min": data.min(axis=0).tolist(), "max": data.max(axis=0).tolist()}


def write_head(path: Path, parts: Sequence[HeadPart], targets: Sequence[str], least: float = 2e-5) -> None:
    """Write ``parts`` with morph targets named ``targets`` (k); offsets under ``least`` metres are dropped.

    Source: Khronos, glTF 2.0 specification, sections 3.7.2.2 (morph targets; names in ``extras.targetNames``).
    """
    buffer = _Buffer()
    primitives = [_primitive(buffer, part, index, least) for index, part in enumerate(parts)]
    document = {
        "asset": {"version": "2.0", "generator": "emo_face"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "head"}],
        "meshes": [
            {
                "name": "head",
                "primitives": primitives,
                "weights": [0.0] * len(targets),
                "extras": {"targetNames": list(targets)},
            }
        ],
        "materials": [
            {"name": part.name, "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": part.roughness}}
            for part in parts
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": sum(map(len, buffer.blocks))}],
    }
    write_container(path, document, b"".join(buffer.blocks))


def write_container(path: Path, document: dict[str, Any], body: bytes) -> None:
    """Write a glTF document and its buffer as one GLB file. Source: Khronos, glTF 2.0 specification, section 4."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def check_container(data: bytes) -> None:
    """Check that a GLB file holds what it says: chunks, buffer views and accessors inside what they are cut from.

    Source: Khronos, glTF 2.0 specification, sections 4.4 (chunks) and 3.6 (buffer views, accessors).

    Raises:
        ValueError: says which part lies.
    """
    if data[:8] != b"glTF\x02\0\0\0" or int.from_bytes(data[8:12], "little") != len(data):
        raise ValueError("is not a whole binary glTF 2.0 file")
    chunks, at = [], 12
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "little"), data[at + 4 : at + 8]
        if at + 8 + size > len(data):
            raise ValueError(f"a chunk of {size} bytes leaves the file")
        chunks.append((kind, data[at + 8 : at + 8 + size]))
        at += 8 + size
    if not chunks or chunks[0][0] != b"JSON":
        raise ValueError("does not begin with a JSON chunk")
    try:
        document = json.loads(chunks[0][1])
        _check_extents(document, len(chunks[1][1]) if len(chunks) > 1 and chunks[1][0] == b"BIN\0" else 0)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"its JSON is not that of glTF ({type(error).__name__}: {error})") from None


def _check_extents(document: dict[str, Any], body: int) -> None:
    if packed := sorted(PACKED.intersection(document.get("extensionsRequired", ()))):
        raise ValueError(f"is packed by {', '.join(packed)}, which the 3D view does not read: save it uncompressed")
    sizes = []
    for number, buffer in enumerate(document.get("buffers", ())):
        if "uri" in buffer:
            raise ValueError(f"buffer {number} lies in another file")
        if not 0 <= buffer["byteLength"] <= body:
            raise ValueError(f"buffer {number} claims {buffer['byteLength']} bytes, the file holds {body}")
        sizes.append(buffer["byteLength"])
    views = document.get("bufferViews", [])
    for number, view in enumerate(views):
        start, length = view.get("byteOffset", 0), view["byteLength"]
        if not (view["buffer"] >= 0 <= start <= start + length <= sizes[view["buffer"]]):
            raise ValueError(f"buffer view {number} leaves its buffer")
    for number, accessor in enumerate(document.get("accessors", ())):
        size = _WIDTHS[accessor["type"]] * _BYTES[accessor["componentType"]]
        _check_reach(f"accessor {number}", accessor, accessor["count"], size, views)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            if not 0 < sparse["count"] <= accessor["count"]:
                raise ValueError(f"accessor {number} replaces {sparse['count']} of {accessor['count']} elements")
            indices = sparse["indices"]
            _check_reach(f"accessor {number}", indices, sparse["count"], _BYTES[indices["componentType"]], views)
            _check_reach(f"accessor {number}", sparse["values"], sparse["count"], size, views)


def _check_reach(name: str, part: dict[str, Any], count: int, size: int, views: Sequence[dict[str, Any]]) -> None:
    """``count`` elements of ``size`` bytes must lie in the part's view; without a view they are zeros of any number."""
    if not 0 < count <= MOST_ELEMENTS:
        raise ValueError(f"{name} claims {count} elements, expected 1 to {MOST_ELEMENTS}")
    if "bufferView" not in part:
        return
    view = views[part["bufferView"]]
    offset, step = part.get("byteOffset", 0), view.get("byteStride", size)
    if not (part["bufferView"] >= 0 <= offset and step >= size):
        raise ValueError(f"{name} has a negative number, or elements that overlap")
    if not offset + step * (count - 1) + size <= view["byteLength"]:
        raise ValueError(f"{name} leaves its buffer view")


def _primitive(buffer: _Buffer, part: HeadPart, material: int, least: float) -> dict[str, Any]:
    colours = np.broadcast_to(part.colours, part.vertices.shape)
    rest = vertex_normals(part.vertices, part.triangles)
    targets = []
    for offset in part.offsets:
        turned = vertex_normals(part.vertices + offset, part.triangles) - rest
        targets.append({"POSITION": buffer.sparse(offset, least), "NORMAL": buffer.sparse(turned, 0.02)})
    attributes = {
        "POSITION": buffer.vectors(part.vertices, bounds=True),
        "NORMAL": buffer.vectors(rest),
        "COLOR_0": buffer.vectors(colours),
    }
    return {
        "attributes": attributes,
        "indices": buffer.indices(part.triangles),
        "material": material,
        "targets": targets,
    }
