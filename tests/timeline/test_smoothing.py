import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_gpu.timeline.stream import EmotionSmoother


def by_enumeration(probabilities, times, stay):
    """The probability of the emotion of the last stretch but one, from every path through the emotions."""
    labels = len(probabilities[0])
    total = np.zeros(labels)
    for path in itertools.product(range(labels), repeat=len(probabilities)):
        weight = 1.0
        for at, emotion in enumerate(path):
            weight *= float(probabilities[at][emotion]) ** min(1.0, times[at][1] - times[at][0])
            if at:
                kept = stay ** ((sum(times[at]) - sum(times[at - 1])) / 2)
                weight *= kept * (path[at] == path[at - 1]) + (1 - kept) / labels
        total[path[-2]] += weight
    return total / total.sum()


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.floats(0.1, 2.0), st.floats(0.0, 2.0)), min_size=2, max_size=5),
    st.floats(0.01, 0.99),
    st.integers(0, 1_000),
)
def test_smoothing_is_forward_backward(lengths, stay, seed):
    probabilities = np.random.default_rng(seed).random((len(lengths), 3)) + 0.01
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    smoother, times, at = EmotionSmoother(stay, 1.0), [], 0.0
    for row, (length, pause) in zip(probabilities, lengths, strict=True):
        times.append((at, at + length))
        before, _ = smoother.take(row, *times[-1])
        at += length + pause
    # both are sums of products of at most ten numbers in float64
    np.testing.assert_allclose(before, by_enumeration(probabilities, times, stay), rtol=1e-9, atol=1e-12)


def test_first_stretch_keeps_its_own_answer():
    answer = np.array([0.2, 0.5, 0.3])
    before, so_far = EmotionSmoother(0.5, 1.0).take(answer, 0.0, 1.5)
    assert before is None
    np.testing.assert_allclose(so_far, answer, rtol=1e-12)
