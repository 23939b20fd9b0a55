"""Multi-label metrics, calibration and configs, against sklearn, torchmetrics and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from emo_face.core.configs import from_dict
from emo_face.core.errors import ConfigError, UserError
from emo_face.evaluation.metrics import multilabel, scaling
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig, to_dict


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 26)) < np.geomspace(0.5, 0.01, 26)).astype(int)
    truth[0] = 1
    logits = np.round(rng.normal(size=(400, 26)) + truth, 1)  # rounded: many ties
    return logits, truth


def test_map_equals_sklearn(scored):
    sk = pytest.importorskip("sklearn.metrics")
    logits, truth = scored
    ours = multilabel.mean_average_precision(logits, truth)
    assert ours.value == pytest.approx(sk.average_precision_score(truth, logits, average="macro"), abs=1e-12)


def test_map_equals_torchmetrics(scored):
    torch = pytest.importorskip("torch")
    logits, truth = scored
    ours = multilabel.mean_average_precision(logits, truth)
    tm = pytest.importorskip("torchmetrics.classification")
    oracle = tm.MultilabelAveragePrecision(num_labels=26, thresholds=None)
    probabilities = torch.sigmoid(torch.tensor(logits))
    assert ours.value == pytest.approx(float(oracle(probabilities, torch.tensor(truth))), abs=1e-6)


def test_prf_hamming_equal_sklearn(scored):
    sk = pytest.importorskip("sklearn.metrics")
    logits, truth = scored
    predicted = multilabel.decide(logits, np.full(26, 0.3), multi=True)
    precision, recall, f1 = multilabel.precision_recall_f1(predicted, truth)
    expected = sk.precision_recall_fscore_support(truth, predicted, zero_division=0)
    for got, want in zip((precision, recall, f1), expected[:3], strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    assert multilabel.hamming_loss(predicted, truth) == pytest.approx(sk.hamming_loss(truth, predicted))


def test_ap_modes_by_hand():
    scores, truth = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0])
    assert multilabel.average_precision(scores, truth) == pytest.approx((1 + 2 / 3) / 2)
    assert multilabel.average_precision(scores, truth, "voc_all") == pytest.approx((1 + 2 / 3) / 2)
    assert multilabel.average_precision(scores, truth, "voc11") == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    with pytest.raises(ValueError, match="voc11"):
        multilabel.average_precision(scores, truth, "coco")


def test_classes_without_positives_are_named_and_left_out(scored):
    logits, truth = scored
    truth = truth.copy()
    truth[:, 3] = 0
    ap = multilabel.mean_average_precision(logits, truth)
    assert ap.excluded == (3,)
    assert np.isfinite(ap.value)
    with pytest.raises(UserError, match="empty"):
        multilabel.mean_average_precision(np.zeros((0, 3)), np.zeros((0, 3)))


def test_the_interval_holds_the_value(scored):
    logits, truth = scored
    found = multilabel.map_interval(logits, truth, 0, 40)
    assert found.value == multilabel.mean_average_precision(logits, truth).value
    assert found.low < found.value < found.high + 0.05


def test_intervals_hold_the_value_and_shrink_with_people(scored):
    sk = pytest.importorskip("sklearn.metrics")
    logits, truth = scored
    widths = []
    for copies in (1, 16):
        predicted, labels = np.tile(logits > 0.3, (copies, 1)), np.tile(truth, (copies, 1))
        found = multilabel.intervals(predicted, labels, 0, 60)
        exact = {
            "f1": sk.f1_score(labels, predicted, average="macro", zero_division=0),
            "hamming": sk.hamming_loss(labels, predicted),
            "accuracy": sk.accuracy_score(labels, predicted),
        }
        assert all(found[name].low <= value <= found[name].high for name, value in exact.items())
        widths.append(found["hamming"].high - found["hamming"].low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.4)


def test_thresholds_are_the_best_on_their_split(scored):
    logits, truth = scored
    found = multilabel.fit_thresholds(logits, truth)
    best = multilabel.precision_recall_f1(logits >= found, truth)[2]
    for value in np.linspace(-3, 4, 36):
        assert (multilabel.precision_recall_f1(logits >= value + 0.03, truth)[2] <= best + 1e-12).all()
    equal = multilabel.fit_thresholds(logits, truth, "p_equals_r")
    precision, recall, _ = multilabel.precision_recall_f1(logits >= equal, truth)
    assert np.abs(precision - recall)[:5].max() < 0.1


@pytest.mark.parametrize("kind", ["platt", "temperature"])
def test_calibration_lowers_the_loss_and_leaves_map(scored, kind):
    logits, truth = scored
    stretched = 3 * logits - 2
    fitted = scaling.fit(stretched, truth, kind)
    before, after = scaling.fit(stretched, truth, "none").apply(stretched), fitted.apply(stretched)

    def nll(p):
        return -np.mean(np.where(truth, np.log(p + 1e-12), np.log(1 - p + 1e-12)))

    assert nll(after) < nll(before)
    before_map = multilabel.mean_average_precision(stretched, truth).value
    assert multilabel.mean_average_precision(after, truth).value == pytest.approx(before_map, abs=1e-12)
    if kind == "platt":
        np.testing.assert_allclose(after.mean(0), truth.mean(0), atol=0.01)


def test_calibration_of_a_class_that_ranks_wrongly_keeps_its_rate():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    truth = (rng.random((400, 1)) < 1 / (1 + np.exp(4 * x + 2))).astype(int)  # the higher the score, the rarer
    fitted = scaling.fit(x, truth)
    assert 0 < fitted.scale[0] < 0.01
    assert fitted.apply(x).mean() == pytest.approx(truth.mean(), abs=0.01)


def test_calibration_of_a_useless_class_and_of_single_labels():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(50, 2)), np.zeros((50, 2))
    never = scaling.fit(logits, truth)
    assert never.scale.tolist() == [1, 1]
    np.testing.assert_allclose(never.apply(logits).mean(0), 1 / 52)  # Platt's rate of a label that nobody shows
    np.testing.assert_allclose(scaling.fit(logits, 1 - truth).apply(logits).mean(0), 51 / 52)
    assert scaling.fit(logits, truth, "temperature").shift.tolist() == [0, 0]
    one_hot = np.eye(3)[rng.integers(0, 3, 300)]
    sharp = 8 * (one_hot + rng.normal(size=(300, 3)))
    fitted = scaling.fit(sharp, one_hot, multi=False)
    assert fitted.scale[0] < 0.5
    np.testing.assert_allclose(fitted.apply(sharp).sum(1), 1)


def test_configs_reject_what_they_do_not_know():
    config = EncoderConfig(qformer_sharing="body_face")
    assert from_dict(EncoderConfig, to_dict(config), "x.json") == config
    assert {config.group(v) for v in config.views} == {"scene", "body_face"}
    for values, word in (
        ({"qformer_sharing": "some"}, "body_face"),
        ({"imagesize": 3}, "unknown field 'imagesize'"),
        ({"image_size": "224"}, "expected int"),
        ({"views": ["hands"]}, "views"),
        ({"train": ["llm"]}, "train"),
    ):
        with pytest.raises(ConfigError, match=word):
            from_dict(EncoderConfig, values, "x.json")
    with pytest.raises(ConfigError, match="heads"):
        FusionConfig("emotic26", width=10, heads=4)
