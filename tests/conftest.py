"""What every test shares: the folder of real assets, found beside the checkout or by EMO_FACE_ASSETS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(os.environ.get("EMO_FACE_ASSETS", ROOT.parent / "shared" / "assets"))


@pytest.fixture(scope="session")
def assets() -> Path:
    """Folder of real models, pictures, video and text; skips where it is absent."""
    if not ASSETS.is_dir():
        pytest.skip(f"no assets at {ASSETS}; set EMO_FACE_ASSETS")
    return ASSETS
