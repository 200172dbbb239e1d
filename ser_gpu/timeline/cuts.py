"""SpeechCuts: blocks of samples -> the stretches of speech between pauses."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ser_gpu.audio.silero import SpeechProbability, State
from ser_gpu.settings import POSITIVE, PROBABILITY, Settings, setting

BLOCK_FRAMES = 16

_LEVEL, _SMALLEST_LEVEL, _LEVEL_FRAMES = 0.1, 1e-7, 312
_LOUD_SHARE, _LOUD_SHARE_OF_BLOCK = 0.9, 0.75


@dataclass(frozen=True)
class TimelineSettings(Settings):
    """How a recording is cut and smoothed; `python -m experiments.timeline --fit` chose the values."""

    on: float = setting(0.5, PROBABILITY)  # speech probability from which speech starts
    off: float = setting(0.2, PROBABILITY)  # below it, speech may end
    pause_frames: int = setting(4, POSITIVE)  # frames of 32 ms below `off` that end speech
    margin_frames: int = 3  # added on each side of a stretch, at most `pause_frames`
    least_frames: int = setting(3, POSITIVE)  # with `on` or more that a stretch needs
    stay: float = setting(0.3, PROBABILITY)  # probability that an emotion lasts another second
    full_seconds: float = setting(1.0, POSITIVE)  # seconds below which a stretch counts less, in proportion


class Stretch(NamedTuple):
    """Speech without a pause."""

    start: int  # sample of the recording
    samples: np.ndarray  # [T] float32

    @property
    def end(self) -> int:
        """The first sample after it."""
        return self.start + len(self.samples)


class SpeechCuts:
    """Cut a recording at the pauses of its speech, by the speech probability of frames of 32 ms.

    A stretch that reaches `most_seconds` is cut in its second half, at the frame with the lowest probability.
    The detector hears each block of half a second at one level, measured so that a single click does not count: the
    90 % quantile of the frame levels of the last ten seconds or, if higher, the 75 % quantile of the block.
    hear: `SpeechProbability` or a callable like it; the samples have its rate.
    """

    def __init__(self, hear: Callable, most_seconds: float, settings: TimelineSettings):
        self.settings = settings
        self.frame = SpeechProbability.frame
        self._hear = hear
        self.block = BLOCK_FRAMES * self.frame
        self.most_frames = max(4, int(most_seconds * SpeechProbability.sample_rate / self.frame))
        self.samples_seen = 0
        self.frames_since_speech = 10**9
        self._state: State | None = None
        self._levels = np.zeros(0, np.float32)  # of the last ten seconds of frames
        self._kept, self._kept_start = np.zeros(0, np.float32), 0  # samples that a stretch may still need
        self._frame = 0  # the next one
        self._speech: list[float] = []  # probabilities from frame `_start` on; empty outside of speech
        self._start = self._last_end = 0
        self._quiet = 0  # so many of the last frames are below `off`

    @property
    def in_speech(self) -> bool:
        """True where a stretch has begun."""
        return bool(self._speech)

    def take(self, samples: np.ndarray) -> list[Stretch]:
        """The stretches that end in the next samples [T] float32; T is a multiple of `block`, except at the end."""
        whole = np.concatenate([samples, np.zeros(-len(samples) % self.frame, np.float32)])
        blocks = (whole[at : at + self.block] for at in range(0, len(whole), self.block))
        levelled = np.concatenate([block * self._gain(block) for block in blocks])
        speech, self._state = self._hear(levelled, self._state)
        self._kept = np.concatenate([self._kept, samples])
        self.samples_seen += len(samples)
        found = []
        for probability in speech.tolist():
            found += self._next_frame(probability)
            self._frame += 1
        needed = (self._start if self.in_speech else self._frame - self.settings.margin_frames) * self.frame
        if needed > self._kept_start:
            self._kept, self._kept_start = self._kept[needed - self._kept_start :], needed
        return found

    def close(self) -> list[Stretch]:
        """End the recording; the stretch that is still open, if any."""
        return self._end(self._frame - self._quiet + self.settings.margin_frames, []) if self.in_speech else []

    def begun(self) -> list[Stretch]:
        """What is certain of the stretch that is still open, whatever follows; nothing where it may be dropped, or be
        shorter than its margin and `least_frames` together."""
        settings, end = self.settings, min(self._frame - self._quiet, self._start + self.most_frames // 2)
        voiced = sum(each >= settings.on for each in self._speech)
        if voiced < settings.least_frames or end - self._start < settings.margin_frames + settings.least_frames:
            return []
        first, last = self._start * self.frame, min(end * self.frame, self.samples_seen)
        return [Stretch(first, self._kept[first - self._kept_start : last - self._kept_start])]

    def _gain(self, block: np.ndarray) -> np.float32:
        levels = np.sqrt(np.square(block.reshape(-1, self.frame)).mean(axis=1))
        self._levels = np.concatenate([self._levels, levels])[-_LEVEL_FRAMES:]
        level = max(_quantile(self._levels, _LOUD_SHARE), _quantile(levels, _LOUD_SHARE_OF_BLOCK))
        return np.float32(_LEVEL / max(level, _SMALLEST_LEVEL))

    def _next_frame(self, probability: float) -> list[Stretch]:
        settings = self.settings
        is_voice = probability >= settings.on
        self.frames_since_speech = 0 if is_voice else self.frames_since_speech + 1
        if not self.in_speech:
            if not is_voice:
                return []
            self._start = max(self._frame - settings.margin_frames, self._last_end)
            self._speech, self._quiet = [0.0] * (self._frame - self._start), 0
        self._speech.append(probability)
        self._quiet = self._quiet + 1 if probability < settings.off else 0
        if self._quiet == settings.pause_frames:
            return self._end(self._frame + 1 - settings.pause_frames + settings.margin_frames, [])
        if len(self._speech) >= self.most_frames:
            half = len(self._speech) // 2
            cut = half + int(np.argmin(self._speech[half:]))
            return self._end(self._start + cut, self._speech[cut:])
        return []

    def _end(self, end: int, later: list[float]) -> list[Stretch]:
        # none where the stretch has too little voice; `later` holds the first probabilities of the next one
        voiced = sum(each >= self.settings.on for each in self._speech)
        first, last = self._start * self.frame, min(end * self.frame, self.samples_seen)
        self._start, self._speech = end, later
        if voiced < self.settings.least_frames:
            return []
        self._last_end = end
        return [Stretch(first, self._kept[first - self._kept_start : last - self._kept_start].copy())]


def _quantile(values: np.ndarray, share: float) -> float:
    # as np.quantile, which is slower
    ordered, place = np.sort(values), share * (len(values) - 1)
    low, high = float(ordered[int(place)]), float(ordered[math.ceil(place)])
    return low + place % 1 * (high - low)
