"""Prediction: the answer to a recording, and the errors that can come instead; whatever computed it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """The emotion of a recording."""

    emotion: str
    confidence: float  # 0 to 1
    probabilities: dict[str, float]  # in label order
    speech_seconds: float | None = None  # of which it is the answer; None where it is not counted

    @classmethod
    def of(cls, labels: Sequence[str], shares: Sequence[float], speech_seconds: float | None = None) -> "Prediction":
        """The emotion with the largest share."""
        best = max(range(len(shares)), key=shares.__getitem__)
        return cls(labels[best], shares[best], dict(zip(labels, shares, strict=True)), speech_seconds)
