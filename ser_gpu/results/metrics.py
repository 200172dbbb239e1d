"""Scores of a set of predictions: accuracy, UAR, macro F1, confusion, calibration, intervals, and the sexes apart.

UAR is the unweighted average recall, which scikit-learn calls balanced accuracy.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, precision_recall_fscore_support

CALIBRATION_BINS = 15
BOOTSTRAP_DRAWS = 1_000


def report(
    labels: np.ndarray,
    probabilities: np.ndarray,
    emotions: Sequence[str],
    sexes: Sequence[str],
    groups: Sequence[object],
) -> dict:
    """All scores as plain numbers, ready for JSON.

    Args:
        labels: true emotion of each clip, an index into `emotions`.
        probabilities: predicted probability of each emotion.
        sexes: "male" or "female", of the speaker of each clip.
        groups: what the 95 % intervals resample: the actor of each clip, or the clip itself.

    Shape: [N] int, [N, C] float.
    """
    classes = range(len(emotions))
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0.0
    )
    sexes = np.asarray(sexes)
    return {
        "clips": len(labels),
        **headline(labels, predicted),
        "interval95": bootstrap_intervals(labels, predicted, groups),
        "log_loss": float(log_loss(labels, probabilities, labels=list(classes))),
        "calibration_error": calibration_error(labels, probabilities),
        "per_emotion": {
            emotion: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "clips": int(support[i]),
            }
            for i, emotion in enumerate(emotions)
        },
        "confusion": confusion_matrix(labels, predicted, labels=classes).tolist(),
        "by_sex": {
            sex: {"clips": int((sexes == sex).sum()), **headline(labels[sexes == sex], predicted[sexes == sex])}
            for sex in ("male", "female")
            if (sexes == sex).any()
        },
    }


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


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error: the gap between confidence and accuracy in equal-width bins, weighted by clips.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[bin_of == b].sum() - right[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(labels))


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
