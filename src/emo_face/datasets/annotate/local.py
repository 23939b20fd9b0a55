"""A provider that runs a transformers image-text model of this machine. Imports torch when it is made."""

import hashlib
import io
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.datasets.annotate.provider import Reply, Request
from emo_face.runtime import weights

MOST = 16
"""Questions of one batch."""


class LocalProvider:
    """Answers with a model in a folder; nothing is fetched. What is asked while it works is its next batch.

    Sampling is seeded by each request's content: the same question gets the same answer, but for rounding in a batch.

    Args:
        folder: a saved image-text model with its processor. device: cpu, cuda, ...

    Raises:
        UserError: torch or transformers missing, or no such model there.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        try:
            import torch
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError:
            raise UserError(f"--provider local needs torch and transformers: {how_to_install('train')}") from None
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no config.json; --model must be the folder of a saved image-text model")
        with weights.loading(folder, "a processor"):
            self.processor: Any = AutoProcessor.from_pretrained(folder, **weights.LOCAL)
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = weights.load_pretrained(AutoModelForImageTextToText, folder, "an image-text model", dtype)
        self.model: Any = model.to(device)
        self._working, self._waiting = threading.Lock(), dict[Future[Reply], Request]()
        self._name = folder.name

    @property
    def name(self) -> str:
        """``local:`` and the folder's name."""
        return f"local:{self._name}"

    def complete(self, request: Request) -> Reply:
        """See :class:`~emo_face.datasets.annotate.provider.Provider`."""
        answer = Future[Reply]()
        self._waiting[answer] = request
        with self._working:
            if not answer.done():
                alike = [one for one, other in list(self._waiting.items()) if _shape(other) == _shape(request)]
                batch = [answer, *(one for one in alike if one is not answer)][:MOST]
                self._answer({one: self._waiting.pop(one) for one in batch})
        return answer.result()

    def _answer(self, batch: Mapping[Future[Reply], Request]) -> None:
        """A batch that fails is asked one by one: it may be too large, or one of its pictures broken."""
        try:
            for answer, reply in zip(batch, self._replies(list(batch.values())), strict=True):
                answer.set_result(reply)
        except Exception as error:
            for answer, request in batch.items():
                if len(batch) == 1:
                    answer.set_exception(error)
                else:
                    self._answer({answer: request})

    def _replies(self, requests: Sequence[Request]) -> list[Reply]:
        import torch

        with torch.inference_mode():
            inputs = self._inputs(requests).to(self.model.device)
            if "pixel_values" in inputs:
                inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
            told = {"max_new_tokens": requests[0].max_tokens, "do_sample": False, "logits_processor": [Draw(requests)]}
            output = self.model.generate(**inputs, **told)
        ends, given = self.model.generation_config.eos_token_id, inputs["attention_mask"].sum(1).tolist()
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        replies = []
        for ids, asked in zip(output[:, inputs["input_ids"].shape[1] :].tolist(), given, strict=True):
            end = next((n for n, token in enumerate(ids, 1) if token in ends), 0)
            said = ids[: end or len(ids)]
            text, cut = self.processor.decode(said, skip_special_tokens=True), bool(ends) and not end
            replies.append(Reply(text, cut=cut, tokens_in=int(asked), tokens_out=len(said), model=self._name))
        return replies

    def _inputs(self, requests: Sequence[Request]) -> Any:
        from PIL import Image

        texts, pictures = [], []
        for request in requests:
            content: list[dict[str, str]] = [{"type": "text", "text": request.user}]
            if request.picture is not None:
                content.insert(0, {"type": "image"})
                pictures.append([Image.open(io.BytesIO(request.picture())).convert("RGB")])
            messages = [{"role": "user", "content": content}]
            if request.system:
                messages.insert(0, {"role": "system", "content": [{"type": "text", "text": request.system}]})
            texts.append(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        padding = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
        return self.processor(text=texts, images=pictures or None, **padding)


class Draw:
    """Makes the largest score of each row a draw at its request's temperature, by a generator of its own (Gumbel)."""

    def __init__(self, requests: Sequence[Request]) -> None:
        import torch

        seeds = [int(hashlib.sha256(request.key.encode()).hexdigest()[:12], 16) for request in requests]
        drawn = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._rows = list(zip((request.temperature for request in requests), drawn, strict=True))

    def __call__(self, ids: Any, scores: Any) -> Any:
        """Scores (b, vocabulary), changed in place."""
        import torch

        for row, (temperature, generator) in zip(scores, self._rows, strict=True):
            if temperature > 0:
                noise = torch.empty(row.shape).exponential_(generator=generator).log()
                row.div_(temperature).sub_(noise.to(row.device))
        return scores


def _shape(request: Request) -> tuple[bool, int]:
    """What requests of one batch share."""
    return request.picture is None, request.max_tokens
