"""What the exported graphs do not hold: the questions as token ids with open slots, and how a picture becomes numbers.

Written once beside the graphs (``export.json``, ``tokenizer.json``), so that serving needs neither torch nor
transformers; a chat template is never run again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import ConfigError, ModelError
from emo_face.core.types import FloatArray, ImageArray
from emo_face.expression.contextface.conditions import CONDITIONS, Condition
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.prompts import Piece, Style, branch_parts, safe, words
from emo_face.expression.contextface.tokens import MAX_SLOT_TOKENS, TokenBuilder, continued
from emo_face.runtime.files import write_json
from emo_face.runtime.store import sha256_of
from emo_face.runtime.weights import read_card

FORMAT = "emo_face.contextface_export/2"
"""The first had prefills of one fixed length."""
CARD, TOKENIZER = "export.json", "tokenizer.json"
EXPORT_AGAIN = "export again: emo-face export contextface --help"
GRAPHS = ("prefill.onnx", "vision.onnx", "head.onnx", "arkit.onnx")
QUOTE, SITUATION = "quote", "situation"


@dataclass(frozen=True)
class PictureForm:
    """How an RGB picture becomes the input of ``vision.onnx``: ``rgb * scale + offset`` by channel.

    Attributes:
        size: pixels per side. tokens: rows that it becomes. shape: of the input. scale, offset: (3,).
    """

    size: int
    tokens: int
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def pixels(self, picture: ImageArray) -> FloatArray:
        """The input for a (size, size, 3) RGB picture."""
        scale, offset = (np.array(values, np.float32) for values in (self.scale, self.offset))
        scaled = picture.astype(np.float32) * scale + offset
        return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32).reshape(self.shape)


def measured(eyes: Any) -> PictureForm:
    """What a checkpoint's image processor does to a fitted picture (:class:`~...contextface.vision.Eyes`).

    Raises:
        ModelError: it does more than scale each channel.
    """

    def made(picture: ImageArray) -> FloatArray:
        return np.asarray(eyes.tensors([picture])["pixel_values"], np.float64)

    black, white = (made(np.full((eyes.size, eyes.size, 3), level, np.uint8)) for level in (0, 255))
    low, high = (values.reshape(3, -1)[:, 0] for values in (black, white))
    form = PictureForm(
        eyes.size, eyes.tokens, tuple(black.shape), tuple(map(float, (high - low) / 255)), tuple(map(float, low))
    )
    noise = np.random.default_rng(0).integers(0, 256, (eyes.size, eyes.size, 3), dtype=np.uint8)
    wanted = made(noise)
    same = wanted.size == noise.size and np.abs(form.pixels(noise) - wanted).max() < 1e-4
    if not same:
        raise ModelError("pictures: this image processor does more than scale; export without --pictures")
    return form


def cleared(folder: Path) -> Path:
    """Make ``folder`` ready for an export: what an earlier one left, its card first, is no part of the next."""
    for name in (CARD, TOKENIZER, "head.json", *GRAPHS, *(f"{name}.data" for name in GRAPHS)):
        (folder / name).unlink(missing_ok=True)
    return folder


def write_card(
    folder: Path, builder: TokenBuilder, config: ContextFaceConfig, prompt: int, eyes: Any | None, arkit: str
) -> Path:
    """Write ``tokenizer.json`` and the card of the graphs in ``folder``.

    Args:
        prompt: tokens of the longest prompt that the prefill takes. eyes: what fits pictures, if the graphs take them.
        arkit: the basis that ``arkit.onnx`` is for.

    Raises:
        ModelError: see :func:`measured`.
    """
    builder.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    forms = {
        name: _open_form(builder, form, config.style)
        for name, form in CONDITIONS.items()
        if not form.picture or (eyes and config.style == "paper")
    }
    kept = (*GRAPHS, *(f"{name}.data" for name in GRAPHS), TOKENIZER)  # weights of large graphs lie beside them
    files = [name for name in kept if (folder / name).is_file()]
    card = {
        "format": FORMAT,
        "config": asdict(config),
        "prompt": prompt,
        "arkit_basis": arkit,
        "picture": asdict(measured(eyes)) if eyes else None,
        "special": sorted(builder.special),
        "forms": forms,
        "sha256": {name: sha256_of(folder / name) for name in files},
    }
    write_json(folder / CARD, card)
    return folder / CARD


def read_export(folder: Path) -> dict[str, Any]:
    """The card of a folder of graphs. Raises ModelError naming file and field."""
    fields = {"config": dict, "prompt": int, "arkit_basis": str, "special": list, "forms": dict, "sha256": dict}
    return read_card(folder / CARD, FORMAT, EXPORT_AGAIN, **fields)


def _open_form(builder: TokenBuilder, form: Condition, style: Style) -> list[Any]:
    """Runs of ids, and ``{"slot": name, "before": text}`` where the texts of a question go."""
    quote, situation = form.texts(QUOTE, SITUATION)
    lead = branch_parts(form.source, words()[0], style)[0]
    return [
        {"slot": part.text.strip(), "before": part.text[: len(part.text) - len(part.text.lstrip())]}
        if isinstance(part, Piece)
        else list(part)
        for part in builder.template(form.question(quote, situation, style), lead)
    ]


class PromptTable:
    """Questions of a card -> token ids, as :class:`~emo_face.expression.contextface.tokens.TokenBuilder` makes them.

    Args:
        card: see :func:`write_card`. tokenizer: a ``tokenizers.Tokenizer``.
    """

    def __init__(self, card: Mapping[str, Any], tokenizer: Any) -> None:
        self._forms: Mapping[str, Sequence[Any]] = card["forms"]
        self._special = frozenset(card["special"])
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = True  # a marker in somebody's words is words
        self._slot = lru_cache(4096)(self._ids)

    @property
    def forms(self) -> tuple[str, ...]:
        """Names of the questions that it has."""
        return tuple(self._forms)

    def ids(self, form: Condition, quote: str, situation: str) -> tuple[int, ...]:
        """The prompt of a question, up to where the branches begin."""
        texts = {QUOTE: safe(quote), SITUATION: safe(situation)}
        found: list[int] = []
        for part in self._forms[form.name]:
            if isinstance(part, dict):
                found += self._slot(part["before"] + texts[part["slot"]])
            else:
                found += part
        return tuple(found)

    def _ids(self, text: str) -> tuple[int, ...]:
        ids = continued(lambda words: tuple(self._tokenizer.encode(words, add_special_tokens=False).ids), text)
        return tuple(i for i in ids if i not in self._special)[:MAX_SLOT_TOKENS]


def read_picture_form(card: Mapping[str, Any], where: Path) -> PictureForm | None:
    """The picture's part of a card. Raises ConfigError naming the file."""
    given = card.get("picture")
    if given is None:
        return None
    try:
        lists = {key: tuple(given[key]) for key in ("shape", "scale", "offset")}
        return PictureForm(int(given["size"]), int(given["tokens"]), **lists)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: field 'picture': {error}; export again") from None
