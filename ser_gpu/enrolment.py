"""How a speaker's clips become a voice, whatever computes it: which windows count, how much, and what may be wrong."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ser_gpu.corpora.labels import EMOTIONS, canonical

POPULATION_WINDOWS = 8.0  # windows of a speaker that weigh as much as the population; chosen on validation speakers
POPULATION_WINDOWS_ONE_EMOTION = 16.0  # the same where all clips are said to have one emotion
# With a voice a model is right more often, and no surer: how much its logits grow as the speaker's share goes to one;
# fitted to validation speakers
SHARPENING = 0.4
HELPFUL_WINDOWS = 16  # on validation speakers 16 clips helped every network that was tried, and 8 not every one
ALIKE_SHARE = 0.8
MOST_WINDOWS = 96  # more change little, and all views of all of them are in memory at once
FEWEST_ALIKE = 4


@dataclass(frozen=True, eq=False)
class Plan:
    """Which windows of a speaker are measured.

    Attributes:
        kept: rows of the windows of all recordings, [K] int64.
        weight: of each of them, [K] float32; they sum to one.
        share: of the speaker's statistics against the population's.
        count: windows of all recordings.
        emotions: those that were named, each once.
    """

    kept: np.ndarray
    weight: np.ndarray
    share: float
    count: int
    emotions: tuple[str, ...]


def plan(windows: Sequence[int], emotions: Iterable[str] | None, labels: Sequence[str]) -> Plan:
    """Each emotion weighs the same, and within it each window.

    Args:
        windows: how many each recording has.
        emotions: of each recording, or one for all; None where they are not known.
        labels: of the model.

    Raises:
        ValueError: no recording, an emotion that nobody knows, or another number of emotions than recordings.

    Example:
        >>> plan([2, 1], ["sad", "happy"], EMOTIONS).weight.tolist()
        [0.25, 0.25, 0.5]
    """
    if not len(windows):
        raise ValueError("no recording to enrol")
    names = _named(emotions, len(windows), labels)
    count = sum(windows)
    kept = np.linspace(0, count - 1, min(count, MOST_WINDOWS)).round().astype(np.int64)
    of_window = np.repeat(names or [""] * len(windows), windows)[kept].tolist()
    times = Counter(of_window)
    weight = np.array([1.0 / (len(times) * times[name]) for name in of_window], np.float32)
    distinct = tuple(sorted({*names}))
    effective = count / len(kept) / float(np.square(weight).sum())
    return Plan(kept, weight, _share(effective, distinct), count, distinct)


def sharpness(windows: int, emotions: Sequence[str]) -> float:
    """By what the logits of an enrolled speaker are multiplied, so that the probabilities are calibrated again.

    Args:
        windows: with speech that were enrolled.
        emotions: those that were named, each once.

    Example:
        >>> sharpness(8, [])
        1.2
    """
    return 1.0 + SHARPENING * _share(windows, emotions)


def _share(windows: float, emotions: Sequence[str]) -> float:
    """Of the speaker's statistics against the population's."""
    population = POPULATION_WINDOWS_ONE_EMOTION if len(emotions) == 1 else POPULATION_WINDOWS
    return windows / (windows + population)


def notes(plan: Plan, answers: Sequence[str]) -> tuple[str, ...]:
    """What the user should know before they trust the voice.

    Args:
        answers: the emotion that is heard in each kept window, without a voice.
    """
    found = []
    if plan.count < HELPFUL_WINDOWS:
        clips = "clip" if plan.count == 1 else "clips"
        found.append(f"{plan.count} {clips} with speech may not help; {HELPFUL_WINDOWS} varied ones and more do")
    (heard, times), *_ = Counter(answers).most_common(1)
    if len(plan.emotions) == 1:
        found.append(f"all clips are {plan.emotions[0]}: the voice stays close to that of nobody in particular")
    elif not plan.emotions and len(answers) >= FEWEST_ALIKE and times >= ALIKE_SHARE * len(answers):
        found.append(
            f"the clips are alike, {times} of {len(answers)} sound {heard}: with this voice {heard} will be heard "
            "less; enrol varied speech, or name the emotions"
        )
    return tuple(found)


def _named(emotions: Iterable[str] | None, count: int, labels: Sequence[str]) -> list[str]:
    """The canonical emotion of each recording; empty where they are not known."""
    if emotions is None:
        return []
    names = [canonical(name) for name in ([emotions] * count if isinstance(emotions, str) else emotions)]
    if len(names) != count:
        raise ValueError(f"{len(names)} emotions for {count} recordings")
    if unknown := sorted({*names} - {*EMOTIONS, *labels}):
        raise ValueError(f"no such emotion: {', '.join(unknown)}; there are {', '.join(labels)}")
    return names
