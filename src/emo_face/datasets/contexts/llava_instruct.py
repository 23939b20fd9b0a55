"""LLaVA-Instruct (Liu et al., NeurIPS 2023): dialogues about COCO pictures, to keep a model's answers alive.

Format: ``[{"id", "image"?, "conversations": [{"from": "human"|"gpt", "value"}, ...]}]``. Rows without a picture count.
``llava_instruct_150k.json`` names pictures as ``000000033471.jpg``, ``llava_v1_5_mix665k.json`` as
``coco/train2017/000000033471.jpg``; both find them in a folder of COCO or above it. What the model says before the
first question is left out, as LLaVA's own training code and xtuner do, and so is a last question without an answer.
Lists that other tools write are read too: ``messages`` of ``role`` and ``content``, user and assistant, an instruction
of the system before (left out), and ``image`` or ``images`` as a list of one.
"""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.expression.contextface.prompts import Example, Turn, vqa_answer, vqa_question

SPEAKERS = {"human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt", "system": "system"}


def read(
    path: Path, images: Path, limit: int = 0, seed: int = 0, check_files: bool = False
) -> tuple[list[Example], Counter[str]]:
    """Dialogues, and what was left out by reason.

    Args:
        images: folder of the pictures (COCO train2017). limit: a random part of that size, by ``seed``; 0 takes all
            (the released code takes 42,196, as many as CAER-S-C has).
        check_files: leave out rows whose picture is not there, instead of failing at the first batch that needs it.

    Raises:
        UserError: no file, no JSON list, or no usable row.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected llava_instruct_150k.json or another LLaVA list") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of dialogues, got {type(rows).__name__}")
    if 0 < limit < len(rows):
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:limit])
        rows = [rows[i] for i in chosen]
    examples, dropped = [], Counter[str]()
    for number, row in enumerate(rows):
        fault, turns = _turns(row)
        image = None
        if not fault and (name := _image(row)):
            image = _picture(images, str(name[0]) if isinstance(name, list) else str(name))
            if image is None:
                fault = "names a picture outside its folder"
            elif check_files and not image.is_file():
                fault = "picture is missing"
        if fault:
            dropped[fault] += 1
            continue
        examples.append(Example(f"vqa/{row.get('id', '')}/{number}", "vqa", turns, image))
    if not examples:
        raise UserError(f"{path}: no usable dialogue; left out: {dict(dropped) or 'nothing, the list is empty'}")
    return examples, dropped


def _turns(row: Any) -> tuple[str, tuple[Turn, ...]]:
    """Why a row cannot be used, or its turns."""
    said: Sequence[Any] = row.get("conversations") or row.get("messages") or () if isinstance(row, dict) else ()
    if not said or not all(isinstance(s, dict) and isinstance(_text(s), str) for s in said):
        return "no conversation", ()
    talk = [(SPEAKERS.get(str(s.get("from") or s.get("role"))), str(_text(s))) for s in said]
    talk = list(itertools.dropwhile(lambda turn: turn[0] in ("system", "gpt"), talk))
    talk = talk[: len(talk) - (talk[-1][0] == "human")] if talk else talk
    if not talk or [who for who, _ in talk] != ["human", "gpt"] * (len(talk) // 2):
        return "human and gpt do not take turns", ()
    if isinstance(_image(row), list) and len(_image(row)) > 1:
        return "several pictures", ()
    picture = bool(_image(row))
    if not picture and any("<image>" in text for _, text in talk):
        return "asks for a picture and names none", ()
    turns = []
    for number, ((_, question), (_, answer)) in enumerate(zip(talk[::2], talk[1::2], strict=True)):
        if not answer.strip():
            return "empty answer", ()
        turns.append(Turn(vqa_question(question, picture and not number), vqa_answer(answer)))
    return "", tuple(turns)


def _text(message: dict[str, Any]) -> Any:
    return message.get("value", message.get("content"))


def _image(row: dict[str, Any]) -> Any:
    return row.get("image") or row.get("images")


def _picture(images: Path, name: str) -> Path | None:
    """Where a picture is: as named, or by its last parts in the folder that was given; None if it leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    whole = images / path
    if whole.is_file():
        return whole
    shorter = (images.joinpath(*path.parts[start:]) for start in range(1, len(path.parts)))
    return next((candidate for candidate in shorter if candidate.is_file()), whole)
