"""Measure how good the models are, compared with their peers.

Examples:
  emo-face evaluate nano --data DATA                 table on the screen
  emo-face evaluate nano --data DATA --json          only JSON on stdout
  emo-face evaluate nano --data DATA --out out/eval  also reliability diagrams and confusion matrices
  emo-face evaluate nano --data DATA --ferplus FERPLUS  also the test faces of FER+ (FER2013Test in FERPLUS)
"""

import argparse
from importlib import import_module
from types import ModuleType

from emo_face.evaluation.multiview.main import run as evaluate_multiview
from emo_face.training.multiview.ablations import of_run

TARGETS = {
    "nano": "the FER and the speech student and their peers on held-out data",
    "multiview": "the full tier's multi-view model on cached features, beside the paper's tables",
    "contextface": "the full tier's ContextFace: emotion words and faces, beside the paper's tables",
}
"""Target -> help."""


def module_of(target: str) -> ModuleType:
    """The module with ``add_arguments`` and ``run``: both students are judged in one, a large model has a package."""
    return import_module(f"emo_face.evaluation.{'nano' if target == 'nano' else target + '.main'}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-verb a target."""
    targets = parser.add_subparsers(dest="target", metavar="TARGET", required=True)
    for name, text in TARGETS.items():
        module_of(name).add_arguments(targets.add_parser(name, help=text, description=text))


def run(args: argparse.Namespace) -> int:
    """Evaluate the chosen target."""
    if args.target == "multiview":  # its ablations train heads, which evaluation does not import
        return evaluate_multiview(args, of_run)
    return int(module_of(args.target).run(args) or 0)
