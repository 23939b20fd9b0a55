"""`emo-face train text` from data to a file that the runtime loads, with a tiny encoder; needs torch."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.labels import basic7, label_set
from emo_face.perception.nano.text import TextStudent

pytestmark = pytest.mark.slow

WORDS = ("rage", "yuck", "scared", "yay", "peace", "tears", "wow")
"""One word per class, in the order of GoEmotions' Ekman labels."""
FILLERS = ("the", "a", "cat", "dog", "sees", "runs", "home", "today", "again", "then")
FINE = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
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
    other_sources(folder, generator)
    return folder


def other_sources(folder: Path, generator: np.random.Generator) -> None:
    """The corpora beside GoEmotions and XED, each in its publisher's structure."""
    fine = folder / "goemotions_28"
    fine.mkdir()
    (fine / "labels.txt").write_text("\n".join(label_set("goemotions28").labels))
    id_of = {old: label_set("goemotions28").index(name) for old, name in enumerate(FINE)}
    for part in ("train", "dev", "test"):
        rows = (folder / "goemotions_ekman" / f"{part}.tsv").read_text().splitlines()
        cells = [row.split("\t") for row in rows]
        (fine / f"{part}.tsv").write_text("".join(f"{text}\t{id_of[int(label)]}\tid\n" for text, label, _ in cells))
    commands, chat, emobank, other = (
        folder / name for name in ("commands", "topical_chat", "emobank", "xed_projections")
    )
    for sub in (commands, chat, emobank, other):
        sub.mkdir()
    calm = [line(4, generator) for _ in range(1500)]
    (commands / "clinc150.tsv").write_text("".join(f"train\ttimer\t{text} now\n" for text in calm[:750]))
    (commands / "hwu64_home_robot.tsv").write_text("".join(f"alarm_set\t{text} please\n" for text in calm[750:]))
    for name in ("valid_freq", "valid_rare", "test_freq", "test_rare"):
        turns = [{"message": line(4, generator), "sentiment": "Neutral"} for _ in range(200)]
        (chat / f"{name}.json").write_text(json.dumps({"t_1": {"content": turns}}))
    scores = [
        f"{i},{'dev' if i % 4 == 0 else 'train'},{4 if label == 3 else 2}.0,3.{label},0,{line(label, generator)}\n"
        for i, label in enumerate(generator.integers(0, 7, 400))
    ]
    (emobank / "emobank.csv").write_text("id,split,V,A,D,text\n" + "".join(scores))
    for language, words in {
        "de": "der hund und die katze sind nicht hier",
        "es": "el perro no quiere comer hoy",
    }.items():
        rows = (" ".join(generator.permutation(words.split())[:5]) for _ in range(300))
        (other / f"{language}.tsv").write_text("".join(f"{text}\t1\n" for text in rows))


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
    command += ["--languages", "sw"]  # another language needs no line of code
    for run in ("one", "two"):
        assert main([*command, "--out", str(tmp_path / run)]) == 0
    assert (tmp_path / "one/nano_text.onnx").read_bytes() == (tmp_path / "two/nano_text.onnx").read_bytes()
    student = TextStudent(tmp_path / "one/nano_text.onnx")
    for word, label in (("yay", "Happy"), ("rage", "Anger"), ("tears", "Sad"), ("peace", "Neutral")):
        top = student.read(f"the cat {word} runs home today").probabilities.argmax()
        assert basic7().labels[int(top)] == label
    joy = student.read("the cat yay runs home today")
    assert student.fine.labels[int(joy.emotions.argmax())] == "joy"
    assert joy.valence > student.read("the cat tears runs home today").valence
    assert student.read("der hund und die katze sind nicht hier").quality < 0.3
    assert student.languages == ("sw",)


def test_a_stopped_run_goes_on_and_ends_in_the_same_weights(
    data: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_face.training.text import main as text

    monkeypatch.setattr(text, "CHECKPOINT_STEPS", 40)
    config = text.TextTraining(seed=1, epochs=1)
    whole = text.train(data, tmp_path / "whole", config, encoder)
    step, done = text._step, []

    def stopping(*args: object) -> float:
        done.append(1)
        if len(done) == 60:
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(text, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        text.train(data, tmp_path / "halves", config, encoder)
    cut = text.train(data, tmp_path / "halves", config, encoder, stop=40).read_bytes()
    assert cut == text.train(data, tmp_path / "cut", config, encoder, stop=40).read_bytes()
    assert cut != whole.read_bytes()
    with pytest.raises(UserError, match="later than --stop 20"):
        text.train(data, tmp_path / "cut", config, encoder, stop=20)
    again = text.train(data, tmp_path / "halves", config, encoder)
    assert again.read_bytes() == whole.read_bytes()
    mine = tmp_path / "mine"
    shutil.copytree(data, mine)
    with (mine / "goemotions_ekman" / "train.tsv").open("a") as rows:
        rows.write("yay for our robot\t3\tmine\n")
    with pytest.raises(UserError, match="made with data="):
        text.train(mine, tmp_path / "halves", config, encoder)


def test_a_shipped_student_is_a_start(data: Path, encoder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from emo_face.training.text.model import TextNet, load_encoder
    from emo_face.training.text.warm import start_from

    base = ["train", "text", "--data", str(data), "--encoder", str(encoder)]
    assert main([*base, "--epochs", "2", "--out", str(tmp_path / "first")]) == 0
    shipped = tmp_path / "first/nano_text.onnx"
    loaded = load_encoder(encoder)
    net = TextNet(loaded.module, loaded.width)
    start_from(net, [shipped])
    from safetensors.torch import load_file

    trained = load_file(tmp_path / "first/text/text_student.safetensors")
    for name, value in net.state_dict().items():
        if "token_type" not in name and "position" not in name:
            assert (value - trained[name]).abs().max() < 0.02 * trained[name].abs().max() + 1e-6, name
    assert main([*base, "--start", str(shipped), "--epochs", "1", "--out", str(tmp_path / "second")]) == 0


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["train", "text", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "labels.txt not found" in capsys.readouterr().err


def test_a_layer_over_sentence_vectors_reads_another_language(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    from emo_face.perception.nano import text as student_of
    from emo_face.training.text import multilingual

    class Translates:
        """Sentence vectors as of an encoder that knows both languages: a word and its translation are one."""

        def __init__(self, sha256: str = "") -> None:
            self.sha256 = "a" * 64

        def of(self, texts: list[str]) -> np.ndarray:
            rows = np.zeros((len(texts), multilingual.WIDTH), np.float32)
            for row, text in zip(rows, texts, strict=True):
                for word in text.split():
                    word = {"freude": "yay", "wut": "rage"}.get(word, word)
                    row += np.random.default_rng(zlib.crc32(word.encode())).normal(size=len(row))
            return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)

        def inputs(self, cleaned: str) -> tuple[list[dict[str, np.ndarray]], float]:
            return [{"vectors": self.of([cleaned])}], 1.0

    monkeypatch.setattr(multilingual, "SentenceVectors", Translates)
    monkeypatch.setattr(student_of, "SentenceVectors", Translates)
    command = ["train", "text", "--multilingual", "--languages", "de", "--data", str(data), "--seed", "3"]
    for run in ("one", "two"):
        assert main([*command, "--out", str(tmp_path / run)]) == 0
    written = tmp_path / "one" / multilingual.FILE
    assert written.read_bytes() == (tmp_path / "two" / multilingual.FILE).read_bytes()
    student = TextStudent(written)
    assert student.languages == ("de",)
    for word, label in (("freude", "Happy"), ("wut", "Anger")):
        reading = student.read(f"der hund und die katze {word}")
        assert basic7().labels[int(reading.probabilities.argmax())] == label
    assert student.read("el perro no quiere comer hoy").quality < 0.3
