"""``emo-face train face``: bank, base, leave-people-out folds, temperature, final model, ONNX.

Needs torch; for all teachers also ``onnx`` and ``ai-edge-litert``. DATA holds ``images/``, ``video/``, ``face/``,
``fer/`` and ``head3d/``. Give labelled faces of your own by ``--faces DIR``, as often as there are folders: DIR holds
``images/`` and ``legend.csv`` (columns ``image``, ``emotion``). The shipped model is trained on everything; the figures
are those of nets that have not seen the people they judge. OUT gets ``nano_face.onnx``, ``nano_face_folds.json`` and
the cached renders and banks.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emo_face.datasets import faces as readers
from emo_face.datasets.faces import FacePicture
from emo_face.evaluation.face_folds import FILE, read_folds
from emo_face.evaluation.face_metrics import Judged, figures
from emo_face.training import face_data
from emo_face.training.face_batches import BASE, BASE_STRANGERS, FOLD, FOLD_STRANGERS, Batches, Mix
from emo_face.training.face_cv import FOLD_RATE, FOLD_STEPS, Fitting, cross_validate, doubt, save
from emo_face.training.face_export import export
from emo_face.training.face_fit import fit
from emo_face.training.face_model import Exported, FaceNet
from emo_face.training.face_renders import ALWAYS, render_set
from emo_face.training.face_skins import skins_of
from emo_face.training.face_strangers import joined, read_strangers, without_copies
from emo_face.training.face_teachers import FerTeachers, MeshTeacher

PAINTED = 2000
PHOTOGRAPHED = 3000
VIEWS = 12
COMPOSITES = 9000
BASE_STEPS = 600
BASE_RATE = 3e-3
BASE_STRANGERS_STEPS = 2600  # of the base when folders of strangers are given
STRANGERS_STEPS = 250  # and of a fold, which then needs few
STRANGERS_SHIPPED_STEPS = 800
STRANGERS_RATE = 1e-3
MODEL = "nano_face.onnx"
CHECKPOINT = "nano_face.pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the face student alone; ``emo-face train`` gives the common ones."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with images/, video/, fer/, head3d/"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for caches and results")
    parser.add_argument(
        "--faces", type=Path, action="append", default=None, metavar="DIR",
        help="labelled faces of other people: images/ and legend.csv (image, emotion); may be repeated",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="training seed (default 0); the folds do not move")
    parser.add_argument("--epochs", type=int, default=None, help="hundreds of steps of a fold (default 15)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")


def main(args: argparse.Namespace) -> int:
    """Train everything. Raises UserError or ModelError where data or a teacher is missing."""
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    pictures = face_data.read_all(args.data)
    bank = make_bank(args.data, args.out, pictures, args.seed, skins=not args.faces)
    negatives = face_data.faceless(args.data)
    steps = STRANGERS_STEPS if args.faces else FOLD_STEPS
    if args.faces:
        bank = add_strangers(bank, args, pictures)
        base = train_base(bank, negatives, args.seed, BASE_STRANGERS_STEPS, BASE_STRANGERS)
    else:
        base = train_base(bank, negatives, args.seed)
    steps = steps if args.epochs is None else 100 * args.epochs
    mix, rate = (FOLD_STRANGERS, STRANGERS_RATE) if args.faces else (FOLD, FOLD_RATE)
    fitting = Fitting(bank, base, negatives, args.seed, steps, mix, rate)
    final = fitting.train(None, STRANGERS_SHIPPED_STEPS if args.faces else None)
    torch.save([net.state_dict() for net in final], args.out / CHECKPOINT)
    shift = doubt(final, negatives, args.seed)
    shipped = save(args.out / FILE, cross_validate(fitting, pictures), args.seed, shift)
    model = Exported(final, shipped.temperature, torch.from_numpy(shipped.bias), shift)
    path = export(model, args.out / MODEL)
    for key, value in figures(unseen(args.out / FILE)).items():
        print(f"{key}: {value}")
    print(f"wrote {path} and {args.out / FILE}; to ship them, copy both to models/ and update models/manifest.yaml")
    return 0


def add_strangers(bank: face_data.Bank, args: argparse.Namespace, pictures: list[FacePicture]) -> face_data.Bank:
    """The bank and the faces of the folders ``--faces``, less those that look like a picture that is judged."""
    detector = readers.detector_for_training(args.data / "face" / "face_detection_yunet_2023mar.onnx")
    mesh, fer = mesh_teacher(args.data), FerTeachers(args.data / "fer")
    strangers = read_strangers(args.faces, detector, fer, mesh, args.out)
    judged = np.stack([face_data.wide_crop(p.picture, p.face) for p in pictures])
    strangers, copies = without_copies(strangers, judged)
    print(f"{len(strangers.wide)} strangers' faces; {copies} left out as near-duplicates of pictures that are judged")
    return joined(bank, strangers)


def make_bank(data: Path, out: Path, pictures: list[FacePicture], seed: int, skins: bool = True) -> face_data.Bank:
    """Build the training bank, or read the one in ``out`` that an earlier run with this seed left.

    Args:
        skins: also renders with the skins of the training people; many strangers make up for them.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"bank_{seed}_{len(pictures)}{'' if skins else '_plain'}.npz"
    names = [f.name for f in fields(face_data.Bank)]
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return face_data.Bank(**{name: saved[name] for name in names})
    mesh = mesh_teacher(data)
    backgrounds = [p.picture for p in pictures if p.name.endswith("#0") and p.source == "people"]
    sets = [render_set(data / "head3d", PAINTED, seed, out, backgrounds)]
    if mesh is not None and skins:
        shown = [p for p in pictures if p.source in (readers.CMU, readers.LONDON)]
        worn = skins_of(shown, list(face_data.fold_of(shown)), data / "head3d", mesh)
        sets.append(render_set(data / "head3d", PHOTOGRAPHED, seed + 1, out, backgrounds, worn))
    rng = np.random.default_rng(seed)
    bank = face_data.build(pictures, sets, FerTeachers(data / "fer"), mesh, VIEWS, COMPOSITES, rng)
    np.savez(file, **{name: getattr(bank, name) for name in names})
    return bank


def mesh_teacher(data: Path) -> MeshTeacher | None:
    """MediaPipe's networks where file and interpreter are there; training goes on without, a little worse."""
    try:
        return MeshTeacher(data / "face" / "face_landmarker.task")
    except ImportError:
        print('no mesh teacher and no photographed skins: pip install "ai-edge-litert"')
        return None


def train_base(
    bank: face_data.Bank, negatives: list[NDArray[np.uint8]], seed: int, steps: int = BASE_STEPS, mix: Mix = BASE
) -> FaceNet:
    """The net that all folds start from: it saw painted renders and people no figure is reported on."""
    torch.manual_seed(seed)
    net = FaceNet(lessons=bank.lessons.shape[1])
    allowed = np.flatnonzero((bank.fold == ALWAYS) & (bank.other == ALWAYS))
    batches = Batches(bank, allowed, mix, negatives, np.random.default_rng([seed, 99]))
    return fit(net, batches, steps, BASE_RATE, seed, text="base")


def unseen(path: Path) -> list[Judged]:
    """What the folds said about people they had not seen."""
    folds = read_folds(path)
    return [Judged(f.source, f.name, f.person, f.label, f.probabilities(folds.temperature)) for f in folds.predictions]
