"""Heads for the 3D view: the 52 ARKit shapes of ICT-FaceKit or of a user's FLAME file, as parts with a colour."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from emo_face.core.arkit import ARKIT_52
from emo_face.core.types import FloatArray
from emo_face.face.expressions.basis import Basis
from emo_face.face.expressions.ict import IctHead
from emo_face.face.flame.model import FlameModel, FlamePose
from emo_face.face.mesh.glb import HeadPart

CM = 0.01

# Linear RGB and roughness by ICT material; materials that need a texture with holes (lashes, tear film) are left out.
ICT_MATERIALS: dict[str, tuple[tuple[float, float, float], float]] = {
    "M_Face": ((0.62, 0.36, 0.25), 0.55),
    "M_BackHead": ((0.62, 0.36, 0.25), 0.55),
    "M_GumsTongue": ((0.48, 0.12, 0.12), 0.4),
    "M_Teeth": ((0.85, 0.82, 0.74), 0.25),
    "M_ScleraLeft": ((0.86, 0.84, 0.82), 0.12),
    "M_ScleraRight": ((0.86, 0.84, 0.82), 0.12),
}
IRIS_COLOUR, PUPIL_COLOUR, RING_COLOUR = (0.05, 0.19, 0.17), (0.004, 0.004, 0.005), (0.012, 0.05, 0.045)
IRIS_ANGLE, PUPIL_ANGLE, RING_ANGLE = 0.44, 0.17, 0.39  # rad from the eye's axis


def parts_from_ict(head: IctHead) -> list[HeadPart]:
    """Skin, mouth, teeth and eyes of ICT-FaceKit light; offsets (52, n, 3), of which ``tongueOut`` is zero."""
    offsets = np.stack([head.arkit_delta(name) for name in ARKIT_52]) * CM
    vertices = head.vertices * CM
    groups: dict[tuple[tuple[float, float, float], float], list[str]] = {}
    for material, look in ICT_MATERIALS.items():
        groups.setdefault(look, []).append(material)
    parts = []
    for (colour, roughness), materials in groups.items():
        quads = head.quads[np.isin(head.quad_material, [head.materials.index(m) for m in materials])]
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        used, triangles = _compact(triangles)
        is_eye = materials[0].startswith("M_Sclera")
        colours = eye_colours(vertices[used]) if is_eye else np.array(colour)
        parts.append(HeadPart(materials[0], vertices[used], triangles, colours, offsets[:, used], roughness))
    return parts


def eye_colours(vertices: FloatArray) -> FloatArray:
    """(n, 3) linear RGB that paint iris and pupil on two eyeballs which look along +z."""
    colours = np.tile(np.array(ICT_MATERIALS["M_ScleraLeft"][0]), (len(vertices), 1))
    for side in (vertices[:, 0] > 0, vertices[:, 0] <= 0):
        ball = vertices[side]
        ray = ball - (ball.max(axis=0) + ball.min(axis=0)) / 2
        angle = np.arccos(np.clip(ray[:, 2] / np.maximum(np.linalg.norm(ray, axis=1), 1e-9), -1, 1))
        paint = colours[side]
        for limit, colour in ((IRIS_ANGLE, RING_COLOUR), (RING_ANGLE, IRIS_COLOUR), (PUPIL_ANGLE, PUPIL_COLOUR)):
            paint[angle < limit] = colour
        colours[side] = paint
    return colours


def parts_from_flame(flame: FlameModel, basis: Basis, names: Iterable[str] = ARKIT_52) -> list[HeadPart]:
    """A FLAME head in one colour with offsets (52, n, 3), each ARKit shape at full activation by the fitted map."""
    names = list(names)
    rest = flame.forward()
    offsets = np.zeros((len(names), *rest.shape))
    for k, name in enumerate(names):
        arkit = np.zeros(len(ARKIT_52))
        arkit[ARKIT_52.index(name)] = 1.0
        code = basis.encode(arkit)
        eyelids = np.clip(code.eyelids, 0, 1) if flame.eyelids is not None else None
        yaw, pitch = code.gaze
        eye = np.array([-pitch, yaw, 0.0])  # small angles: the order of the turns does not matter
        pose = FlamePose(jaw=code.jaw_pose, left_eye=eye, right_eye=eye)
        offsets[k] = flame.forward(None, code.coefficients, pose, eyelids) - rest
    colour, roughness = ICT_MATERIALS["M_Face"]
    return [HeadPart("skin", rest, np.asarray(flame.faces), np.array(colour), offsets, roughness)]


def _compact(triangles: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Vertices that are used, and the triangles counted among them."""
    used, renumbered = np.unique(triangles, return_inverse=True)
    return used, renumbered.reshape(triangles.shape)
