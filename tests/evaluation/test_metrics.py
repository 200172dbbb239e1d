import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)
from sklearn.metrics import log_loss as their_log_loss

from ser_gpu.evaluation import metrics


@pytest.fixture
def answers():
    """400 answers that are right about half of the time."""
    generator = np.random.default_rng(0)
    truth = generator.integers(8, size=400)
    logits = generator.normal(size=(400, 8))
    logits[np.arange(400), truth] += 1.5
    return truth, logits


def test_headline_is_scikit_learns(answers):
    truth, logits = answers
    predicted = logits.argmax(axis=1)
    scores = metrics.headline(truth, predicted)
    assert scores["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert scores["uar"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_the_scores_of_each_emotion_are_scikit_learns(answers):
    truth, logits = answers
    predicted = logits.argmax(axis=1) % 7  # the last one is never predicted
    confusion = metrics.confusion_matrix(truth, predicted, 9)  # and there is one that does not occur
    assert (confusion == confusion_matrix(truth, predicted, labels=range(9))).all()
    theirs = precision_recall_fscore_support(truth, predicted, labels=range(9), zero_division=0.0)
    for ours, expected in zip(metrics.per_emotion(confusion).values(), theirs, strict=True):
        np.testing.assert_allclose(ours, expected)
    assert metrics.log_loss(truth, logits) == pytest.approx(their_log_loss(truth, softmax(logits, axis=1)))


@pytest.mark.parametrize("second", [5, -1])
def test_an_emotion_that_does_not_occur_does_not_count_and_no_answer_is_a_wrong_one(second):
    scores = metrics.headline(np.array([0, 0, 1]), np.array([0, second, 1]))
    assert scores == pytest.approx({"accuracy": 2 / 3, "uar": 0.75, "macro_f1": (2 / 3 + 1) / 2})


def test_the_most_confused_are_the_largest_shares(answers):
    truth, logits = answers
    confusion = metrics.confusion_matrix(truth, logits.argmax(axis=1), 8)
    shares = confusion / confusion.sum(axis=1, keepdims=True)
    np.fill_diagonal(shares, 0)
    found = metrics.most_confused(confusion, range(8))
    assert [pair["share"] for pair in found] == pytest.approx(sorted(shares.ravel())[::-1][:5])
    assert shares[found[0]["acted"], found[0]["predicted"]] == found[0]["share"]
    assert metrics.most_confused(np.eye(8, dtype=int), range(8)) == []


def test_intervals_hold_the_score_and_widen_with_coarser_groups(answers):
    truth, logits = answers
    predicted = logits.argmax(axis=1)
    fine = metrics.bootstrap_intervals(truth, predicted, np.arange(400))
    one = metrics.headline(truth, predicted)
    for name, (low, high) in fine.items():
        assert low < one[name] < high
    good = truth == predicted
    coarse = metrics.bootstrap_intervals(truth, predicted, np.where(good, np.arange(400) % 3, 3 + np.arange(400) % 3))
    assert np.diff(coarse["accuracy"]) > np.diff(fine["accuracy"])


def test_the_bootstrap_scores_what_it_draws(answers):
    """The same generator, and each resample put together and scored as a set of answers."""
    truth, logits = answers
    predicted, groups = logits.argmax(axis=1), np.arange(400) % 24
    generator = np.random.default_rng(0)
    scores = []
    for _ in range(50):
        rows = np.concatenate([np.flatnonzero(groups == group) for group in generator.integers(24, size=24)])
        scores.append([*metrics.headline(truth[rows], predicted[rows]).values()])
    found = metrics.bootstrap_intervals(truth, predicted, [f"{group:02}" for group in groups], draws=50)
    np.testing.assert_allclose(np.array([*found.values()]).T, np.percentile(scores, [2.5, 97.5], axis=0))
    assert found.keys() == metrics.bootstrap_intervals(truth, predicted, groups.astype(str), draws=50).keys()


SURE, HALF_SURE = np.eye(4), np.tile([[0.5, 0.3, 0.2]], (10, 1))


@pytest.mark.parametrize(
    ("truth", "probabilities", "error"),
    [
        (np.arange(4), SURE, 0),
        ((np.arange(4) + 1) % 4, SURE, 1),
        (np.arange(10) % 2, HALF_SURE, 0),
        (np.zeros(10, int), HALF_SURE, 0.5),
    ],
)
def test_calibration_error_of_known_cases(truth, probabilities, error):
    assert metrics.calibration_error(metrics.reliability(truth, probabilities)) == pytest.approx(error)


def test_the_temperature_is_the_likeliest_and_undoes_a_scale_of_the_logits(answers):
    truth, logits = answers
    best = metrics.fit_temperature(logits, truth)
    loss = {factor: metrics.log_loss(truth, logits / best / factor) for factor in (0.95, 1.0, 1.05)}
    assert loss[1.0] == min(loss.values())
    for scale in (0.5, 1.0, 1.5):
        assert metrics.fit_temperature(logits * scale, truth) == pytest.approx(best * scale, rel=1e-3)


@pytest.mark.parametrize(("scale", "bound"), [(1e-3, 0.25), (1e3, 4.0)])
def test_the_temperature_stays_within_bounds(scale, bound, answers):
    """A model that learnt nothing, or few clips that are all right, would take it anywhere."""
    truth, logits = answers
    assert metrics.fit_temperature(logits * scale, truth) == pytest.approx(bound, rel=1e-3)
