"""Stream: samples as they come -> segments. A file is answered by the same code, block after block."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ser_gpu.audio.error import AudioError
from ser_gpu.audio.mono import mix, resampled
from ser_gpu.audio.samples import MOST_CHANNELS, blocks, checked_rate
from ser_gpu.audio.waveform import level, resample
from ser_gpu.inference import predict
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.prediction import NoSpeechError, Prediction
from ser_gpu.stages.vad import SpeechProbability
from ser_gpu.timeline.cuts import SpeechCuts, Stretch
from ser_gpu.timeline.segment import Segment, silent, spoken
from ser_gpu.timeline.settings import TimelineSettings
from ser_gpu.timeline.smoothing import EmotionSmoother

SHORT_SECONDS = 6.0
LAG_SECONDS = 1.0


class Stream:
    """Answer speech while it is spoken: `push` samples of any number at a time, and `close` at the end.

    Segments come in order and leave no gap: a stretch of speech between two pauses is one, what lies before it another.
    A stretch is answered when the next one has ended, or after a second without speech, or at the end; speech without
    a pause is cut after the model's window, three seconds. A recording of up to six seconds is one stretch, answered as
    `SpeechEmotionModel.predict` answers it: so the first six seconds of any stream are answered when they are over.
    `now` does not wait. How the samples are cut into pushes changes no segment.

    Args:
        model: on any device, in any mode.
        sample_rate: Hz of the samples; left out, the model's.
        name: for messages.
        settings: of cuts and smoothing.

    Raises:
        AudioError: a rate that no recording has.
        MissingExtraError: silero-vad is not installed.

    Example:
        >>> from ser_gpu.model import SpeechEmotionModel
        >>> stream = SpeechEmotionModel().stream()
        >>> stream.push(torch.zeros(20_000)), [segment.speech for segment in stream.close()]
        ([], [False])
    """

    def __init__(
        self,
        model: SpeechEmotionModel,
        sample_rate: int | None = None,
        name: str = "stream",
        settings: TimelineSettings | None = None,
    ):
        in_evaluation = not any(module.training for module in model.modules())
        self.model = model if in_evaluation else copy.deepcopy(model).eval()  # another thread may be training it
        self.name = name
        settings = settings or TimelineSettings()
        rate = model.sample_rate if sample_rate is None else checked_rate(sample_rate, name)
        self._detector = SpeechProbability()
        self.rate = self._detector.sample_rate
        self._resampler = _Resampler(rate, self.rate)
        self._cuts = SpeechCuts(self._detector, model.config.audio.clip_seconds, settings)
        self._smoother = EmotionSmoother(len(model.labels), settings.stay, settings.full_seconds)
        self._pending = torch.zeros(0)
        self._short: list[Tensor] | None = []  # while the recording may be a short one
        self._early: list[Stretch] = []
        self._recent = torch.zeros(0)
        self._waiting: tuple[int, int, Tensor] | None = None
        self._given = 0
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
            raise ValueError("the stream is closed")
        return list(self._heard(self._resampler.take(_mono(samples, self.name))))

    def close(self) -> list[Segment]:
        """End it, and give the segments that are left; they end with the recording."""
        if self._is_closed:
            return []
        segments = list(self._heard(self._resampler.end()))
        self._is_closed = True
        if len(self._pending):
            segments += self._block(self._pending)
        total = self._cuts.samples_seen
        last = list(self._cuts.close())
        if self._short is not None:
            segments += self._as_one([*self._early, *last])
        else:
            for stretch in last:
                segments += self._answer(stretch)
            segments += self._finished()
        return segments + self._gap(total)

    def now(self) -> Prediction | None:
        """The emotion of the last three seconds, unsmoothed; None where nobody speaks in them."""
        frames = len(self._recent) / self._detector.frame
        if self._cuts.frames_since_speech >= frames or not self._recent.any():
            return None
        probabilities = self._probabilities(self._recent).tolist()
        answer = spoken(0.0, 0.0, dict(zip(self.model.labels, probabilities, strict=True)))
        return Prediction(answer.emotion, answer.confidence, answer.probabilities)

    def _heard(self, samples: Tensor) -> Iterator[Segment]:
        self._pending = torch.cat([self._pending, samples])
        size = self._cuts.block
        while len(self._pending) >= size:
            block, self._pending = self._pending[:size], self._pending[size:]
            yield from self._block(block)

    def _block(self, block: Tensor) -> list[Segment]:
        stretches = list(self._cuts.take(block))
        self._recent = torch.cat([self._recent, block])[-round(self.model.config.audio.clip_seconds * self.rate) :]
        if self._short is not None:
            self._short.append(block)
            self._early += stretches
            if self.seconds <= SHORT_SECONDS:
                return []
            stretches, self._early, self._short = self._early, [], None
        segments = []
        for stretch in stretches:
            segments += self._answer(stretch)
        quiet = self._cuts.samples_seen - (self._waiting[1] if self._waiting else 0)
        if self._waiting and self._cuts.is_quiet and quiet > LAG_SECONDS * self.rate:
            segments += self._finished()
        return segments

    def _answer(self, stretch: Stretch) -> list[Segment]:
        """Take a stretch; the one before it is finished by that."""
        answer = self._probabilities(stretch.samples)
        before, so_far = self._smoother.take(answer, stretch.start / self.rate, stretch.end / self.rate)
        segments = []
        if self._waiting is not None:
            start, end, _ = self._waiting
            self._waiting = start, end, before
            segments = self._finished()
        self._waiting = stretch.start, stretch.end, so_far
        return segments

    def _finished(self) -> list[Segment]:
        """The stretch that waited for the next one, and what lies before it."""
        if self._waiting is None:
            return []
        start, end, probabilities = self._waiting
        self._waiting = None
        return [*self._gap(start), self._spoken(start, end, probabilities)]

    def _gap(self, end: int) -> list[Segment]:
        start, self._given = self._given, max(self._given, end)
        return [silent(start / self.rate, end / self.rate)] if end > start else []

    def _spoken(self, start: int, end: int, probabilities: Tensor) -> Segment:
        self._given = end
        named = dict(zip(self.model.labels, probabilities.tolist(), strict=True))
        return spoken(start / self.rate, end / self.rate, named)

    def _as_one(self, stretches: list[Stretch]) -> list[Segment]:
        """A short recording, answered as `predict` does."""
        if not stretches:
            return []
        start, end = stretches[0].start, stretches[-1].end
        try:
            answer = predict(self.model, (self.rate, torch.cat(self._short)))
            probabilities = torch.tensor(list(answer.probabilities.values()), dtype=torch.float64)
        except NoSpeechError:  # predict's own detector hears no voice: the answer is of the stretch alone
            probabilities = self._probabilities(torch.cat(self._short)[start:end])
        return [*self._gap(start), self._spoken(start, end, probabilities)]

    @torch.inference_mode()
    def _probabilities(self, samples: Tensor) -> Tensor:
        """Shape: [T] -> [C]."""
        waveform = self._at_model_rate(level(samples)).to(self.model.device)
        return self.model.probabilities(self.model(waveform[None]))[0].cpu()

    def _at_model_rate(self, waveform: Tensor) -> Tensor:
        rate = self.model.sample_rate
        return waveform if rate == self.rate else resample(waveform, self.rate, rate)


class _Resampler:
    """Samples at another rate; how they are cut changes none."""

    def __init__(self, from_rate: int, to_rate: int):
        self._next: list[np.ndarray] = []
        self._out = resampled(self._given(), from_rate, to_rate) if from_rate != to_rate else None

    def take(self, samples: np.ndarray) -> Tensor:
        if self._out is None or not len(samples):
            return torch.from_numpy(samples)
        self._next.append(samples)
        return torch.from_numpy(next(self._out))

    def end(self) -> Tensor:
        return torch.zeros(0) if self._out is None else torch.from_numpy(next(self._out))

    def _given(self) -> Iterator[np.ndarray]:
        """What `take` was given; the end, where it was given nothing."""
        while self._next:
            yield self._next.pop()


def _mono(samples: object, name: str) -> np.ndarray:
    """Shape: [T] or [T, channels] -> [T] float32."""
    array = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else np.asarray(samples)
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
