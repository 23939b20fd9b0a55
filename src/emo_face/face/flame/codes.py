"""FLAME parameters in files: shape, expression, pose, jaw and eyelids, as EMOCA, INFERNO, DECA and SMIRK name them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.face.flame.model import EXPRESSIONS, SHAPES

FORMAT = "emo-face-flame-codes-1"
# Names seen in the outputs of EMOCA and INFERNO (shape.npy, exp.npy, pose.npy), DECA (shape, exp, pose) and SMIRK
# (shape_params, expression_params, pose_params, jaw_params, eyelid_params); pose of six is global then jaw.
ALIASES = {
    "shape": ("shape", "shapecode", "shape_params", "betas"),
    "expression": ("expression", "exp", "expcode", "expression_params"),
    "pose": ("pose", "posecode", "pose_params", "global_pose"),
    "jaw": ("jaw", "jaw_pose", "jawpose", "jaw_params"),
    "eyelids": ("eyelids", "eyelid_params"),
}
DEFAULT_VERSION = "flame2020"
"""All of these tools regress FLAME 2020 parameters unless they say otherwise."""


@dataclass(frozen=True)
class FlameCodes:
    """Parameters of one face: shape (300,), expression (100,), root and jaw (3,) rad, eyelids (2,) in [0, 1]."""

    version: str = DEFAULT_VERSION
    shape: FloatArray = field(default_factory=lambda: np.zeros(SHAPES))
    expression: FloatArray = field(default_factory=lambda: np.zeros(EXPRESSIONS))
    root: FloatArray = field(default_factory=lambda: np.zeros(3))
    jaw: FloatArray = field(default_factory=lambda: np.zeros(3))
    eyelids: FloatArray = field(default_factory=lambda: np.zeros(2))


def read_codes(path: Path, version: str | None = None) -> FlameCodes:
    """Read parameters from a ``.json``, an ``.npz``, or a folder of ``.npy`` files; never a pickle.

    Args:
        version: what the caller expects; a file that names another version is refused.

    Raises:
        ModelError: missing, unreadable, another version, or a field of a wrong length; names file and field.
    """
    raw = _read(path)
    known = {str(raw.get("flame_version", version or DEFAULT_VERSION))}
    stated = known.pop()
    if version is not None and stated != version:
        raise ModelError(f"{path}: made for {stated}, expected {version}; convert it with: emo-face flame convert")
    found: dict[str, FloatArray] = {}
    for name, aliases in ALIASES.items():
        for alias in aliases:
            if alias in raw:
                found[name] = _vector(raw[alias], f"{path}: {alias}")
                break
    if not found:
        names = ", ".join(a for aliases in ALIASES.values() for a in aliases)
        raise ModelError(f"{path}: none of the fields {names}; it has {', '.join(sorted(raw)[:8]) or 'nothing'}")
    pose = found.pop("pose", np.zeros(3))
    if len(pose) == 6:
        pose, jaw = pose[:3], pose[3:]
        found.setdefault("jaw", jaw)
    sizes = {"shape": SHAPES, "expression": EXPRESSIONS, "jaw": 3, "eyelids": 2}
    padded = {n: _padded(found.get(n, np.zeros(0)), size, f"{path}: {n}") for n, size in sizes.items()}
    return FlameCodes(version=stated, root=_padded(pose, 3, f"{path}: pose"), **padded)


def write_codes(path: Path, codes: FlameCodes) -> None:
    """Write parameters as JSON, in the format ``read_codes`` reads, with the version named."""
    body = {
        "format": FORMAT,
        "flame_version": codes.version,
        "shape": codes.shape.tolist(),
        "pose": codes.root.tolist(),
        "expression": codes.expression.tolist(),
        "jaw": codes.jaw.tolist(),
        "eyelids": codes.eyelids.tolist(),
    }
    path.write_text(json.dumps(body) + "\n", encoding="ascii")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.is_dir():
            return {p.stem: np.load(p, allow_pickle=False) for p in sorted(path.glob("*.npy"))}
        if path.suffix == ".json":
            body = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(body, dict):
                return body
            raise ModelError(f"{path}: expected an object of arrays, got {type(body).__name__}")
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as data:
                return {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    raise ModelError(f"{path}: expected a .json, an .npz or a folder of .npy files; save pickles as .npz first")


def _vector(value: Any, where: str) -> FloatArray:
    """One face's values; a leading batch axis of one is dropped."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ModelError(f"{where}: expected numbers") from None
    array = array.reshape(-1) if array.ndim <= 1 or array.shape[:-1] == (1,) * (array.ndim - 1) else array
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ModelError(f"{where}: expected the finite numbers of one face, got shape {array.shape}")
    return array


def _padded(values: FloatArray, size: int, where: str) -> FloatArray:
    if len(values) > size or (size <= 3 and len(values) not in (0, size)):
        raise ModelError(f"{where}: {len(values)} numbers, expected {'at most ' if size > 3 else ''}{size}")
    result = np.zeros(size)
    result[: len(values)] = values
    return result
