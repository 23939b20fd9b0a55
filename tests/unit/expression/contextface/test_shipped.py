"""The small model that ships: whole, small, and of this package's templates, without loading its backbone."""

from __future__ import annotations

import json
from pathlib import Path

from emo_face.core.configs import from_dict
from emo_face.core.paths import data_file, share_dir
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.runtime.store import open_store, sha256_of
from emo_face.runtime.weights import model_folder

FOLDER = model_folder("smollm2_face")
CARD = json.loads((FOLDER / "contextface.json").read_text(encoding="utf-8"))


def test_its_files_are_those_of_its_card():
    assert share_dir() / "models" / "smollm2_face" == FOLDER
    assert {name: sha256_of(FOLDER / name) for name in CARD["sha256"]} == CARD["sha256"]
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 12e6
    assert (FOLDER / "prompts.yaml").read_bytes() == data_file("contextface_prompts.yaml").read_bytes(), (
        "templates changed: the shipped model answers other questions than it was trained on"
    )


def test_it_answers_the_robots_questions_without_flame():
    config = from_dict(ContextFaceConfig, CARD["config"], "card")
    assert (config.face_basis, config.outputs, config.style) == ("arkit-52", 52, "short")
    assert {"quote", "listener/quote", "listener/situation+quote"} <= set(config.conditions)
    assert set(config.temperatures) == set(config.shifts) == set(config.least_emissions) >= {"speaker", "listener"}
    assert CARD["backbone"] in open_store().entries, "scripts/setup.sh contextface fetches it"


def test_its_page_says_what_it_is():
    page = Path(FOLDER.parent / "smollm2_face.md").read_text(encoding="utf-8")
    assert "experiment" in page
    assert CARD["sha256"]["adapter.safetensors"][:8] in page
