"""What each view is worth to a trained head: hidden, attended to, and in single people."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emo_face.core.labels import label_set
from emo_face.core.types import FloatArray
from emo_face.datasets.features import Features
from emo_face.datasets.labelled import Labelled, predict
from emo_face.datasets.records import Record
from emo_face.evaluation.metrics import multilabel
from emo_face.evaluation.metrics.calibration import reliability
from emo_face.evaluation.metrics.single_label import sklearn_metrics
from emo_face.runtime.stills import readable

EXAMPLES = 6
SIDE = 240  # pixels, of an example's longer side
SHOWN = 3  # labels of an example


def without(data: Labelled, view: int) -> Features:
    """The features with one view hidden from everybody."""
    present = data.features.present.copy()
    present[:, view] = 0
    return Features(data.features.ids, data.features.features, present)


def hidden(head: Any, card: Any, data: Labelled, mode: multilabel.APMode) -> dict[str, dict[str, float]]:
    """Without which view what is left, in percent: mAP, and accuracy of single-label sets; ``none`` hides nothing."""
    found = {}
    for v, name in enumerate(("none", *card.fusion.views), -1):
        logits, _ = predict(head, data.features if v < 0 else without(data, v))
        multi, probabilities = label_set(card.fusion.label_set).multi, card.probabilities(logits)
        ap = multilabel.mean_average_precision(logits if multi else probabilities, data.truth, mode)
        found[name] = {"mAP": 100 * ap.value}
        if not multi:
            found[name]["accuracy"] = 100 * multilabel.accuracy(probabilities, data.truth)
    return found


def attention(head: Any, data: Labelled) -> list[list[float]] | None:
    """(views, views): how much each view (row) attends to each (column), mean of heads and people that have both."""
    import torch

    if head.attention is None:
        return None
    with torch.no_grad():
        present = torch.from_numpy(data.features.present).float()
        weights = head.attention_weights(torch.from_numpy(data.features.features).float(), present)
    both = present[:, :, None] * present[:, None, :]
    found: list[list[float]] = ((weights.mean(1) * both).sum(0) / both.sum(0).clamp(min=1)).tolist()
    return found


def examples(
    head: Any, card: Any, data: Labelled, people: Sequence[Record], images: Path | None, count: int = EXAMPLES
) -> list[dict[str, Any]]:
    """Some people of the split, evenly spread: picture (if ``images`` has it), truth, scores, evidence of each view.

    Evidence is the fall of the top label's probability when the view is hidden from the head, as on a robot.
    """
    names = label_set(card.fusion.label_set).labels
    rows = sorted({i * len(people) // count for i in range(min(count, len(people)))})
    whole = card.probabilities(predict(head, data.features)[0])
    left = [card.probabilities(predict(head, without(data, v))[0]) for v in range(len(card.fusion.views))]
    found = []
    for i in rows:
        top = int(whole[i].argmax())
        falls = {
            view: float(whole[i, top] - left[v][i, top])
            for v, view in enumerate(card.fusion.views)
            if data.features.present[i, v]
        }
        scores = {names[k]: float(whole[i, k]) for k in np.argsort(-whole[i])[:SHOWN]}
        shown = {"id": people[i].id, "truth": list(people[i].labels), "scores": scores, "evidence": falls}
        found.append({**shown, "picture": None if images is None else thumbnail(images / people[i].image, people[i])})
    return found


def thumbnail(path: Path, record: Record) -> str | None:
    """A small JPEG with the person's boxes, in base64; None if the picture cannot be read."""
    picture = readable(path)
    if picture is None:
        return None
    for box, colour in ((record.bbox_body, (0, 0, 255)), (record.bbox_face, (255, 160, 0))):
        if box is not None:
            corners = [tuple(round(v) for v in point) for point in ((box.x, box.y), (box.right, box.bottom))]
            cv2.rectangle(picture, corners[0], corners[1], colour, max(1, max(picture.shape[:2]) // 150))
    scale = SIDE / max(picture.shape[:2])
    small = cv2.resize(
        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return base64.b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()


def curves(probabilities: FloatArray, truth: Any, labels: Sequence[str], points: int = 60) -> dict[str, dict[str, Any]]:
    """Label -> points of its precision-recall and calibration curves; labels without a positive are left out."""
    found = {}
    for c, label in enumerate(labels):
        if not truth[:, c].any():
            continue
        precision, recall, _ = sklearn_metrics().precision_recall_curve(truth[:, c], probabilities[:, c])
        kept = np.unique(np.linspace(0, len(recall) - 1, points).round().astype(int))
        bins = reliability(probabilities[:, c], truth[:, c], kind="mass")
        found[label] = {
            "recall": recall[kept].tolist(),
            "precision": precision[kept].tolist(),
            "score": bins.score.tolist(),
            "share": bins.share.tolist(),
        }
    return found


def confusion(predicted: Any, truth: Any) -> list[list[float]]:
    """(classes, classes): of people with label i, the share that was also given j; NaN if nobody has i.

    A person may have several labels.
    """
    predicted, truth = np.asarray(predicted, float), np.asarray(truth, float)
    people = np.where(truth.sum(0) > 0, truth.sum(0), np.nan)
    shares: list[list[float]] = (truth.T @ predicted / people[:, None]).tolist()
    return shares
