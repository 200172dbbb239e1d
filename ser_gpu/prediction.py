"""Prediction: the answer to a recording, and the errors that can come instead; whatever computed it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """An emotion, how sure the model is of it (0 to 1), and the probability of each emotion in label order; and of how
    many seconds of speech that is the answer, None where it is not counted.
    """

    emotion: str
    confidence: float
    probabilities: dict[str, float]
    speech_seconds: float | None = None

    @classmethod
    def of(cls, labels: Sequence[str], shares: Sequence[float], speech_seconds: float | None = None) -> "Prediction":
        """The emotion with the largest share.

        Example:
            >>> Prediction.of(("happy", "sad"), (0.25, 0.75)).emotion
            'sad'
        """
        best = max(range(len(shares)), key=shares.__getitem__)
        return cls(labels[best], shares[best], dict(zip(labels, shares, strict=True)), speech_seconds)
