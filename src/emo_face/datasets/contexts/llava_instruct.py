"""LLaVA-Instruct (Liu et al., NeurIPS 2023): dialogues about COCO pictures, to keep a model's answers alive.

Format: ``[{"id", "image"?, "conversations": [{"from": "human"|"gpt", "value"}, ...]}]``. Rows without a picture count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.expression.contextface.prompts import Example, Turn, vqa_answer, vqa_question


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
        rows = json.loads(path.read_text(encoding="utf-8"))
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
        image = images / str(row["image"]) if not fault and row.get("image") else None
        if not fault and image is not None and check_files and not image.is_file():
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
    said: Sequence[Any] = row.get("conversations") or () if isinstance(row, dict) else ()
    if not said or not all(isinstance(s, dict) and isinstance(s.get("value"), str) for s in said):
        return "no conversation", ()
    if len(said) % 2 or [s.get("from") for s in said] != ["human", "gpt"] * (len(said) // 2):
        return "human and gpt do not take turns", ()
    picture = bool(row.get("image"))
    if not picture and any("<image>" in s["value"] for s in said):
        return "asks for a picture and names none", ()
    turns = []
    for number, (question, answer) in enumerate(zip(said[::2], said[1::2], strict=True)):
        if not answer["value"].strip():
            return "empty answer", ()
        asked = vqa_question(question["value"], picture and not number)
        turns.append(Turn(asked, vqa_answer(answer["value"])))
    return "", tuple(turns)
