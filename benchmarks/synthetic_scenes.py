"""See the two stages learn: on synthetic scenes, does the order of the paper's findings appear?

    python benchmarks/synthetic_scenes.py --seeds 5 [--json]

Background, posture and face each carry a part of the labels, which fall off in frequency as EMOTIC's do. A tiny
InstructBLIP of the true architecture is first taught to name what a picture shows (the stand-in for public
pre-training: it never sees an emotion word), then each seed runs Stage 1, caches features and trains Stage 2 in the
paper's ablations: views (table 6), self-attention (table 11), loss (table 12).

This proves that the mechanism works and is wired up right. It says nothing about accuracy on people.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_face.core.labels import label_set
from emo_face.core.types import Face, Person
from emo_face.datasets.qa import corpus, templates
from emo_face.datasets.records import Record, of_split
from emo_face.evaluation.metrics import multilabel
from emo_face.perception.multiview.config import VIEWS, EncoderConfig, FusionConfig
from fixtures import scenes

SIZE, WIDTH = 56, 64
RARE = ("Surprise", "Sadness", "Peace", "Annoyance", "Fear", "Embarrassment")
"""Labels under 10 % of people."""
CONFIG = EncoderConfig(image_size=SIZE)
"""The fixed Stage-2 instruction is added once the tokenizer is there."""
ABLATIONS: dict[str, dict[str, Any]] = {
    "scene": {"views": ("scene",)},
    "scene+body": {"views": ("scene", "body")},
    "scene+body+face": {},
    "no attention": {"attention": False},
    "bce": {"loss": "bce"},
}


@dataclass(frozen=True)
class Lesson:
    """What pre-training names: the words for each view, and ``shown``: a frame, its person and what each view is."""

    names: tuple[tuple[str, ...], ...]
    shown: Callable[[np.random.Generator], tuple[Any, Person, tuple[str, ...]]]


def shown(rng: np.random.Generator) -> tuple[Any, Person, tuple[str, ...]]:
    """Of the synthetic scenes."""
    frame, drawn = scenes.draw(rng, *(int(v) for v in rng.integers(0, 4, 3)))
    values = (drawn.place, drawn.pose, drawn.mouth)
    person = Person("p", 1.0, drawn.body, Face(drawn.face, 1.0))
    return frame, person, tuple(kind[value] for kind, value in zip(SCENES.names, values, strict=True))


SCENES = Lesson((scenes.PLACES, scenes.POSES, scenes.MOUTHS), shown)


def tokenizer(more: Sequence[str] = ()) -> Any:
    """Word-level, over every word that any question or answer of the benchmark can hold, and those of ``more``."""
    from fixtures.tiny_encoders import word_tokenizer

    texts = [q for task in ("pose", "situation", "rationale") for q in templates.prompts()[task]["ask"]]
    texts += [templates.classification_question(templates.options_of("emotic26")), "What is shown? Name some emotions."]
    texts += [templates.classification_question(templates.options_of("emotic26", minor_only=True))]
    texts += [*scenes.PLACES, *scenes.POSES, *scenes.MOUTHS, ", ".join(label_set("emotic26").labels)]
    texts += ["The arms are x. The scene is a x. The mouth is x and the arms are x. This suggests x and x."]
    return word_tokenizer(scenes.words([*texts, *more]))


def pretrain(
    folder: Path, words: Any, steps: int, seed: int = 0, log: Callable[[str], None] = print, lesson: Lesson = SCENES
) -> Any:
    """A tiny InstructBLIP that names what a crop shows and can say emotion words.

    First the image encoder alone, as the real one was (:func:`_learn_to_see`); then every weight. Emotion words come
    in random lists that have nothing to do with the picture: the language model knows them, but not who feels what.
    """
    import torch

    from emo_face.perception.multiview.encoders.tiny import tiny_base
    from emo_face.perception.multiview.vlm import IGNORED

    rng = np.random.default_rng([seed, 99])
    base = tiny_base(seed, vocabulary=len(words) + 1, image_size=SIZE, width=WIDTH).train()
    _learn_to_see(base.vision_model, 2 * steps // 3, rng, log, lesson)
    optimizer = torch.optim.AdamW(base.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    place = [base.config.image_token_index] * base.config.num_query_tokens
    for step in range(steps):
        images, pairs = _lesson(rng, lesson)
        questions = [words(question)["input_ids"] for question, _ in pairs]
        answers = [[*words(a, add_special_tokens=False)["input_ids"], words.eos_token_id] for _, a in pairs]
        width = max(len(q) + len(a) for q, a in zip(questions, answers, strict=True))
        ids = torch.zeros((len(pairs), len(place) + width), dtype=torch.long)
        labels = torch.full_like(ids, IGNORED)
        for i, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            row = place + question + answer
            ids[i, : len(row)] = torch.tensor(row)
            labels[i, len(row) - len(answer) : len(row)] = torch.tensor(answer)
        asked = torch.tensor([question + [0] * (8 - len(question)) for question in questions])
        loss = base(
            pixel_values=torch.from_numpy(images),
            qformer_input_ids=asked,
            qformer_attention_mask=(asked > 0).long(),
            input_ids=ids,
            attention_mask=(ids > 0).long(),
            labels=labels,
        ).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(base.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == steps - 1:
            log(f"pre-training {step}/{steps}: loss {loss.item():.3f}")
    base.eval().save_pretrained(folder)
    return base


def _learn_to_see(
    vision: Any, steps: int, rng: np.random.Generator, log: Callable[[str], None], lesson: Lesson
) -> None:
    """Train the image encoder to tell what a lesson names apart, each kind with a linear layer that is dropped after.

    Without it naming through the language model learns mouths in the given time and nothing else.
    """
    import torch

    names = lesson.names
    heads = torch.nn.ModuleList(torch.nn.Linear(WIDTH, len(kind)) for kind in names)
    parameters = [*vision.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    right = np.zeros(3)
    for step in range(steps):
        images, pairs = _lesson(rng, lesson)
        told = [k for k, (_, answer) in enumerate(pairs) if any(answer in kind for kind in names)]
        seen = vision(pixel_values=torch.from_numpy(images[told])).last_hidden_state.mean(1)
        loss = torch.zeros(())
        for k, kind in enumerate(names):
            rows = [i for i, place in enumerate(told) if pairs[place][1] in kind]
            truth = torch.tensor([kind.index(pairs[told[i]][1]) for i in rows])
            logits = heads[k](seen[rows])
            loss = loss + torch.nn.functional.cross_entropy(logits, truth)
            right[k] += float((logits.argmax(1) == truth).float().mean()) if step >= steps - 50 else 0.0
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    share = ", ".join(f"{name} {value:.2f}" for name, value in zip(VIEWS, right / min(50, steps), strict=True))
    log(f"image encoder: share of its last pictures told apart: {share}")


def _lesson(rng: np.random.Generator, lesson: Lesson) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """(30, 3, size, size) crops and a question and answer for each: 24 namings, 6 lists of unrelated words."""
    from emo_face.perception.multiview.preprocess import view_batch

    pixels, pairs = [], []
    for _ in range(8):
        frame, person, told = lesson.shown(rng)
        seen = view_batch(frame, [person], CONFIG)
        for view, answer in zip(VIEWS, told, strict=True):
            pixels.append(seen.pixels[view][0])
            pairs.append(("What is shown?", answer))
    options = templates.options_of("emotic26")
    for _ in range(6):
        chosen = sorted(rng.choice(len(options), int(rng.integers(1, 4)), replace=False))
        pixels.append(pixels[int(rng.integers(24))])
        pairs.append(("Name some emotions.", ", ".join(options[i] for i in chosen)))
    return np.stack(pixels), pairs


def one_seed(
    seed: int,
    base_folder: Path,
    words: Any,
    people: int,
    epochs: int,
    stage1_rows: int,
    heads: int,
    log: Callable[[str], None],
) -> dict:
    """Stage 1, cache, Stage 2 with every ablation; test metrics of each."""
    from emo_face.datasets.features import FeatureCache
    from emo_face.datasets.views import MultiViewCollator, Pictures
    from emo_face.perception.multiview.checkpoint import load_base, load_encoder
    from emo_face.perception.multiview.vlm import MultiViewVLM
    from emo_face.training.multiview.config import Stage1Config
    from emo_face.training.multiview.stage1 import Stage1

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = scenes.make(folder / "data", people, seed)
        pictures = Pictures.of(folder / "data", CONFIG, records)
        rows = corpus.build(records, seed=seed, other_share=0.5).rows
        train = [row for row in rows if row.record.split == "train"]
        train = [train[i] for i in np.random.default_rng(seed).permutation(len(train))[:stage1_rows]]
        validation = [row for row in rows if row.record.split == "val" and row.task == "classification"]
        settings = Stage1Config(
            epochs=epochs,
            batch_size=16,
            learning_rate=1e-3,
            learning_rate_end=1e-5,
            warmup=20,
            validate_every=10**6,
            save_every=10**6,
            validation_rows=64,
            seed=seed,
        )
        question = templates.classification_question(templates.options_of("emotic26"))
        told = replace(CONFIG, instruction=question, instruction_ids=tuple(words(question)["input_ids"]))
        vlm = MultiViewVLM(load_base(base_folder), told)
        run = Stage1(vlm, MultiViewCollator(pictures, words, words), train, validation, settings, folder / "run")
        before = run.validate()["loss"]
        run.run()
        log(
            f"seed {seed}: stage 1 validation loss {before:.3f} -> {run.progress.best:.3f} in {run.progress.step} steps"
        )
        encoder = load_encoder(folder / "run" / "best", load_base(base_folder))
        features = FeatureCache(folder / "cache", encoder).build(records, pictures, batch=64)
        found = {name: several(features, records, seed, heads, **change) for name, change in ABLATIONS.items()}
    return {"seed": seed, "stage1": [before, run.progress.best], **found}


def several(features: Any, records: list[Record], seed: int, heads: int, **change: Any) -> dict[str, float]:
    """Mean metrics of ``heads`` heads that differ in their seed: a head's start is noise, not a finding."""
    found = [stage2(features, records, seed + 100 * k, **change) for k in range(heads)]
    return {name: float(np.mean([row[name] for row in found])) for name in found[0]}


def stage2(features: Any, records: list[Record], seed: int, loss: str = "auto", **change: Any) -> dict[str, float]:
    """Train one head and measure it on the test split."""
    from emo_face.datasets.labelled import labelled, predict, with_views
    from emo_face.training.multiview import stage2 as s2
    from emo_face.training.multiview.config import Stage2Config

    fusion = replace(FusionConfig("emotic26", in_features=WIDTH, width=64, **change))
    parts = {}
    for split in ("train", "val", "test"):
        people = of_split(records, split)
        parts[split] = with_views(labelled(features, people, "emotic26"), fusion.views, VIEWS)
    config = Stage2Config(epochs=20, batch_size=64, learning_rate=2e-3, loss=loss, seed=seed)
    trained = s2.train(parts["train"], parts["val"], fusion, config)
    logits, _ = predict(trained.head, parts["test"].features)
    names = label_set("emotic26").labels
    used = [names.index(label) for label in scenes.LABELS]
    rare = [names.index(label) for label in RARE]
    truth = parts["test"].truth
    raw = 1 / (1 + np.exp(-logits))
    recall = multilabel.precision_recall_f1(raw >= 0.5, truth)[1]
    return {
        "mAP": 100 * multilabel.mean_average_precision(logits[:, used], truth[:, used]).value,
        "rare_mAP": 100 * multilabel.mean_average_precision(logits[:, rare], truth[:, rare]).value,
        "rare_recall": 100 * float(recall[rare].mean()),
    }


def orders(results: list[dict]) -> dict[str, dict[str, Any]]:
    """Each finding of the paper: means over seeds, and in how many seeds the order holds."""
    pairs = {
        "scene < +body": ("scene", "scene+body", "mAP"),
        "+body < +face": ("scene+body", "scene+body+face", "mAP"),
        "no attention < attention": ("no attention", "scene+body+face", "mAP"),
        "bce < asymmetric (rare labels, mAP)": ("bce", "scene+body+face", "rare_mAP"),
        "bce < asymmetric (rare labels, recall at 0.5)": ("bce", "scene+body+face", "rare_recall"),
    }
    out = {}
    for name, (low, high, metric) in pairs.items():
        a, b = (np.array([row[kind][metric] for row in results]) for kind in (low, high))
        out[name] = {"low": a.mean(), "high": b.mean(), "holds": int((a < b).sum()), "seeds": len(results)}
    return out


def main() -> int:
    """Exit code 1 where the order of a finding's means does not appear, 3 where it does in half the seeds or fewer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--people", type=int, default=2400, help="of one seed; 70-10-20 (default 2400)")
    parser.add_argument("--epochs", type=int, default=1, help="of Stage 1 (default 1)")
    parser.add_argument("--stage1-rows", type=int, default=1200, help="corpus rows of Stage 1 (default 1200)")
    parser.add_argument("--heads", type=int, default=1, help="heads a row and seed whose mean counts (default 1)")
    parser.add_argument("--pretrain-steps", type=int, default=1200)
    parser.add_argument("--base", type=Path, help="reuse (or keep) the pre-trained tiny model here")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print only JSON")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    start = time.perf_counter()

    def log(text: str) -> None:
        print(
            f"[{time.perf_counter() - start:6.1f} s, cpu {time.process_time():6.1f} s] {text}",
            file=sys.stderr,
            flush=True,
        )

    words = tokenizer()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.base or Path(scratch) / "base"
        if not (folder / "config.json").is_file():
            pretrain(folder, words, args.pretrain_steps, log=log)
        results = []
        for seed in range(args.seeds):
            results.append(one_seed(seed, folder, words, args.people, args.epochs, args.stage1_rows, args.heads, log))
            log(f"seed {seed}: " + ", ".join(f"{k} {results[-1][k]['mAP']:.1f}" for k in ABLATIONS))
    found = orders(results)
    code = verdict(found)
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time(), "threads": args.threads}
    report = {"orders": found, "seeds": results, "exit_code": code, **spent}
    if args.json:
        print(json.dumps(report))
    else:
        print("Synthetic scenes: mechanism, not accuracy.")
        for name, row in found.items():
            print(f"{name:48s} {row['low']:6.2f} < {row['high']:6.2f}  in {row['holds']} of {row['seeds']} seeds")
    return code


def verdict(found: dict[str, dict[str, Any]]) -> int:
    """The exit code of :func:`main` for what :func:`orders` found."""
    if not all(row["low"] < row["high"] for row in found.values()):
        return 1
    return 0 if all(2 * row["holds"] > row["seeds"] for row in found.values()) else 3


if __name__ == "__main__":
    sys.exit(main())
