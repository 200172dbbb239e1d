"""SpeechCuts: samples as they come -> the stretches of speech between pauses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ser_gpu.audio.silero import SpeechProbability, State
from ser_gpu.settings import POSITIVE, PROBABILITY, Settings, setting

BLOCK_FRAMES = 16

_LEVEL, _SMALLEST_LEVEL, _LEVEL_FRAMES = 0.1, 1e-7, 312
_LOUD_SHARE, _LOUD_SHARE_OF_BLOCK = 0.9, 0.75


@dataclass(frozen=True)
class TimelineSettings(Settings):
    """How a recording is cut and smoothed. The values were chosen by `python -m experiments.timeline --fit`."""

    on: float = setting(0.5, PROBABILITY)  # probability of speech at which speech starts
    off: float = setting(0.2, PROBABILITY)  # below it, speech may end
    pause_frames: int = setting(4, POSITIVE)  # of 32 ms below `off` that end it
    margin_frames: int = 3  # on each side of a stretch that belong to it
    least_frames: int = setting(3, POSITIVE)  # of `on` or more without which a stretch is no speech
    stay: float = setting(0.3, PROBABILITY)  # probability that an emotion outlasts a second
    full_seconds: float = setting(1.0, POSITIVE)  # a shorter stretch is weaker evidence, in proportion

    def __post_init__(self):
        super().__post_init__()
        self.require(0 <= self.margin_frames <= self.pause_frames, "margin_frames", "between 0 and `pause_frames`")
        self.require(self.off <= self.on, "off", "at most `on`")


@dataclass(frozen=True)
class Stretch:
    """Speech without a pause."""

    start: int  # sample of the recording
    samples: np.ndarray  # [T] float32

    @property
    def end(self) -> int:
        """The first sample after it."""
        return self.start + len(self.samples)


class SpeechCuts:
    """Cut a recording where its speech pauses for a tenth of a second.

    Every frame of 32 ms has a probability of speech. Speech starts with a frame of `on` or more, and ends with
    `pause_frames` below `off`; `margin_frames` on each side belong to it. A stretch never exceeds `most_seconds`:
    before it does, it is cut at the frame of its second half that is the least likely speech.

    The detector hears each block of half a second at one level: the loudest tenth of the frames of the last ten
    seconds, or a quarter of those of the block, counts as voice. A single click is neither.

    Args:
        hear: `SpeechProbability`, or what is called like it, at whose rate the samples are.
        most_seconds: of a stretch.
        settings: thresholds.
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
        self._levels = np.zeros(0, np.float32)  # of the last frames
        self._kept, self._kept_start = np.zeros(0, np.float32), 0  # the samples that a stretch may still need
        self._frame = 0  # the next one
        self._speech: list[float] = []  # probabilities of the frames from `_start` on, none outside of speech
        self._start = self._last_end = 0
        self._quiet = 0  # of the last frames are below `off`

    @property
    def in_speech(self) -> bool:
        """True where a stretch has begun."""
        return bool(self._speech)

    def take(self, samples: np.ndarray) -> list[Stretch]:
        """The stretches that end in the next block, or in several at a time, which is faster.

        Shape: [T] float32, T a multiple of `block`, but for the last time.
        """
        whole = np.pad(samples, (0, -len(samples) % self.frame))
        blocks = np.split(whole, range(self.block, len(whole), self.block))
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
        """The stretch that the end of the recording ends."""
        return self._end(self._frame - self._quiet + self.settings.margin_frames, []) if self.in_speech else []

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
        """The stretch up to the frame `end`, none if it has too little voice; what is `later` begins the next one."""
        voiced = sum(each >= self.settings.on for each in self._speech)
        first, last = self._start * self.frame, min(end * self.frame, self.samples_seen)
        self._start, self._speech = end, later
        if voiced < self.settings.least_frames:
            return []
        self._last_end = end
        return [Stretch(first, self._kept[first - self._kept_start : last - self._kept_start].copy())]


def _quantile(values: np.ndarray, share: float) -> float:
    """`np.quantile` in a tenth of its time."""
    ordered, place = np.sort(values), share * (len(values) - 1)
    return float(np.interp(place, np.arange(len(values)), ordered))
