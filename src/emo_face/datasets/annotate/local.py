"""A provider that runs a transformers image-text model of this machine. Imports torch when it is made."""

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

from emo_face.core.errors import UserError
from emo_face.core.install import how_to_install
from emo_face.datasets.annotate.provider import Reply, Request


class LocalProvider:
    """Answers with a model in a folder; nothing is fetched. One request at a time.

    Sampling is seeded by the request's content, so the same question gets the same answer.

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
        try:
            self.processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
            dtype = torch.float32 if device == "cpu" else torch.bfloat16
            model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=dtype)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: cannot be loaded: {error}") from None
        self.model: Any = model.to(device).eval()
        self._lock = threading.Lock()
        self._name = folder.name

    @property
    def name(self) -> str:
        """``local:`` and the folder's name."""
        return f"local:{self._name}"

    def complete(self, request: Request) -> Reply:
        """See :class:`~emo_face.datasets.annotate.provider.Provider`."""
        import torch

        with self._lock, torch.inference_mode():
            inputs = self._inputs(request).to(self.model.device)
            if "pixel_values" in inputs:
                inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
            with torch.random.fork_rng():
                torch.manual_seed(int(hashlib.sha256(request.key.encode()).hexdigest()[:12], 16))
                sampling = {"do_sample": True, "temperature": request.temperature} if request.temperature > 0 else {}
                output = self.model.generate(**inputs, max_new_tokens=request.max_tokens, **sampling)
            width = inputs["input_ids"].shape[1]
            text = self.processor.batch_decode(output[:, width:], skip_special_tokens=True)[0]
            return Reply(text, tokens_in=width, tokens_out=int(output.shape[1] - width), model=self._name)

    def _inputs(self, request: Request) -> Any:
        from PIL import Image

        content: list[dict[str, str]] = [{"type": "text", "text": request.user}]
        pictures = None
        if request.picture is not None:
            content.insert(0, {"type": "image"})
            pictures = [Image.open(io.BytesIO(request.picture())).convert("RGB")]
        messages = [{"role": "user", "content": content}]
        if request.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": request.system}]})
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.processor(text=[text], images=pictures, return_tensors="pt")
