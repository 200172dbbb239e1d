"""How a speaker's clips become a voice: which windows count, how much, and what may be wrong."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ser_gpu.corpora.clip import EMOTIONS, canonical
from ser_gpu.errors import InputError, check

POPULATION_WINDOWS = 8.0  # weight of the population, in windows of the speaker; chosen on validation speakers
POPULATION_WINDOWS_ONE_EMOTION = 16.0  # the same where one emotion is named for all clips
SHARPENING = 0.4  # with a voice a model is right more often, but no surer; fitted to validation speakers
# weight of a head's prior: (HEAD_PRIOR / min(windows, MOST_HEAD_WINDOWS))^2; both chosen on validation speakers
HEAD_PRIOR = 10.0
MOST_HEAD_WINDOWS = 32.0
_HEAD_STEPS = 5_000
_HEAD_TOLERANCE = 1e-6
HELPFUL_WINDOWS = 16  # on validation speakers 16 clips helped every network tried, and 8 not every one
HELPFUL_NAMED_WINDOWS = 8  # the same where at least two emotions are named
ALIKE_SHARE = 0.8
MOST_WINDOWS = 96  # more change little, and all are in memory at once, in all copies
FEWEST_ALIKE = 4


@dataclass(frozen=True, eq=False)
class Plan:
    """Which windows of a speaker are measured."""

    kept: np.ndarray  # rows of the windows of all recordings, [K] int64
    recording: np.ndarray  # of each of them, [K] int64
    weight: np.ndarray  # of each of them, [K] float32; they sum to one
    share: float  # of the speaker's statistics against the population's
    count: int  # windows of all recordings
    effective: float  # as many equally weighted windows would tell as much
    emotions: tuple[str, ...]  # those that were named, each once
    named: tuple[str, ...]  # the emotion of each kept window; empty where none was named


class Measured(NamedTuple):
    """A speaker's windows in a network that is adapted to them, layer by layer; all float32."""

    mean: np.ndarray  # of the inputs of its batch normalisations, shrunk towards the population's, [N]
    variance: np.ndarray  # the same
    features: np.ndarray  # inputs of its last layer, [K, inputs]; inputs is 0 where that takes no head
    log_probabilities: np.ndarray  # [K, C]


def plan(windows: Sequence[int], emotions: Iterable[str] | None, labels: Sequence[str]) -> Plan:
    """Each emotion weighs the same, and within it each window; `windows` is the number of them in each recording.

    Raises ValueError for no recording, an unknown emotion, or another number of emotions than recordings.

    >>> plan([2, 1], ["sad", "happy"], EMOTIONS).weight.tolist()
    [0.25, 0.25, 0.5]
    """
    check(len(windows), "no recording to enrol")
    names = emotion_names(emotions, len(windows), labels)
    count = sum(windows)
    kept = np.linspace(0, count - 1, min(count, MOST_WINDOWS)).round().astype(np.int64)
    recording = np.repeat(np.arange(len(windows)), windows)[kept]
    of_window = [names[each] if names else "" for each in recording]
    times = Counter(of_window)
    weight = np.array([1.0 / (len(times) * times[name]) for name in of_window], np.float32)
    distinct = tuple(sorted({*names}))
    effective = count / len(kept) / float(np.square(weight).sum())
    named = tuple(of_window) if distinct else ()
    return Plan(kept, recording, weight, _share(effective, distinct), count, effective, distinct, named)


def sharpness(windows: int, emotions: Sequence[str]) -> float:
    """The factor of an enrolled speaker's logits with which the probabilities are calibrated again."""
    return 1.0 + SHARPENING * _share(windows, emotions)


def _share(windows: float, emotions: Sequence[str]) -> float:
    population = POPULATION_WINDOWS_ONE_EMOTION if len(emotions) == 1 else POPULATION_WINDOWS
    return windows / (windows + population)


def head(plan: Plan, measured: Measured, labels: Sequence[str], temperature: float) -> np.ndarray | None:
    """What is added to the last layer's weights and, in the last column, its bias, [C, inputs + 1] float32.

    It is the maximum a posteriori for the named emotions, with a normal prior around the network's own last layer. None
    for fewer than two named emotions that the model knows, or a last layer that takes no head.
    Source: Gauvain and Lee, Maximum a Posteriori Estimation..., IEEE Trans. Speech and Audio Processing, 1994.
    """
    # only named emotions are compared, so that those which a user does not record are not unlearnt
    known = [label for label in labels if label in plan.emotions]
    if len(known) < 2 or measured.features.shape[1] == 0:
        return None
    is_known = np.array([name in known for name in plan.named])
    features = np.pad(measured.features, ((0, 0), (0, 1)), constant_values=1.0)[is_known].astype(np.float64)
    of_known = [labels.index(name) for name in known]
    truth = np.eye(len(known))[[known.index(name) for name in plan.named if name in known]]
    scale = sharpness(plan.count, plan.emotions) / temperature
    weight = plan.weight[is_known, None] * plan.effective
    prior = (HEAD_PRIOR / min(plan.effective, MOST_HEAD_WINDOWS)) ** 2
    logits = sharpness(plan.count, plan.emotions) * measured.log_probabilities[is_known][:, of_known].astype(np.float64)
    found = np.zeros((len(labels), features.shape[1]))
    found[of_known] = posterior(features, logits, truth, scale * weight, 2 * prior, scale)
    return np.array([[float(f"{value:.4g}") for value in row] for row in found], np.float32)  # short in a file


def posterior(
    features: np.ndarray, logits: np.ndarray, truth: np.ndarray, weight: np.ndarray, prior: float, scale: float = 1.0
) -> np.ndarray:
    """What is added to a last layer: the least of the weighted cross-entropy of `logits + scale * features @ change.T`
    and of `prior / 2` times the squares of the change; `weight` is that of each row times the scale.
    Shape: [K, N], [K, S], [K, S], [K, 1] -> [S, N].
    Source: Nesterov, Introductory Lectures on Convex Optimization, 2004, scheme 2.2.11."""
    # what is sought, [K, S], is weight * (truth - probabilities), by accelerated descent
    gram, weight = features @ features.T, weight / prior
    condition = 1.0 + 0.5 * scale * weight.max() * np.linalg.norm(gram, 2)
    momentum = (np.sqrt(condition) - 1) / (np.sqrt(condition) + 1)
    found = ahead = np.zeros_like(truth)
    for _ in range(_HEAD_STEPS):
        answers = logits + scale * gram @ ahead
        answers = np.exp(answers - answers.max(axis=1, keepdims=True))
        missing = weight * (truth - answers / answers.sum(axis=1, keepdims=True)) - ahead
        before, found = found, ahead + missing / condition
        ahead = found + momentum * (found - before)
        if np.abs(missing).max() <= _HEAD_TOLERANCE * weight.max():
            break
    return found.T @ features


def notes(plan: Plan, answers: Sequence[str]) -> tuple[str, ...]:
    """Warnings about a voice; `answers` are the emotions heard in its kept windows without it."""
    found = []
    of_clip: dict[int, Counter[str]] = {}
    for clip, answer in zip(plan.recording.tolist(), answers, strict=True):
        of_clip.setdefault(clip, Counter())[answer] += 1
    # of one recording alone, the windows are told
    sounds = [each.most_common(1)[0][0] for each in of_clip.values()] if len(of_clip) > 1 else answers
    part = "clip" if len(of_clip) > 1 else "window"
    helpful = HELPFUL_NAMED_WINDOWS if len(plan.emotions) > 1 else HELPFUL_WINDOWS
    if plan.count < helpful:
        parts = f"{len(sounds)} {part}{'s' * (len(sounds) != 1)}"
        found.append(f"{parts} with speech may not help; {helpful} or more varied ones help on average")
    (heard, times), *_ = Counter(answers).most_common(1)
    if len(plan.emotions) == 1:
        found.append(f"all clips are {plan.emotions[0]}: so the model is adapted less")
    elif not plan.emotions and len(answers) >= FEWEST_ALIKE and times >= ALIKE_SHARE * len(answers):
        so = f"with this voice {heard} will be heard less; enrol varied speech, or name the emotions"
        found.append(f"the {part}s are alike, {list(sounds).count(heard)} of {len(sounds)} sound {heard}: {so}")
    return tuple(found)


def emotion_names(emotions: Iterable[str] | None, count: int, labels: Sequence[str]) -> list[str]:
    """The emotion of each of `count` recordings by its usual name, or none; ValueError as `plan`."""
    if emotions is None:
        return []
    names = [canonical(name) for name in ([emotions] * count if isinstance(emotions, str) else emotions)]
    check(len(names) == count, f"{len(names)} emotions for {count} recordings")
    if unknown := sorted({*names} - {*EMOTIONS, *labels}):
        raise InputError(f"no such emotion: {', '.join(unknown)}; there are {', '.join(labels)}")
    return names
