"""Cached features with their truth, and what a fusion head says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emo_face.core.errors import UserError
from emo_face.datasets.features import Features
from emo_face.datasets.records import Record
from emo_face.perception.multiview.fusion_head import FusionHead

Array = NDArray[Any]


@dataclass(frozen=True)
class Labelled:
    """Features with truth: (n, classes) 0/1 and (n, 3) VAD in [-1, 1], NaN if not annotated."""

    features: Features
    truth: Array
    vad: Array

    def __len__(self) -> int:
        return len(self.truth)


def labelled(features: Features, records: Sequence[Record], name: str) -> Labelled:
    """Join features and labels. Raises UserError for no records or another label set."""
    if not records:
        raise UserError("Stage 2: no records in this split; the split is empty")
    other = {record.label_set for record in records} - {name}
    if other:
        raise UserError(f"Stage 2: records of label set {', '.join(sorted(other))}, the head is for {name!r}")
    truth = np.array([record.one_hot() for record in records], np.uint8)
    vad = np.array([(np.nan,) * 3 if r.vad is None else [(x - 5.5) / 4.5 for x in r.vad] for r in records], np.float32)
    return Labelled(features.of(records), truth, vad)


def with_views(data: Labelled, views: Sequence[str], all_views: Sequence[str]) -> Labelled:
    """Only some views of the features: the ablation of the paper's table 6."""
    columns = [list(all_views).index(view) for view in views]
    found = Features(data.features.ids, data.features.features[:, columns], data.features.present[:, columns])
    return Labelled(found, data.truth, data.vad)


@torch.no_grad()  # type: ignore[untyped-decorator]
def predict(head: FusionHead, features: Features, batch: int = 4096) -> tuple[Array, Array | None]:
    """Logits (n, classes) and VAD (n, 3) or None, in eval mode."""
    head.eval()
    logits, affect = [], []
    for start in range(0, len(features.ids), batch):
        rows = slice(start, start + batch)
        found, vad = head(torch.from_numpy(features.features[rows]).float(), torch.from_numpy(features.present[rows]))
        logits.append(found.numpy())
        if vad is not None:
            affect.append(vad.numpy())
    return np.concatenate(logits), np.concatenate(affect) if affect else None
