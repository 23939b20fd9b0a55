"""Learn the weights of the nano tier's opinion pool and write models/nano_fusion.yaml. No torch; under a minute.

  python export/train_fusion.py --data ../shared/assets
  python export/train_fusion.py --data DATA --folds my_folds.json --out my_fusion.yaml --seed 1

Run it after either student was retrained: it reads the face student's leave-people-out predictions
(models/nano_face_folds.json) and lets the speech student read validation utterances of DATA/text.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import yaml

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.datasets.text import read_splits
from emo_face.evaluation.fer.folds import FILE, read_folds
from emo_face.perception.nano.model import FUSION_FILE
from emo_face.perception.nano.text import TextStudent
from emo_face.runtime.store import open_store
from emo_face.training.fusion import Source, fresh, train

HEADER = """\
# How the opinions of the nano students are pooled; see perception/fusion.py for the formula.
# Written by `python export/train_fusion.py`; edit by hand if your robot should trust faces or words more.
# weight: of the source beside others, 1 = as alone. temperature: above 1 softens.
# trusted: quality from which the source counts in full.
"""


def faces(folds: Path) -> Source:
    """Predictions of the face student about people it has not seen."""
    found = read_folds(folds)
    rows = [f for f in found.predictions if f.label]
    people = {person: i for i, person in enumerate(sorted({(f.source, f.person) for f in rows}))}
    return Source(
        np.array([basic7().index(f.label) for f in rows]),
        np.array([f.probabilities(found.temperature) for f in rows]),
        np.array([people[f.source, f.person] for f in rows]),
    )


def utterances(data: Path, rows_each: int, rng: np.random.Generator) -> Source:
    """What the speech student says about validation rows of both corpora."""
    student = TextStudent.from_store(open_store())
    picked = []
    for rows in read_splits(data).validation.values():
        picked += [rows[i] for i in rng.permutation(len(rows))[:rows_each]]
    said = student.probabilities([row.text for row in picked])
    return Source(np.array([row.labels[0] for row in picked]), said, np.arange(len(picked)))


def main() -> int:
    """Read, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = share_dir() / "models"
    parser.add_argument("--data", type=Path, required=True, help="folder with text/")
    parser.add_argument("--folds", type=Path, default=models / FILE)
    parser.add_argument("--out", type=Path, default=models / FUSION_FILE)
    parser.add_argument("--rows", type=int, default=1200, help="utterances of each corpus")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        face = faces(args.folds)
        speech = utterances(args.data, args.rows, np.random.default_rng(args.seed))
        made = {"command": f"python export/train_fusion.py --seed {args.seed}", "faces": len(face.truth)}
        found = train(face, speech, fresh(), args.seed, {**made, "utterances": len(speech.truth)})
    except UserError as error:
        print(f"train_fusion: {error}", file=sys.stderr)
        return 2
    text = yaml.safe_dump(found.model_dump(), sort_keys=False, default_flow_style=None, width=110)
    args.out.write_text(HEADER + text, encoding="utf-8")
    print(f"wrote {args.out}\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
