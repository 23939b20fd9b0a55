"""Do the documented commands learn from each view? Real heads on drawn bodies, in EMOTIC's published structure.

    python benchmarks/emotic_world.py --faces ../shared/assets/images/london --out out/world --seeds 5 [--json]

Each seed is a folder as EMOTIC is distributed (Annotations.mat, pictures below emotic/*/images), read without its body
boxes unless ``--bodies annotated``, and ``emo-face train multiview --recipe`` does the rest: the detectors find bodies
and faces, then features, head, thresholds and the report with the head's ablations (tables 6, 11, 12) and with each
view hidden. The encoder is a SigLIP of the true architecture, tiny and with random weights: it sees colours and no
more, so it is colours that tell how people feel here: the light of the place, the shirt, a flushed or a pale face.
Heads: the Face Research Lab London Set (DeBruine & Jones 2017, CC-BY-4.0), cut out of their plain background; the test
split shows people of its own.

The rules of the world give the mAP of whoever reads the cues without a mistake, which is printed beside what was
reached: of all three nobody can have more; the scene shows a small shirt and a small face too. Killed, the same command
goes on. It says nothing about accuracy on people.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emo_face.datasets.pictures import emotic
from emo_face.datasets.records import write_jsonl
from emo_face.evaluation.metrics import multilabel
from emo_face.runtime.files import replacing, write_json
from fixtures.drawn_people import FACES, PLACES, SHIRTS, SIDE, Head, draw, heads_of, read_heads

VIEW = 56
"""Pixels of a view as the encoder sees it."""
NOISE = 0.01
"""Chance of a label whose rule does not hold."""
RULES: dict[str, tuple[float, tuple[tuple[str, str, str], ...]]] = {
    "Engagement": (0.95, (("street", "", ""), ("office", "", ""))),
    "Anticipation": (0.9, (("stage", "", ""), ("", "red", ""))),
    "Happiness": (0.95, (("", "", "pale"),)),
    "Excitement": (0.9, (("park", "red", ""), ("stage", "red", ""), ("street", "blue", ""))),
    "Confidence": (0.9, (("", "blue", "pale"), ("", "green", "flushed"))),
    "Sadness": (0.95, (("", "grey", "flushed"),)),
    "Peace": (0.95, (("park", "grey", ""),)),
    "Annoyance": (0.95, (("office", "green", "flushed"), ("street", "green", "flushed"))),
    "Fear": (0.95, (("street", "red", "flushed"),)),
    "Embarrassment": (0.95, (("stage", "grey", "flushed"),)),
}
"""Label -> chance when a case of (place, shirt, face) holds; "" is any."""
FOLDERS = ("mscoco", "framesdb", "emodb_small", "ade20k")
SPLITS = ("train", "train", "train", "train", "train", "train", "train", "val", "test", "test")
RECIPE = """\
version: 1
data: {{set: records, root: {records}, images: {images}}}
encoder: {{kind: siglip2}}
head: {{width: 64, vad: false}}
stage2: {{epochs: 30, batch_size: 64, learning_rate: 2.0e-3, seed: {seed}}}
report: {{rounds: 50}}
export: {{write: false}}
run: {{base: {base}, out: {out}, device: cpu, shards: 8}}
"""


def chances(place: str, shirt: str, face: str) -> np.ndarray:
    """Of each label of :data:`RULES`; "" for what is not seen, over which the mean is taken."""
    shown = [values if value == "" else (value,) for value, values in ((place, PLACES), (shirt, SHIRTS), (face, FACES))]
    rows = []
    for one in product(*shown):
        row = []
        for chance, cases in RULES.values():
            holds = any(all(want in ("", have) for want, have in zip(case, one, strict=True)) for case in cases)
            row.append(chance if holds else NOISE)
        rows.append(row)
    return np.mean(rows, axis=0)


def make(folder: Path, heads: Sequence[Head], people: int, seed: int) -> Path:
    """Write a seed's EMOTIC, whole or not at all; ``truth.json`` and ``cues.json`` say what was drawn, of whom."""
    if (folder / "truth.json").is_file():
        return folder
    from scipy.io import savemat

    rng, truth, cues = np.random.default_rng(seed), [], {}
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    with replacing(folder) as scratch:
        for i in range(people):
            split = SPLITS[i % len(SPLITS)]
            place, shirt, face = (int(v) for v in rng.integers(0, (4, 4, 2)))
            own = heads_of(heads, split)
            frame, corners = draw(rng, place, shirt, face, own[int(rng.integers(len(own)))])
            cues[f"{i:05d}.jpg"] = known = (PLACES[place], SHIRTS[shirt], FACES[face])
            held = rng.random(len(RULES)) < chances(*known)
            labels = [label for label, holds in zip(RULES, held, strict=True) if holds] or ["Engagement"]
            where = scratch / "emotic" / FOLDERS[i % 4] / "images"
            where.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(where / f"{i:05d}.jpg"), frame)
            splits[split].append(_row(f"{i:05d}.jpg", f"{FOLDERS[i % 4]}/images", corners, labels))
            if split == "test":
                truth.append([*known, sorted(labels)])
        (scratch / "Annotations").mkdir()
        savemat(scratch / "Annotations" / "Annotations.mat", {name: _cells(rows) for name, rows in splits.items()})
        write_json(scratch / "truth.json", truth)
        write_json(scratch / "cues.json", cues)
    return folder


def people_of(root: Path, to: Path, bodies: bool) -> Path:
    """The annotations of a seed's EMOTIC as records; without ``bodies`` nobody has a box, and detectors find both."""
    people = emotic.read(root)
    write_jsonl(to, people if bodies else [replace(person, bbox_body=None) for person in people])
    return to


def _row(name: str, folder: str, corners: Sequence[float], labels: Sequence[str]) -> dict[str, Any]:
    """A picture of Annotations.mat as its public readers have it (datasets/pictures/emotic.py)."""
    person = {
        "body_bbox": np.array(corners),
        "annotations_categories": _cells([{"categories": _cells(labels)}]),
        "annotations_continuous": _cells([{"valence": 5.0, "arousal": 5.0, "dominance": 5.0}]),
        "combined_categories": _cells(labels),
        "gender": "Female",
        "age": "Adult",
    }
    size = {"n_row": SIDE, "n_col": SIDE}
    about = {"filename": name, "folder": folder, "image_size": size, "original_database": {"name": folder}}
    return {**about, "person": _cells([person])}


def _cells(items: Sequence[Any]) -> np.ndarray:
    found = np.empty(len(items), object)
    found[:] = items
    return found


def reachable(truth: Sequence[Sequence[Any]]) -> dict[str, float]:
    """Cues -> mAP in percent of whoever reads them without a mistake and knows the rules; percent of noisy labels."""
    names = list(RULES)
    held = np.array([[label in labels for label in names] for *_, labels in truth], int)
    used = held.any(0)
    found = {}
    for cues, seen in (("place", 1), ("place, shirt", 2), ("place, shirt, face", 3)):
        scores = np.array([chances(*known[:seen], *("",) * (3 - seen)) for *known, _ in truth])
        found[f"by {cues}"] = 100 * multilabel.mean_average_precision(scores[:, used], held[:, used]).value
    rules = np.array([chances(*known) for *known, _ in truth]) > 0.5
    return {**found, "noise": 100 * float((rules != held).mean())}


def eyes(folder: Path) -> Path:
    """The checkpoint: a tiny SigLIP with random weights, and the publisher's preprocessing at its size."""
    from fixtures.tiny_encoders import tiny_siglip

    if not (folder / "config.json").is_file():
        shown = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
        with replacing(folder) as scratch:
            tiny_siglip(image_size=VIEW, width=64).save_pretrained(scratch)
            (scratch / "preprocessor_config.json").write_text(json.dumps(shown))
    return folder


def one_seed(folder: Path, base: Path, heads: Sequence[Head], people: int, bodies: bool, seed: int) -> dict[str, Any]:
    """Run the recipe; see :func:`scored`."""
    from emo_face.cli.main import main as emo_face

    root = make(folder / "EMOTIC", heads, people, seed)
    records, recipe = people_of(root, folder / "plain.jsonl", bodies), folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(records=records, images=root, seed=seed, base=base, out=folder / "out"))
    if code := emo_face(["train", "multiview", "--recipe", str(recipe)]):
        raise SystemExit(code)
    return scored(folder / "out" / "report", root)


def scored(folder: Path, root: Path) -> dict[str, Any]:
    """What a report says, and what could be reached."""
    report = json.loads((folder / "report.json").read_text())
    labels = np.array(list(report["ablations"].pop("table9", {}).values()), float)
    tables = {f"{key}/{row}": values[0] for key, rows in report["ablations"].items() for row, values in rows.items()}
    if len(labels):
        means = np.nanmean(labels, 0)
        tables |= {"table9/without balancing": means[0], "table9/with balancing": means[1]}
    hidden = {f"without {view}": found["mAP"] for view, found in report["hidden_views"].items() if view != "none"}
    truth = json.loads((root / "truth.json").read_text())
    return {"mAP": report["result"]["mAP"], **tables, **hidden, **reachable(truth), "seen": report["view_shares"]}


ORDERS = {
    "scene < + body (table 6)": ("table6/scene", "table6/scene+body"),
    "+ body < + face (table 6)": ("table6/scene+body", "table6/scene+body+face"),
    "no attention < attention (table 11)": ("table11/no attention", "table11/attention"),
    "bce < asymmetric (table 12)": ("table12/bce", "table12/asymmetric"),
    "face hidden < nothing hidden": ("without face", "mAP"),
}

REACHABLE = {
    "table6/scene": "by place",
    "table6/scene+body": "by place, shirt",
    "without face": "by place, shirt",
    "mAP": "by place, shirt, face",
}
"""What a condition could reach."""


def printed(rows: Sequence[dict[str, Any]], orders: Mapping[str, tuple[str, str]] = ORDERS) -> str:
    """The orders, then what each condition reached of what can be reached."""
    lines = []
    for name, (low, high) in orders.items():
        a, b = (np.array([row[key] for row in rows]) for key in (low, high))
        lines.append(
            f"{name:36s} {np.nanmean(a):6.2f} {np.nanmean(b):6.2f}  in {int((a < b).sum())} of {len(rows)} seeds"
        )
    for key, best in REACHABLE.items():
        got, can = (float(np.mean([row[k] for row in rows])) for k in (key, best))
        lines.append(f"{key:20s} {got:6.2f} of {can:6.2f} {best:22s} {got / can:4.0%}")
    return "\n".join([*lines, f"labels against the rules: {np.mean([row['noise'] for row in rows]):.2f} %"])


def main() -> int:
    """Print every seed and the orders; exit code 1 if a hidden face costs nothing in the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder of pictures NNN_*.jpg of people NNN")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--people", type=int, default=300, help="of a seed; 70-10-20 (default 300)")
    parser.add_argument("--bodies", choices=("found", "annotated"), default="found", help="by whom (default found)")
    parser.add_argument("--json", action="store_true", help="print only JSON at the end")
    args = parser.parse_args()
    heads = read_heads(args.faces)
    base = eyes(args.out / "eyes")
    told = args.bodies == "annotated"
    rows = [one_seed(args.out / f"seed-{seed}", base, heads, args.people, told, seed) for seed in range(args.seeds)]
    print(json.dumps(rows) if args.json else printed(rows))
    return int(np.mean([row["without face"] for row in rows]) >= np.mean([row["mAP"] for row in rows]))


if __name__ == "__main__":
    sys.exit(main())
