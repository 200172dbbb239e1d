"""EmotionSmoother: a hidden Markov model over the emotions, so that neighbouring stretches help each other."""

import numpy as np

_SMALLEST = 1e-12


class EmotionSmoother:
    """Smooth the answers of one stretch of speech after the other, each with the help of the next one.

    The hidden state is the speaker's emotion. It is kept with the probability `stay` for a second and else drawn anew,
    each emotion alike: after t seconds it is the same with probability stay^t + (1 - stay^t) / C. What the network says
    of a stretch is the evidence, weighted by its seconds up to `full_seconds`: p^min(1, seconds / full_seconds). The
    answer is the probability of the state given all stretches up to the next one (the forward-backward algorithm with a
    lag of one), so that a stream is answered as a file is.

    Source: Rabiner, A Tutorial on Hidden Markov Models, Proc. IEEE 77(2), 1989.
    """

    def __init__(self, stay: float, full_seconds: float):
        self.stay, self.full_seconds = stay, full_seconds
        self._state: np.ndarray | None = None  # [C]
        self._middle = 0.0

    def take(self, probabilities: np.ndarray, start: float, end: float) -> tuple[np.ndarray | None, np.ndarray]:
        """The answer to the stretch before this one in its light, None for the first; and the one to this so far.

        Shape: probabilities of this stretch alone [C] -> [C] or None, [C]; float64.
        """
        weight = min(1.0, (end - start) / self.full_seconds)
        evidence = np.maximum(probabilities.astype(np.float64), _SMALLEST) ** weight
        before, middle = None, (start + end) / 2
        prior = np.full_like(evidence, 1 / len(evidence))
        if self._state is not None:
            # the emotion has half of each stretch and the pause between them to change
            kept = self.stay ** max(0.0, middle - self._middle)
            fresh = (1 - kept) / len(evidence)
            before = self._state * (kept * evidence + fresh * evidence.sum())
            before /= before.sum()
            prior = kept * self._state + fresh
        state = prior * evidence
        self._state, self._middle = state / state.sum(), middle
        return before, self._state
