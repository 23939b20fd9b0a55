"""Annotated people and corpus rows -> the tensors that the multi-view model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from emo_face.core.types import Face, Person
from emo_face.datasets.qa.corpus import QARow
from emo_face.datasets.records import Record, read_image
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.preprocess import ViewBatch, view_batch
from emo_face.perception.multiview.vlm import IGNORED, MultiViewBatch


def person_of(record: Record) -> Person:
    """The annotated person as the perception pipeline would hand it over."""
    face = None if record.bbox_face is None else Face(record.bbox_face, 1.0)
    return Person(record.id, 1.0, record.bbox_body, face)


@dataclass
class Pictures:
    """Views of annotated people; knows who else is in a picture, for the boxes on the scene."""

    root: Path
    config: EncoderConfig
    neighbours: dict[str, list[Person]] = field(default_factory=dict)

    @staticmethod
    def of(root: Path, config: EncoderConfig, records: Sequence[Record]) -> Pictures:
        """Index the people of every picture."""
        found: dict[str, dict[str, Person]] = {}
        for record in records:
            found.setdefault(record.image, {})[record.id] = person_of(record)
        return Pictures(root, config, {image: list(people.values()) for image, people in found.items()})

    def views(self, record: Record) -> ViewBatch:
        """Views of one person."""
        frame = read_image(self.root, record.image)
        others = [p for p in self.neighbours.get(record.image, []) if p.person_id != record.id]
        return view_batch(frame, [person_of(record)], self.config, others)


def stack_views(batches: Sequence[ViewBatch], views: Sequence[str]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Pixels of several frames one after another, and their rows shifted to match."""
    pixels = {view: torch.from_numpy(np.concatenate([batch.pixels[view] for batch in batches])) for view in views}
    rows, start = [], np.zeros(len(views), np.int64)
    for batch in batches:
        rows.append(np.where(batch.rows >= 0, batch.rows + start, -1))
        start += [len(batch.pixels[view]) for view in views]
    return pixels, torch.from_numpy(np.concatenate(rows))


@dataclass
class MultiViewCollator:
    """Corpus rows -> :class:`MultiViewBatch`. The text is question, answer, end; only answer and end are learned.

    Attributes:
        tokenizer: of the language model; puts BOS first. qformer_tokenizer: of the Q-Former.
        max_question, max_answer: tokens; longer texts are cut at the end.
    """

    pictures: Pictures
    tokenizer: Any
    qformer_tokenizer: Any
    max_question: int = 256
    max_answer: int = 128

    def __call__(self, rows: Sequence[QARow]) -> MultiViewBatch:
        pixels, index = stack_views([self.pictures.views(row.record) for row in rows], self.pictures.config.views)
        asked = [self._ids(self.qformer_tokenizer, row.question, self.max_question) for row in rows]
        texts, labels = [], []
        for row in rows:
            question = self._ids(self.tokenizer, row.question, self.max_question)
            answer = self._ids(self.tokenizer, row.answer, self.max_answer + 1, special=False)
            whole = len(answer) <= self.max_answer  # one that was cut has no end to learn
            answer = [*answer, self.tokenizer.eos_token_id] if whole else answer[: self.max_answer]
            texts.append(question + answer)
            labels.append([IGNORED] * len(question) + answer)
        pad = self.tokenizer.pad_token_id
        question_ids, question_mask = _pad(asked, self.qformer_tokenizer.pad_token_id)
        input_ids, mask = _pad(texts, pad)
        return MultiViewBatch(pixels, index, question_ids, question_mask, input_ids, mask, _pad(labels, IGNORED)[0])

    def prompts(self, records: Sequence[Record], question: str) -> MultiViewBatch:
        """One question about several people, to be answered; no labels and no padding."""
        pixels, index = stack_views([self.pictures.views(record) for record in records], self.pictures.config.views)
        asked = _pad([self._ids(self.qformer_tokenizer, question, self.max_question)] * len(records), 0)
        told = _pad([self._ids(self.tokenizer, question, self.max_question)] * len(records), 0)
        return MultiViewBatch(pixels, index, *asked, *told)

    @staticmethod
    def _ids(tokenizer: Any, text: str, limit: int, special: bool = True) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=special, truncation=True, max_length=limit)["input_ids"]
        return ids


def _pad(rows: Sequence[Sequence[int]], value: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], True, value)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], True)
    return ids, mask
