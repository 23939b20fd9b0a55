"""FLAME parameters in files: shape, expression, pose, jaw and eyelids, as the trackers of FLAME name them.

Names and shapes by their code:

    DECA, spectre, EMOCA            shape, exp, pose (6: global then jaw), tex, cam, light, detail, and so on;
                                    also with ``code`` behind
    INFERNO (EMICA)                 shape, exp, tex, jawpose, globalpose, cam, lightcode
    SMIRK, PEAR                     shape_params, expression_params, pose_params, jaw_params, eyelid_params, cam,
                                    PEAR also eye_pose_params
    GAGAvatar_track                 shapecode, expcode, posecode (6), eyecode, transform_matrix
    MICA                            identity (300 shape coefficients)
    metrical-tracker                ``*.frame`` (torch.save): flame.{exp, shape, tex, sh, eyes, eyelids, jaw}, where
                                    jaw is a 6D rotation (the first two rows of its matrix), camera, opencv
    pixel3dmm                       the same with neck, R, R_rotation_matrix and t (where the head is) in flame
    VHAP (GaussianAvatars)          flame_param/*.npz: translation, rotation, neck_pose, jaw_pose, eyes_pose, shape,
                                    expr, static_offset
    ExAvatar, LHM                   root_pose, neck_pose, jaw_pose, leye_pose, reye_pose, expr, trans, betas, is_valid

An array under any other name is refused: nobody knows what it would have meant.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emo_face.core.errors import ModelError
from emo_face.core.types import FloatArray
from emo_face.face.flame.model import EXPRESSIONS, SHAPES
from emo_face.face.flame.pickle import array_of, fields_of, parse_flame_pickle
from emo_face.runtime.arrays import MAX_BYTES, read_npy, read_npz

FORMAT = "emo-face-flame-codes-1"
ALIASES = {
    "shape": ("shape", "shapecode", "shape_params", "betas", "identity"),
    "expression": ("expression", "exp", "expcode", "expression_params", "expr"),
    "pose": ("pose", "posecode", "pose_params", "global_pose", "globalpose", "root_pose", "rotation"),
    "jaw": ("jaw", "jaw_pose", "jawpose", "jaw_params"),
    "eyelids": ("eyelids", "eyelid_params"),
}
PASSED_BY = frozenset(
    {
        "format",
        "flame_version",
        "tex",
        "texcode",
        "tex_params",
        "cam",
        "light",
        "lightcode",
        "light_params",
        "detail",
        "detailcode",
        "detailemocode",
        "images",
        "euler_jaw_pose",
        "valence",
        "arousal",
        "sh",
        "eyes",
        "eyes_pose",
        "eyecode",
        "eye_pose",
        "eye_pose_params",
        "leye_pose",
        "reye_pose",
        "is_valid",
        "neck",
        "neck_pose",
        "trans",
        "transform_matrix",
        "translation",
        "static_offset",
        "dynamic_offset",
        "R",
        "R_rotation_matrix",
        "t",
    }
)
"""What the same tools write beside: texture, light, camera, detail, gaze, place. It is not read, and no error."""
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
    """Read parameters from a ``.json``, an ``.npz``, a ``.frame``, or a folder of ``.npy`` files; nothing is run.

    Args:
        version: what the caller expects; a file that names another version is refused.

    Raises:
        ModelError: missing, unreadable, another version, an array of an unknown name, a field named twice or of a wrong
            length; names file and field.
    """
    raw = read_fields(path)
    stated = str(raw.get("flame_version", version or DEFAULT_VERSION))
    if version is not None and stated != version:
        raise ModelError(f"{path}: made for {stated}, expected {version}; convert it with: emo-face flame convert")
    found = {name: _vector(raw[alias], f"{path}: {alias}") for name, alias in _named(raw, path).items()}
    if found and not raw.get("is_valid", True):
        raise ModelError(f"{path}: is_valid is false: its tracker found no face here")
    if not found:
        names = ", ".join(a for aliases in ALIASES.values() for a in aliases)
        raise ModelError(f"{path}: none of the fields {names}; it has {', '.join(sorted(raw)[:8]) or 'nothing'}")
    pose = found.pop("pose", np.zeros(3))
    if len(pose) == 6:
        found.setdefault("jaw", pose[3:])
        pose = pose[:3]
    if len(found.get("jaw", ())) == 6:
        found["jaw"] = from_6d(found["jaw"], f"{path}: jaw")
    sizes = {"shape": SHAPES, "expression": EXPRESSIONS, "jaw": 3, "eyelids": 2}
    padded = {n: _padded(found.get(n, np.zeros(0)), size, f"{path}: {n}") for n, size in sizes.items()}
    return FlameCodes(version=stated, root=_padded(pose, 3, f"{path}: pose"), **padded)


def from_6d(values: FloatArray, where: str) -> FloatArray:
    """Axis-angle (3,) rad of a rotation as the first two rows of its matrix (Zhou et al., CVPR 2019; PyTorch3D).

    Raises:
        ModelError: the rows are no directions.
    """
    first, second = values[:3], values[3:]
    length = float(np.linalg.norm(first))
    x = first / (length or 1.0)
    y = second - float(x @ second) * x
    if length < 1e-6 or float(np.linalg.norm(y)) < 1e-6:
        raise ModelError(f"{where}: six numbers that are no rotation")
    y = y / np.linalg.norm(y)
    return np.asarray(cv2.Rodrigues(np.stack([x, y, np.cross(x, y)]))[0], np.float64).reshape(3)


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


def read_fields(path: Path) -> Mapping[str, Any]:
    """What a file of parameters holds, by name. Raises ModelError for one that cannot be read."""
    try:
        if path.is_dir():
            return {p.stem: read_npy(p) for p in sorted(path.glob("*.npy"))}
        if path.suffix == ".json":
            body = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(body, dict):
                return body.get("flame", body) if isinstance(body.get("flame"), dict) else body
            raise ModelError(f"{path}: expected an object of arrays, got {type(body).__name__}")
        if path.suffix == ".npz":
            return read_npz(path)
        if path.suffix == ".frame":
            return _frame(path)
    except (OSError, ValueError, EOFError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    raise ModelError(
        f"{path}: expected a .json, an .npz, a .frame of metrical-tracker, or a folder of .npy files; save pickles "
        "as .npz first"
    )


def _frame(path: Path) -> Mapping[str, Any]:
    """The flame part of a checkpoint of metrical-tracker: NumPy arrays in the pickle of a torch.save archive."""
    with zipfile.ZipFile(path) as archive:
        inner = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
        if len(inner) != 1 or inner[0].file_size > MAX_BYTES:
            raise ModelError(f"{path}: no archive of torch.save with one data.pkl")
        fields = parse_flame_pickle(archive.read(inner[0]), str(path))
    flame = fields_of(fields, "flame", str(path))
    return {name: array_of(flame, name, str(path)) for name in flame}


def _named(raw: Mapping[str, Any], path: Path) -> dict[str, str]:
    """Field -> its name in the file. Raises ModelError for names that nobody knows, or two of one field."""
    aliases = {alias: name for name, names in ALIASES.items() for alias in names}
    if not set(raw) & set(aliases):
        return {}
    unknown = sorted(set(raw) - set(aliases) - PASSED_BY)
    if unknown:
        raise ModelError(
            f"{path}: unknown arrays {', '.join(unknown[:6])}; known are {', '.join(aliases)}, and passed by "
            f"{', '.join(sorted(PASSED_BY))}"
        )
    found: dict[str, str] = {}
    for alias in raw:
        name = aliases.get(alias)
        if name in found:
            raise ModelError(f"{path}: {name} is given twice, as {found[name]} and {alias}")
        if name is not None:
            found[name] = alias
    return found


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
