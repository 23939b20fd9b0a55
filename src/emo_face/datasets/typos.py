"""Spellings of labels that released annotations are known to contain, and what is meant. Nothing else is guessed."""

from collections import Counter
from collections.abc import Iterable, Mapping

from emo_face.datasets.records import ordered

KNOWN: Mapping[str, Mapping[str, str]] = {
    # line 9736 of HECO_Labels.csv, as the README of BENet (its public reader) warns
    "heco8": {"Happinesst": "Happiness"},
    # rkosti/emotic, src/EMOTIC_mean_images/README.md; the authors' paper and .mat have Disquietment
    "emotic26": {"Disquitement": "Disquietment"},
}
"""Label set -> spelling found -> label."""


def corrected(labels: Iterable[str], set_name: str, skipped: Counter[str] | None = None) -> tuple[str, ...]:
    """``labels`` as :func:`ordered` gives them, known typing errors mended and counted. Raises ValueError."""
    table, found = KNOWN.get(set_name, {}), list(labels)
    if skipped is not None:
        skipped.update(f"typing error mended: {label}" for label in found if label in table)
    return ordered([table.get(label, label) for label in found], set_name)
