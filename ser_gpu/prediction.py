"""Prediction: the answer to a recording, whatever computed it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """The emotion of a recording."""

    emotion: str
    confidence: float  # 0 to 1
    probabilities: dict[str, float]  # in label order
    speech_seconds: float | None = None  # that were heard; None where they are not counted

    @classmethod
    def of(cls, labels: Sequence[str], shares: Sequence[float], speech_seconds: float | None = None) -> "Prediction":
        """The prediction of the emotion with the largest share."""
        best = max(range(len(shares)), key=shares.__getitem__)
        return cls(labels[best], shares[best], dict(zip(labels, shares, strict=True)), speech_seconds)
