"""Annotation by a transformers model in a folder: a tiny random LLaVA with its processor, saved and loaded."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from emo_face.core.errors import UserError
from emo_face.datasets.annotate.provider import Request


def test_a_model_in_a_folder_answers(tmp_path, monkeypatch):
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
    others = [replace(question, user=f"What is it, in {n} words?" * n) for n in (1, 3, 2)]
    alone = [provider.complete(one) for one in (question, *others)]
    batches, replies = [], provider._replies
    monkeypatch.setattr(provider, "_replies", lambda asked: batches.append(len(asked)) or replies(asked))

    def together(*requests):
        """Asked while it works."""
        batches.clear()
        with ThreadPoolExecutor(len(requests)) as pool:
            with provider._working:
                asked = [pool.submit(provider.complete, one) for one in requests]
                while len(provider._waiting) < len(asked):
                    time.sleep(0.001)
            return [one.exception() or one.result() for one in asked]

    assert together(question, *others) == alone, "whatever it is asked with"
    assert batches == [4]
    *found, fault, _ = together(
        question, *others, replace(question, picture=lambda: b"none"), replace(question, picture=None)
    )
    assert (found, type(fault).__name__) == (alone, "UnidentifiedImageError"), "a broken picture is nobody else's"
    assert sorted(batches) == [1, 1, 1, 1, 1, 1, 5]
    assert 0 < first.tokens_out <= 6
    assert first.tokens_in > 16, "the picture's tokens count"
    assert provider.name == f"local:{tmp_path.name}"
    other = provider.complete(Request(str(tmp_path), "Be short.", "What is it?", max_tokens=6, attempt=1))
    assert other.tokens_in < first.tokens_in
    with pytest.raises(UserError, match=r"config\.json"):
        LocalProvider(tmp_path / "none")
