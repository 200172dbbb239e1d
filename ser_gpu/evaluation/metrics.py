"""Scores of answers. Truth and predictions are indices of emotions, [N] int; below zero is no answer. UAR, the
unweighted average recall (scikit-learn: balanced accuracy), and macro F1 are means over the emotions that occur."""

from collections.abc import Hashable, Sequence

import numpy as np

HEADLINE = ("accuracy", "uar", "macro_f1")
_CALIBRATION_BINS = 15


def headline(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy, UAR and macro F1."""
    counts = _counts(truth, predicted, np.zeros(len(truth), int))  # [3, 1, C]
    return dict(zip(HEADLINE, map(float, _headline(*counts[:, 0])), strict=True))


def bootstrap_intervals(
    truth: np.ndarray, predicted: np.ndarray, groups: Sequence[Hashable], draws: int = 1_000
) -> dict[str, list[float]]:
    """95 % percentile intervals of the headline scores, resampling whole groups (speakers, or clips) with replacement.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13."""
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    counts = _counts(truth, predicted, group_of)
    size = counts.shape[1]
    generator = np.random.default_rng(0)
    drawn = (np.bincount(generator.integers(size, size=size), minlength=size) for _ in range(draws))  # times of each
    bounds = np.percentile([_headline(*(times @ counts)) for times in drawn], [2.5, 97.5], axis=0)
    return dict(zip(HEADLINE, bounds.T.tolist(), strict=True))


def _counts(truth: np.ndarray, predicted: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    counts = np.zeros((3, group_of.max() + 1, max(truth.max(), predicted.max()) + 1), int)  # [3, G, C]
    right, answered = truth == predicted, predicted >= 0
    np.add.at(counts[0], (group_of[right], truth[right]), 1)
    np.add.at(counts[1], (group_of, truth), 1)
    np.add.at(counts[2], (group_of[answered], predicted[answered]), 1)
    return counts


def _headline(hits: np.ndarray, clips: np.ndarray, answers: np.ndarray) -> tuple[float, float, float]:
    present = clips > 0  # [C]
    recall = hits[present] / clips[present]
    f1 = 2 * hits[present] / (clips[present] + answers[present])
    return hits.sum() / clips.sum(), recall.mean(), f1.mean()


def likeliest(probabilities: np.ndarray, emotions: np.ndarray) -> np.ndarray:
    """The likeliest of these emotions, such as those that a corpus has. Shape: [N, C], [E] -> [N]."""
    return emotions[probabilities[:, emotions].argmax(axis=1)]


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, emotions: int) -> np.ndarray:
    """Clips by true emotion (rows) and predicted emotion (columns), [C, C]."""
    return np.bincount(truth * emotions + predicted, minlength=emotions**2).reshape(emotions, emotions)


def per_emotion(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and clips of each emotion, [C] each; zero where there is nothing to divide by."""
    hits, clips, answers = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = hits / np.maximum(answers, 1), hits / np.maximum(clips, 1)
    return {"precision": precision, "recall": recall, "f1": 2 * hits / np.maximum(clips + answers, 1), "clips": clips}


def most_confused(confusion: np.ndarray, emotions: Sequence[str], count: int = 5) -> list[dict]:
    """The largest errors, as shares of the clips of an emotion."""
    wrong = confusion - np.diag(np.diag(confusion))
    shares = wrong / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    largest = np.argsort(-shares, axis=None, kind="stable")[:count]
    return [
        {"acted": emotions[row], "predicted": emotions[column], "share": float(shares[row, column])}
        for row, column in zip(*np.unravel_index(largest, shares.shape), strict=True)
        if shares[row, column] > 0
    ]


def reliability(truth: np.ndarray, probabilities: np.ndarray) -> list[dict]:
    """For each bin of confidence that holds clips: how many, their mean confidence, and the share that is right."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bin_of = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    return [
        {"clips": int(rows.sum()), "confidence": float(confidence[rows].mean()), "accuracy": float(right[rows].mean())}
        for rows in (bin_of == number for number in np.unique(bin_of))
    ]


def calibration_error(rows: Sequence[dict]) -> float:
    """Expected calibration error (ECE) of the rows of `reliability`: the mean gap between confidence and accuracy.
    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017; also for `fit_temperature`."""
    clips = sum(row["clips"] for row in rows)
    return sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / clips


def log_loss(truth: np.ndarray, logits: np.ndarray) -> float:
    """Mean negative log-likelihood, in nats. Shape: [N], [N, C]."""
    from scipy.special import log_softmax  # here, since scipy comes with the [train] extra

    return -float(log_softmax(logits, axis=1)[np.arange(len(truth)), truth].mean())


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature from 1/4 to 4 that gives the truth the highest likelihood: beyond, few clips have decided, or a
    model that learnt nothing, and whose confidence would be calibrated all the same. Shape: [N, C], [N]."""
    from scipy.optimize import minimize_scalar

    logits = logits.astype(np.float64)
    loss = lambda log_temperature: log_loss(truth, logits / np.exp(log_temperature))  # noqa: E731
    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(4.0), np.log(4.0)), method="bounded").x))
