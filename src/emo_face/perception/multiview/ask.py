"""Ask the Stage-1 model about a person: a question in, text out, piece by piece."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import ModelError, UserError
from emo_face.core.types import ImageArray, Person
from emo_face.perception.multiview.encoders import FAMILIES, model_type
from emo_face.perception.multiview.preprocess import view_batch
from emo_face.perception.multiview.words.stream import never_empty, question_of
from emo_face.runtime import weights
from emo_face.runtime.engines.place import place


class Asker:
    """The Stage-1 vision-language model with its tokenizers."""

    def __init__(self, vlm: Any, tokenizer: Any, qformer_tokenizer: Any, device: str = "cpu") -> None:
        self.vlm = place(vlm, device, "InstructBLIP")
        self.tokenizer, self.qformer_tokenizer, self.device = tokenizer, qformer_tokenizer, device

    def ask(
        self,
        frame: ImageArray,
        person: Person,
        question: str,
        others: Sequence[Person] = (),
        max_new_tokens: int = 128,
    ) -> Iterator[str]:
        """Answer ``question`` about ``person``, greedily, as it is generated.

        Args:
            frame: H x W x 3 BGR uint8. others: further people in it, whose boxes are drawn too if configured.

        Raises:
            UserError: the question is empty, no view of the person can be cut, or the model has no word to say.
        """
        import torch

        from emo_face.perception.multiview.vlm import MultiViewBatch

        text = question_of(question, frame)
        views = view_batch(frame, [person], self.vlm.config, others)
        if not views.present.any():
            raise UserError("person: no view can be cut; give a box that meets the image")
        asked = self.qformer_tokenizer(text, truncation=True, max_length=256)["input_ids"]
        told = self.tokenizer(text, truncation=True, max_length=256)["input_ids"]
        ids, qids = torch.tensor([told]), torch.tensor([asked])
        pixels = {view: torch.from_numpy(np.ascontiguousarray(value)) for view, value in views.pixels.items()}
        rows = torch.from_numpy(views.rows)
        batch = MultiViewBatch(pixels, rows, qids, torch.ones_like(qids), ids, torch.ones_like(ids)).to(self.device)
        options = {"max_new_tokens": max_new_tokens, "do_sample": False}
        yield from never_empty(self.vlm.stream(batch, self.tokenizer, **options))


def load(base: Path, folder: Path | None = None, device: str = "cpu") -> Any:
    """What answers: an :class:`Asker` around an InstructBLIP, a :class:`.words.chat.ChatAsker` around another.

    Without ``folder``, the Stage-1 encoder, the untrained three-view model answers: the original InstructBLIP on three
    pictures.

    Raises:
        ModelError: weights or tokenizers are missing; says which and the fix.
    """
    from emo_face.perception.multiview import checkpoint
    from emo_face.perception.multiview.model import precision
    from emo_face.perception.multiview.vlm import load_vlm

    if (base / "config.json").is_file() and model_type(base) not in FAMILIES["instructblip"].model_types:
        from emo_face.perception.multiview.words import chat

        if folder is not None:
            raise ModelError(
                f"{folder}: a Stage-1 encoder is InstructBLIP's, {base} is {model_type(base)}; leave it out"
            )
        return chat.load(base, device, precision(device))
    model = checkpoint.load_base(base, precision(device))
    tokenizers = load_tokenizers(base)
    return Asker(load_vlm(folder, model), *tokenizers, device)


def load_tokenizers(base: Path) -> tuple[Any, Any]:
    """The tokenizers of the language model and the Q-Former.

    Raises:
        ModelError: one is missing or is not the checkpoint's (transformers makes an empty one up without a word).
    """
    from transformers import AutoTokenizer

    qformer = base / "qformer_tokenizer"
    with weights.loading(base, "a tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(base, **weights.LOCAL)
        second = AutoTokenizer.from_pretrained(qformer if qformer.is_dir() else base, **weights.LOCAL)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    room = config.get("qformer_config", {}).get("vocab_size", len(second)) + 8  # a few added tokens are no other model
    for name, words, wrong in (("tokenizer", tokenizer, False), ("qformer_tokenizer", second, len(second) > room)):
        if wrong or not words("Why?")["input_ids"]:
            raise ModelError(
                f"{base}: {name} is missing or another model's ({len(words):,} words); fetch the whole checkpoint "
                "again, with the folder qformer_tokenizer"
            )
    return tokenizer, second
