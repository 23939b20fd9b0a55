"""The multi-view paper's printed tables."""

from typing import Any

from emo_face.core.paths import data_table

UNNAMED = "This run"
"""Name of a run that is no row of table 13."""


def paper() -> dict[str, Any]:
    """The paper's tables (``data/paper_multiview.yaml``)."""
    return data_table("paper_multiview.yaml")


def main_table(name: str) -> str:
    """Key of the paper's main table of a label set; empty if it has none."""
    return {"emotic26": "table2", "caers7": "table4", "heco8": "table5"}.get(name, "")
