"""ContextFace: a vision-language model with a ``<FACE>`` token and a face head (paper, section 3.3).

Any transformers image-text model serves, and for words alone any causal language model: its text width, decoder and
embeddings are found, not assumed.
"""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from emo_face.core.errors import ModelError
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.head import FaceHead
from emo_face.expression.contextface.prompts import FACE

IGNORED = -100
"""Label of tokens that the loss leaves out."""


@dataclass
class ContextBatch:
    """Tensors of some training dialogues, padded on the right.

    Attributes:
        input_ids, labels: (b, t); labels are :data:`IGNORED` where nothing is learned.
        attention_mask: (b, t), or (b, 1, t, t) of dialogues packed into one row, each of which sees itself alone.
        positions: (b, t) of packed dialogues, each from 0 on; None if the model counts.
        vision: what the model's vision part takes (``pixel_values`` ...), pictures of the batch one after another;
            empty if no dialogue has one, and then no picture is encoded.
        targets, present: (f, outputs) true values for the f ``<FACE>`` tokens in reading order, and which are known.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    targets: Tensor
    present: Tensor
    vision: dict[str, Tensor] = field(default_factory=dict)
    positions: Tensor | None = None

    def to(self, device: Any) -> ContextBatch:
        """The batch on another device."""
        own = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved = {name: value.to(device) for name, value in own.items()}
        return ContextBatch(**moved, vision={name: value.to(device) for name, value in self.vision.items()})


@dataclass
class Output:
    """What one training pass gives.

    Attributes:
        text_loss: 0 without learned tokens. states: (f, d) of the ``<FACE>`` tokens. faces: (f, outputs) true values.
    """

    text_loss: Tensor
    states: Tensor
    faces: Tensor


class ContextFace(nn.Module):  # type: ignore[misc, unused-ignore]
    """The language model with its adapter, and the head.

    Attributes:
        vlm: a transformers image-text or causal language model, bare, merged, or wrapped by peft.
        face_id, image_id: token ids of ``<FACE>`` and of the picture placeholder (:data:`NO_PICTURES`: it has none).
    """

    def __init__(self, vlm: nn.Module, head: FaceHead, config: ContextFaceConfig, face_id: int) -> None:
        super().__init__()
        self.vlm, self.head, self.config, self.face_id = vlm, head, config, face_id
        self.image_id = image_token_id(self.base.config)

    @property
    def base(self) -> Any:
        """The transformers model inside; an adapter lives in its layers."""
        vlm: Any = self.vlm
        return vlm.get_base_model() if hasattr(self.vlm, "get_base_model") else self.vlm

    @property
    def core(self) -> Any:
        """The transformers model without its language head."""
        return core_of(self.base)

    @property
    def placed(self) -> bool:
        """Whether it places a picture's tokens in time, height and width (Qwen-VL)."""
        return hasattr(self.core, "get_rope_index")

    @property
    def device(self) -> torch.device:
        """Where the token embedding is."""
        device: torch.device = self.base.get_input_embeddings().weight.device
        return device

    def hidden(self, input_ids: Tensor, vision: dict[str, Tensor], **options: Any) -> Any:
        """Last hidden states, (b, t, d), by the model without its language head; the cache comes back in the output."""
        core, marks = self.core, picture_marks(self.base)
        if marks and (vision or (self.placed and options.get("position_ids") is None)):
            options[marks] = (input_ids == self.image_id).int()
        if "cache" in options and not takes(core, "cache"):  # its name before transformers 5.24
            options["past_key_values"] = options.pop("cache")
        return core(input_ids=input_ids, **self.cast(vision), **options)

    def cast(self, vision: dict[str, Tensor]) -> dict[str, Tensor]:
        """Pixels in the model's precision, on its device."""
        return {
            name: value.to(self.device, self.base.dtype if value.is_floating_point() else None)
            for name, value in vision.items()
        }

    def logits(self, states: Tensor) -> Tensor:
        """Scores of the vocabulary, float32, for states (..., d)."""
        result: Tensor = self.base.get_output_embeddings()(states)
        return result.float()

    def forward(self, batch: ContextBatch) -> Output:
        """The cross-entropy of the answers and the faces at their ``<FACE>`` tokens, in one pass."""
        options: dict[str, Any] = {"attention_mask": batch.attention_mask}
        if batch.positions is not None:
            lowest, dtype = torch.finfo(self.base.dtype).min, self.base.dtype
            hidden = torch.where(batch.attention_mask, 0.0, lowest).to(dtype)
            options = {"attention_mask": hidden, "position_ids": batch.positions}
        states = self.hidden(batch.input_ids, batch.vision, **options).last_hidden_state
        wanted = batch.labels[:, 1:]
        used = wanted != IGNORED
        predicted = self.logits(states[:, :-1][used])
        # the sum of nothing is 0 and has a gradient; a mean of nothing is NaN
        loss = nn.functional.cross_entropy(predicted, wanted[used], reduction="sum") / max(1, int(used.sum()))
        read = states[self.face_places(batch)]
        return Output(loss, read, self.head(read))

    def face_places(self, batch: ContextBatch) -> tuple[Tensor, Tensor]:
        """(row, position) of the states that give the faces, reading order.

        Raises:
            ValueError: another number of learned ``<FACE>`` tokens than of targets.
        """
        rows, places = torch.nonzero(batch.labels == self.face_id, as_tuple=True)
        if len(rows) != len(batch.targets):
            raise ValueError(f"batch has {len(rows)} learned <FACE> tokens and {len(batch.targets)} face targets")
        return rows, places + self.config.hidden_offset


NO_PICTURES = -1
"""In place of the picture placeholder's id: a language model of text alone."""


def image_token_id(config: Any) -> int:
    """Id of the picture placeholder; :data:`NO_PICTURES` for a text-only model.

    Raises:
        ModelError: it sees, and its config names no placeholder.
    """
    if getattr(config, "vision_config", None) is None:
        return NO_PICTURES
    for name in ("image_token_id", "image_token_index"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    raise ModelError(f"model type {config.model_type!r}: its config names no image token; is it an image-text model?")


MASKED_LAYERS = frozenset(("full_attention", "sliding_attention"))
"""Kinds of layers (transformers' ``layer_types``) that see what a mask shows them, a sliding one in its window.

Recurrent and convolutional layers mix what lies side by side whatever a mask says; of chunked and indexed ones nothing
is known here."""


def core_of(base: Any) -> Any:
    """A transformers model without its language head."""
    return getattr(base, "model", None) or base.base_model


def takes(core: Any, name: str) -> bool:
    """Whether a model's forward pass has an argument of this name."""
    return name in inspect.signature(core.forward).parameters


def picture_marks(base: Any) -> str:
    """Argument that tells a model which tokens are a picture's; empty if it does not ask, as PaliGemma, whose
    ``token_type_ids`` are about the answer."""
    core, names = core_of(base), ("mm_token_type_ids", "token_type_ids")
    return "" if base.config.model_type == "paligemma" else next((n for n in names if takes(core, n)), "")


def tree_reach(base: Any, picture: bool = False) -> float:
    """Tokens up to which one pass over all branches equals separate passes: 0 never, infinity always, else a window.

    ``picture``: tokens of a picture are among them; some models (Gemma) let these see each other.
    """
    text = base.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    # if positions are not given but counted (ALiBi), a branch would stand behind its siblings
    if getattr(base, "_is_stateful", False) or kinds - MASKED_LAYERS or not takes(core_of(base), "position_ids"):
        return 0
    if picture and picture_marks(base) and not hasattr(core_of(base), "get_rope_index"):
        return 0
    window = getattr(text, "sliding_window", None)
    return float(window) if window and (not kinds or "sliding_attention" in kinds) else math.inf


def add_face_token(base: Any, tokenizer: Any) -> int:
    """Give tokenizer and model the ``<FACE>`` token; its rows start at the mean of all rows. Returns its id."""
    tokenizer.add_tokens([FACE], special_tokens=True)
    face_id = int(tokenizer.convert_tokens_to_ids(FACE))
    tables = [base.get_input_embeddings(), base.get_output_embeddings()]
    known = min(table.weight.shape[0] for table in tables)
    if face_id >= known:
        base.resize_token_embeddings(face_id + 1, mean_resizing=False)
        tables = [base.get_input_embeddings(), base.get_output_embeddings()]
    with torch.no_grad():
        for table in tables:
            rows = table.weight[: min(known, face_id)]
            table.weight[min(known, face_id) : face_id + 1] = rows.float().mean(0).to(rows.dtype)  # no row is random
    return face_id


def name_of(base: nn.Module, part: nn.Module) -> str:
    """Dotted name of a module inside ``base``."""
    return next(str(name) for name, module in base.named_modules() if module is part)


def adapted(base: Any, config: ContextFaceConfig, face_id: int) -> Any:
    """``base`` with LoRA on its language model alone and with trainable rows for ``<FACE>`` alone.

    Raises:
        ModelError: the language model has no layer of that name.
    """
    from peft import LoraConfig, get_peft_model

    decoder = name_of(base, base.get_decoder())
    targets = "|".join(map(re.escape, config.lora_targets))
    layers = range(config.lora_from, int(base.config.get_text_config().num_hidden_layers))
    place = rf"layers\.(?:{'|'.join(map(str, layers))})\.(?:.*\.)?" if config.lora_from else r"(?:.*\.)?"
    pattern = rf"{re.escape(decoder)}\.{place}(?:{targets})"
    if not any(re.fullmatch(pattern, name) for name, _ in base.named_modules()):
        raise ModelError(f"language model {decoder!r} has no layers named {', '.join(config.lora_targets)}")
    embedding, output = base.get_input_embeddings(), base.get_output_embeddings()
    rows = {name_of(base, embedding): [face_id]}
    if output.weight is not embedding.weight:  # tied rows are trained once
        rows[name_of(base, output)] = [face_id]
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        task_type="CAUSAL_LM",
        target_modules=pattern,
        trainable_token_indices=rows,
    )
    return get_peft_model(base, settings)


def build_model(base: Any, tokenizer: Any, config: ContextFaceConfig, seed: int = 0) -> ContextFace:
    """A model to be trained: token, adapter and a fresh head (random by ``seed``) around a loaded ``base``."""
    base.requires_grad_(False)
    face_id = add_face_token(base, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vlm = adapted(base, config, face_id)
        head = FaceHead(int(base.config.get_text_config().hidden_size), config.outputs)
    if config.lora_from:
        base.get_decoder().layers[config.lora_from].register_forward_pre_hook(_without_gradient)
    return ContextFace(vlm, head, config, face_id)


def _without_gradient(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A layer's inputs cut off from what made them: nothing below it learns."""
    return (inputs[0].detach(), *inputs[1:])


def merged(model: ContextFace) -> ContextFace:
    """The model with its adapter folded into the weights, for inference: no second copy, no extra work a pass.

    The given model must not be used afterwards. Quantised weights are left as they are: folding would round again.
    """
    if not hasattr(model.vlm, "merge_and_unload") or getattr(model.base, "is_quantized", False):
        model.eval()
        return model
    vlm: Any = model.vlm
    result = ContextFace(vlm.merge_and_unload(), model.head, model.config, model.face_id)
    result.eval()
    return result
