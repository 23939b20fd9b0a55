"""Words of the multi-view vision-language model about one person of a picture."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec

from emo_face.cli._person import box
from emo_face.cli._verb import printed
from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.core.types import Face, ImageArray, Person


def answer(args: argparse.Namespace, image: ImageArray, people: Sequence[Person]) -> int:
    """Answer ``args.ask`` as it is generated. Raises UserError if nobody is meant, or for a bad checkpoint."""
    if args.base is None:
        raise UserError("--ask: needs --base, the checkpoint that answers (InstructBLIP, SmolVLM, ...)")
    if args.max_tokens < 1:
        raise UserError(f"--max-tokens: expected at least 1, got {args.max_tokens}")
    person = chosen(args, people)
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise UserError(f"--ask needs torch and transformers, which the nano tier lacks: {how_to_install('full')}")
    from emo_face.perception.multiview.ask import load

    asker = load(args.base, args.stage1, args.device)
    start = time.perf_counter()
    others = [other for other in people if other is not person]
    said = printed(asker.ask(image, person, args.ask, others, args.max_tokens), args.json)
    seconds = time.perf_counter() - start
    if args.json:
        print(json.dumps({"person": person.person_id, "answer": said, "seconds": seconds}))
    else:
        print(f"{seconds:.1f} s", file=sys.stderr)
    return 0


def chosen(args: argparse.Namespace, people: Sequence[Person]) -> Person:
    """Who is meant: ``--box``, ``--person``, or the first of ``people``. Raises UserError if nobody is."""
    if args.box:
        face = None if args.face is None else Face(box(args.face, "--face"), 1.0)
        return Person("p00000", 1.0, box(args.box, "--box"), face)
    if args.person:
        for person in people:
            if person.person_id == args.person:
                return person
        there = ", ".join(person.person_id for person in people) or "nobody"
        raise UserError(f"--person: {args.person!r} was not found; there is {there}")
    if not people:
        raise UserError("--ask: nobody was found in the picture; name a person by --box X,Y,WIDTH,HEIGHT")
    return people[0]
