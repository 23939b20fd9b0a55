"""Ask a small image-text model about a person: SmolVLM, Qwen3-VL, any of transformers' that takes a chat with pictures.

It gets what the multi-view model sees, in its own chat template: the scene with the person in a red box, the body, the
face. It is not trained here.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch

from emo_face.core.errors import ModelError
from emo_face.core.types import ImageArray, Person
from emo_face.perception.multiview.preprocess import RED_BGR
from emo_face.perception.multiview.words.stream import never_empty, question_of, streamed
from emo_face.perception.views import views
from emo_face.runtime import weights
from emo_face.runtime.engines.place import place

TOLD = {
    "scene": "The scene; the red box marks the person asked about:",
    "body": "The person:",
    "face": "The person's face:",
}


class ChatAsker:
    """An image-text model with its processor."""

    def __init__(self, model: Any, processor: Any, device: str = "cpu") -> None:
        self.model, self.processor = place(model, device, type(model).__name__), processor
        if hasattr(processor.image_processor, "do_image_splitting"):
            processor.image_processor.do_image_splitting = False  # a view is one tile, not seventeen

    def ask(
        self,
        frame: ImageArray,
        person: Person,
        question: str,
        others: Sequence[Person] = (),
        max_new_tokens: int = 128,
    ) -> Iterator[str]:
        """See :meth:`..ask.Asker.ask`; ``others`` are not marked."""
        text, content, pictures = question_of(question, frame), [], []
        for view, picture in shown(frame, person).items():
            content += [{"type": "text", "text": TOLD[view]}, {"type": "image"}]
            pictures.append(picture[:, :, ::-1].copy())
        told = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
        prompt = self.processor.apply_chat_template(told, add_generation_prompt=True, tokenize=False)
        inputs = self.processor(text=[prompt], images=[pictures], return_tensors="pt").to(self.model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        words = partial(self.model.generate, **inputs, max_new_tokens=max_new_tokens, do_sample=False)
        yield from never_empty(streamed(words, self.processor.tokenizer, skip_prompt=True))


def shown(frame: ImageArray, person: Person) -> dict[str, ImageArray]:
    """View -> BGR picture, of those that can be cut."""
    cut, marked = views(frame, person), frame.copy()
    if (box := person.body or (person.face.box if person.face else None)) is not None:
        first, last = (round(box.x), round(box.y)), (round(box.right), round(box.bottom))
        cv2.rectangle(marked, first, last, RED_BGR, max(2, min(frame.shape[:2]) // 112))
    found = {"scene": marked, "body": cut.body, "face": cut.face}
    return {view: picture for view, picture in found.items() if picture is not None and min(picture.shape[:2]) > 0}


def load(base: Path, device: str = "cpu", dtype: str = "float32") -> ChatAsker:
    """The model of a folder, never from the network.

    Raises:
        ModelError: weights, processor, a library of the processor, or chat template missing.
    """
    try:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        model = weights.load_pretrained(AutoModelForImageTextToText, base, "an image-text model", getattr(torch, dtype))
        processor = AutoProcessor.from_pretrained(base, **weights.LOCAL)
    except ImportError as error:
        raise ModelError(f"{base}: its processor lacks a library ({_first(error)}); {_libraries()}") from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{base}: its processor does not load ({_first(error)}); fetch the whole checkpoint again"
        ) from None
    if not getattr(processor, "chat_template", None):
        raise ModelError(f"{base}: has no chat template, so it takes no questions; give an Instruct checkpoint")
    return ChatAsker(model, processor, device)


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(". ")[0]


def _libraries() -> str:
    """How to get what processors of models that also take videos want: a torchvision of torch's own build."""
    build = torch.__version__.partition("+")[2]
    index = f" --extra-index-url https://download.pytorch.org/whl/{build}" if build else ""
    return f"pip install torch=={torch.__version__} torchvision num2words{index}"
