"""`emo-face train text` from data to a file that the runtime loads, with a tiny encoder; needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.labels import basic7
from emo_face.perception.nano.text import TextStudent

pytestmark = pytest.mark.slow

WORDS = ("rage", "yuck", "scared", "yay", "peace", "tears", "wow")
"""One word a class, in the order of GoEmotions' Ekman labels."""
FILLERS = ("the", "a", "cat", "dog", "sees", "runs", "home", "today", "again", "then")
PLUTCHIK = {0: 1, 1: 3, 2: 4, 3: 5, 5: 6, 6: 7}


def line(label: int, generator: np.random.Generator) -> str:
    return " ".join(generator.permutation([WORDS[label], *generator.choice(FILLERS, 7)]))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    generator = np.random.default_rng(0)
    goemotions, xed = folder / "goemotions_ekman", folder / "xed"
    goemotions.mkdir()
    xed.mkdir()
    (goemotions / "labels.txt").write_text("anger\ndisgust\nfear\njoy\nneutral\nsadness\nsurprise")
    for part, count in (("train", 1500), ("dev", 200), ("test", 200)):
        rows = [(line(label, generator), label) for label in generator.integers(0, 7, count)]
        (goemotions / f"{part}.tsv").write_text("".join(f"{text}\t{label}\tid\n" for text, label in rows))
    labels = [label for label in generator.integers(0, 7, 4700) if label != 4]
    (xed / "en-annotated.tsv").write_text("".join(f"{line(k, generator)}\t{PLUTCHIK[int(k)]}\n" for k in labels))
    (xed / "neu_en.txt").write_text("".join(f"9\t{line(4, generator)}\n" for _ in range(700)))
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *FILLERS]
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=96,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=96,
        initializer_range=0.1,
    )
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return folder


def test_one_command_trains_a_student_that_reads(data: Path, encoder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    command = ["train", "text", "--data", str(data), "--encoder", str(encoder), "--epochs", "3", "--seed", "3"]
    for run in ("one", "two"):
        assert main([*command, "--out", str(tmp_path / run)]) == 0
    assert (tmp_path / "one/nano_text.onnx").read_bytes() == (tmp_path / "two/nano_text.onnx").read_bytes()
    student = TextStudent(tmp_path / "one/nano_text.onnx")
    for word, label in (("yay", "Happy"), ("rage", "Anger"), ("tears", "Sad"), ("peace", "Neutral")):
        top = student.read(f"the cat {word} runs home today").probabilities.argmax()
        assert basic7().labels[int(top)] == label


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["train", "text", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "labels.txt not found" in capsys.readouterr().err
