"""Gate for generated texts: what listings 1, 3 and 5 forbid is looked for, and said."""

import re
from collections.abc import Sequence

from emo_face.core.labels import label_set
from emo_face.datasets.qa.templates import prompts
from emo_face.runtime.net.chat import json_in

MAX_RATIONALE_SENTENCES = 5
MAX_POSE_SENTENCES = 2
MAX_CAPTION_WORDS = 40
FORBIDDEN = {
    "caption": ("box_words", "face_words", "emotion_words"),
    "pose": ("box_words", "face_words", "emotion_words"),
    "situation": ("box_words", "face_words", "appearance_words"),
}
"""Task -> lists of words that its texts do not use."""


def _hits(text: str, *lists: str) -> list[str]:
    words = [word for name in lists for word in prompts()["quality"][name]]
    return [word for word in words if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)]


def sentences(text: str) -> int:
    """Number of sentences: runs that end in . ! or ? or at the end of the text."""
    return len([part for part in re.split(r"[.!?]+(?:\s|$)", text.strip()) if part.strip()])


def fault(task: str, text: str, labels: Sequence[str], set_name: str) -> str:
    """Why a text breaks the rules of its task, or "". Raises KeyError for a task without rules."""
    if not text.strip():
        return "empty"
    if task == "rationale":
        return _rationale_fault(text, labels, set_name)
    count, found = sentences(text), _hits(text, *FORBIDDEN[task])
    if task == "caption" and (count > 1 or len(text.split()) > MAX_CAPTION_WORDS):
        return f"{count} sentences, {len(text.split())} words; expected one of at most {MAX_CAPTION_WORDS}"
    if task == "pose" and count > MAX_POSE_SENTENCES:
        return f"{count} sentences, at most {MAX_POSE_SENTENCES}"
    return f"names {', '.join(found)}" if found else ""


def _rationale_fault(text: str, ground_truth: Sequence[str], set_name: str) -> str:
    """Too long, or a label outside the ground truth."""
    if not ground_truth:
        return "the person has no label to explain"
    if sentences(text) > MAX_RATIONALE_SENTENCES:
        return f"{sentences(text)} sentences, at most {MAX_RATIONALE_SENTENCES}"
    outside = [
        label
        for label in label_set(set_name).labels
        if label not in ground_truth and re.search(rf"\b{re.escape(label)}\b", text)
    ]
    return f"names labels outside the ground truth: {', '.join(outside)}" if outside else ""


def parse_rationale(reply: str) -> tuple[str, str]:
    """(question, answer) of a reply to listing 5: a JSON list of one object, also inside a code fence.

    Raises ValueError saying what the reply is instead.
    """
    try:
        rows = json_in(reply)
    except ValueError as error:
        raise ValueError(f"rationale: {error}") from None
    row = rows[0] if isinstance(rows, list) and len(rows) == 1 else rows
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "answer")):
        raise ValueError("rationale: expected one object with the strings 'question' and 'answer'")
    return row["question"], row["answer"]
