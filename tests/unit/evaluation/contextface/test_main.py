"""The evaluation command: on predictions whose quality is known, and once with a real tiny model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from emo_face.cli.main import main
from emo_face.core.errors import UserError
from emo_face.core.types import Box
from emo_face.datasets.contexts import face_targets
from emo_face.datasets.records import Record, write_jsonl
from emo_face.evaluation.contextface import predict as cp
from emo_face.evaluation.contextface.measure import measure
from emo_face.evaluation.contextface.report import tables
from emo_face.evaluation.contextface.situations import Told
from emo_face.evaluation.contextface.tables import SHORT, ablation_of, paper
from emo_face.expression.contextface.conditions import CONDITIONS
from emo_face.expression.contextface.prompts import label_of, words

WORDS = words()
EVENTS = {
    "Angry": "fence broken",
    "Sad": "dog gone",
    "Surprise": "parrot inside",
    "Neutral": "bus on time",
    "Fear": "steps upstairs",
    "Happy": "match won",
    "Disgust": "soup mouldy",
}


def make(tmp_path, count=70, version="flame2020"):
    """Records of both splits, targets around a mean for each emotion, and the true faces."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.3, (7, 100))
    records, faces = [], []
    for split in ("train", "test"):
        for i in range(count):
            word = WORDS[i % 7]
            leak = f" He is {word.lower()}." if i < 14 else ""
            records.append(
                Record(
                    f"{split}{i}",
                    f"{i}.png",
                    "caers7",
                    (label_of(word),),
                    split,
                    "made",
                    situation=f"It is {EVENTS[word]}.{leak}",
                    quote=f"Oh, {EVENTS[word]}!",
                    bbox_body=Box(5, 5, 20, 20),
                    reaction=label_of(WORDS[(i + 1) % 7]),
                )
            )
            faces.append(means[i % 7] + rng.normal(0, 0.1, 100))
    truth = np.array(faces, np.float32)
    nothing = np.full((2 * count, 3), np.nan, np.float32)
    targets = face_targets.FaceTargets(version, "made", tuple(r.id for r in records), truth, nothing, nothing[:, :2])
    face_targets.write(tmp_path / "targets.npz", targets)
    write_jsonl(tmp_path / "records.jsonl", records)
    return records, truth


def predictions(tmp_path, truth, count=70, wrong=7, noise=0.05):
    """Right but for the first ``wrong``; faces near the true ones."""
    rng = np.random.default_rng(1)
    run = cp.Run(model={"folder": "made", "face_basis": "flame2020"})
    for name in ("quote", "situation", "situation masked"):
        guess = np.arange(count) % 7
        guess[:wrong] = (guess[:wrong] + 1) % 7
        probabilities = np.full((count, 7), 0.05)
        probabilities[np.arange(count), guess] = 0.7
        near = truth[count:] + rng.normal(0, noise, (count, 100))
        spoken = (
            cp.Spoken(np.array([-1, *guess[1:20]]), np.array([False] * 2 + [True] * 18)) if name == "quote" else None
        )
        ids = tuple(f"test{i}" for i in range(count))
        run.conditions[name] = cp.ConditionPredictions(
            ids, probabilities, np.full(count, 0.9), near, near * 0.99, near * 1.1, spoken
        )
    cp.save(tmp_path / "predictions.npz", run)
    return run


def evaluate(tmp_path, *more):
    words = ["evaluate", "contextface", "--records", tmp_path / "records.jsonl", "--rounds", "8", *more]
    return main([str(word) for word in words])


def test_a_report_of_known_predictions(tmp_path, capsys):
    _, truth = make(tmp_path)
    predictions(tmp_path, truth)
    where = (
        "--predictions",
        tmp_path / "predictions.npz",
        "--targets",
        tmp_path / "targets.npz",
        "--out",
        tmp_path / "out",
    )
    assert evaluate(tmp_path, *where, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    quote = report["emotion"]["quote"]
    assert (quote["WAR"], quote["UAR"], quote["form"]) == (pytest.approx(90),) * 3
    assert quote["interval"]["WAR"][0] <= 90 <= quote["interval"]["WAR"][1]
    assert quote["baselines"]["majority"]["WAR"] == pytest.approx(100 / 7)
    assert (quote["spoken"]["n"], quote["spoken"]["emitted"], quote["spoken"]["unparsed"]) == (20, 90, 5)
    assert quote["calibration"]["ECE"] == pytest.approx(0.2, abs=0.01), "90 % right at a confidence of 70 %"
    rows = report["expression"]["quote"]["rows"]
    errors = {name: row["per_dim_mse"]["value"] for name, row in rows.items()}
    assert errors["ContextFace, map"] == pytest.approx(0.05**2, rel=0.1)
    assert errors["ContextFace, map"] < errors["Per-emotion mean"] < errors["Mean"] < errors["Random"]
    assert errors["ContextFace, map"] < errors["ContextFace, told"]  # these are a tenth too large
    assert errors["Per-emotion mean"] < errors["Per-emotion mean, map"]  # a tenth of the emotions were misread
    assert rows["Mean"]["sum_sq"]["value"] / errors["Mean"] == pytest.approx(100, rel=0.02)
    assert report["expression"]["quote"]["baselines_from"] == "70 training faces"
    assert report["expression"]["quote"]["floor"]["FD"]["value"] > 0
    leak = report["leak"]["situation"]
    assert leak["share"]["label_word"] == pytest.approx(20), "14 of 70 name it"
    assert leak["leaking"] == {"n": 14, "UAR": pytest.approx(50), "WAR": pytest.approx(50)}
    assert leak["clean"]["WAR"] == 100
    assert leak["bag_of_words"]["UAR"] == 100
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for text in (
        "Reliability, quote",
        "reliability diagram",
        "ContextFace",
        "Floor (same distribution)",
        "Leakage",
        "0.81",
        "93.21",
        "4.83",
        "97.32",
    ):
        assert text in page, text
    assert "http" not in page, "nothing is fetched"
    assert json.loads((tmp_path / "out" / "report.json").read_text())["split"] == "test"
    assert evaluate(tmp_path, *where) == 0
    assert "Table 1" not in capsys.readouterr().out, "no picture condition was measured"


def test_a_listener_is_measured_by_the_reaction_and_by_faces_of_its_own(tmp_path):
    records, truth = make(tmp_path)
    people = [r for r in records if r.split == "test"]
    said = predictions(tmp_path, truth, wrong=0).conditions["quote"]
    shifted = np.roll(said.probabilities, 1, axis=1)  # everybody reacts with the next emotion
    run = cp.Run(model={"trained": ["quote"]})
    run.conditions["listener/quote"] = replace(said, probabilities=shifted, spoken=None)
    own = face_targets.read(tmp_path / "targets.npz")
    report = measure(run, people, [], own, 3, 0)
    assert report["emotion"]["listener/quote"]["WAR"] == 100
    assert not report["emotion"]["listener/quote"]["trained"]
    assert not report["expression"], "the speaker's face says nothing of the listener's"
    heard = replace(own, ids=tuple(f"{name}/listener" for name in own.ids))
    assert measure(run, people, [], heard, 3, 0)["expression"]["listener/quote"]["n"] == 70
    (table,) = [t for t in tables(report) if t.title.startswith("Emotion by one pass, listener/quote")]
    assert any("not trained on this form" in note for note in table.notes)


def test_table_one_is_about_told_situations_and_has_the_papers_columns(tmp_path):
    records, truth = make(tmp_path)
    run = predictions(tmp_path, truth)
    ids = run.conditions["quote"].ids
    right = [f"So. Therefore, the emotion this person is feeling is {WORDS[i % 7]}." for i in range(len(ids))]
    run.told = {"This run": {"image+quote": Told(ids, tuple(right))}}
    run.told["untuned"] = {"image+quote": Told(ids, ("I see a room.", *right[1:63], *["It is sad or angry."] * 7))}
    report = measure(run, [r for r in records if r.split == "test"], [], None, 20, 0)
    (table,) = [t for t in tables(report) if t.title.startswith("Situation generation")]
    assert list(table.columns) == [*SHORT, "UAR", "WAR"]
    assert table.paper["ContextFace"][-2:] == [93.21, 94.89]
    assert "Emotion-LLaMA" in table.paper
    assert table.ours["This run"] == pytest.approx([100] * 9)
    assert table.ours["untuned"][-1] == pytest.approx(100 * 62 / 70)
    assert report["situations"]["image+quote"]["untuned"]["behind"]["low"] > 0
    assert "11.4 % of the answers name no emotion" in " ".join(table.notes)
    assert not [t for t in tables(report) if t.title.startswith("Emotion by one pass") and t.paper]
    four = [r for r in records if r.split == "test" and r.labels[0] in ("Happy", "Sad", "Anger", "Surprise")]
    kept = {r.id for r in four}
    places = [i for i, name in enumerate(ids) if name in kept]
    run.told = {"This run": {"image+quote": Told(tuple(ids[i] for i in places), tuple(right[i] for i in places))}}
    run.conditions = {}
    report = measure(run, four, [], None, 3, 0, classes=("Happy", "Sad", "Angry", "Surprise"))
    (table,) = [t for t in tables(report) if t.title.startswith("Situation generation")]
    assert list(table.columns) == ["Hap", "Sad", "Ang", "Sur", "UAR", "WAR"]
    assert table.paper["ContextFace"] == [97.83, 94.02, 96.41, 100, 97.32, 96.13]
    assert table.ours["This run"] == pytest.approx([100] * 6)


def test_predictions_survive_the_file(tmp_path):
    _, truth = make(tmp_path)
    run = predictions(tmp_path, truth)
    back = cp.load(tmp_path / "predictions.npz")
    assert back.model == run.model
    assert list(back.conditions) == list(run.conditions)
    for name, said in run.conditions.items():
        for part in cp.PARTS:
            np.testing.assert_array_equal(getattr(back.conditions[name], part), getattr(said, part))
    np.testing.assert_array_equal(back.conditions["quote"].spoken.emitted, run.conditions["quote"].spoken.emitted)
    (tmp_path / "bad.npz").write_bytes(b"PK")
    for name in ("bad.npz", "none.npz", "targets.npz"):
        with pytest.raises(UserError, match="predictions"):
            cp.load(tmp_path / name)


def test_mistakes_are_named(tmp_path, capsys):
    _, truth = make(tmp_path, version="flame2023")
    predictions(tmp_path, truth)
    where = ("--predictions", tmp_path / "predictions.npz")
    for more, text in (
        ((*where, "--targets", tmp_path / "targets.npz"), "flame2023"),
        ((*where, "--split", "val"), "empty"),
        ((*where, "--split", "train"), "train split"),
        ((*where, "--conditions", "smell"), "smell"),
        ((*where, "--conditions", "image"), "none of the conditions"),
        ((), "--model or --predictions"),
        ((*where, "--also", "table9/x=y"), "table3/both"),
    ):
        assert evaluate(tmp_path, *more) == 2, text
        assert text in capsys.readouterr().err


def test_the_papers_tables_agree_with_each_other():
    """The same rows appear in several tables of paper and supplement; what is copied wrong would differ."""
    printed = paper()
    for one, two in (("table1_situation", "supplement_table4_situation"), ("table1_quote", "supplement_table4_quote")):
        assert printed[one]["rows"]["ContextFace"] == printed[two]["rows"]["ContextFace"]
    quote = printed["table1_quote"]["rows"]["ContextFace"][-2:]
    assert printed["table3"]["rows"]["both"] == printed["table4"]["rows"]["LLaVA-llama2-13B"] == quote
    for kind in ("situation", "quote"):
        ours = printed[f"table2_{kind}"]["rows"]["ContextFace"]
        assert printed["supplement_table2"]["rows"][f"L2 ({kind})"] == [ours[0], ours[2]]
        mean = printed[f"table2_{kind}"]["rows"]["Mean"]
        assert mean[2] / mean[0] == pytest.approx(100, rel=0.04), "the L2 is a mean over 100 dimensions"
    for name, table in printed.items():
        if name != "source":
            assert all(len(row) == len(table["columns"]) for row in table["rows"].values()), name


def test_a_real_model_answers_every_condition(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("peft")
    import cv2

    from emo_face.expression.contextface.config import ContextFaceConfig
    from emo_face.expression.contextface.engine import Engine
    from emo_face.expression.contextface.model import build_model
    from emo_face.expression.contextface.tokens import TokenBuilder
    from emo_face.expression.contextface.vision import Eyes
    from fixtures import tiny_contextface as tiny

    records, _ = make(tmp_path, count=7)
    people = [r for r in records if r.split == "test"][:2]
    for record in people:
        cv2.imwrite(str(tmp_path / record.image), np.zeros((30, 40, 3), np.uint8))
    tokenizer = tiny.tiny_tokenizer("llava")
    base = tiny.tiny_base("llava", tokenizer)
    model = build_model(base, tokenizer, ContextFaceConfig(groups=("expression", "jaw"))).eval()
    eyes = Eyes(model.base, tiny.tiny_image_processor("llava"))
    engine = Engine(model, TokenBuilder(tokenizer, "llava", model.image_id, eyes.tokens), eyes)
    ticks = []
    for name in cp.CONDITIONS:
        said = cp.predict(
            engine, people, tmp_path, name, speak=1 if name == "quote" else 0, tick=lambda: ticks.append(1)
        )
        assert said.probabilities.shape == (2, 7)
        np.testing.assert_allclose(said.probabilities.sum(1), 1)
        assert said.map.shape == said.mean.shape == (2, 100), "the jaw is not part of the expression"
        assert (said.spoken is not None) == (name == "quote")
    assert len(ticks) == 2 * len(cp.CONDITIONS)
    (tmp_path / people[0].image).unlink()
    with pytest.raises(UserError, match="missing"):
        cp.predict(engine, people, tmp_path, "image")


def test_ablations_stand_in_the_papers_tables(tmp_path):
    folder = tmp_path / "a=b"
    folder.mkdir()
    with pytest.raises(UserError, match="no trained ContextFace"):
        ablation_of(f"table3/both={folder}")
    (folder / "contextface.json").touch()
    assert ablation_of(f"table3/both={folder}") == ("table3", "both", str(folder))
    assert ablation_of(f"supplement_table2/L1 (quote)={folder}")[:2] == ("supplement_table2", "L1 (quote)")
    _, truth = make(tmp_path)
    run = predictions(tmp_path, truth)
    from emo_face.datasets.records import read_jsonl

    people = [r for r in read_jsonl(tmp_path / "records.jsonl") if r.split == "test"]
    report = measure(run, people, [], None, 3, 0)
    report["ablations"] = {
        "table3": {"both": {"UAR": 91.0, "WAR": 92.0}},
        "supplement_table2": {"L1 (quote)": {"L2": 0.2, "FD": 9.0}},
    }
    found = {t.title: t for t in tables(report)}
    three = next(t for title, t in found.items() if title.startswith("Table 3"))
    assert three.ours == {"This run: both": [91.0, 92.0]}
    assert three.paper["Paper: both"] == [93.21, 94.89]
    loss = next(t for title, t in found.items() if title.startswith("Supplement, table 2"))
    assert loss.ours == {"This run: L1 (quote)": [0.2, 9.0]}


@pytest.fixture(scope="module")
def bench():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parents[4] / "benchmarks" / "context_world.py"
    spec = importlib.util.spec_from_file_location("context_world", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_best_that_can_be_reached_in_the_made_up_world_is_what_an_oracle_reaches(bench):
    """Somebody who knows the rules and sees what a form shows answers 6,000 moments; nobody does better."""
    world, moments = bench.world, bench.world.make(6_000, 9)
    for name, form in CONDITIONS.items():
        table, seen, truth = {}, [], []
        for m in moments:
            words = (m.event, m.heard if m.said else "") if form.words != "none" else ()
            picture = (m.look, m.heard) if form.picture else ()
            seen.append((*words, "|", *picture))
            truth.append(WORDS.index(m.word if form.perspective == "speaker" else m.reaction))
        for key, word in zip(seen, truth, strict=True):
            table.setdefault(key, np.zeros(7))[word] += 1
        total = np.bincount(truth, minlength=7)
        guess = np.array([(table[key] / total).argmax() for key in seen])
        recall = [(guess[np.array(truth) == k] == k).mean() for k in range(7)]
        assert world.best(form) == pytest.approx(100 * np.mean(recall), abs=2.0), name


def test_claims_of_the_synthetic_world_are_counted(bench):
    truth = list(range(7)) * 40

    def row(right):
        guess = [word if n < right * 280 else (word + 1) % 7 for n, word in enumerate(truth)]
        return {"truth": truth, "guess": guess}

    sure = np.full((280, 7), 0.005)
    sure[np.arange(280), truth] = 0.97
    part = {
        "truth": truth,
        "probabilities": sure.tolist(),
        "L2": {"mean": [0.1] * 280, "Per-emotion mean": [0.3] * 280},
    }
    seed = {"neither": row(0.4), "expression": row(0.6), "situation": row(0.8)}
    seed["both"] = row(0.9) | dict.fromkeys(CONDITIONS, part)
    found = bench.findings([seed, seed])
    assert all(claim["holds"] for claim in found.values()), found
    assert found["table 3: neither < expression, UAR"]["value"] == pytest.approx(20, abs=0.5)
    assert found["ECE, listener"]["value"] == pytest.approx(0.03, abs=1e-6)
    worse = {**seed, "expression": row(0.8)}
    assert not bench.findings([worse])["table 3: expression < situation, UAR"]["holds"]
    blurred = {**part, "L2": {"mean": [0.4] * 280, "Per-emotion mean": [0.3] * 280}}
    assert not bench.findings([{**seed, "both": seed["both"] | {"image+quote": blurred}}])["L2, image+quote"]["holds"]
