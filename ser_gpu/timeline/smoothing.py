"""EmotionSmoother: a hidden Markov model over the emotions of neighbouring stretches."""

import numpy as np

_SMALLEST = 1e-12


class EmotionSmoother:
    """Smooth the answers of the stretches by the forward-backward algorithm with a lag of one stretch.

    The hidden state is the emotion. After t seconds it is the same with probability stay^t + (1 - stay^t) / C.
    The evidence of a stretch is p^min(1, seconds / full_seconds), where p is the answer of the network.
    Source: Rabiner, A Tutorial on Hidden Markov Models, Proc. IEEE 77(2), 1989.
    """

    def __init__(self, stay: float, full_seconds: float):
        self.stay, self.full_seconds = stay, full_seconds
        self._state: np.ndarray | None = None  # [C]
        self._middle = 0.0

    def take(self, probabilities: np.ndarray, start: float, end: float) -> tuple[np.ndarray | None, np.ndarray]:
        """The final answer of the stretch before (None at the first), and that of this one so far: [C] float64 each."""
        weight = min(1.0, (end - start) / self.full_seconds)
        evidence = np.maximum(probabilities.astype(np.float64), _SMALLEST) ** weight
        before, middle = None, (start + end) / 2
        prior = np.full_like(evidence, 1 / len(evidence))
        if self._state is not None:
            # the time from middle to middle, in which the emotion can change
            kept = self.stay ** max(0.0, middle - self._middle)
            fresh = (1 - kept) / len(evidence)
            before = self._state * (kept * evidence + fresh * evidence.sum())
            before /= before.sum()
            prior = kept * self._state + fresh
        state = prior * evidence
        self._state, self._middle = state / state.sum(), middle
        return before, self._state
