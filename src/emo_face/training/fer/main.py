"""``emo-face train face``: bank, base, leave-people-out folds, temperature, final model, ONNX.

Needs torch; for all teachers also ``onnx`` and ``ai-edge-litert``. DATA holds ``images/``, ``video/``, ``face/``,
``fer/`` and ``head3d/``. Give labelled faces of your own by ``--faces DIR``, as often as there are folders: DIR holds
``images/`` and ``legend.csv`` (columns ``image``, ``emotion``), and FER+ by ``--ferplus DIR``. The shipped model is
trained on everything but FER+'s validation and test faces; the figures are those of nets that have not seen the people
they judge. OUT gets ``nano_face.onnx``, ``nano_face_folds.json``, the cached renders, banks and base.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.faces import FacePicture
from emo_face.datasets.faces.ferplus import SOURCE, SPLITS
from emo_face.evaluation.fer.figures import Judged, figures
from emo_face.evaluation.fer.folds import FILE, FoldPrediction, read_folds
from emo_face.perception.detect_face import YuNetFaceDetector
from emo_face.training.fer import data as face_data
from emo_face.training.fer.augment import view
from emo_face.training.fer.batches import Batches
from emo_face.training.fer.crowd import Crowd, read_crowd
from emo_face.training.fer.cv import Fitting, cross_validate, doubt, said_of, save
from emo_face.training.fer.export import export
from emo_face.training.fer.fit import fit
from emo_face.training.fer.model import Exported, FaceNet
from emo_face.training.fer.recipe import Recipe, recipe_for
from emo_face.training.fer.renders import ALWAYS, render_set
from emo_face.training.fer.skins import skins_of
from emo_face.training.fer.strangers import joined, read_strangers, unlike, without_copies
from emo_face.training.fer.teachers import FerTeachers, MeshTeacher

PAINTED = 2000
PHOTOGRAPHED = 3000
VIEWS = 12
COMPOSITES = 9000
MODEL = "nano_face.onnx"
CHECKPOINT = "nano_face.pt"


def main(args: argparse.Namespace) -> int:
    """Train everything. Raises UserError or ModelError where data or a teacher is missing."""
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    recipe = recipe_for(bool(args.faces), args.ferplus is not None)
    pictures = face_data.read_all(args.data)
    bank = make_bank(args.data, args.out, pictures, args.seed, skins=not (args.faces or args.ferplus))
    detector = readers.detector_of(args.data)
    crowd = {s: read_crowd(args.ferplus, s, detector, args.out) for s in SPLITS} if args.ferplus else {}
    bank = add_strangers(bank, args, pictures, detector, crowd)
    negatives = face_data.faceless(args.data)
    base = train_base(bank, negatives, args.seed, recipe, args.out)
    fitting = Fitting(bank, base, negatives, args.seed, recipe, args.epochs and 100 * args.epochs)
    final = fitting.train(None)
    torch.save(final.state_dict(), args.out / CHECKPOINT)
    shift = doubt(final, negatives, args.seed)
    valid = validation(final, crowd["Valid"], shift) if crowd else []
    shipped = save(args.out / FILE, cross_validate(fitting, pictures), args.seed, shift, valid)
    model = Exported(final, shipped.temperature, torch.from_numpy(shipped.bias), shift)
    path = export(model, args.out / MODEL)
    for key, value in figures(unseen(args.out / FILE)).items():
        print(f"{key}: {value}")
    print(f"wrote {path} and {args.out / FILE}; to ship them, copy both to models/ and update models/manifest.yaml")
    return 0


def add_strangers(
    bank: face_data.Bank, args: argparse.Namespace, pictures: list[FacePicture], detector: YuNetFaceDetector,
    crowd: Mapping[str, Crowd],
) -> face_data.Bank:  # fmt: skip
    """The bank and the faces of ``--faces`` and FER+, less those that look like a picture that is judged."""
    if not (args.faces or crowd):
        return bank
    judged = np.stack([face_data.wide_crop(p.picture, p.face) for p in pictures])
    if args.faces:
        mesh, fer = mesh_teacher(args.data), FerTeachers(args.data / "fer")
        strangers, copies = without_copies(read_strangers(args.faces, detector, fer, mesh, args.out), judged)
        print(f"{len(strangers.wide)} strangers' faces; {copies} left out as near-duplicates of judged pictures")
        bank = joined(bank, strangers)
    if crowd:
        fresh = unlike(crowd["Train"].wide, np.concatenate([judged, crowd["Valid"].wide, crowd["Test"].wide]))
        print(f"{fresh.sum()} faces of FER+; {(~fresh).sum()} left out as near-duplicates of judged pictures")
        kept = crowd["Train"].only(fresh)
        bank = bank.plus_strangers(kept.wide, kept.shares)
    return bank


def validation(net: FaceNet, crowd: Crowd, shift: float) -> list[FoldPrediction]:
    """What the shipped net says of FER+'s validation faces, for temperature and biases."""
    logits, face = said_of(net, np.stack([view(w, None) for w in crowd.wide]), shift)
    labels = [basic7().labels[int(k)] for k in crowd.shares.argmax(axis=1)]
    return [
        FoldPrediction(SOURCE, str(i), f"{SOURCE}:{i}", label, "", ALWAYS, tuple(map(float, logits[i])), float(face[i]))
        for i, label in enumerate(labels)
    ]


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
    bank: face_data.Bank, negatives: list[NDArray[np.uint8]], seed: int, recipe: Recipe, out: Path
) -> FaceNet:
    """The net that all folds start from, or the one that an earlier run left in ``out``.

    It saw painted renders and people no figure is reported on.
    """
    torch.manual_seed(seed)
    net = FaceNet(lessons=bank.lessons.shape[1])
    allowed = np.flatnonzero((bank.fold == ALWAYS) & (bank.other == ALWAYS))
    file = out / f"base_{seed}_{recipe.steps}_{len(allowed)}.pt"
    if file.is_file():
        net.load_state_dict(torch.load(file, weights_only=True))
        return net.eval()
    rng = np.random.default_rng([seed, 99])
    batches = Batches(bank, allowed, recipe.base, negatives, rng, clean=recipe.clean, jitter=recipe.jitter)
    net = fit(net, batches, recipe.steps, recipe.rate, seed, recipe.weights, "base")
    torch.save(net.state_dict(), file)
    return net


def unseen(path: Path) -> list[Judged]:
    """What the folds said about people they had not seen."""
    folds = read_folds(path)
    return [Judged(f.source, f.name, f.person, f.label, f.probabilities(folds.temperature)) for f in folds.predictions]
