"""Build the open expression basis ``open-ict-1`` from the MIT-licensed ICT-FaceKit expression shapes.

What it makes: ``models/open_ict_1.npz``, the linear map from ARKit-52 to 100 coefficients (plus jaw, eyelids and
gaze) and the weights that decoding needs. The mesh itself is not in the result.

How: the expression shapes that neither jaw, eyelids nor gaze carry (as FLAME's expression space holds no jaw
rotation) are decomposed by an area-weighted PCA about the neutral face. Activations are taken as independent with
a root mean square of 1/3, so one fully active shape lies at three standard deviations, and each coefficient has unit
standard deviation under that assumption, as FLAME's do. Coefficients beyond the rank are always zero.

    python export/build_open_basis.py --head3d <folder with ict_facekit_light_expressions.npz>
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_face.core.arkit import ARKIT_52, ARKIT_INDEX
from emo_face.core.types import Array
from emo_face.face.expressions.ict import ICT_EXTRA, IctHead, arkit_from_ict, load_ict

COEFFICIENTS = 100
ACTIVATION_RMS = 1 / 3
"""A fully active shape lies at three standard deviations: the range in which FLAME's components are used."""
GAZE_RANGE_DEG = 30.0
"""Turn of the eyes at a full eyeLook shape. A convention of ours: neither Apple nor ICT-FaceKit (whose light model
leaves the eyeballs still) gives one. Eyes alone go to about 55 degrees but are held within about 20 to 25 in ordinary
use (Stahl, "Amplitude of human head movements associated with horizontal saccades", Exp Brain Res 126, 1999)."""
CM_TO_MM = 10.0
JAW = ("jawOpen", "jawLeft", "jawRight")
EYELIDS = ("eyeBlinkLeft", "eyeBlinkRight")
GAZE = tuple(n for n in ARKIT_52 if n.startswith("eyeLook"))
NO_SHAPE = ("tongueOut",)


@dataclass(frozen=True)
class Channels:
    """Rows of the jaw, eyelid and gaze maps with the weight (mm root mean square a unit) of each row."""

    jaw: Array
    eyelids: Array
    gaze: Array
    weights: Array


def vertex_areas(vertices: Array, quads: NDArray[np.int32]) -> Array:
    """Area of the surface that each vertex stands for, (n,), in the square of the vertices' unit."""
    areas = np.zeros(len(vertices))
    for a, b, c in ((0, 1, 2), (0, 2, 3)):
        edges = vertices[quads[:, [b, c]]] - vertices[quads[:, [a]]]
        triangle = 0.5 * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        for corner in (a, b, c):
            np.add.at(areas, quads[:, corner], triangle / 3)
    return areas


def rigid_rotation(before: Array, after: Array) -> tuple[Array, Array]:
    """Rotation vector (rad) and centre-independent translation of the best rigid motion (Kabsch, 1976)."""
    a, b = before - before.mean(0), after - after.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    sign = np.sign(np.linalg.det(vt.T @ u.T))
    rotation = vt.T @ np.diag([1, 1, sign]) @ u.T
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    skew = rotation - rotation.T
    axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    vector = axis / max(float(np.linalg.norm(axis)), 1e-12) * angle
    return vector, after.mean(0) - rotation @ before.mean(0)


def fit_jaw(head: IctHead) -> tuple[float, float]:
    """Angle of a full jawOpen and yaw of a full jawLeft, rad, about the hinge that jawOpen itself implies."""
    teeth = head.material_vertices("M_Teeth")
    opened = head.arkit_delta("jawOpen")[teeth]
    lower = teeth[np.linalg.norm(opened, axis=1) > 0.5 * np.linalg.norm(opened, axis=1).max()]
    before = head.vertices[lower]
    vector, shift = rigid_rotation(before, before + head.arkit_delta("jawOpen")[lower])
    angle = float(vector[0])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    hinge = np.linalg.solve(np.eye(2) - rotation, shift[1:])
    reach = float(before[:, 2].mean() - hinge[1])
    sideways = float(head.arkit_delta("jawLeft")[lower, 0].mean())
    print(f"jaw: hinge at y {hinge[0]:.1f} cm, z {hinge[1]:.1f} cm, jawOpen {np.degrees(angle):.1f} deg, "
          f"jawLeft {sideways:.2f} cm = {np.degrees(np.arctan2(sideways, reach)):.1f} deg")  # fmt: skip
    return angle, float(np.arctan2(sideways, reach))


def build_channels(head: IctHead, skin: NDArray[np.intp], area: Array) -> Channels:
    """The maps from ARKit to jaw (rad), eyelids and gaze (rad) and their weights."""

    def rms(name: str) -> float:
        return float(np.sqrt((area[:, None] * (CM_TO_MM * head.arkit_delta(name)[skin]) ** 2).sum()))

    opening, yaw = fit_jaw(head)
    look_yaw = look_pitch = float(np.radians(GAZE_RANGE_DEG))
    jaw, eyelids, gaze = np.zeros((3, 52)), np.zeros((2, 52)), np.zeros((2, 52))
    jaw[0, ARKIT_INDEX["jawOpen"]] = opening  # +x opens, +y turns the chin to the face's left, as in FLAME
    jaw[1, ARKIT_INDEX["jawLeft"]], jaw[1, ARKIT_INDEX["jawRight"]] = yaw, -yaw
    for row, name in enumerate(EYELIDS):
        eyelids[row, ARKIT_INDEX[name]] = 1.0
    for name, sign in (("OutLeft", 1), ("InLeft", -1), ("InRight", 1), ("OutRight", -1)):
        gaze[0, ARKIT_INDEX[f"eyeLook{name}"]] = sign * look_yaw / 2
    for name, sign in (("UpLeft", 1), ("UpRight", 1), ("DownLeft", -1), ("DownRight", -1)):
        gaze[1, ARKIT_INDEX[f"eyeLook{name}"]] = sign * look_pitch / 2
    blink = rms("eyeBlinkLeft")
    weights = [rms("jawOpen") / opening, rms("jawLeft") / yaw, rms("jawLeft") / yaw, blink, blink]
    return Channels(jaw, eyelids, gaze, np.array([*weights, blink / look_yaw, blink / look_pitch]))


def build(head: IctHead) -> dict[str, NDArray[np.generic]]:
    """All arrays of the result. Raises ValueError when the shapes span more than 100 dimensions."""
    skin = head.material_vertices("M_Face")
    area = vertex_areas(head.vertices, head.quads)[skin]
    area = area / area.sum()
    carried = {ict for name in (*JAW, *EYELIDS, *GAZE) for ict in arkit_from_ict()[name]}
    names = [n for n in head.names if n not in carried and n not in ICT_EXTRA[:2]]
    shapes = np.stack([CM_TO_MM * head.delta(n)[skin] * np.sqrt(area)[:, None] for n in names]).reshape(len(names), -1)
    u, s, _ = np.linalg.svd(ACTIVATION_RMS * shapes, full_matrices=False)
    u = u * np.sign(u.sum(0) + 1e-12)  # a fixed sign: the shapes together lie on the positive side
    rank = int((s > 1e-6 * s[0]).sum())
    if rank > COEFFICIENTS:
        raise ValueError(f"{rank} independent shapes do not fit into {COEFFICIENTS} coefficients")
    select = np.zeros((len(names), 52))
    for arkit, sources in arkit_from_ict().items():
        for ict in sources:
            if ict in names:
                select[names.index(ict), ARKIT_INDEX[arkit]] = 1.0
    coefficients = np.zeros((COEFFICIENTS, 52))
    coefficients[:rank] = u[:, :rank].T @ select / ACTIVATION_RMS
    sigma = np.zeros(COEFFICIENTS)
    sigma[:rank] = s[:rank]
    channels = build_channels(head, skin, area)
    most = int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), 0.9)) + 1
    print(
        f"basis: {len(names)} shapes, rank {rank}, std {s[0]:.2f}..{s[rank - 1]:.3f} mm; 90 % of the variance in {most}"
    )
    return {
        "basis": np.array("open-ict-1"), "arkit_names": np.array(ARKIT_52),
        "coefficients_from_arkit": coefficients.astype(np.float32), "jaw_from_arkit": channels.jaw.astype(np.float32),
        "eyelids_from_arkit": channels.eyelids.astype(np.float32), "gaze_from_arkit": channels.gaze.astype(np.float32),
        "weights": np.concatenate([sigma, channels.weights]).astype(np.float32),
        "rank": np.array(rank, dtype=np.int32),
        "licence": np.array("MIT (USC ICT, ICT-FaceKit; derived by emo_face)"),
    }  # fmt: skip


def report(path: Path) -> None:
    """Print size, hash and the round-trip error of the file just written."""
    from emo_face.face.expressions.basis import load_basis

    basis = load_basis(path)
    names = [n for n in ARKIT_52 if n not in (*GAZE, *NO_SHAPE)]
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(500):
        arkit = np.zeros(52)
        for name in rng.choice(names, size=8, replace=False):
            arkit[ARKIT_INDEX[str(name)]] = rng.uniform()
        if arkit[ARKIT_INDEX["jawLeft"]] > 0:
            arkit[ARKIT_INDEX["jawRight"]] = 0.0  # opposite turns of one jaw cancel by nature
        errors.append(np.abs(basis.decode(basis.encode(arkit)) - arkit).max())
    print(f"round trip over 500 random faces of 8 shapes: worst {max(errors):.4f}, median {np.median(errors):.4f}")
    data = path.read_bytes()
    print(f"{path}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head3d", type=Path, required=True, help="folder with ict_facekit_light_expressions.npz")
    parser.add_argument("--out", type=Path, default=Path("models/open_ict_1.npz"))
    args = parser.parse_args()
    arrays = build(load_ict(args.head3d))
    with args.out.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    report(args.out)


if __name__ == "__main__":
    main()
