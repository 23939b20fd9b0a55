"""``emo-face train fusion``: the weights of the nano tier's opinion pool. No torch; under a minute.

Run it after either student was retrained: it reads the FER student's leave-people-out predictions (FOLDS) and lets the
speech student read validation utterances of DATA/text. OUT gets nano_fusion.yaml.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from emo_face.core.arguments import arguments, option
from emo_face.core.labels import basic7
from emo_face.core.paths import share_dir
from emo_face.datasets.faces.faces import LONDON
from emo_face.datasets.text import TextRow, read_splits, text_folder
from emo_face.datasets.text_conversation import COMMANDS, read_commands
from emo_face.evaluation.fer.folds import FILE, read_folds
from emo_face.evaluation.fer.strangers import judge, load_student, read_strangers
from emo_face.perception.nano.model import FUSION_FILE
from emo_face.perception.nano.text import TextStudent
from emo_face.runtime.files import write_text
from emo_face.runtime.store import open_store
from emo_face.training.common.arguments import common
from emo_face.training.fusion.fit import Source, train, untrained

FITTED = 0
"""People of London with an even number are fitted on; the others judge the scenes (models/nano_fusion.md)."""
HEADER = """\
# How the opinions of the nano students are pooled; see perception/fusion.py for the formula.
# Written by `emo-face train fusion`; edit by hand if your robot should trust faces or words more.
# weight: of the source beside others, 1 = as alone. temperature: above 1 softens.
# miss_rate: how often a feeling that another source reports does not show in this one, 0 = its Neutral counts in full.
# trusted: quality from which the source counts in full.
"""


def faces(folds: Path, data: Path) -> Source:
    """What the FER student said of people it had not seen: its folds, and London's people that it never saw."""
    found = read_folds(folds)
    rows = [f for f in found.predictions if f.label]
    people = {person: i for i, person in enumerate(sorted({(f.source, f.person) for f in rows}))}
    strangers = [j for j in judge(load_student(), read_strangers(data)) if int(j.person.split(":")[-1]) % 2 == FITTED]
    numbers = {person: len(people) + i for i, person in enumerate(sorted({j.person for j in strangers}))}
    return Source(
        np.array([basic7().index(label) for label in (*(f.label for f in rows), *(j.label for j in strangers))]),
        np.array([*(f.probabilities(found.temperature) for f in rows), *(j.probabilities for j in strangers)]),
        np.array([*(people[f.source, f.person] for f in rows), *(numbers[j.person] for j in strangers)]),
        np.array([*(f.source == LONDON for f in rows), *(True for _ in strangers)]),
    )


def utterances(data: Path, rows_each: int, rng: np.random.Generator) -> Source:
    """What the speech student says about validation rows of both corpora and about commands that it has not seen."""
    student = TextStudent.from_store(open_store())
    corpora: list[tuple[Sequence[TextRow], int]] = [
        *((rows, rows_each) for rows in read_splits(data).validation.values()),
        (read_commands(text_folder(data) / COMMANDS, held_out=True), rows_each // 2),
    ]
    picked = [rows[i] for rows, count in corpora for i in rng.permutation(len(rows))[:count]]
    said = student.probabilities([row.text for row in picked])
    return Source(np.array([row.labels[0] for row in picked]), said, np.arange(len(picked)))


add_arguments = arguments(
    common("folder with text/, images/ and face/"),
    option("--folds", type=Path, metavar="FILE", help=f"another {FILE} (default: the shipped one)"),
    option("--rows", type=int, default=1200, help="utterances of each corpus (default 1200)"),
)


def run(args: argparse.Namespace) -> int:
    """Read, train, write. Raises UserError if predictions or utterances are missing."""
    face = faces(args.folds or share_dir() / "models" / FILE, args.data)
    speech = utterances(args.data, args.rows, np.random.default_rng(args.seed))
    made = {"command": f"emo-face train fusion --seed {args.seed} --rows {args.rows}", "faces": len(face.truth)}
    found = train(face, speech, untrained(), args.seed, {**made, "utterances": len(speech.truth)})
    text = yaml.safe_dump(found.model_dump(), sort_keys=False, default_flow_style=None, width=110)
    write_text(args.out / FUSION_FILE, HEADER + text)
    print(f"wrote {args.out / FUSION_FILE}\n{text}")
    return 0
