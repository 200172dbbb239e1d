import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from ser_gpu.data.ravdess import EMOTIONS
from ser_gpu.results import figures, metrics


@pytest.fixture
def answers():
    """400 answers that are right about half of the time."""
    generator = np.random.default_rng(0)
    labels = generator.integers(8, size=400)
    logits = generator.normal(size=(400, 8))
    logits[np.arange(400), labels] += 1.5
    return labels, logits


def softmax(logits):
    return torch.from_numpy(logits).softmax(dim=1).numpy()


def make_report(labels, logits, temperature=1.0):
    sexes = ["male" if i % 3 else "female" for i in range(len(labels))]
    intensities = [1 if label == 0 else 1 + i % 2 for i, label in enumerate(labels)]
    groups = np.arange(len(labels)) % 24
    return metrics.report(labels, logits, temperature, EMOTIONS, sexes, intensities, groups)


def test_headline_is_scikit_learns(answers):
    labels, logits = answers
    predicted = logits.argmax(axis=1)
    scores = metrics.headline(labels, predicted)
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert scores["uar"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_an_emotion_that_does_not_occur_does_not_count():
    scores = metrics.headline(np.array([0, 0, 1]), np.array([0, 5, 1]))
    assert scores["uar"] == pytest.approx(0.75)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def test_the_report_adds_up(answers):
    labels, logits = answers
    report = make_report(labels, logits)
    confusion = np.array(report["confusion"])
    assert confusion.sum() == report["clips"] == 400
    assert np.trace(confusion) / 400 == pytest.approx(report["accuracy"])
    for i, emotion in enumerate(EMOTIONS):
        row = report["per_emotion"][emotion]
        assert row["recall"] == pytest.approx(confusion[i, i] / confusion[i].sum())
        assert row["precision"] == pytest.approx(confusion[i, i] / confusion[:, i].sum())
    sexes = report["by_sex"]
    for parts in (sexes, report["by_intensity"]):
        weighted = sum(scores["clips"] * scores["accuracy"] for scores in parts.values()) / 400
        assert weighted == pytest.approx(report["accuracy"])
    assert set(report["per_emotion"]["neutral"]["recall_by_intensity"]) == {"normal"}, "neutral is never strong"
    assert set(report["per_emotion"]["angry"]["recall_by_intensity"]) == {"normal", "strong"}


def test_the_most_confused_are_the_largest_shares(answers):
    report = make_report(*answers)
    confusion = np.array(report["confusion"])
    shares = confusion / confusion.sum(axis=1, keepdims=True)
    np.fill_diagonal(shares, 0)
    told = [pair["share"] for pair in report["most_confused"]]
    assert told == pytest.approx(sorted(shares.ravel())[::-1][:5])
    first = report["most_confused"][0]
    assert shares[EMOTIONS.index(first["acted"]), EMOTIONS.index(first["predicted"])] == told[0]
    assert metrics.most_confused(np.eye(8, dtype=int), EMOTIONS) == []


def test_calibration_is_told_before_and_after_the_temperature(answers):
    labels, logits = answers
    report = make_report(labels, 5 * logits, temperature=5.0)
    assert report["calibration_error"] == pytest.approx(metrics.calibration_error(labels, softmax(logits)))
    assert report["calibration_error_before_temperature"] > report["calibration_error"]
    for when, error in (("before", "calibration_error_before_temperature"), ("after", "calibration_error")):
        rows = report["reliability"][when]
        assert sum(row["clips"] for row in rows) == 400
        gaps = sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / 400
        assert gaps == pytest.approx(report[error])


def test_intervals_hold_the_score_and_widen_with_coarser_groups(answers):
    labels, logits = answers
    predicted = logits.argmax(axis=1)
    fine = metrics.bootstrap_intervals(labels, predicted, np.arange(400))
    one = metrics.headline(labels, predicted)
    for name, (low, high) in fine.items():
        assert low < one[name] < high
    good = labels == predicted
    coarse = metrics.bootstrap_intervals(labels, predicted, np.where(good, np.arange(400) % 3, 3 + np.arange(400) % 3))
    assert np.diff(coarse["accuracy"]) > np.diff(fine["accuracy"])


def test_the_bootstrap_scores_as_the_headline_does(answers):
    labels, logits = answers
    predicted = logits.argmax(axis=1)
    assert metrics._fast_headline(labels, predicted) == pytest.approx(
        tuple(metrics.headline(labels, predicted).values())
    )


def test_calibration_error_of_known_cases():
    sure_and_right = np.eye(4)
    assert metrics.calibration_error(np.arange(4), sure_and_right) == 0
    assert metrics.calibration_error((np.arange(4) + 1) % 4, sure_and_right) == 1
    half_sure = np.tile([[0.5, 0.3, 0.2]], (10, 1))
    assert metrics.calibration_error(np.array([0] * 5 + [1] * 5), half_sure) == pytest.approx(0)
    assert metrics.calibration_error(np.zeros(10, int), half_sure) == pytest.approx(0.5)


@pytest.mark.parametrize("factor", [0.25, 1.0, 6.0])
def test_temperature_undoes_a_scale_of_the_logits(answers, factor):
    labels, logits = answers
    base = metrics.fit_temperature(logits, labels)
    assert metrics.fit_temperature(logits * factor, labels) == pytest.approx(base * factor, rel=1e-3)


def test_fitted_temperature_is_the_likeliest(answers):
    labels, logits = answers

    def loss(temperature):
        return -np.log(softmax(logits / temperature)[np.arange(400), labels]).mean()

    best = metrics.fit_temperature(logits, labels)
    assert loss(best) <= min(loss(best * 0.95), loss(best * 1.05))


def test_figures_show_what_they_are_given(answers):
    report = make_report(*answers)
    axes = figures.confusion(report["confusion"], EMOTIONS, "title").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(EMOTIONS)
    shown = sum(int(text.get_text()) for text in axes.texts)
    assert shown == 400
    panels = figures.reliability(**report["reliability"], title="title").axes
    assert f"{report['calibration_error']:.3f}" in panels[1].get_title()
    row = {"epoch": 1, "train_loss": 2.0, "validation_loss": 1.9, "validation_accuracy": 0.2, "validation_uar": 0.1}
    loss, score = figures.training_curves([row, {**row, "epoch": 2}], "title").axes
    assert [len(axes.lines) for axes in (loss, score)] == [2, 2]
