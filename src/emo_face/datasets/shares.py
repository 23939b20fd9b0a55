"""How many people have each view: an encoder learns nothing from a view that nobody shows."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from emo_face.core.errors import UserError
from emo_face.datasets.records import Record


def view_shares(records: Sequence[Record]) -> dict[str, float]:
    """View -> share of the people that have it, in [0, 1]; 0 for no records."""
    n = max(len(records), 1)
    return {
        "scene": float(bool(records)),
        "body": sum(record.bbox_body is not None for record in records) / n,
        "face": sum(record.bbox_face is not None for record in records) / n,
    }


def need_views(records: Sequence[Record], views: Sequence[str], where: Path) -> dict[str, float]:
    """The shares of the views, printed to stderr too.

    Args:
        where: the file that the records come from.

    Raises:
        UserError: nobody has one of ``views``.
    """
    shares = view_shares(records)
    absent = [view for view in views if records and shares[view] == 0.0]
    if absent:
        left = " ".join(view for view in views if view not in absent)
        raise UserError(
            f"{where}: none of {len(records)} people has the view {', '.join(absent)}; add boxes by "
            f"`emo-face data boxes --records RECORDS --images IMAGES --to RECORDS`, or leave it out: --views {left}"
        )
    print(f"views of {len(records)} people: {share_text(shares)}", file=sys.stderr)
    return shares


def share_text(shares: Mapping[str, float]) -> str:
    """``scene 100.0 %, body 97.2 %, face 84.1 %``."""
    return ", ".join(f"{view} {100 * share:.1f} %" for view, share in shares.items())
