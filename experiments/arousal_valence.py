"""Emotions by arousal and valence, and how often a wrong answer keeps one of the two.

Source: Russell, A circumplex model of affect, Journal of Personality and Social Psychology 39(6), 1980. An emotion that
lies on neither side of an axis has no entry for it.
"""

from collections.abc import Sequence

import numpy as np

AROUSAL = {
    "neutral": "low",
    "calm": "low",
    "sad": "low",
    "happy": "high",
    "angry": "high",
    "fearful": "high",
    "surprised": "high",
}
VALENCE = {
    "calm": "pleasant",
    "happy": "pleasant",
    "sad": "unpleasant",
    "angry": "unpleasant",
    "fearful": "unpleasant",
    "disgust": "unpleasant",
}


def kept_by_errors(confusion: Sequence[Sequence[int]], emotions: Sequence[str], side: dict[str, str]) -> dict:
    """How often an error stays on the side of the acted emotion, beside the share for evenly spread errors.

    Args:
        confusion: counts, acted by row, predicted by column, [C, C].
        emotions: names of rows and columns.
        side: of an emotion on one axis, `AROUSAL` or `VALENCE`; errors from or to an emotion without one do not count.

    Returns:
        `errors` (how many count), `kept` and `chance` (shares, NaN where there is no error).
    """
    counts = np.asarray(confusion, dtype=float)
    sided = np.array([emotion in side for emotion in emotions])
    same = np.array([[side.get(a) == side.get(b) for b in emotions] for a in emotions])
    open_to = sided[:, None] & sided & ~np.eye(len(emotions), dtype=bool)
    errors = np.where(open_to, counts, 0.0)
    total = errors.sum()
    if total == 0:
        return {"errors": 0, "kept": float("nan"), "chance": float("nan")}
    even = (open_to & same).sum(axis=1) / np.maximum(open_to.sum(axis=1), 1)
    return {
        "errors": int(total),
        "kept": float(errors[same].sum() / total),
        "chance": float(errors.sum(axis=1) @ even / total),
    }
