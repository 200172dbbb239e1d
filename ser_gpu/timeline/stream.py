"""Stream: samples as they come -> segments. A file is answered by the same code, block after block."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ser_gpu.audio.samples import MOST_CHANNELS, array_of, blocks, checked_rate, mix, resampled
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.errors import AudioError, InputError
from ser_gpu.prediction import Prediction
from ser_gpu.timeline.cuts import SpeechCuts, Stretch, TimelineSettings
from ser_gpu.timeline.segment import Segment, silent, spoken
from ser_gpu.timeline.smoothing import EmotionSmoother
from ser_gpu.timeline.speakers import Speakers

if TYPE_CHECKING:
    from ser_gpu.recognizer import Answers

SHORT_SECONDS = 6.0
LAG_SECONDS = 1.0


class Stream:
    """Answer speech while it is spoken: `push` samples of any number at a time, and `close` at the end.

    Segments come in order and leave no gap: a stretch of speech between two pauses is one, what lies before it another.
    A stretch is answered when the next one has ended, or after a second without speech, or at the end; speech without
    a pause is cut after the model's window, three seconds. A recording of up to six seconds is one stretch, answered as
    `SpeechEmotionModel.predict` answers it: so the first six seconds of any stream are answered when they are over.
    `now` does not wait. How the samples are cut into pushes changes no segment.

    Where it is known who speaks when, a stretch is cut where the speaker changes, each speaker is smoothed by
    themselves, and a short recording is answered like a long one.

    Args:
        answers: of a model; `SpeechEmotionModel.stream` makes them.
        sample_rate: Hz of the samples; left out, the model's.
        name: for messages.
        settings: of cuts and smoothing.
        speakers: who speaks when.

    Raises:
        AudioError: a rate that no recording has.
        MissingExtraError: silero-vad is not installed.

    Example:
        >>> from ser_gpu.model import SpeechEmotionModel
        >>> stream = SpeechEmotionModel().stream()
        >>> stream.push(np.zeros(20_000)), [segment.speech for segment in stream.close()]
        ([], [False])
    """

    def __init__(
        self,
        answers: "Answers",
        sample_rate: int | None = None,
        name: str = "stream",
        settings: TimelineSettings | None = None,
        speakers: Speakers | None = None,
    ):
        self.answers = answers
        self.name = name
        self.settings = settings or TimelineSettings()
        self.speakers = speakers
        self._detector = SpeechProbability()
        self.rate = self._detector.sample_rate
        rate = answers.sample_rate if sample_rate is None else checked_rate(sample_rate, name)
        self._pushed: list[np.ndarray] = []
        self._resampled = resampled(_taken(self._pushed), rate, self.rate)
        self._cuts = SpeechCuts(self._detector, answers.window_seconds, self.settings)
        self._smoothers: defaultdict[str | None, EmotionSmoother] = defaultdict(
            partial(EmotionSmoother, self.settings.stay, self.settings.full_seconds)
        )
        self._pending = np.zeros(0, np.float32)  # less than a block
        self._short: list[np.ndarray] | None = [] if speakers is None else None  # while it may be a short recording
        self._early: list[Stretch] = []  # of that short recording
        self._recent = np.zeros(0, np.float32)  # the last window
        self._waiting: _Answered | None = None  # for the next stretch
        self._given = 0  # up to this sample there are segments
        self._is_closed = False

    @property
    def seconds(self) -> float:
        """How much was heard; up to half a second less than was pushed."""
        return self._cuts.samples_seen / self.rate

    def push(self, samples: object) -> list[Segment]:
        """Hear more, and give the segments that are finished.

        Args:
            samples: [T], or [T, channels], of integers or floating point, an array or a tensor; none at all is fine.

        Raises:
            AudioError: another shape or type, or samples that are not finite.
            ValueError: the stream is closed.
        """
        if self._is_closed:
            raise InputError("the stream is closed")
        mono = _mono(samples, self.name)
        if not len(mono):
            return []
        self._pushed.append(mono)
        return self._heard(next(self._resampled))

    def close(self) -> list[Segment]:
        """End it, and give the segments that are left; they end with the recording."""
        if self._is_closed:
            return []
        self._is_closed = True
        segments = self._heard(next(self._resampled, np.zeros(0, np.float32)))  # what the resampler held back
        if len(self._pending):
            segments += self._block(self._pending)
        last = self._cuts.close()
        segments += self._answered(last) if self._short is None else self._as_one(self._early + last)
        return segments + self._finished() + self._gap(self._cuts.samples_seen)

    def now(self) -> Prediction | None:
        """The emotion of the last three seconds, unsmoothed; None where nobody speaks in them."""
        frames = len(self._recent) / self._detector.frame
        if self._cuts.frames_since_speech >= frames or not self._recent.any():
            return None
        return Prediction.of(self.answers.labels, self.answers.of_stretch(self._recent).tolist())

    def _heard(self, samples: np.ndarray) -> list[Segment]:
        self._pending = np.concatenate([self._pending, samples])
        segments = []
        while len(self._pending) >= self._cuts.block:
            block, self._pending = np.split(self._pending, [self._cuts.block])
            segments += self._block(block)
        return segments

    def _block(self, block: np.ndarray) -> list[Segment]:
        stretches = self._cuts.take(block)
        self._recent = np.concatenate([self._recent, block])[-round(self.answers.window_seconds * self.rate) :]
        if self._short is not None:
            self._short.append(block)
            self._early += stretches
            if self.seconds <= SHORT_SECONDS:
                return []
            stretches, self._early, self._short = self._early, [], None
        segments = self._answered(stretches)
        if self._waiting and not self._cuts.in_speech:
            quiet = self._cuts.samples_seen - self._waiting.end
            if quiet > LAG_SECONDS * self.rate:
                segments += self._finished()
        return segments

    def _answered(self, stretches: list[Stretch]) -> list[Segment]:
        """Take stretches; each finishes the one before it."""
        segments = []
        for part in self._by_speaker(stretches):
            start, end = part.start / self.rate, part.end / self.rate
            speaker = self.speakers and self.speakers.of(start, end)
            answer = self.answers.of_stretch(part.samples, speaker)
            before, so_far = self._smoothers[speaker].take(answer, start, end)
            if self._waiting is not None and self._waiting.speaker == speaker:
                self._waiting = self._waiting._replace(probabilities=before)
            segments += self._finished()
            self._waiting = _Answered(part.start, part.end, so_far, speaker)
        return segments

    def _by_speaker(self, stretches: list[Stretch]) -> Iterator[Stretch]:
        for stretch in stretches:
            cuts = self.speakers.changes(stretch.start / self.rate, stretch.end / self.rate) if self.speakers else []
            bounds = [0, *(round(cut * self.rate) - stretch.start for cut in cuts), len(stretch.samples)]
            for first, end in pairwise(bounds):
                yield Stretch(stretch.start + first, stretch.samples[first:end])

    def _as_one(self, stretches: list[Stretch]) -> list[Segment]:
        """Take a short recording as one stretch, answered as `predict` does."""
        if stretches:
            probabilities = self.answers.of_recording(np.concatenate(self._short))
            self._waiting = _Answered(stretches[0].start, stretches[-1].end, probabilities, None)
        return []

    def _finished(self) -> list[Segment]:
        """The stretch that waited for the next one, and what lies before it."""
        if self._waiting is None:
            return []
        (start, end, probabilities, speaker), self._waiting = self._waiting, None
        before, self._given = self._gap(start), end
        named = dict(zip(self.answers.labels, probabilities.tolist(), strict=True))
        return [*before, spoken(start / self.rate, end / self.rate, named, speaker)]

    def _gap(self, end: int) -> list[Segment]:
        return [silent(self._given / self.rate, end / self.rate)] if end > self._given else []


class _Answered(NamedTuple):
    """A stretch from sample `start` to `end`, its probabilities, [C], and who speaks in it where that is known."""

    start: int
    end: int
    probabilities: np.ndarray
    speaker: str | None


def _taken(pushed: list[np.ndarray]) -> Iterator[np.ndarray]:
    """What was pushed, until nothing is. It knows no stream: in a circle the resampler would outlive it."""
    while pushed:
        yield pushed.pop()


def _mono(samples: object, name: str) -> np.ndarray:
    """Shape: [T] or [T, channels] -> [T] float32."""
    array = array_of(samples, name)
    if array.ndim == 2 and 1 <= array.shape[1] <= MOST_CHANNELS:
        channels = array.T
    elif array.ndim == 1:
        channels = array[None]
    else:
        raise AudioError.of(name, f"push takes samples as [T] or [T, channels], got {list(array.shape)}")
    if array.dtype.kind not in "iuf":
        raise AudioError.of(name, f"samples must be integers or floating point, got {array.dtype}")
    if not array.size:
        return np.zeros(0, np.float32)
    return np.concatenate([mix(block, name) for block in blocks(channels)])
