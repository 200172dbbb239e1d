"""Stream: live samples -> segments; files are answered block by block with the same code."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.audio.samples import MOST_CHANNELS, Mixer, array_of, blocks, checked_rate, level, resample, resampled
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.errors import AudioError, check
from ser_gpu.prediction import Prediction
from ser_gpu.timeline.cuts import SpeechCuts, Stretch, TimelineSettings
from ser_gpu.timeline.segment import Segment, silent, spoken
from ser_gpu.timeline.speakers import Speakers

if TYPE_CHECKING:
    from ser_gpu.recognizer import Recognizer
    from ser_gpu.voices.voice import Voice

SHORT_SECONDS = 6.0
LAG_SECONDS = 1.0
_SMALLEST = 1e-12


class Answers:
    """What a timeline or a stream asks of a snapshot of a model, for 16 kHz samples of any level and offset.

    A mapping has the voices of several speakers by their names; a speaker who is not in it has no voice.
    """

    def __init__(self, model: "Recognizer", voice: "Voice | Mapping[str, Voice] | None" = None):
        voices, usual = (voice, None) if isinstance(voice, Mapping) else ({}, voice)
        model = model.snapshot()
        self._usual = model.with_voice(usual)
        self.hear = model.hear  # the detector
        self._of_speaker = {speaker: model.with_voice(each) for speaker, each in voices.items()}
        self.labels, self.sample_rate = model.labels, model.sample_rate
        self.window_seconds = model.window_samples / model.sample_rate

    def of_stretch(self, stretch: np.ndarray, speaker: str | None = None) -> np.ndarray:
        """The probabilities of the emotions in speech of at most a window. Shape: [T] -> [C]."""
        model = self._of_speaker.get(speaker, self._usual)
        return model.answer(self._at_own_rate(stretch)[None])[0]

    def of_recording(self, recording: np.ndarray, speaker: str | None = None) -> np.ndarray:
        """The same of a recording with its silences, as `predict` answers it. Shape: [T] -> [C]."""
        model = self._of_speaker.get(speaker, self._usual)
        return model.answer_all(model.clip_windows(self._at_own_rate(recording))).mean(axis=0)

    def _at_own_rate(self, sound: np.ndarray) -> np.ndarray:
        return resample(level(sound), SpeechProbability.sample_rate, self.sample_rate)


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


class Stream:
    """Answer speech while it is spoken: `push` any number of samples at a time, then `close`.

    Segments come in order and without gaps; how the samples are divided into pushes changes none of them.
    A stretch is answered when the next one ends, after a second without speech, or at the end; speech without a
    pause is cut after the model's window of three seconds. `now` does not wait.
    A recording of up to six seconds is one stretch, answered as by `predict`, so no segment comes before that.
    sample_rate: Hz; None: the model's.
    speakers: cut where the speaker changes and smooth each speaker apart; a short recording is then no exception.
    """

    def __init__(
        self,
        answers: Answers,
        sample_rate: int | None = None,
        name: str = "stream",
        settings: TimelineSettings | None = None,
        speakers: Speakers | None = None,
    ):
        self.answers, self.name, self._speakers = answers, name, speakers or Speakers(())
        settings, self.rate = settings or TimelineSettings(), SpeechProbability.sample_rate
        rate = answers.sample_rate if sample_rate is None else checked_rate(sample_rate, name)
        self._mixer = Mixer(rate, name)
        self._resampled = _Resampler(rate, self.rate)
        self._cuts = SpeechCuts(answers.hear, answers.window_seconds, settings)
        self._smoothers = defaultdict(partial(EmotionSmoother, settings.stay, settings.full_seconds))  # by speaker
        self._pending = np.zeros(0, np.float32)  # less than a block
        self._short: list[np.ndarray] | None = [] if speakers is None else None  # blocks, while it may be short
        self._early: list[Stretch] = []  # its stretches so far
        self._recent = np.zeros(0, np.float32)  # the last window of samples
        self._waiting: Segment | None = None  # waits for the next stretch
        self._given = 0.0  # segments were given up to this second
        self._is_closed = False

    @property
    def seconds(self) -> float:
        """Seconds heard; up to half a second less than were pushed, of several channels up to three quarters."""
        return self._cuts.samples_seen / self.rate

    def push(self, samples: object) -> list[Segment]:
        """Add [T] or [T, channels], integers or floats; returns finished segments. Raises AudioError, InputError."""
        check(not self._is_closed, "the stream is closed")
        parts = map(self._mixer, blocks(_rows(samples, self.name)))
        return list(self._heard(self._resampled(np.concatenate([np.zeros(0, np.float32), *parts]))))

    def close(self) -> list[Segment]:
        """End the stream; returns the segments that are left."""
        if self._is_closed:
            return []
        self._is_closed = True
        segments = list(self._heard(self._resampled(self._mixer.rest(), is_last=True)))
        if len(self._pending):
            segments += self._block(self._pending)
        last = self._early + self._cuts.close()
        if self._short is None:
            segments += self._answered(last)
        elif last:
            start, end = last[0].start / self.rate, last[-1].end / self.rate
            self._waiting = self._spoken(start, end, self.answers.of_recording(np.concatenate(self._short)))
        return [*segments, *self._finished(), *self._gap(self.seconds)]

    def now(self) -> Prediction | None:
        """The emotion of the last three seconds, unsmoothed; None where nobody speaks in them."""
        if self._cuts.frames_since_speech >= len(self._recent) / self._cuts.frame or not self._recent.any():
            return None
        return Prediction.of(self.answers.labels, self.answers.of_stretch(self._recent).tolist())

    def _heard(self, samples: np.ndarray) -> Iterator[Segment]:
        self._pending = np.concatenate([self._pending, samples])
        while len(self._pending) >= self._cuts.block:
            block, self._pending = np.split(self._pending, [self._cuts.block])
            yield from self._block(block)

    def _block(self, block: np.ndarray) -> Iterator[Segment]:
        stretches = self._cuts.take(block)
        self._recent = np.concatenate([self._recent, block])[-round(self.answers.window_seconds * self.rate) :]
        if self._short is not None:
            self._short.append(block)
            self._early += stretches
            if self.seconds <= SHORT_SECONDS:
                return
            stretches, self._early, self._short = self._early, [], None
        yield from self._answered(stretches)
        if self._waiting and not self._cuts.in_speech and self.seconds - self._waiting.end > LAG_SECONDS:
            yield from self._finished()

    def _answered(self, stretches: list[Stretch]) -> Iterator[Segment]:
        for stretch in stretches:
            changes = self._speakers.changes(stretch.start / self.rate, stretch.end / self.rate)
            bounds = [stretch.start, *(round(at * self.rate) for at in changes), stretch.end]
            for start, end in pairwise(bounds):
                times = start / self.rate, end / self.rate
                speaker = self._speakers.of(*times)
                answer = self.answers.of_stretch(stretch.samples[start - stretch.start : end - stretch.start], speaker)
                before, so_far = self._smoothers[speaker].take(answer, *times)
                if self._waiting and self._waiting.speaker == speaker:
                    self._waiting = self._spoken(self._waiting.start, self._waiting.end, before, speaker)
                yield from self._finished()
                self._waiting = self._spoken(*times, so_far, speaker)

    def _spoken(self, start: float, end: float, probabilities: np.ndarray, speaker: str | None = None) -> Segment:
        return spoken(start, end, dict(zip(self.answers.labels, probabilities.tolist(), strict=True)), speaker)

    def _finished(self) -> Iterator[Segment]:
        if self._waiting:
            segment, self._waiting = self._waiting, None
            yield from self._gap(segment.start)
            self._given = segment.end
            yield segment

    def _gap(self, end: float) -> Iterator[Segment]:
        if end > self._given:
            yield silent(self._given, end)


class _Resampler:
    # blocks at another rate; soxr's state cannot be copied, so a copy hears the last two seconds again

    def __init__(self, from_rate: int, to_rate: int):
        self.__setstate__({"_rates": (from_rate, to_rate), "_recent": np.zeros(0, np.float32), "_given": 0})

    def __getstate__(self) -> dict:
        return {name: getattr(self, name) for name in ("_rates", "_recent", "_given")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._pushed = [self._recent]  # heard since a whole second
        self._parts = resampled(_taken(self._pushed, self._rates[0]), self._rates[1])
        self._again, self._known = next(self._parts), self._given  # samples since that second, which come again

    def __call__(self, block: np.ndarray, is_last: bool = False) -> np.ndarray:
        from_rate, to_rate = self._rates
        self._pushed.append(block)
        found = np.concatenate([self._again, *(self._parts if is_last else [next(self._parts)])])
        self._again, self._known, new = found[:0], max(0, self._known - len(found)), found[self._known :]
        self._recent, self._given = np.concatenate([self._recent, block]), self._given + len(new)
        seconds = max(0, len(self._recent) // from_rate - 2)
        self._recent, self._given = self._recent[seconds * from_rate :], self._given - seconds * to_rate
        return new


def _taken(pushed: list[np.ndarray], rate: int) -> Iterator[tuple[int, np.ndarray]]:
    # no method: a reference cycle would keep the resampler alive
    while pushed:
        yield rate, pushed.pop()


def _rows(samples: object, name: str) -> np.ndarray:
    # [T] or [T, channels] -> [channels, T]
    array = array_of(samples, name)
    columns = array[:, None] if array.ndim == 1 else array
    if columns.ndim != 2 or not 1 <= columns.shape[1] <= MOST_CHANNELS or array.dtype.kind not in "iuf":
        raise AudioError.of(name, f"push takes numbers as [T] or [T, channels], got {array.dtype} {list(array.shape)}")
    return columns.T
