"""The ContextFace paper's tables, and our columns in their order."""

from functools import cache
from typing import Any

import yaml

from emo_face.core.paths import data_file

SHORT = {
    "Hap": "Happy",
    "Sad": "Sad",
    "Neu": "Neutral",
    "Ang": "Angry",
    "Sur": "Surprise",
    "Dis": "Disgust",
    "Fea": "Fear",
}
"""Column of the paper's tables -> emotion word."""


@cache
def paper() -> dict[str, Any]:
    """The tables (``data/paper_contextface.yaml``)."""
    content: dict[str, Any] = yaml.safe_load(data_file("paper_contextface.yaml").read_text(encoding="utf-8"))
    return content
