"""The ContextFace paper's tables, and our columns in their order."""

from typing import Any

from emo_face.core.paths import data_table

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


def paper() -> dict[str, Any]:
    """The tables (``data/paper_contextface.yaml``)."""
    return data_table("paper_contextface.yaml")
