"""``emo-face train text``: the speech student, from words to emotions, valence and arousal.

Reads goemotions_ekman/, goemotions_28/, xed/, xed_projections/, emobank/, commands/ and topical_chat/ in DATA or
DATA/text (models/nano_text.md says where each is from), trains, calibrates on the validation rows, learns to tell
English from other languages, quantises and writes OUT/nano_text.onnx. Add rows of your own to
goemotions_ekman/train.tsv (text <tab> label ids <tab> id). A run that stops is taken up at its last checkpoint by the
same command; with --start, the upper layers of a student that is there already learn for one epoch, and of several
students their mean.

One encoder, one head, no corpus flag: at run time nobody says which corpus an utterance is from. Losses: cross-entropy
with the annotators' distribution over the seven basics, binary cross-entropy of GoEmotions' 28 labels, squared error of
valence and arousal. Class priors are handled afterwards, on validation, by :mod:`emo_face.training.text.calibration`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_face.core.arguments import arguments, option
from emo_face.core.errors import UserError
from emo_face.core.numeric import softmax
from emo_face.evaluation.metrics.single_label import macro_f1
from emo_face.perception.nano.wordpiece import WordPiece
from emo_face.runtime.files import write_json
from emo_face.runtime.progress import bar
from emo_face.runtime.store import sha256_of
from emo_face.training.common.arguments import common
from emo_face.training.text.calibration import best_thresholds, fine_macro_f1
from emo_face.training.text.data import batches, draw_epoch, encode
from emo_face.training.text.examples import Sources, read_sources

if TYPE_CHECKING:
    from emo_face.training.text.average import WeightAverage

CHECKPOINT_STEPS = 100
WARM_FROZEN = 2
VALIDATION_STEPS, VALIDATION_ROWS = 1000, 1500
"""Rows of each corpus; the export judges all of them."""


@dataclass(frozen=True)
class TextTraining:
    """What a run depends on besides the data; all of it is written beside the weights."""

    seed: int = 0
    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.06
    max_length: int = 128
    noise_rows: int = 1500
    fine_weight: float = 6.0
    """Of the mean binary cross-entropy of the 28 labels, beside the cross-entropy of the seven."""
    affect_weight: float = 5.0
    steps: int = 0
    """Optimiser steps of the run; 0: all of its epochs."""
    languages: str = "en"
    """ISO 639 codes of what the data are written in; other languages are refused."""
    start: str = ""
    """sha256 of the students that the run starts from; empty: from the encoder."""
    frozen_layers: int = 0
    """Lowest layers that do not learn; if any, the word embeddings do not either."""
    average: float = 0.998
    """Decay of the moving average of the weights, which is what the run gives."""
    start_share: float = 0.25
    """Of the start's weights in what a run that has one gives."""
    rare_copies: int = 4
    """How often a row with a rare fine emotion stands in an epoch."""


def train(
    data: Path,
    out: Path,
    config: TextTraining,
    encoder: Path | None = None,
    threads: int = 1,
    start: Sequence[Path] = (),
    stop: int = 0,
) -> Path:
    """Train all epochs and return the checkpoint's path; a checkpoint of the same run in ``out`` is taken up.

    Args:
        start: shipped students to start from, by the mean of their weights; ``config.start`` has their sha256.
        stop: optimiser step to end at though the learning rates fall as if the run went on; 0: none.
    """
    import torch
    from safetensors.torch import save_file

    from emo_face.training.text.average import WeightAverage
    from emo_face.training.text.model import CHECKPOINT, TextNet, encoder_folder, load_encoder

    torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(True)
    sources = read_sources(data, config.rare_copies)
    base = load_encoder(encoder_folder(encoder))
    net, tokens = TextNet(base.module, base.width), WordPiece(base.vocabulary)
    if start:
        from emo_face.training.text.warm import mixed_with, start_from

        outputs = start_from(net, start)
        began = {name: weight.detach().clone() for name, weight in net.state_dict().items()}
    write_json(out / "config.json", {**asdict(config), **({"stop": stop} if stop else {})})
    write_json(out / "sources.json", sources.hashes)
    history = []
    started = time.monotonic()
    _learning(net.encoder, config.frozen_layers)
    average = WeightAverage(net, config.average)
    for epoch, loss in enumerate(_epochs(net, tokens, sources, config, out, average, stop), 1):
        with average.applied():
            scores = _validate(net, tokens, sources, config.max_length)
        history.append({"epoch": epoch, "loss": round(loss, 4), "seconds": round(time.monotonic() - started), **scores})
        write_json(out / "history.json", history)
    with average.applied():
        weights = dict(net.state_dict())
        if start:
            weights = mixed_with(weights, began, config.start_share, outputs)
        save_file({key: value.contiguous() for key, value in weights.items()}, out / CHECKPOINT)
    return out / CHECKPOINT


def _epochs(
    net: Any, tokens: Any, sources: Sources, config: TextTraining, out: Path, average: WeightAverage, stop: int
) -> Iterator[float]:
    """Yield the mean loss after each epoch; linear warm-up and decay over the whole run."""
    import torch

    from emo_face.training.common import checkpoints

    groups = [
        {"params": _learning(net.encoder, config.frozen_layers)},
        {"params": list(net.head.parameters()), "lr": config.head_learning_rate},
    ]
    optimiser = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay, fused=True)
    noise = min(config.noise_rows, len(sources.fixed) // 40)
    rows = len(draw_epoch(sources, noise, np.random.default_rng((config.seed, 0))))
    steps = config.steps or config.epochs * -(-rows // config.batch_size)
    warm, last = max(1, int(config.warmup * steps)), min(stop or steps, steps)
    same = {**asdict(config), "data": sha256(json.dumps(sources.hashes, sort_keys=True).encode()).hexdigest()[:16]}
    place, found = checkpoints.RunProgress(), checkpoints.newest(out)
    if found is not None:
        place = checkpoints.load(
            found, lambda weights, _: net.load_state_dict(average.restore(weights)), optimiser, same
        )
        if place.step > last:
            raise UserError(f"{found}: later than --stop {last}; choose another --out")
    with bar("speech student", last, place.step) as tick:
        for epoch in range(place.epoch, config.epochs):
            if place.step >= last:
                return
            net.train()
            generator = np.random.default_rng((config.seed, epoch))
            drawn = draw_epoch(sources, noise, generator)
            ids, total, count = encode(drawn, tokens, config.max_length, generator), 0.0, 0
            for index, batch in enumerate(batches(ids, drawn, config.batch_size, tokens.pad, generator)):
                if epoch == place.epoch and index < place.position:
                    continue
                scale = min((place.step + 1) / warm, max(0.0, (steps - place.step) / max(1, steps - warm)))
                total += _step(net, batch, optimiser, config, scale) * len(batch.ids)
                count += len(batch.ids)
                place.step += 1
                average.update(place.step)
                tick(place.step, total / count)
                if place.step % CHECKPOINT_STEPS == 0:
                    mark = checkpoints.RunProgress(place.step, epoch, index + 1)
                    state = [checkpoints.random_state()]
                    weights = {**net.state_dict(), **average.state()}
                    checkpoints.save(out, mark, weights, optimiser, same, state)
                    print(f"step {place.step}/{steps} loss {total / count:.4f}", flush=True)
                if place.step % VALIDATION_STEPS == 0:
                    with average.applied():
                        _validate(net, tokens, sources, config.max_length)
                    net.train()
                if place.step >= last:
                    break
            place.position = 0
            yield total / max(count, 1)


def _learning(encoder: Any, frozen: int) -> list[Any]:
    """The encoder's weights that learn; the others need no gradient any more."""
    if frozen:
        for part in (encoder.embeddings, *encoder.encoder.layer[:frozen]):
            part.requires_grad_(False)
    return [weight for weight in encoder.parameters() if weight.requires_grad]


def _step(net: Any, batch: Any, optimiser: Any, config: TextTraining, scale: float) -> float:
    """One optimiser step with the learning rates times ``scale``; returns the loss."""
    import torch

    from emo_face.training.text.model import loss_of

    for group, rate in zip(optimiser.param_groups, (config.learning_rate, config.head_learning_rate), strict=True):
        group["lr"] = rate * scale
    said = net(torch.from_numpy(batch.ids), torch.from_numpy(batch.mask))
    loss = loss_of(said, batch, config.fine_weight, config.affect_weight)
    if not bool(torch.isfinite(loss)):
        raise UserError(f"train text: the loss is {float(loss.detach())}; was --start another model's?")
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([weight for group in optimiser.param_groups for weight in group["params"]], 1.0)
    optimiser.step()
    return float(loss.detach())


def _validate(net: Any, tokens: Any, sources: Sources, max_length: int) -> dict[str, float]:
    """Macro-F1 of the arg max on each validation part, and of the 28 labels at their best thresholds."""
    from emo_face.training.text.model import outputs_of

    scores = {}
    for source, whole in sources.splits.validation.items():
        rows = whole[:VALIDATION_ROWS]
        said = softmax(outputs_of(net, tokens, [row.text for row in rows], max_length)[:, :7])
        scores[source] = round(macro_f1(np.array([row.labels[0] for row in rows]), said), 4)
    fine = sources.fine_validation.take(np.arange(min(2 * VALIDATION_ROWS, len(sources.fine_validation))))
    likely = 1 / (1 + np.exp(-outputs_of(net, tokens, fine.texts, max_length)[:, 7:35]))
    scores["fine"] = round(fine_macro_f1(likely, fine.fine, best_thresholds(likely, fine.fine)), 4)
    print(scores, flush=True)
    return scores


add_arguments = arguments(
    common("folder with the corpora, each in its folder"),
    option("--epochs", type=int, help="passes over the data (default 2, with --start 1)"),
    option("--steps", type=int, default=0, help="optimiser steps of the run (default: all)"),
    option("--stop", type=int, default=0, metavar="STEP", help="stop early, to repeat a run that was cut short"),
    option("--encoder", type=Path, metavar="DIR", help="another uncased BERT or MiniLM"),
    option(
        "--languages",
        nargs="+",
        metavar="CODE",
        help="of DATA (default en), or with --multilingual those to read",
    ),
    option(
        "--multilingual", action="store_true", help="a layer over sentence vectors for other languages than English"
    ),
    option(
        "--start",
        type=Path,
        nargs="+",
        default=[],
        metavar="ONNX",
        help="start from the mean of these files",
    ),
)


def run(args: argparse.Namespace) -> int:
    """``emo-face train text``: train, calibrate, export to ONNX, quantise, check, print the figures."""
    from emo_face.training.text.export import export

    if args.epochs is not None and args.epochs < 1:
        raise UserError(f"--epochs: expected at least 1, got {args.epochs}")
    for name in ("steps", "stop"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name}: expected at least 0, got {getattr(args, name)}")
    if args.multilingual:
        from emo_face.training.text import multilingual

        codes = " ".join(args.languages or multilingual.LANGUAGES)
        multilingual.train(args.data, args.out, multilingual.HeadTraining(args.seed, languages=codes), args.threads)
        return 0
    start = " ".join(sha256_of(path) for path in args.start)
    warm = {"epochs": 1, "frozen_layers": WARM_FROZEN, "start": start} if start else {}
    given = {**warm, "steps": args.steps, **({"epochs": args.epochs} if args.epochs else {})}
    config = TextTraining(seed=args.seed, languages=" ".join(args.languages or ["en"]), **given)
    train(args.data, args.out / "text", config, args.encoder, args.threads, args.start, args.stop)
    export(args.out / "text", args.data, args.out / "nano_text.onnx", args.encoder, args.threads)
    return 0
