"""Scores of a set of predictions: accuracy, UAR, macro F1, confusion, calibration, intervals, and the sexes apart.

UAR is the unweighted average recall, which scikit-learn calls balanced accuracy.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, precision_recall_fscore_support

CALIBRATION_BINS = 15
INTENSITIES = {1: "normal", 2: "strong"}
BOOTSTRAP_DRAWS = 1_000


def report(
    labels: np.ndarray,
    logits: np.ndarray,
    temperature: float,
    emotions: Sequence[str],
    sexes: Sequence[str],
    intensities: Sequence[int],
    groups: Sequence[object],
) -> dict:
    """All scores as plain numbers, ready for JSON.

    Args:
        labels: true emotion of each clip, an index into `emotions`.
        logits: of the model.
        temperature: by which they are divided; calibration is told without it too.
        sexes: "male" or "female", of the speaker of each clip.
        intensities: 1 (normal) or 2 (strong), of each clip.
        groups: what the 95 % intervals resample: the actor of each clip, or the clip itself.

    Shape: [N] int, [N, C] float.
    """
    classes = range(len(emotions))
    logits = logits.astype(np.float64)
    probabilities, before = softmax(logits / temperature, axis=1), softmax(logits, axis=1)
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0.0
    )
    confusion = confusion_matrix(labels, predicted, labels=classes)
    intensities = np.asarray(intensities)
    return {
        "clips": len(labels),
        **headline(labels, predicted),
        "interval95": bootstrap_intervals(labels, predicted, groups),
        "log_loss": float(log_loss(labels, probabilities, labels=list(classes))),
        "calibration_error": calibration_error(labels, probabilities),
        "calibration_error_before_temperature": calibration_error(labels, before),
        "reliability": {"before": reliability(labels, before), "after": reliability(labels, probabilities)},
        "per_emotion": {
            emotion: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "clips": int(support[i]),
                "recall_by_intensity": {
                    name: float((predicted[spoken] == i).mean())
                    for value, name in INTENSITIES.items()
                    if (spoken := (labels == i) & (intensities == value)).any()
                },
            }
            for i, emotion in enumerate(emotions)
        },
        "confusion": confusion.tolist(),
        "most_confused": most_confused(confusion, emotions),
        "by_intensity": _apart(labels, predicted, intensities, {name: value for value, name in INTENSITIES.items()}),
        "by_sex": _apart(labels, predicted, np.asarray(sexes), {"male": "male", "female": "female"}),
    }


def _apart(labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray, names: dict[str, object]) -> dict:
    """`headline` of each group that occurs."""
    members = {name: groups == value for name, value in names.items()}
    return {
        name: {"clips": int(inside.sum()), **headline(labels[inside], predicted[inside])}
        for name, inside in members.items()
        if inside.any()
    }


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


def headline(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy, UAR and macro F1, the last two over the emotions that occur in `labels`.

    Shape: [N] int, [N] int.
    """
    present = np.unique(labels)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "uar": float(np.mean([(predicted[labels == emotion] == emotion).mean() for emotion in present])),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0.0)),
    }


def bootstrap_intervals(
    labels: np.ndarray, predicted: np.ndarray, groups: Sequence[object], draws: int = BOOTSTRAP_DRAWS, seed: int = 0
) -> dict[str, list[float]]:
    """95 % percentile intervals of the headline scores, resampling whole groups with replacement.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(group_of == group) for group in range(group_of.max() + 1)]
    generator = np.random.default_rng(seed)
    scores = []
    for _ in range(draws):
        drawn = np.concatenate([members[g] for g in generator.integers(len(members), size=len(members))])
        scores.append(_fast_headline(labels[drawn], predicted[drawn]))
    low, high = np.percentile(scores, [2.5, 97.5], axis=0)
    return {name: [float(low[i]), float(high[i])] for i, name in enumerate(("accuracy", "uar", "macro_f1"))}


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> list[dict]:
    """For each bin of confidence that holds clips: how many, their mean confidence, and how many of them are right.

    Shape: [N], [N, C].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
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


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error: the gap between confidence and accuracy in equal-width bins, weighted by clips.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    rows = reliability(labels, probabilities, bins)
    return sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / len(labels)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature between 0.05 and 20 under which the labels are likeliest.

    Shape: [N, C], [N].

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    logits = logits.astype(np.float64)
    rows = np.arange(len(labels))

    def negative_log_likelihood(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    best = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))


def _fast_headline(labels: np.ndarray, predicted: np.ndarray) -> tuple[float, float, float]:
    """`headline` from counts: scikit-learn's checks would take minutes in a bootstrap."""
    size = max(labels.max(), predicted.max()) + 1
    hits = np.bincount(labels[labels == predicted], minlength=size)
    true = np.bincount(labels, minlength=size)
    guessed = np.bincount(predicted, minlength=size)
    present = true > 0
    recall = hits[present] / true[present]
    f1 = 2 * hits[present] / (true[present] + guessed[present])
    return hits.sum() / len(labels), recall.mean(), f1.mean()
