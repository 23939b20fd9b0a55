"""Write meshes for other programs: Wavefront OBJ and binary glTF 2.0."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray
from emo_face.face.mesh.glb import write_container
from emo_face.face.mesh.surface import vertex_normals

_FLOAT, _UINT = 5126, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963


def write_obj(path: Path, vertices: FloatArray, faces: NDArray[np.integer]) -> None:
    """Write vertices (n, 3) and triangles (m, 3) as Wavefront OBJ, in the unit given."""
    lines = [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in vertices]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_glb(path: Path, vertices: FloatArray, faces: NDArray[np.integer]) -> None:
    """Write vertices (n, 3) in metres and triangles (m, 3) as one binary glTF 2.0 file with smooth normals.

    Source: Khronos, glTF 2.0 specification, section 3.6 (geometry).
    """
    blocks = [
        vertices.astype("<f4").tobytes(),
        vertex_normals(vertices, faces).astype("<f4").tobytes(),
        faces.astype("<u4").tobytes(),
    ]
    views, offset = [], 0
    for block, target in zip(blocks, (_VERTEX_BUFFER, _VERTEX_BUFFER, _INDEX_BUFFER), strict=True):
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(block), "target": target})
        offset += len(block)
    low, high = vertices.astype("<f4").min(0).tolist(), vertices.astype("<f4").max(0).tolist()
    document = {
        "asset": {"version": "2.0", "generator": "emo_face"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "head"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1}, "indices": 2, "material": 0}]}],
        "materials": [
            {
                "pbrMetallicRoughness": {
                    "baseColorFactor": [0.85, 0.69, 0.59, 1.0],
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.7,
                }
            }
        ],
        "accessors": [
            {"bufferView": 0, "componentType": _FLOAT, "count": len(vertices), "type": "VEC3", "min": low, "max": high},
            {"bufferView": 1, "componentType": _FLOAT, "count": len(vertices), "type": "VEC3"},
            {"bufferView": 2, "componentType": _UINT, "count": int(faces.size), "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
    write_container(path, document, b"".join(blocks))
