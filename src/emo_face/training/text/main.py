"""``emo-face train text``: the speech student, from words to emotions; fine-tuned on GoEmotions and XED together.

Reads goemotions_ekman/{labels.txt,train.tsv,dev.tsv,test.tsv} and xed/{en-annotated.tsv,neu_en.txt} in DATA or
DATA/text, trains, calibrates on the validation rows, quantises and writes OUT/nano_text.onnx (35 min on one core). Add
rows of your own to train.tsv (text <tab> label ids <tab> id).

One encoder, one head, no corpus flag: at run time nobody says which corpus an utterance is from. Loss is the
cross-entropy with the annotators' distribution; class priors are handled afterwards, on validation, by
:mod:`emo_face.training.text.calibration`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.core.numeric import softmax
from emo_face.core.types import FloatArray
from emo_face.datasets.text import TextRow, read_splits
from emo_face.evaluation.metrics.single_label import macro_f1
from emo_face.runtime.files import write_json
from emo_face.runtime.progress import bar
from emo_face.training.common.arguments import add_common


@dataclass(frozen=True)
class TextTraining:
    """What a run depends on besides the data; all of it is written beside the weights."""

    seed: int = 0
    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.06
    max_length: int = 48
    noise_rows: int = 1500
    patience: int = 1
    """Epochs without a better validation score after which a run stops; the schedule is that of ``epochs``."""


def logits_of(net: Any, tokens: Any, texts: Sequence[str], max_length: int, batch: int = 128) -> FloatArray:
    """(n, 7) float64 logits of the torch student, in the order of ``texts``."""
    import torch

    from emo_face.perception.nano.wordpiece import clean
    from emo_face.training.text.data import pad

    ids = [tokens.encode(clean(text), max_length) for text in texts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    out = np.zeros((len(ids), net.head.out_features))
    net.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            rows, mask = pad([ids[i] for i in chosen], tokens.pad)
            out[chosen] = net(torch.from_numpy(rows), torch.from_numpy(mask)).double().numpy()
    return out


def train(data: Path, out: Path, config: TextTraining, encoder: Path | None = None, threads: int = 1) -> Path:
    """Train, keep the epoch with the best validation macro-F1 (mean of the corpora), return the checkpoint's path."""
    import torch
    from safetensors.torch import save_file

    from emo_face.perception.nano.wordpiece import WordPiece
    from emo_face.training.text.model import CHECKPOINT, TextNet, encoder_folder, load_encoder

    splits = read_splits(data)
    torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(True)
    base = load_encoder(encoder_folder(encoder))
    tokens = WordPiece(base.vocabulary)
    net = TextNet(base.module, base.width)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "config.json", asdict(config))
    (out / "vocab.txt").write_text("\n".join(base.vocabulary) + "\n", encoding="utf-8")
    best, waited, history = -1.0, 0, []
    for epoch, loss in enumerate(_epochs(net, tokens, splits.train, config), 1):
        scores = _validate(net, tokens, splits.validation, config.max_length)
        history.append({"epoch": epoch, "loss": round(loss, 4), **scores})
        write_json(out / "history.json", history)
        if scores["mean"] > best:
            best, waited = scores["mean"], 0
            save_file({key: value.contiguous() for key, value in net.state_dict().items()}, out / CHECKPOINT)
        elif (waited := waited + 1) >= config.patience:
            break
    return out / CHECKPOINT


def _epochs(net: Any, tokens: Any, rows: Sequence[TextRow], config: TextTraining) -> Iterator[float]:
    """Yield the mean loss after each epoch; linear warm-up and decay over the whole run."""
    import torch

    from emo_face.training.text.data import batches, encode_epoch

    generator = np.random.default_rng(config.seed)
    head = list(net.head.parameters())
    body = list(net.encoder.parameters())
    groups = [{"params": body}, {"params": head, "lr": config.head_learning_rate}]
    optimiser = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay, fused=True)
    noise = min(config.noise_rows, len(rows) // 40)
    steps = config.epochs * -(-(len(rows) + noise) // config.batch_size)
    warm = max(1, int(config.warmup * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))
    )
    done = 0
    with bar("speech student", steps) as tick:
        for epoch in range(config.epochs):
            net.train()
            total, count, started = 0.0, 0, time.monotonic()
            ids, target = encode_epoch(rows, tokens, config.max_length, noise, generator)
            for batch in batches(ids, target, config.batch_size, tokens.pad, generator):
                total += _step(net, batch, optimiser) * len(batch.ids)
                schedule.step()
                count += len(batch.ids)
                done += 1
                tick(done, total / count)
            print(f"epoch {epoch + 1}: loss {total / count:.4f}, {time.monotonic() - started:.0f} s", flush=True)
            yield total / count


def _step(net: Any, batch: Any, optimiser: Any) -> float:
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        logits = net(torch.from_numpy(batch.ids), torch.from_numpy(batch.mask))
    loss = -(torch.from_numpy(batch.target) * logits.float().log_softmax(-1)).sum(-1).mean()
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _validate(net: Any, tokens: Any, parts: dict[str, tuple[TextRow, ...]], max_length: int) -> dict[str, float]:
    """Macro-F1 of the arg max on each validation part and their mean."""
    scores = {}
    for source, rows in parts.items():
        said = softmax(logits_of(net, tokens, [row.text for row in rows], max_length))
        scores[source] = round(macro_f1(np.array([row.labels[0] for row in rows]), said), 4)
    scores["mean"] = round(float(np.mean(list(scores.values()))), 4)
    print(scores, flush=True)
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, length, encoder."""
    add_common(parser, "folder with goemotions_ekman/ and xed/")
    parser.add_argument("--epochs", type=int, default=TextTraining.epochs, help="at most (default %(default)s)")
    parser.add_argument("--encoder", type=Path, metavar="DIR", help="another uncased BERT or MiniLM")


def run(args: argparse.Namespace) -> int:
    """``emo-face train text``: train, calibrate, export to ONNX, quantise, check, print the figures."""
    from emo_face.training.text.export import export

    if args.epochs < 1:
        raise UserError(f"--epochs: expected at least 1, got {args.epochs}")
    train(args.data, args.out / "text", TextTraining(args.seed, args.epochs), args.encoder, args.threads)
    export(args.out / "text", args.data, args.out / "nano_text.onnx", args.encoder, args.threads)
    return 0
