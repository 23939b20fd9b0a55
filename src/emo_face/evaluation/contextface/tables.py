"""The ContextFace paper's tables, and our columns in their order."""

from typing import Any

from emo_face.core.errors import UserError
from emo_face.core.paths import data_table
from emo_face.runtime.weights import model_folder

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


def ablation_of(item: str) -> tuple[str, str, str]:
    """Table, row and folder of an ``--also``. Raises UserError for an unknown row or no model."""
    where, _, folder = item.partition("=")
    table, _, row = where.partition("/")
    known = {name: paper()[name]["rows"] for name in ("table3", "table4", "supplement_table2")}
    if not folder or row not in known.get(table, {}):
        rows = ", ".join(f"{t}/{r}" for t, rows in known.items() for r in rows)
        raise UserError(f"--also: expected TABLE/ROW=DIR with TABLE/ROW one of {rows}; got {item!r}")
    if not (model_folder(folder) / "contextface.json").is_file():
        raise UserError(f"--also {item}: no trained ContextFace in {folder} (no contextface.json)")
    return table, row, folder
