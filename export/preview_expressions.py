"""Draw every expression of ``data/facs.yaml`` on the ICT-FaceKit head, to see whether each is recognisable.

python export/preview_expressions.py --head3d <folder with ict_facekit_light_expressions.npz> --out sheet.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from emo_face.core.types import FloatArray, ImageArray
from emo_face.face.expressions.facs import load_facs
from emo_face.face.expressions.ict import IctHead, load_ict
from emo_face.face.mesh.render import project, render_mesh

COLORS = {
    "M_Face": (150, 176, 218), "M_BackHead": (150, 176, 218), "M_ScleraLeft": (245, 245, 245),
    "M_ScleraRight": (245, 245, 245), "M_IrisLeft": (110, 70, 40), "M_IrisRight": (110, 70, 40),
    "M_Teeth": (235, 240, 240), "M_GumsTongue": (90, 80, 190),
}  # fmt: skip
IRIS, IRIS_CM = (70, 45, 25), 0.6
BROWS = (range(17, 22), range(22, 27))
"""Of the 68 landmarks: the mesh has no painted eyebrows, and much of an expression is read from them."""


def draw(head: IctHead, landmarks: NDArray[np.int64], arkit: FloatArray, size: int) -> ImageArray:
    """One head from the front, cropped to the face, with irises and eyebrows painted on."""
    shown = np.array([m in COLORS for m in head.materials])[head.quad_material]
    quads = head.quads[shown]
    colors = np.array([COLORS.get(m, (0, 0, 0)) for m in head.materials], dtype=np.uint8)[head.quad_material[shown]]
    centers = head.vertices[quads].mean(axis=1)
    for side in ("Left", "Right"):
        eye = head.vertices[head.material_vertices(f"M_Sclera{side}")].mean(0)
        near = np.linalg.norm(centers[:, :2] - eye[:2], axis=1) < IRIS_CM
        colors[near & (np.abs(centers[:, 2] - eye[2]) < 1.6)] = IRIS
    face = head.vertices[head.material_vertices("M_Face")]
    frame, posed = face[face[:, 1] > -9], head.posed(arkit)
    image = render_mesh(posed, quads, (size, size), colors, frame)
    pixels = project(posed, frame, (size, size))
    for brow in BROWS:
        line = np.round(pixels[landmarks[list(brow)]]).astype(np.int32)
        cv2.polylines(image, [line[:, None]], False, (45, 60, 80), max(2, size // 64), cv2.LINE_AA)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head3d", type=Path, required=True)
    parser.add_argument("--facs", type=Path, default=Path("src/emo_face/data/facs.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--size", type=int, default=320)
    args = parser.parse_args()
    head, facs = load_ict(args.head3d), load_facs(args.facs)
    landmarks = np.array(json.loads((args.head3d / "vertex_indices.json").read_text())["idx_to_landmark_verts"])
    cells = []
    for name, arkit in zip(facs.expressions, facs.prototypes, strict=True):
        cell = draw(head, landmarks, arkit, args.size)
        cv2.putText(cell, name, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        cells.append(cell)
    while len(cells) % args.columns:
        cells.append(np.zeros_like(cells[0]))
    rows = [np.hstack(cells[i : i + args.columns]) for i in range(0, len(cells), args.columns)]
    cv2.imwrite(str(args.out), np.vstack(rows))
    print(f"{args.out}: {len(facs.expressions)} expressions")


if __name__ == "__main__":
    main()
