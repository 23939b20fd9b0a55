"""ICT-FaceKit expression shapes and their ARKit names.

The mesh is not part of this package: a user or a build script points at it. Left and right are the face's own in
both conventions (``_L`` shapes move vertices at +x of a face that looks along +z, y up).
Source: ICT-FaceKit light (USC ICT, MIT), ``FaceXModel``; Apple, ARFaceAnchor.BlendShapeLocation.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.runtime.arrays import read_npz

ICT_EXTRA = ("PupilDilate_L", "PupilDilate_R", "cheekRaiser_L", "cheekRaiser_R")
"""Shapes of ICT-FaceKit that ARKit has no name for."""
ICT_FILE = "ict_facekit_light_expressions.npz"
_BOTH_SIDES = ("browInnerUp", "cheekPuff")
_FIELDS = ("vertices", "quads", "quad_material", "material_names", "expression_names", "deltas")


@cache
def arkit_from_ict() -> dict[str, tuple[str, ...]]:
    """ARKit name -> the ICT shapes whose sum it is; empty for ``tongueOut``, which the light model lacks."""
    table: dict[str, tuple[str, ...]] = {}
    for name in ARKIT_52:
        if name == "tongueOut":
            table[name] = ()
        elif name in _BOTH_SIDES:
            table[name] = (f"{name}_L", f"{name}_R")
        elif name in ("mouthLeft", "mouthRight", "jawLeft", "jawRight"):
            table[name] = (name,)  # these are directions, not sides
        elif name.endswith("Left"):
            table[name] = (f"{name[:-4]}_L",)
        elif name.endswith("Right"):
            table[name] = (f"{name[:-5]}_R",)
        else:
            table[name] = (name,)
    return table


@dataclass(frozen=True)
class IctHead:
    """The neutral head (cm) and its expression offsets.

    Attributes:
        vertices: (n, 3) cm. quads: (q, 4) vertex indices. quad_material: (q,) index into ``materials``.
        names: one ICT name an offset. deltas: (k, n, 3) cm at full activation.
    """

    vertices: FloatArray
    quads: NDArray[np.int32]
    quad_material: NDArray[np.uint8]
    materials: tuple[str, ...]
    names: tuple[str, ...]
    deltas: FloatArray

    def delta(self, name: str) -> FloatArray:
        """(n, 3) offset in cm of the ICT shape ``name``."""
        return np.asarray(self.deltas[self.names.index(name)], dtype=np.float64)

    def arkit_delta(self, name: str) -> FloatArray:
        """(n, 3) offset in cm of the ARKit shape ``name``; zero for ``tongueOut``."""
        total = np.zeros(self.vertices.shape)
        for ict in arkit_from_ict()[name]:
            total += self.delta(ict)
        return total

    def material_vertices(self, material: str) -> NDArray[np.intp]:
        """Sorted indices of the vertices of one material, for example ``M_Face`` (the skin)."""
        return np.unique(self.quads[self.quad_material == self.materials.index(material)]).astype(np.intp)

    def posed(self, arkit: FloatArray) -> FloatArray:
        """(n, 3) vertices in cm of the face with ARKit activations (52,)."""
        result = self.vertices.astype(np.float64)
        for name, index in ARKIT_INDEX.items():
            if arkit[index]:
                result += float(arkit[index]) * self.arkit_delta(name)
        return result


def load_ict(folder: Path) -> IctHead:
    """Load the head from the folder that holds ``ict_facekit_light_expressions.npz``.

    Raises:
        ModelError: the file is missing, is no npz, or lacks a field.
    """
    path = folder if folder.is_file() else folder / ICT_FILE
    if not path.is_file():
        raise ModelError(f"{path} not found; pass the folder that holds {ICT_FILE}")
    try:
        data = read_npz(path)
        field = {name: data[name] for name in _FIELDS}
    except KeyError as error:
        fields = ", ".join(_FIELDS)
        raise ModelError(f"{path} is not an ICT-FaceKit expression file with fields {fields}: {error}") from None
    return IctHead(
        vertices=field["vertices"].astype(np.float64),
        quads=field["quads"],
        quad_material=field["quad_material"],
        materials=tuple(map(str, field["material_names"])),
        names=tuple(map(str, field["expression_names"])),
        deltas=field["deltas"],
    )
