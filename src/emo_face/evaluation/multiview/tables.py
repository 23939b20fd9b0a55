"""The multi-view paper's printed tables."""

from typing import Any

import yaml

from emo_face.core.paths import data_file

UNNAMED = "This run"
"""Name of a run that is no row of table 13."""


def paper() -> dict[str, Any]:
    """The paper's tables (``data/paper_multiview.yaml``)."""
    content: dict[str, Any] = yaml.safe_load(data_file("paper_multiview.yaml").read_text(encoding="utf-8"))
    return content


def main_table(name: str) -> str:
    """Key of the paper's main table of a label set; empty if it has none."""
    return {"emotic26": "table2", "caers7": "table4", "heco8": "table5"}.get(name, "")
