"""``emo-face train fer``: the FER student, from face crops to emotions.

Needs torch. DATA holds images/, video/, face/ and fer/; FERPLUS holds FER2013Train, FER2013Valid and FER2013Test as
generate_training_data.py of microsoft/FERPlus makes them. The shipped model is trained on everything but FER+'s
validation and test faces; the figures are those of nets that have not seen the people they judge. OUT gets
nano_face.onnx, nano_face_folds.json, the checkpoint, the cached bank and base (about an hour on two cores).

With --teacher the student learns the faces of a multi-view data set too, each as the large model scored it:
  emo-face train fer ... --teacher out/emotic --teacher-images EMOTIC
out/emotic is run.out of a finished emo-face train multiview --recipe; its cached features are read, no encoder runs.
"""

import argparse
from pathlib import Path

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.training.common.arguments import common
from emo_face.training.common.recipes import read_recipe
from emo_face.training.fer.recipe import NAME, FerRecipe

add_arguments = arguments(
    common("folder with images/, video/, face/ and fer/"),
    option("--ferplus", type=Path, required=True, metavar="DIR", help="folder of FER+ with its three splits"),
    option("--recipe", type=Path, metavar="FILE", help="fields that differ from data/recipes/fer.yaml"),
    option("--teacher", type=Path, metavar="DIR", help="run.out of an emo-face train multiview recipe"),
    option("--teacher-images", type=Path, metavar="DIR", help="folder of its pictures"),
    option("--steps", type=int, help="batches of the base (default: the recipe's)"),
)


def run(args: argparse.Namespace) -> int:
    """Train everything. Raises UserError or ModelError if data or a teacher is missing."""
    from emo_face.training.fer.strangers import Teacher
    from emo_face.training.fer.train import train

    if (args.teacher is None) != (args.teacher_images is None):
        raise UserError("--teacher and --teacher-images belong together: the scores, and the pictures they are of")
    teacher = None if args.teacher is None else Teacher(args.teacher, args.teacher_images)
    recipe = read_recipe(FerRecipe, NAME, args.recipe, steps=args.steps)
    train(args.data, args.ferplus, args.out, recipe, args.seed, args.threads, teacher)
    return 0
