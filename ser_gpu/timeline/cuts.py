"""SpeechCuts: samples as they come -> the stretches of speech between pauses."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ser_gpu.audio.silero import SpeechProbability, State
from ser_gpu.timeline.settings import TimelineSettings

BLOCK_FRAMES = 16

_LEVEL = 0.1
_SMALLEST_LEVEL = 1e-7
_LEVEL_FRAMES = 312
_LOUD_SHARE, _LOUD_SHARE_OF_BLOCK = 0.9, 0.75


@dataclass(frozen=True)
class Stretch:
    """Speech without a pause.

    Attributes:
        start: sample of the recording at which it starts.
        samples: [T] float32, as they came.
    """

    start: int
    samples: np.ndarray

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

    Samples are taken in blocks of a fixed length, so that no number depends on how they arrive.

    Args:
        detector: at its own sample rate, which is that of the samples.
        most_seconds: of a stretch.
        settings: thresholds.
    """

    def __init__(self, detector: SpeechProbability, most_seconds: float, settings: TimelineSettings):
        self.settings = settings
        self.detector = detector
        self.frame = detector.frame
        self.block = BLOCK_FRAMES * self.frame
        self.most_frames = max(4, int(most_seconds * detector.sample_rate / self.frame))
        self.samples_seen = 0
        self.in_speech = False
        self.frames_since_speech = 10**9
        self._state: State | None = None
        self._levels = np.zeros(0, np.float32)
        self._kept = np.zeros(0, np.float32)
        self._kept_start = 0
        self._frame = 0
        self._start = 0
        self._last_end = 0
        self._speech: list[float] = []
        self._voiced = 0
        self._quiet = 0

    @property
    def is_quiet(self) -> bool:
        """True where the last frames are no speech, and none has begun."""
        return not self.in_speech

    def take(self, block: np.ndarray) -> Iterator[Stretch]:
        """The stretches that end in the next block.

        Shape: [T] float32, T = `block`, or less in the last one.
        """
        whole = np.pad(block, (0, -len(block) % self.frame))
        speech, self._state = self.detector(whole * self._gain(whole), self._state)
        self._kept = np.concatenate([self._kept, block])
        self.samples_seen += len(block)
        for probability in speech.tolist():
            yield from self._next_frame(probability)
            self._frame += 1
        self._forget()

    def close(self) -> Iterator[Stretch]:
        """The stretch that the end of the recording ends."""
        if self.in_speech:
            yield from self._ended(self._frame - self._quiet + self.settings.margin_frames)

    def _gain(self, block: np.ndarray) -> np.float32:
        levels = np.sqrt(np.square(block.reshape(-1, self.frame)).mean(axis=1))
        self._levels = np.concatenate([self._levels, levels])[-_LEVEL_FRAMES:]
        level = max(np.quantile(self._levels, _LOUD_SHARE), np.quantile(levels, _LOUD_SHARE_OF_BLOCK))
        return np.float32(_LEVEL / max(level, _SMALLEST_LEVEL))

    def _next_frame(self, probability: float) -> Iterator[Stretch]:
        self.frames_since_speech = 0 if probability >= self.settings.on else self.frames_since_speech + 1
        if not self.in_speech:
            if probability >= self.settings.on:
                self.in_speech = True
                self._start = max(self._frame - self.settings.margin_frames, self._last_end)
                self._speech, self._voiced, self._quiet = [0.0] * (self._frame - self._start), 0, 0
            else:
                return
        self._speech.append(probability)
        self._voiced += probability >= self.settings.on
        self._quiet = self._quiet + 1 if probability < self.settings.off else 0
        if self._quiet == self.settings.pause_frames:
            yield from self._ended(self._frame + 1 - self.settings.pause_frames + self.settings.margin_frames)
            self.in_speech = False
        elif len(self._speech) >= self.most_frames:
            half = len(self._speech) // 2
            cut = half + min(range(len(self._speech) - half), key=lambda at: self._speech[half + at])
            later = self._speech[cut:]
            yield from self._ended(self._start + cut)
            self._start, self._speech = self._start + cut, later
            self._voiced = sum(each >= self.settings.on for each in later)

    def _ended(self, end: int) -> Iterator[Stretch]:
        enough = self._voiced >= self.settings.least_frames
        if enough:
            first = self._start * self.frame
            last = min(end * self.frame, self.samples_seen)
            yield Stretch(first, self._kept[first - self._kept_start : last - self._kept_start].copy())
            self._last_end = end

    def _forget(self) -> None:
        """Samples that no stretch can need any more."""
        needed = (self._start if self.in_speech else self._frame - self.settings.margin_frames) * self.frame
        drop = needed - self._kept_start
        if drop > 0:
            self._kept, self._kept_start = self._kept[drop:], needed
