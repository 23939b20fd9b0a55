"""Annotation by a transformers model in a folder: a tiny random LLaVA with its processor, saved and loaded."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.provider import Request


def test_a_model_in_a_folder_answers(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    from emo_face.datasets.annotate.local import LocalProvider
    from fixtures import tiny_contextface as tiny

    tokenizer = tiny.tiny_tokenizer("llava")
    tiny.tiny_base("llava", tokenizer).save_pretrained(tmp_path)
    tiny.tiny_llava_processor(tokenizer).save_pretrained(tmp_path)
    picture = cv2.imencode(".jpg", np.zeros((60, 60, 3), np.uint8))[1].tobytes()
    provider = LocalProvider(tmp_path)
    question = Request(str(tmp_path), "Be short.", "What is it?", "k", max_tokens=6, picture=lambda: picture)
    first, again = provider.complete(question), provider.complete(question)
    assert first == again, "the same question gets the same answer"
    assert 0 < first.tokens_out <= 6
    assert first.tokens_in > 16, "the picture's tokens count"
    assert provider.name == f"local:{tmp_path.name}"
    other = provider.complete(Request(str(tmp_path), "Be short.", "What is it?", max_tokens=6, attempt=1))
    assert other.tokens_in < first.tokens_in
    with pytest.raises(UserError, match=r"config\.json"):
        LocalProvider(tmp_path / "none")
