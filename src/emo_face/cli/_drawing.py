"""Pictures as files, and faces side by side in one."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.types import FloatArray, ImageArray

SIDE = 360  # px, of one face


def write_faces(path: Path, faces: Sequence[FloatArray], theme: str) -> None:
    """Draw faces, (52,) ARKit activations each. Raises UserError if ``path`` cannot be written."""
    from emo_face.face.pictures.sketch import draw_face

    write_picture(path, np.hstack([draw_face(face, (SIDE, SIDE), theme) for face in faces]))
    print(f"drawn: {path}", file=sys.stderr)


def write_picture(path: Path, picture: ImageArray, compression: int = 1) -> None:
    """Write what ``--out`` names, and its folder. Raises UserError if it cannot be. ``compression``: 0..9, of PNG."""
    import cv2

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, compression])
    except (OSError, cv2.error) as error:
        raise UserError(f"--out {path}: cannot be written ({str(error).strip().splitlines()[-1]})") from None
    if not written:
        raise UserError(f"--out {path}: cannot be written; is the folder writable, and is it .png or .jpg?")
