"""The FER student from pictures to ONNX: bank, base, last layers, leave-people-out folds, calibration, export."""

import zlib
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from emo_face.core.labels import basic7
from emo_face.datasets.faces import faces as readers
from emo_face.datasets.faces.augment import view
from emo_face.datasets.faces.faces import FacePicture
from emo_face.datasets.faces.ferplus import SOURCE, SPLITS
from emo_face.evaluation.fer.figures import figures
from emo_face.evaluation.fer.folds import FILE, FoldPrediction, read_folds
from emo_face.runtime.files import replacing, write_arrays
from emo_face.training.fer import bank as banks
from emo_face.training.fer.bank import NOT_JUDGED, Bank
from emo_face.training.fer.batches import FerBatches
from emo_face.training.fer.export import CHECKPOINT, MODEL, export
from emo_face.training.fer.fit import fit
from emo_face.training.fer.folds import Heads, cross_validate, predict_crops, reject_shift, save
from emo_face.training.fer.model import Exported, FerNet
from emo_face.training.fer.recipe import FerRecipe
from emo_face.training.fer.strangers import Teacher, VotedFaces, read_voted_faces, taught_faces
from emo_face.training.fer.teachers import ExpressionTeachers

LAST_LAYERS = ("head_", "reject_faces", "reject_non_faces", "reject_penalty")
"""How fields of the recipe begin that the base does not depend on."""


def train(
    data: Path, ferplus: Path, out: Path, recipe: FerRecipe, seed: int, threads: int, teacher: Teacher | None = None
) -> Path:
    """Train everything and write it into ``out``; the ONNX file. Raises UserError or ModelError naming what misses.

    ``teacher``: a larger model whose faces and answers are learned from too.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    out.mkdir(parents=True, exist_ok=True)
    pictures = banks.read_all(data)
    detector = readers.detector_of(data)
    voted = {split: read_voted_faces(ferplus, split, detector, out) for split in SPLITS}
    judged = np.concatenate(
        [np.stack([banks.wide_crop(p.picture, p.face) for p in pictures]), voted["Valid"].wide, voted["Test"].wide]
    )
    bank = add_strangers(make_bank(data, out, pictures, seed, recipe), voted["Train"], judged, "FER+")
    if teacher is not None:
        bank = add_strangers(bank, taught_faces(teacher, detector, out), judged, "the teacher")
    negatives = banks.faceless(data)
    heads = Heads(bank, train_base(bank, negatives, seed, recipe, out), negatives, seed, recipe)
    final = heads.fit(None)
    torch.save(final.state_dict(), out / CHECKPOINT)
    shift = reject_shift(final, negatives, seed)
    valid = validation(final, voted["Valid"], shift)
    shipped = save(out / FILE, cross_validate(heads, pictures), seed, shift, valid)
    path = export(Exported(final, shipped.temperature, torch.from_numpy(shipped.bias), shift), out / MODEL)
    for key, value in figures(read_folds(out / FILE).judged()).items():
        print(f"{key}: {value}")
    print(f"wrote {path} and {out / FILE}; to ship them, copy both to models/ and update models/manifest.yaml")
    return path


def make_bank(data: Path, out: Path, pictures: list[FacePicture], seed: int, recipe: FerRecipe) -> Bank:
    """Build the training bank, or read the one in ``out`` that a run with these pictures, seed and recipe left."""
    key = zlib.crc32(repr([(p.source, p.name, p.person, p.label, p.pose, p.face.box) for p in pictures]).encode())
    file = out / f"bank_{seed}_{key:08x}_{recipe.views}_{recipe.composites}.npz"
    names = [f.name for f in fields(Bank)]
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return Bank(**{name: saved[name] for name in names})
    bank = banks.build(pictures, ExpressionTeachers(data / "fer"), recipe, np.random.default_rng(seed))
    write_arrays(file, **{name: getattr(bank, name) for name in names})
    return bank


def add_strangers(bank: Bank, faces: VotedFaces, judged: NDArray[np.uint8], whose: str) -> Bank:
    """The bank and more faces, less those that look like a picture that is judged (m, 128, 128)."""
    fresh = banks.not_copies(faces.wide, judged)
    print(f"{fresh.sum()} faces of {whose}; {(~fresh).sum()} left out as near-duplicates of judged pictures")
    kept = faces.only(fresh)
    return bank.plus_strangers(kept.wide, kept.shares)


def train_base(bank: Bank, negatives: list[NDArray[np.uint8]], seed: int, recipe: FerRecipe, out: Path) -> FerNet:
    """The net that all folds start from, or the one that an earlier run with this recipe left in ``out``.

    It saw only people no figure is reported on.
    """
    torch.manual_seed(seed)
    net = FerNet(recipe.widths)
    allowed = np.flatnonzero((bank.fold == NOT_JUDGED) & (bank.other == NOT_JUDGED))
    # another recipe or another teacher is another base; other last layers are not
    own = {name: value for name, value in asdict(recipe).items() if not name.startswith(LAST_LAYERS)}
    key = zlib.crc32(bank.soft[allowed].tobytes(), zlib.crc32(yaml.safe_dump(own).encode()))
    file = out / f"base_{seed}_{key:08x}_{len(allowed)}.pt"
    if file.is_file():
        net.load_state_dict(torch.load(file, weights_only=True))
        net.eval()
        return net
    net = fit(net, FerBatches(bank, allowed, recipe, negatives, np.random.default_rng([seed, 99])), recipe, seed)
    with replacing(file) as scratch:
        torch.save(net.state_dict(), scratch)
    return net


def validation(net: FerNet, faces: VotedFaces, shift: float) -> list[FoldPrediction]:
    """What the shipped net says of FER+'s validation faces, for temperature and biases."""
    logits, face = predict_crops(net, np.stack([view(w, None) for w in faces.wide]), shift)
    labels = [basic7().labels[int(k)] for k in faces.shares.argmax(axis=1)]
    return [
        FoldPrediction(
            SOURCE, str(i), f"{SOURCE}:{i}", label, "", NOT_JUDGED, tuple(map(float, logits[i])), float(face[i])
        )
        for i, label in enumerate(labels)
    ]
