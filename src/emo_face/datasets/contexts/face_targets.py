"""Face targets of a data set in one file: expression, jaw and eyelids by record id, with the basis named.

The format (``emo-face-targets-2``) is in ``docs/contextface_data.md``: an ``.npz`` without pickles. Made from
the outputs of INFERNO/EMOCA, DECA and SMIRK by :func:`import_outputs`, or without any of them by
:mod:`emo_face.datasets.contexts.made_faces` (``emo-face data targets``).
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import FloatArray
from emo_face.datasets.records import Record
from emo_face.expression.contextface.config import BASES, size_of
from emo_face.expression.contextface.prompts import FaceTarget
from emo_face.face.flame.codes import ALIASES, read_codes, read_fields
from emo_face.face.flame.model import EXPRESSIONS, VERSIONS
from emo_face.runtime.arrays import read_npy, read_npz
from emo_face.runtime.files import replacing

FORMAT, BEFORE = "emo-face-targets-2", "emo-face-flame-targets-1"
SEVERAL = "several labelled people in its picture, and nothing says whose face the tool measured"
MAX_EXPRESSION = 100.0
"""Standard deviations; a larger coefficient is no face."""
MAX_JAW = 1.0
"""rad; a jaw cannot turn further, so a larger number means another convention or another field."""


@dataclass(frozen=True)
class FaceTargets:
    """Targets of many faces.

    Attributes:
        basis: one of :data:`emo_face.expression.contextface.config.BASES`. source: tool that measured them.
        ids: record ids. expression: (n, 100), zero behind what the tool gives, or (n, 52) ARKit activations.
        jaw: (n, 3) rad, eyelids: (n, 2) in [0, 1]; rows of NaN if not measured.
        given: expression coefficients that the tool gives, 1..100.
    """

    basis: str
    source: str
    ids: tuple[str, ...]
    expression: NDArray[np.float32]
    jaw: NDArray[np.float32]
    eyelids: NDArray[np.float32]
    given: int = EXPRESSIONS
    _places: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._places.update({name: place for place, name in enumerate(self.ids)})

    def __len__(self) -> int:
        return len(self.ids)

    def content(self) -> Iterator[bytes]:
        """All that is in it, to be hashed."""
        yield repr((self.basis, self.ids)).encode("utf-8", "surrogatepass")
        yield from (part.tobytes() for part in (self.expression, self.jaw, self.eyelids))

    def get(self, name: str) -> FaceTarget | None:
        """The face of a record id, or None."""
        place = self._places.get(name)
        if place is None:
            return None
        jaw, lids = self.jaw[place], self.eyelids[place]
        return FaceTarget(
            self.expression[place],
            jaw if np.isfinite(jaw).all() else None,
            lids if np.isfinite(lids).all() else None,
            self.basis,
        )


@dataclass
class Imported:
    """What an import found: the targets, and record ids without a usable file, by reason."""

    targets: FaceTargets
    left_out: dict[str, list[str]] = field(default_factory=dict)


def write(path: Path, targets: FaceTargets) -> None:
    """Write targets, whole or not at all."""
    head = {"format": FORMAT, "basis": targets.basis, "source": targets.source, "given": targets.given}
    faces: dict[str, Any] = {"expression": targets.expression, "jaw": targets.jaw, "eyelids": targets.eyelids}
    ids = np.array(targets.ids, dtype=np.str_)
    with replacing(path) as scratch, scratch.open("wb") as out:
        np.savez_compressed(out, meta=np.array(json.dumps(head)), ids=ids, **faces)


def read(path: Path, basis: str | None = None) -> FaceTargets:
    """Read targets and check every field.

    Args:
        basis: what the caller's model predicts; a file of another one is refused.

    Raises:
        UserError: missing, not this format, another basis, wrong shapes, numbers that are not finite, ids twice.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such targets file; make one with: emo-face data targets --help")
    try:
        raw = read_npz(path)
        head: dict[str, Any] = json.loads(str(raw["meta"]))
        stated = str(head["basis"] if "basis" in head else head["flame_version"])
        ids = tuple(str(name) for name in raw["ids"])
        arrays = {name: np.asarray(raw[name], np.float32) for name in ("expression", "jaw", "eyelids")}
    except (OSError, ValueError, KeyError, TypeError, ModelError) as error:
        raise UserError(f"{path}: not a targets file ({error}); make one with: emo-face data targets --help") from None
    if head.get("format") not in (FORMAT, BEFORE):
        raise UserError(f"{path}: format {head.get('format')!r}, expected {FORMAT!r}")
    if stated not in BASES:
        raise UserError(f"{path}: basis {stated!r}, expected one of {', '.join(BASES)}")
    if basis is not None and stated != basis:
        raise UserError(
            f"{path}: targets are {stated}, the model predicts {basis}; their numbers mean different faces. "
            f"Make them again for {basis}, train with --face-basis {stated}, or (FLAME to FLAME) emo-face flame convert"
        )
    for name, width in ((name, size_of(name, stated)) for name in ("expression", "jaw", "eyelids")):
        if arrays[name].shape != (len(ids), width):
            raise UserError(f"{path}: {name}: expected shape {(len(ids), width)}, got {arrays[name].shape}")
    if not np.isfinite(arrays["expression"]).all():
        raise UserError(f"{path}: expression: holds numbers that are not finite; import again")
    if len(set(ids)) != len(ids):
        raise UserError(f"{path}: ids: some appear twice")
    return FaceTargets(stated, str(head.get("source", "")), ids, given=int(head.get("given", EXPRESSIONS)), **arrays)


def joined(parts: Sequence[FaceTargets]) -> FaceTargets | None:
    """Several files' targets as one; None for none. Raises UserError if an id is in two of them."""
    if len(parts) < 2:
        return parts[0] if parts else None
    ids = tuple(name for part in parts for name in part.ids)
    if len(set(ids)) != len(ids):
        raise UserError(f"targets: {next(n for n, k in Counter(ids).items() if k > 1)!r} is in two files")
    arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ("expression", "jaw", "eyelids")}
    source = ", ".join(dict.fromkeys(part.source for part in parts))
    return FaceTargets(parts[0].basis, source, ids, given=max(p.given for p in parts), **arrays)


def import_outputs(
    records: Sequence[Record], folder: Path, version: str, source: str, paths: Mapping[str, str] | None = None
) -> Imported:
    """Collect what a face tool wrote for each record's picture.

    Looked for under ``folder``, for a picture ``a/b.png``: ``a/b`` (folder of .npy), ``a/b.npz``, ``a/b.json``,
    ``a/b.frame``, ``a/b.npy`` (the expression alone), and EMOCA's ``a/b00``, ``a/b01`` ... (faces that it found). Of
    several faces, or several labelled people, nobody says whose face it is, unless ``paths`` does: such a picture is
    left out. Without the folder ``a`` a file counts if no other picture is called ``b``: CAER-S has a 0001.png in every
    class.

    Args:
        version: basis that the tool was run with; its outputs do not say, so the caller must. A file that does say
            another one is refused. source: the tool, for the record.
        paths: record id -> path, where the annotations name it.

    Raises:
        UserError: unknown version, or no record has a usable file.
    """
    if version not in VERSIONS:
        raise UserError(f"FLAME version {version!r}: expected one of {', '.join(VERSIONS)}")
    rows: list[tuple[str, FloatArray, FloatArray, FloatArray]] = []
    left_out: dict[str, list[str]] = {}
    widest = 0
    called = Counter(Path(image).stem for image in {record.image for record in records})
    labelled = Counter(image for image, _ in {(r.image, r.bbox_body or r.bbox_face or r.id) for r in records})
    for record in records:
        named = (paths or {}).get(record.id, "")
        if not named and (not record.image or labelled[record.image] > 1):
            left_out.setdefault(SEVERAL if record.image else "no picture", []).append(record.id)
            continue
        only = called[Path(record.image).stem] == 1
        path = _find(folder, record, named, only)
        if path is None:
            missing = "no file" if only else "no file in its picture's folder, and other pictures have the same name"
            left_out.setdefault(missing, []).append(record.id)
            continue
        if not named and _one_of_several(path, record):
            left_out.setdefault("several faces, and none is named as the labelled person's", []).append(record.id)
            continue
        try:
            expression, jaw, lids, width = _one(path, version)
        except ModelError as error:
            left_out.setdefault(_reason(error, path), []).append(record.id)
            continue
        if np.abs(expression).max() > MAX_EXPRESSION:
            left_out.setdefault(f"a coefficient over {MAX_EXPRESSION:g}", []).append(record.id)
            continue
        widest = max(widest, width)
        rows.append((record.id, expression, jaw, lids))
    if not rows:
        reasons = "; ".join(f"{len(ids)} x {reason}" for reason, ids in left_out.items())
        raise UserError(f"{folder}: no usable output for any of {len(records)} records: {reasons}")
    ids, expressions, jaws, eyelids = zip(*rows, strict=True)
    expression, jaw, lids = (np.asarray(np.stack(part), np.float32) for part in (expressions, jaws, eyelids))
    return Imported(FaceTargets(version, source, ids, expression, jaw, lids, widest), left_out)


def statistics(targets: FaceTargets) -> dict[str, Any]:
    """Counts and spreads that show a wrong import at a glance."""
    spread = targets.expression.std(0)
    return {
        "n": len(targets),
        "basis": targets.basis,
        "source": targets.source,
        "given": targets.given,
        "with_jaw": int(np.isfinite(targets.jaw).all(1).sum()),
        "with_eyelids": int(np.isfinite(targets.eyelids).all(1).sum()),
        "expression_total_variance": float((spread**2).sum()),
        "expression_max_abs": float(np.abs(targets.expression).max()),
        "constant_dimensions": int((spread < 1e-6).sum()),
    }


def _find(folder: Path, record: Record, named: str, only: bool) -> Path | None:
    if named:
        path = Path(named)
        choices: Iterable[Path] = (path if path.is_absolute() else folder / path, folder / path.name)
    else:
        stem = folder / Path(record.image).with_suffix("")
        ends = ("", ".npz", ".json", ".frame", ".npy", "00")
        places = (stem.parent, folder) if only else (stem.parent,)
        choices = [place / (stem.name + end) for place in places for end in ends]
    return next((path for path in choices if path.is_file() or (path.is_dir() and any(path.glob("*.npy")))), None)


def _one_of_several(path: Path, record: Record) -> bool:
    """Whether EMOCA found more faces in the picture than this one, ``a/b00``; a picture may be called 0100 itself."""
    name = Path(record.image).stem
    return path.is_dir() and path.name == f"{name}00" and path.with_name(f"{name}01").is_dir()


def _one(path: Path, version: str) -> tuple[FloatArray, FloatArray, FloatArray, int]:
    """Expression, jaw, eyelids (NaN if absent) and the number of expression coefficients of a file."""
    if path.suffix == ".npy":
        try:
            bare = np.asarray(read_npy(path), float).ravel()
        except (TypeError, ValueError) as error:
            raise ModelError(f"{path} cannot be read: {error}") from None
        if not 1 <= len(bare) <= EXPRESSIONS or not np.isfinite(bare).all():
            raise ModelError(f"{path}: expected 1 to {EXPRESSIONS} finite coefficients, got {len(bare)}")
        return np.pad(bare, (0, EXPRESSIONS - len(bare))), np.full(3, np.nan), np.full(2, np.nan), len(bare)
    codes = read_codes(path, version)
    sizes = _sizes(path)
    width = next((sizes[alias] for alias in ALIASES["expression"] if alias in sizes), 0)
    if not width:
        raise ModelError(f"{path}: no expression in it")
    six = any(sizes.get(alias) == 6 for alias in ALIASES["pose"])
    jaw = codes.jaw if six or any(a in sizes for a in ALIASES["jaw"]) else np.full(3, np.nan)
    if np.isfinite(jaw).all() and np.linalg.norm(jaw) > MAX_JAW:
        raise ModelError(f"{path}: jaw turned by {np.linalg.norm(jaw):.2f} rad, more than {MAX_JAW:g}")
    lids = codes.eyelids if any(a in sizes for a in ALIASES["eyelids"]) else np.full(2, np.nan)
    return codes.expression, jaw, lids, width


def _sizes(path: Path) -> dict[str, int]:
    """Field -> how many numbers; the file was read once already, so it is sound."""
    return {name: int(np.size(value)) for name, value in read_fields(path).items()}


def _reason(error: ModelError, path: Path) -> str:
    """The error without the file, so that equal ones can be counted."""
    return str(error).replace(str(path), "").strip(" :")
