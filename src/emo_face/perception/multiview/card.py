"""The model card of a multi-view folder: README.md with front matter, from what the folder itself says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emo_face.core.errors import ModelError
from emo_face.perception.multiview import checkpoint, export_manifest, head_file
from emo_face.perception.multiview.config import EncoderConfig
from emo_face.perception.multiview.encoders import FAMILIES
from emo_face.perception.multiview.head_file import HeadCard

FILE = "README.md"
FILES = ("encoder.*", "head.*", "encoder.onnx*", "head.onnx*", export_manifest.FILE, FILE)
"""What of a folder is published and fetched: weights without code, cards, graphs."""


@dataclass(frozen=True)
class Described:
    """An encoder and its head, trained or exported. ``exported``: it runs without its checkpoint."""

    encoder: EncoderConfig
    head: HeadCard
    exported: bool


def described(folder: Path) -> Described:
    """Check and read a folder. Raises ModelError naming the file that is missing, changed or of another format."""
    if (folder / export_manifest.FILE).is_file():
        manifest = export_manifest.read(folder)
        return Described(manifest.encoder, manifest.head, True)
    if not (folder / head_file.CARD).is_file():
        raise ModelError(
            f"{folder}: neither {export_manifest.FILE} nor {head_file.CARD}; give a trained or exported model"
        )
    from emo_face.perception.multiview import fingerprint

    fingerprint.adapter_key(folder)
    return Described(checkpoint.config_of_card(folder), head_file.read_card(folder)[0], False)


def write(folder: Path, repository: str, licence: str, data: str) -> Path:
    """Write the card.

    Args:
        licence: SPDX in lower case, or ``other``. data: what it was trained on, as its owners call it.

    Raises:
        ModelError: see :func:`described`.
    """
    model = described(folder)
    path = folder / FILE
    path.write_text(text(model, repository, licence, data), encoding="utf-8")
    return path


def text(model: Described, repository: str, licence: str, data: str) -> str:
    """The card of a folder as Markdown with front matter."""
    family = FAMILIES[model.encoder.kind]
    front: dict[str, Any] = {
        "library_name": "emo_face",
        "pipeline_tag": "image-classification",
        "license": licence,
        "base_model": family.example,
        "tags": ["emotion-recognition", "multi-view", "ros2", family.tier],
    }
    if licence == "other":
        front |= {"license_name": "terms-of-weights-and-data", "license_link": "README.md"}
    found = model.head.metrics.get("val", {})
    shown = {name: found[name] for name in ("mAP", "f1", "accuracy") if found.get(name) is not None}
    if shown:
        front["model-index"] = [_index(repository, data, shown)]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n{_body(model, repository, data)}"


def _index(repository: str, data: str, shown: dict[str, float]) -> dict[str, Any]:
    kinds = {"mAP": "mean_average_precision"}
    metrics = [{"type": kinds.get(name, name), "value": round(value, 2)} for name, value in shown.items()]
    task = {"type": "image-classification", "name": "Emotion recognition in context"}
    dataset = {"type": data.lower().replace(" ", "-"), "name": f"{data} (validation)"}
    return {"name": repository, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}


def _body(model: Described, repository: str, data: str) -> str:
    family, fusion = FAMILIES[model.encoder.kind], model.head.fusion
    views = ", ".join(fusion.views)
    needs = "" if model.exported else f" --base {family.kind.upper()}"
    seen = ", ".join(f"{view} {100 * share:.0f} %" for view, share in model.head.metrics.get("views", {}).items())
    return f"""
# {repository}

Emotions of a person in context ({fusion.label_set}) from {views}; encoder {family.kind}, tier `{family.tier}`.

```
emo-face models pull hf://{repository} --to model
emo-face look photo.jpg --tier {family.tier} --model model{needs}
```

- Trained on {data}{f"; people with each view: {seen}" if seen else ""}.
- Terms of the encoder's checkpoint ({family.example}): {family.terms}. The terms of {data} count too.
- Thresholds and calibration were fitted on the validation split; its figures are no test of other people.
- A face shows no more than a guess at a feeling: see docs/responsible_use.md of emo_face.
"""
