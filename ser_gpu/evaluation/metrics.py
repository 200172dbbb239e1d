"""Scores of a set of answers: accuracy, UAR, macro F1, confusion, calibration, bootstrap intervals.

UAR is the unweighted average recall, which scikit-learn calls balanced accuracy; here, as macro F1, over the emotions
that occur. Truth and predictions are indices of emotions; a prediction below zero stands for no answer.
"""

from collections.abc import Hashable, Sequence

import numpy as np

CALIBRATION_BINS = 15
BOOTSTRAP_DRAWS = 1_000
HEADLINE = ("accuracy", "uar", "macro_f1")


def headline(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy, UAR and macro F1.

    Shape: [N] int, [N] int.
    """
    scores = _from_counts(*_counts(truth, predicted, np.zeros(len(truth), int)))
    return dict(zip(HEADLINE, map(float, scores), strict=True))


def bootstrap_intervals(
    truth: np.ndarray, predicted: np.ndarray, groups: Sequence[Hashable], draws: int = BOOTSTRAP_DRAWS, seed: int = 0
) -> dict[str, list[float]]:
    """95 % percentile intervals of the headline scores, resampling whole groups (speakers, or clips) with replacement.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    counts = _counts(truth, predicted, group_of)
    size = len(counts[0])
    generator = np.random.default_rng(seed)
    scores = []
    for _ in range(draws):
        times = np.bincount(generator.integers(size, size=size), minlength=size)
        scores.append(_from_counts(*(times[:, None] * each for each in counts)))
    low, high = np.percentile(scores, [2.5, 97.5], axis=0)
    return {name: [float(low[i]), float(high[i])] for i, name in enumerate(HEADLINE)}


def _counts(truth: np.ndarray, predicted: np.ndarray, group_of: np.ndarray) -> tuple[np.ndarray, ...]:
    """By group and emotion: right answers, clips, answers.

    Shape: [N] int each -> [G, C] each.
    """
    shape = group_of.max() + 1, max(truth.max(), predicted.max()) + 1
    hits, clips, answers = (np.zeros(shape, int) for _ in range(3))
    right, answered = truth == predicted, predicted >= 0
    np.add.at(hits, (group_of[right], truth[right]), 1)
    np.add.at(clips, (group_of, truth), 1)
    np.add.at(answers, (group_of[answered], predicted[answered]), 1)
    return hits, clips, answers


def _from_counts(hits: np.ndarray, clips: np.ndarray, answers: np.ndarray) -> tuple[float, float, float]:
    hits, clips, answers = hits.sum(axis=0), clips.sum(axis=0), answers.sum(axis=0)
    present = clips > 0
    recall = hits[present] / clips[present]
    f1 = 2 * hits[present] / (clips[present] + answers[present])
    return hits.sum() / clips.sum(), recall.mean(), f1.mean()


def per_emotion(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and clips of each emotion; zero where there is nothing to divide by.

    Shape: [C, C] counts, true emotion by row, predicted by column -> [C] each.
    """
    hits, clips, answers = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "precision": hits / np.maximum(answers, 1),
        "recall": hits / np.maximum(clips, 1),
        "f1": 2 * hits / np.maximum(clips + answers, 1),
        "clips": clips,
    }


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, emotions: int) -> np.ndarray:
    """Clips by true emotion (rows) and predicted emotion (columns).

    Shape: [N], [N] -> [C, C].
    """
    return np.bincount(truth * emotions + predicted, minlength=emotions**2).reshape(emotions, emotions)


def most_confused(confusion: np.ndarray, emotions: Sequence[str], count: int = 5) -> list[dict]:
    """The largest errors, as shares of the clips of an emotion.

    Shape: [C, C] counts, true emotion by row, predicted by column.
    """
    confusion = np.asarray(confusion)
    wrong = confusion - np.diag(np.diag(confusion))
    shares = wrong / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    order = np.argsort(-shares, axis=None, kind="stable")[:count]
    pairs = zip(*np.unravel_index(order, shares.shape), strict=True)
    return [
        {"acted": emotions[row], "predicted": emotions[column], "share": float(shares[row, column])}
        for row, column in pairs
        if shares[row, column] > 0
    ]


def reliability(truth: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> list[dict]:
    """For each bin of confidence that holds clips: how many, their mean confidence, and the share that is right.

    Shape: [N], [N, C].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "clips": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for inside in (bin_of == number for number in range(bins))
        if inside.any()
    ]


def calibration_error(rows: Sequence[dict]) -> float:
    """Expected calibration error (ECE): the gap between confidence and accuracy in each bin, weighted by its clips.

    Args:
        rows: as `reliability` gives them.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    clips = sum(row["clips"] for row in rows)
    return sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / clips


def log_loss(truth: np.ndarray, logits: np.ndarray) -> float:
    """Mean negative log-likelihood, in nats.

    Shape: [N], [N, C].
    """
    from scipy.special import log_softmax

    return -float(log_softmax(logits, axis=1)[np.arange(len(truth)), truth].mean())


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature between 0.05 and 20 that gives the truth the highest likelihood.

    Shape: [N, C], [N].

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    logits = logits.astype(np.float64)
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(
        lambda log_temperature: log_loss(truth, logits / np.exp(log_temperature)),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(best.x))
