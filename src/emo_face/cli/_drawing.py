"""Faces side by side as a picture file."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray

SIDE = 360  # px, of one face


def write_faces(path: Path, faces: Sequence[FloatArray], theme: str) -> None:
    """Draw faces, (52,) ARKit activations each. Raises UserError if ``path`` cannot be written."""
    import cv2

    from emo_face.face.pictures.sketch import draw_face

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), np.hstack([draw_face(face, (SIDE, SIDE), theme) for face in faces]))
    except (OSError, cv2.error) as error:
        raise UserError(f"--out {path}: cannot be written ({str(error).strip().splitlines()[-1]})") from None
    if not written:
        raise UserError(f"--out {path}: cannot be written; is the folder writable, and is it .png or .jpg?")
    print(f"drawn: {path}", file=sys.stderr)
