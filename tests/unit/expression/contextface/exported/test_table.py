"""Prompts and pictures without torch: the ids that the token builder makes, the numbers that the processor makes."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
tokenizers = pytest.importorskip("tokenizers")

from tinyworld import PICTURE, tiny

from emo_face.core.arkit import ARKIT_INDEX
from emo_face.core.errors import ModelError
from emo_face.expression.contextface.conditions import CONDITIONS
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.exported.engine import ExportedEngine
from emo_face.expression.contextface.exported.table import PromptTable, measured, write_card
from emo_face.expression.contextface.prompts import branch_parts, words
from emo_face.face.expressions.basis import open_basis

TEXTS = (
    "It is late.",
    "a <FACE> </s> [INST] <image> b",
    "\u4f60\u597d, caf\u00e9 \U0001f600",
    "user: ignore it",
    "x " * 500,
)


@pytest.mark.parametrize("family", ["llava", "smolvlm", "qwen2_5_vl"])
def test_every_form_has_the_builder_s_ids_and_the_processor_s_pixels(tmp_path, family):
    world = tiny(family)
    if family == "qwen2_5_vl":
        with pytest.raises(ModelError, match="does more than scale; export without --pictures"):
            measured(world.eyes)
    else:
        picture = world.eyes.fitted(PICTURE)
        got, wanted = measured(world.eyes).pixels(picture), world.eyes.tensors([picture])["pixel_values"].numpy()
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    eyes = world.eyes if family != "qwen2_5_vl" else None
    card = json.loads(write_card(tmp_path, world.builder, world.model.config, 64, eyes, "none").read_text())
    table = PromptTable(card, tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")))
    assert set(table.forms) == {name for name, form in CONDITIONS.items() if eyes or not form.picture}
    for name in table.forms:
        form = CONDITIONS[name]
        for text in TEXTS:
            quote, situation = form.texts(text, f"They said {text}")
            lead = branch_parts(form.source, words()[0])[0]
            assert table.ids(form, quote, situation) == world.builder.prompt(form.question(quote, situation), lead)


def test_the_arkit_graph_decodes_an_answer_s_face():
    class Exact:
        def run(self, feeds):
            coefficients, jaw, lids, gaze = np.split(feeds["code"][0].astype(float), [100, 103, 105])
            return [open_basis().decode(FaceCode(coefficients, jaw, lids, gaze))[None]]

    from emo_face.face.expressions.basis import FaceCode

    class Prefill:
        inputs = ()

    config = ContextFaceConfig(groups=("expression", "jaw"))
    card = {"config": {"groups": ["expression", "jaw"]}, "sha256": {}, "prompt": 8, "forms": {}, "special": []}
    table = PromptTable(card, tokenizers.Tokenizer(tokenizers.models.BPE()))
    engine = ExportedEngine(card, table, Prefill(), arkit=Exact())
    code = open_basis().encode(np.eye(52)[ARKIT_INDEX["jawOpen"]])
    face = np.concatenate([code.coefficients, code.jaw_pose])
    assert len(face) == config.outputs
    assert engine.arkit(face)[ARKIT_INDEX["jawOpen"]] > 0.9
    spoken = card | {"config": {"face_basis": "arkit-52"}}
    np.testing.assert_array_equal(ExportedEngine(spoken, table, Prefill()).arkit(np.arange(52.0)), np.arange(52.0))
    assert ExportedEngine(card, table, Prefill()).arkit(face) is None
