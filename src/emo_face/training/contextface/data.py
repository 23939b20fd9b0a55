"""Examples -> the tensors of a ContextFace training step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from emo_face.core.errors import UserError
from emo_face.datasets.records import read_image
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.model import IGNORED, ContextBatch
from emo_face.expression.contextface.prompts import Example, FaceTarget
from emo_face.expression.contextface.tokens import TokenBuilder
from emo_face.expression.contextface.vision import Eyes, NoEyes

Rows = Sequence[Sequence[int]]
"""Token ids or labels of each dialogue."""


@dataclass
class ContextFaceCollator:
    """Makes batches. A dialogue that is too long is cut at its end; a ``<FACE>`` cut off takes its target along."""

    builder: TokenBuilder
    eyes: Eyes | NoEyes
    config: ContextFaceConfig
    packed: bool = False
    """All dialogues in one row, nothing padded: for a model that sees no pictures."""

    def __call__(self, examples: Sequence[Example]) -> ContextBatch:
        """Raises UserError naming the example whose picture, target or basis is wrong."""
        texts, labels, pictures = [], [], []
        targets, present = [], []
        for example in examples:
            tokens = self.builder.dialogue(example.turns)
            ids, learned = tokens.ids[: self.config.max_tokens], tokens.learned[: self.config.max_tokens]
            self._whole_picture(example, ids, tokens.ids)
            label = [i if wanted else IGNORED for i, wanted in zip(ids, learned, strict=True)]
            faces = label.count(self.builder.face_id)
            if faces > 1 or (example.target is not None and not faces and len(ids) == len(tokens.ids)):
                raise UserError(f"example {example.id}: {faces} <FACE> in its answers, expected 1 for its face target")
            for _ in range(faces):
                values, known = target_row(example.target, self.config, example.id)
                targets.append(values)
                present.append(known)
            if self.builder.image_id in ids:
                pictures.append(self._picture(example))
            texts.append(ids)
            labels.append(label)
        return ContextBatch(
            **(_packed(texts, labels) if self.packed else self._side_by_side(texts, labels)),
            targets=torch.tensor(np.array(targets, np.float32).reshape(-1, self.config.outputs)),
            present=torch.tensor(np.array(present, bool).reshape(-1, self.config.outputs)),
            vision=self.eyes.tensors(pictures),
        )

    def _side_by_side(self, texts: Rows, labels: Rows) -> dict[str, torch.Tensor]:
        return {
            "input_ids": _padded(texts, self.builder.tokenizer.pad_token_id or 0),
            "attention_mask": _padded([[1] * len(ids) for ids in texts], 0),
            "labels": _padded(labels, IGNORED),
        }

    def _picture(self, example: Example) -> np.ndarray:
        if example.image is None:
            raise UserError(f"example {example.id}: its question has a picture, but none is given")
        return self.eyes.fitted(read_image(Path(), str(example.image)), example.box)

    def _whole_picture(self, example: Example, ids: Sequence[int], all_ids: Sequence[int]) -> None:
        seen, wanted = ids.count(self.builder.image_id), all_ids.count(self.builder.image_id)
        if seen != wanted:
            raise UserError(
                f"example {example.id}: max_tokens {self.config.max_tokens} cuts its picture ({wanted} tokens)"
            )


def target_row(target: FaceTarget | None, config: ContextFaceConfig, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(outputs,) values and which of them are known.

    Raises:
        UserError: another basis than the model's, a wrong length, or a value that is not finite.
    """
    values, known = np.zeros(config.outputs, np.float32), np.zeros(config.outputs, bool)
    if target is None:
        return values, known
    if target.basis != config.face_basis:
        raise UserError(
            f"example {name}: face target is in {target.basis}, the model in {config.face_basis}; convert it: "
            "emo-face flame convert"
        )
    for group, where in config.slices().items():
        given = getattr(target, group)
        if given is None:
            continue
        array = np.asarray(given, np.float32)
        if array.shape != (where.stop - where.start,) or not np.isfinite(array).all():
            size = where.stop - where.start
            raise UserError(f"example {name}: field {group!r}: expected {size} finite numbers, got {array.shape}")
        values[where], known[where] = array, True
    return values, known


def all_targets(examples: Sequence[Example], config: ContextFaceConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, outputs) targets of a training set and which are known, for the head's statistics."""
    rows = [target_row(e.target, config, e.id) for e in examples if e.target is not None]
    if not rows:
        raise UserError("training set: no example has a face target; import them first: emo-face data targets --help")
    return torch.tensor(np.stack([r[0] for r in rows])), torch.tensor(np.stack([r[1] for r in rows]))


def _packed(texts: Rows, labels: Rows) -> dict[str, torch.Tensor]:
    """One row of dialogues, each of which sees itself alone, at the positions that it has alone."""
    owner = torch.repeat_interleave(torch.arange(len(texts)), torch.tensor([len(ids) for ids in texts]))
    places = torch.arange(len(owner))
    sees = (owner[:, None] == owner) & (places[:, None] >= places)
    # the first label of each would be predicted by another dialogue; it is never learned, it belongs to a question
    return {
        "input_ids": torch.tensor([[i for ids in texts for i in ids]]),
        "attention_mask": sees[None, None],
        "labels": torch.tensor([[i for row in labels for i in row]]),
        "positions": torch.cat([torch.arange(len(ids)) for ids in texts])[None],
    }


def _padded(rows: Rows, value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], True, value)
