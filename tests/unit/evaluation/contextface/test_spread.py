"""An evaluation in shards gives what one process gives, and goes on where it was killed."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import numpy as np
from tinyworld import stirred

from emo_face.cli.main import main
from emo_face.datasets.records import Record, write_jsonl
from emo_face.evaluation.contextface.predict import PARTS, predict
from emo_face.evaluation.contextface.spread import AskJob, joined
from emo_face.expression.contextface.checkpoint import save_model
from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.expression.contextface.engine import EngineSettings, load_engine
from emo_face.expression.contextface.model import build_model
from emo_face.runtime.runners import run_shards, runner
from fixtures import tiny_contextface as source


def saved(root):
    """A tiny model of text alone beside its backbone."""
    tokenizer = source.tiny_tokenizer("llama")
    base = source.tiny_base("llama", tokenizer)
    base.save_pretrained(root / "backbone")
    tokenizer.save_pretrained(root / "backbone")
    model = stirred(build_model(base, tokenizer, ContextFaceConfig(chat="chatml")))
    return save_model(root / "model", model, str(root / "backbone"))


def test_shards_give_what_one_process_gives_and_a_lost_one_is_made_again(tmp_path, capsys):
    folder = saved(tmp_path)
    people = [Record(f"r{n}", "", "caers7", ("Sad",), "test", "made", quote=f"Oh, {n} dogs!") for n in range(5)]
    job, done = AskJob(folder, "", tmp_path, "quote"), []
    rows = run_shards(job, people, tmp_path / "shards", 3, runner("local", 1, tmp_path), done.append)
    alone = predict(load_engine(EngineSettings(folder)), people, tmp_path, "quote")
    found = joined(rows)
    assert found.ids == alone.ids
    for part in PARTS:
        np.testing.assert_allclose(getattr(found, part), getattr(alone, part), atol=1e-6)
    assert done[-1] == 5
    kept = sorted((tmp_path / "shards").glob("*.jsonl"))
    before = {file: file.stat().st_mtime_ns for file in kept}
    kept[0].unlink()
    again = run_shards(job, people, tmp_path / "shards", 3, runner("local", 1, tmp_path), done.append)
    np.testing.assert_allclose(joined(again).probabilities, alone.probabilities, atol=1e-6)
    assert all(file.stat().st_mtime_ns == before[file] for file in kept[1:]), "nothing is asked twice"
    write_jsonl(tmp_path / "records.jsonl", people)
    command = ["evaluate", "contextface", "--records", tmp_path / "records.jsonl", "--model", folder, "--processes", 2]
    assert main([*map(str, command), "--conditions", "quote"]) != 0
    assert "--processes, --runner: need --out" in capsys.readouterr().err
