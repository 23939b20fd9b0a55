"""Metrics of what a ContextFace said about records: emotions, faces, and what the words alone give away."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emo_face.core.errors import UserError
from emo_face.datasets.contexts.tasks import LISTENER, label_of_side
from emo_face.evaluation.contextface import metrics
from emo_face.evaluation.contextface.predict import CONDITIONS, ConditionPredictions, Run, usable
from emo_face.evaluation.contextface.probe import leaky, probe
from emo_face.evaluation.contextface.situations import OURS
from emo_face.evaluation.metrics.calibration import top_label
from emo_face.expression.contextface import prompts
from emo_face.expression.contextface.prompts import Perspective


def measure(
    found: Run,
    people: Sequence[Any],
    train: Sequence[Any],
    targets: Any,
    rounds: int,
    seed: int,
    split: str = "test",
    classes: Sequence[str] = (),
) -> dict[str, Any]:
    """Metrics of predictions. ``people``: the records they are about, of ``classes`` (emotion words; none: all seven).

    ``targets``: true faces, or None.
    """
    by_id = {record.id: record for record in people}
    report: dict[str, Any] = {
        "split": split,
        "records": len(people),
        "train_records": len(train),
        "model": found.model,
        "words": list(prompts.words()),
        "sources": sorted({record.source for record in people}),
        "classes": list(classes or prompts.words()),
        "situations": situations(found, by_id, rounds, seed),
        "emotion": {},
        "expression": {},
        "leak": {},
    }
    for name, said in found.conditions.items():
        if missing := [i for i in said.ids if i not in by_id]:
            raise UserError(
                f"predictions of {name} are about {missing[0]!r}, which is not in the records' {split} split"
            )
        rows = [by_id[i] for i in said.ids]
        rng, side = np.random.default_rng(seed), CONDITIONS[name][0].perspective
        report["emotion"][name] = emotion(said, rows, train, rng, rounds, side)
        report["emotion"][name]["trained"] = CONDITIONS[name].form.name in found.model.get("trained", CONDITIONS)
        if targets is not None:
            faces = expression(said, rows, train, targets, rng, rounds, side)
            if faces:
                report["expression"][name] = faces
    report["leak"] = leak(found, people, train)
    return report


def situations(found: Run, by_id: Mapping[str, Any], rounds: int, seed: int) -> dict[str, Any]:
    """Form -> who -> scores of the emotions named in told situations; baselines with paired intervals to the model."""
    report: dict[str, Any] = {}
    for who, forms in found.told.items():
        for form, told in forms.items():
            if missing := [i for i in told.ids if i not in by_id]:
                raise UserError(f"what {who} told is about {missing[0]!r}, which is not in the records' split")
            truth, guess = truth_of([by_id[i] for i in told.ids]), told.guess
            scores = metrics.emotion_scores(truth, guess, len(prompts.words()))
            scores["interval"] = metrics.emotion_intervals(truth, guess, len(prompts.words()), seed, rounds)
            ours = found.told.get(OURS, {}).get(form)
            if ours is not None and who != OURS and ours.ids == told.ids:
                scores["behind"] = metrics.paired_uar(truth, guess, ours.guess, seed, rounds).as_json()
            report.setdefault(form, {})[who] = scores
    return report


def truth_of(records: Sequence[Any], side: Perspective = "speaker") -> Any:
    """(n,) index of the emotion of each record's speaker or listener. Raises UserError if it is none of the seven."""
    names, found = prompts.words(), []
    for record in records:
        try:
            found.append(names.index(prompts.word_of(label_of_side(record, side))))
        except ValueError:
            has = f"labels {record.labels}" if side == "speaker" else f"reaction {record.reaction!r}"
            raise UserError(f"record {record.id}: {has}: expected one of {', '.join(names)}") from None
    return np.array(found, np.int64)


def emotion(
    said: ConditionPredictions,
    rows: Sequence[Any],
    train: Sequence[Any],
    rng: Any,
    rounds: int,
    side: Perspective = "speaker",
) -> dict[str, Any]:
    """Scores of the one-pass emotions and of free answers, with intervals and baselines."""
    truth, classes = truth_of(rows, side), len(prompts.words())
    train = [record for record in train if label_of_side(record, side)]
    scores = metrics.emotion_scores(truth, said.guess, classes)
    scores["interval"] = metrics.emotion_intervals(truth, said.guess, classes, rng, rounds)
    prior = np.bincount(truth_of(train, side), minlength=classes).tolist() if train else None
    scores["baselines"] = metrics.emotion_baselines(truth, classes, prior)
    scores["form"] = 100 * float(said.form.mean())
    scores["flat"] = 100 * float((said.guess < 0).mean())
    scores["calibration"] = calibration(truth, said)
    if said.spoken is not None:
        heard = said.spoken
        spoken = metrics.emotion_scores(truth[: len(heard.guess)], heard.guess, classes)
        scores["spoken"] = spoken | {"emitted": 100 * float(heard.emitted.mean())}
    return scores


def calibration(truth: Any, said: ConditionPredictions) -> dict[str, Any]:
    """ECE and reliability bins of the answers that say something; empty if none does."""
    sure = said.guess >= 0
    if not sure.any():
        return {}
    bins = top_label(truth[sure], said.probabilities[sure])
    full = bins.count > 0
    parts = {name: getattr(bins, name)[full].tolist() for name in ("score", "share", "count")}
    return {"ECE": bins.ece, **parts}


def expression(
    said: ConditionPredictions,
    rows: Sequence[Any],
    train: Sequence[Any],
    targets: Any,
    rng: Any,
    rounds: int,
    side: Perspective = "speaker",
) -> dict[str, Any]:
    """L2 in three conventions and Frechet distances of both decisions and of baselines; empty under two faces.

    A listener is not in the picture: only faces that ``targets`` holds for them (``<id>/listener``) are measured.
    """
    ending = LISTENER if side == "listener" else ""

    def of(record: Any) -> Any:
        return targets.get(record.id + ending)

    places = [place for place, record in enumerate(rows) if of(record) is not None]
    if len(places) < 2:
        return {}
    truth = np.stack([of(rows[place]).expression for place in places]).astype(np.float64)
    labels = truth_of([rows[place] for place in places], side)
    known = [record for record in train if of(record) is not None and label_of_side(record, side)]
    reference = (np.stack([of(r).expression for r in known]), truth_of(known, side)) if known else None
    shown = metrics.baseline_faces(truth, labels, rng, reference)
    shown |= {f"ContextFace, {kind}": getattr(said, kind)[places] for kind in ("map", "mean", "told")}
    if reference is not None:  # what a robot has that reads the same emotions and knows one face of each
        means, probabilities = metrics.emotion_faces(*reference, len(prompts.words())), said.probabilities[places]
        guessed = np.where(said.guess[places] >= 0, said.guess[places], 0)
        shown["Per-emotion mean, map"] = np.where(said.guess[places, None] >= 0, means[guessed], probabilities @ means)
        shown["Per-emotion mean, mean"] = probabilities @ means
    found = {name: metrics.intervals(faces, truth, rng, rounds) for name, faces in shown.items()}
    floors = {"FD": truth, "FD_pca": metrics.projection(truth)(truth)}
    return {
        "n": len(places),
        "baselines_from": f"{len(known)} training faces" if known else "the other faces of the split",
        "rows": {name: {key: value.as_json() for key, value in row.items()} for name, row in found.items()},
        "floor": {key: metrics.floor(faces, rng, min(50, rounds)).as_json() for key, faces in floors.items()},
        "total_variance": float(truth.var(0, ddof=1).sum()),
    }


def leak(found: Run, people: Sequence[Any], train: Sequence[Any]) -> dict[str, Any]:
    """What the words give away, and how the model does on contexts that name their emotion and on those that do not."""
    names, by_id, result = prompts.words(), {record.id: record for record in people}, {}
    for text in ("situation", "quote"):
        rows = usable(people, text)
        if not rows:
            continue
        learned = usable(train, text)
        labels = [names[i] for i in truth_of(rows)]
        known = ([getattr(r, text) for r in learned], [names[i] for i in truth_of(learned)])
        result[text] = probe([getattr(r, text) for r in rows], labels, known)
        said = found.conditions.get(text)
        if said is None:
            continue
        people_said = [by_id[i] for i in said.ids]
        truth = truth_of(people_said)
        kinds = leaky([getattr(r, text) for r in people_said], [names[i] for i in truth])
        gives = np.any(list(kinds.values()), axis=0)
        for part, chosen in (("leaking", gives), ("clean", ~gives)):
            if chosen.any():
                scores = metrics.emotion_scores(truth[chosen], said.guess[chosen], len(names))
                result[text][part] = {key: scores[key] for key in ("n", "UAR", "WAR")}
    return result
