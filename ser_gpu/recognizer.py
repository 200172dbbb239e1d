"""Recognizer: names the emotion of recordings, one or many or over time, and enrols speakers, by any backend."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ser_gpu.audio import samples, silero
from ser_gpu.audio.silero import SpeechProbability, State
from ser_gpu.errors import AudioError, InputError, NoSpeechError, UnexpectedError
from ser_gpu.prediction import Prediction
from ser_gpu.timeline import Timeline, timeline
from ser_gpu.timeline.cuts import SpeechCuts, TimelineSettings
from ser_gpu.timeline.speakers import Speakers
from ser_gpu.timeline.stream import Stream
from ser_gpu.voices import enrol
from ser_gpu.voices.plan import Measured, Plan
from ser_gpu.voices.voice import Voice, VoiceError
from ser_gpu.windows import SHORTEST_SECONDS, Trim, Windows, covered, cut, padded

AHEAD = 16  # recordings in work at a time, more where a batch is larger
_UNTAKEN = 1_024  # answers that wait for one before them
_COPIES = 16
_CUTS = TimelineSettings()
_LEAD_SECONDS = 0.25  # before a sound: a voice that begins at once is heard late


class Recognizer:
    """What every backend can do: `ser_gpu.model.SpeechEmotionModel`, and `ser_gpu.onnx.OnnxModel` without torch."""

    labels: tuple[str, ...]  # the emotions, in the order of the probabilities
    sample_rate: int  # Hz of its windows
    window_samples: int  # L
    trim_config: Trim
    network_hash: str | None  # what a voice depends on, SHA-256 in hexadecimal; None where it takes no voice
    windows_at_once: int  # in a batch that is answered fastest

    def answer(self, windows: np.ndarray) -> np.ndarray:
        """The probabilities of the emotions in each window. Shape: [V, L'] float32 -> [V, C] float32."""
        raise NotImplementedError

    def measure(self, windows: np.ndarray, plan: Plan) -> tuple[Measured, np.ndarray]:
        """What a speaker's windows tell of their voice, and the likeliest emotion in each without it.

        Shape: [K, L] -> [K] int64.
        """
        raise NotImplementedError

    def with_voice(self, voice: Voice | None = None) -> Self:
        """What answers for this speaker, or for nobody in particular, as the backend is now.

        Raises VoiceError where the voice was enrolled with another model.
        """
        raise NotImplementedError

    def snapshot(self) -> Self:
        """The same; whatever happens to this backend afterwards."""
        return self

    def hear(self, sound: np.ndarray, state: State | None = None) -> tuple[np.ndarray, State | None]:
        """The probability of speech every 32 ms, as `ser_gpu.audio.silero.SpeechProbability` is called."""
        return silero.detector()(sound, state)

    def require(self, voice: Voice | None) -> None:
        """Raise VoiceError unless the voice, if there is one, was enrolled with this model."""
        if voice is not None and not isinstance(voice, Voice):
            raise VoiceError(f"voice must be what model.enrol gives, got {type(voice).__name__}")
        if voice is not None and voice.model != self.network_hash:
            raise VoiceError("the voice was enrolled with another model; enrol it again with this one")

    def predict(self, recording: object, sample_rate: int | None = None, voice: Voice | None = None) -> Prediction:
        """Name the emotion of one recording, in evaluation mode; the model is not changed.

        A long recording is read a minute at a time, so that memory does not grow with its length.

        Args:
            recording: a path, bytes, a binary stream, an array or a tensor of samples, a pair (rate, samples), or
                {"array": samples, "sampling_rate": rate}; see `ser_gpu.audio.samples.recording`.
            sample_rate: Hz of an array or a tensor; left out, it is at the model's own rate.
            voice: who speaks, as `enrol` gives it; None, nobody in particular.

        Raises AudioError, one line that names it, for a recording that cannot be used or is under 50 ms; NoSpeechError
        for a sound without a voice; VoiceError for a voice that was enrolled with another model.
        """
        model = self.with_voice(voice)
        name, pieces = model.speech(recording, sample_rate)
        size = model.windows_at_once
        parts = (
            (model.answer(piece.samples[at : at + size]), piece.seconds if at == 0 else 0.0)
            for piece in pieces
            for at in range(0, len(piece.samples), size)
        )
        return model.mean(name, parts)

    def predict_many(
        self,
        recordings: Iterable,
        sample_rate: int | None = None,
        voice: Voice | Iterable[Voice | None] | None = None,
        workers: int = 1,
    ) -> Iterator[Prediction | AudioError]:
        """Name the emotion of many recordings, in their order: for each a `Prediction`, or the error that it met.

        Recordings are read in threads ahead of the model, and windows of several recordings share a batch. Memory grows
        neither with their number nor with their length.

        Args:
            recordings: each as in `predict`; they are asked for as they are read.
            voice: as in `predict`, for all; or one for each recording.
            workers: batches that are answered at a time, each by a thread of its own. On a processor one for each core
                is fastest, after `torch.set_num_threads(1)`; on a GPU one.

        Raises ValueError where there are fewer voices than recordings; VoiceError as `predict`.
        """
        voices = repeat(voice) if voice is None or isinstance(voice, Voice) else iter(voice)
        recordings, nothing, model_of = iter(recordings), object(), lru_cache(_COPIES)(self.with_voice)
        ahead = max(AHEAD, self.windows_at_once // 4)
        pool, batches = ThreadPoolExecutor(ahead), _Batches(self.windows_at_once, workers)
        answers, unfinished = deque[Future](), set[Future]()
        try:
            while True:
                unfinished = {each for each in unfinished if not each.done()}
                for recording in islice(recordings, min(ahead - len(unfinished), _UNTAKEN - len(answers))):
                    if (its_voice := next(voices, nothing)) is nothing:
                        raise InputError("fewer voices than recordings")
                    self.require(its_voice)
                    answers.append(pool.submit(_outcome, recording, sample_rate, its_voice, model_of, batches))
                    unfinished.add(answers[-1])
                if not answers:
                    return
                if answers[0].done():
                    yield answers.popleft().result()
                else:
                    wait(unfinished, return_when=FIRST_COMPLETED)
        finally:
            batches.stop()
            pool.shutdown(wait=False, cancel_futures=True)

    def enrol(
        self, recordings: Iterable, emotions: Iterable[str] | None = None, sample_rate: int | None = None
    ) -> Voice:
        """Learn a speaker's voice; the model is not changed.

        Args:
            recordings: of this speaker alone, each as in `predict`; 16 varied ones and more help.
            emotions: of each recording, where they are known: then each emotion weighs the same, however often it is
                there, clips of one emotion alone weigh less against the population, and of two emotions and more the
                last layer learns how this speaker expresses them.

        Raises AudioError as `predict`; ValueError for no recording, an emotion that nobody knows, another number of
        emotions than recordings, a network without batch normalisation, or a file that takes no voice.

        >>> voice = model.enrol(["a.wav", "b.wav"])  # doctest: +SKIP
        >>> model.predict("c.wav", voice=voice)  # doctest: +SKIP
        """
        recordings = [recordings] if isinstance(recordings, str | bytes | Path) else list(recordings)
        heard, seconds = [], 0.0
        for recording in recordings:
            name, pieces = self.speech(recording, sample_rate)
            found = [piece for piece in pieces if len(piece.samples)]
            if not found:
                raise NoSpeechError.of(name, "no speech found")
            heard.append(np.concatenate([piece.samples for piece in found]))
            seconds += sum(piece.seconds for piece in found)
        return enrol.of_windows(self, heard, emotions, seconds)

    def timeline(
        self,
        recording: object,
        sample_rate: int | None = None,
        voice: Voice | Mapping[str, Voice] | None = None,
        speakers: Speakers | None = None,
        step_seconds: float = 0.5,
    ) -> Timeline:
        """The emotions of one recording over time, however long it is: `ser_gpu.timeline.timeline`.

        Args:
            voice: who speaks, as `enrol` gives it; with `speakers`, the voice of each by their name.
            speakers: who speaks when: `ser_gpu.timeline.speakers.read_rttm`.
        """
        return timeline(Answers(self, voice), recording, sample_rate, speakers, step_seconds)

    def stream(self, sample_rate: int | None = None, voice: Voice | None = None) -> Stream:
        """Answer speech while it is spoken: `ser_gpu.timeline.stream.Stream`."""
        return Stream(Answers(self, voice), sample_rate)

    def speech(self, recording: object, sample_rate: int | None = None) -> tuple[str, Iterator[Windows]]:
        """What to call a recording, and its windows with speech, [V, L], a piece of at most a minute at a time.

        Raises AudioError as `predict`, some when the recording is opened and some while it is read.
        """
        name, pieces = samples.recording(recording, sample_rate, self.sample_rate, samples.PIECE_SECONDS)
        return name, self._speech_of_pieces(name, pieces)

    def _speech_of_pieces(self, name: str, pieces: Iterator[np.ndarray]) -> Iterator[Windows]:
        rate, size, trim = self.sample_rate, self.window_samples, self.trim_config
        for number, piece in enumerate(pieces):
            if len(piece) >= SHORTEST_SECONDS * rate:
                starts, cuts = cut(piece, size, trim)
                speech = self._spoken(piece, starts, cuts)
                yield Windows(padded(cuts[speech], size, trim.hop), covered(starts[speech], cuts.shape[1]) / rate)
            elif number == 0:
                milliseconds, least = 1000 * len(piece) / rate, 1000 * SHORTEST_SECONDS
                raise AudioError.of(name, f"{milliseconds:.0f} ms is too short, {least:.0f} ms is the least")

    def clip_windows(self, waveform: np.ndarray) -> np.ndarray:
        """The windows of a clip with speech; all where none has any. Shape: [T] -> [V, L]."""
        starts, cuts = cut(waveform, self.window_samples, self.trim_config)
        if len(cuts) > 1 and (speech := self._spoken(waveform, starts, cuts)).any():
            cuts = cuts[speech]
        return padded(cuts, self.window_samples, self.trim_config.hop)

    def _spoken(self, sound: np.ndarray, starts: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """In which windows of a sound somebody speaks: those that a stretch of the timeline reaches into; where no
        window has one, in all or none of them: whether there is a trace of a voice.

        Shape: [T], [V], [V, L'] -> [V] bool.
        """
        own_rate, rate, ends = self.sample_rate, SpeechProbability.sample_rate, starts + windows.shape[1]
        first = max(0, starts[0] - round(_LEAD_SECONDS * own_rate))
        heard = samples.resample(sound[first : ends[-1]], own_rate, rate)
        cuts = SpeechCuts(self.hear, self.window_samples / own_rate, _CUTS)
        stretches = cuts.take(heard) + cuts.close()
        ratio, spoken = own_rate / rate, np.zeros(len(windows), bool)
        least = ratio * cuts.frame * (_CUTS.margin_frames + _CUTS.least_frames)  # a margin alone holds no voice
        for start, end in ((first + ratio * each.start, first + ratio * each.end) for each in stretches):
            spoken |= np.minimum(ends, end) - np.maximum(starts, start) >= min(least, end - start)
        return spoken if spoken.any() else np.repeat(silero.speaks(heard[None]), len(windows))

    def mean(self, name: str, answers: Iterable[tuple[np.ndarray, float]]) -> Prediction:
        """The mean over the windows of a recording with speech: of probabilities of some windows each, [V, C], with the
        seconds that they cover. Raises NoSpeechError where there is none.
        """
        total, count, seconds = np.zeros(len(self.labels), np.float32), 0, 0.0
        for probabilities, covers in answers:
            total += probabilities.sum(axis=0)
            count += len(probabilities)
            seconds += covers
        if count == 0:
            raise NoSpeechError.of(name, "no speech found")
        return Prediction.of(self.labels, (total / np.float32(count)).tolist(), seconds)


def _outcome(
    recording: object,
    sample_rate: int | None,
    voice: Voice | None,
    model_of: Callable[[Voice | None], Recognizer],
    batches: "_Batches",
) -> Prediction | AudioError:
    name = "recording"
    try:
        model = model_of(voice)
        name, pieces = model.speech(recording, sample_rate)
        return model.mean(name, batches.answers(model, pieces))
    except AudioError as error:
        return error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
        return UnexpectedError.of(name, f"unexpected error, please report it ({reason})")


class _Asked(NamedTuple):
    model: Recognizer
    window: np.ndarray  # [L]
    answer: Future  # of [C]


class _Batches:
    """Windows of several recordings that are answered together.

    Each recording has a thread of its own. So many of them read at a time as there are cores, and `workers` answer: a
    batch of what all threads ask for, while the others wait for it or read on.
    """

    def __init__(self, size: int, workers: int):
        self._size = size
        self._reading, self._answering = threading.Semaphore(os.cpu_count() or 1), threading.Semaphore(workers)
        self._lock = threading.Lock()
        self._asked: list[_Asked] = []
        self._stopped = False

    def answers(self, model: Recognizer, pieces: Iterator[Windows]) -> Iterator[tuple[np.ndarray, float]]:
        """What the model answers to the windows of each piece, [V, C], and how many seconds they cover."""
        while not self._stopped:
            with self._reading:
                piece = next(pieces, None)
            if piece is None:
                return
            asked = [_Asked(model, window, Future()) for window in piece.samples]
            with self._lock:
                self._asked += asked
            for each in asked:
                while not (each.answer.running() or each.answer.done()):
                    with self._answering:
                        if batch := self._next_batch():
                            self._answer(batch)
            if asked:
                yield np.stack([each.answer.result() for each in asked]), piece.seconds

    def stop(self) -> None:
        """Answer nothing more."""
        self._stopped = True
        with self._lock:
            for each in self._asked:
                each.answer.cancel()

    def _next_batch(self) -> list[_Asked]:
        """Windows of one model, those that have waited longest."""
        with self._lock:
            waiting = [each for each in self._asked if not each.answer.cancelled()]
            batch = [each for each in waiting if each.model is waiting[0].model][: self._size]
            for each in batch:
                each.answer.set_running_or_notify_cancel()
            self._asked = [each for each in waiting if not each.answer.running()]
            return batch

    def _answer(self, batch: list[_Asked]) -> None:
        try:
            found = batch[0].model.answer(np.stack([each.window for each in batch]))
        except Exception as error:
            if len(batch) == 1:
                return batch[0].answer.set_exception(error)
            for each in batch:  # each alone, to find out which one fails
                self._answer([each])
        else:
            for each, probabilities in zip(batch, found, strict=True):
                each.answer.set_result(probabilities)


class Answers:
    """What a timeline or a stream asks of a model, which may change afterwards.

    Samples are at the rate of the detector of speech, 16 kHz, as they came: neither their level nor their offset is
    set. Of several speakers, `voice` has the voice of each by their name; who is not there is nobody in particular.
    """

    def __init__(self, model: Recognizer, voice: Voice | Mapping[str, Voice] | None = None):
        voices, usual = (voice, None) if isinstance(voice, Mapping) else ({}, voice)
        model = model.snapshot()
        self._usual = model.with_voice(usual)
        self._of_speaker = {speaker: model.with_voice(each) for speaker, each in voices.items()}
        self.labels, self.sample_rate = model.labels, model.sample_rate
        self.window_seconds = model.window_samples / model.sample_rate  # of speech that it hears at once

    def of_stretch(self, stretch: np.ndarray, speaker: str | None = None) -> np.ndarray:
        """The probabilities of the emotions in a stretch of speech, of at most the window. Shape: [T] -> [C]."""
        model = self._of_speaker.get(speaker, self._usual)
        return model.answer(self._at_own_rate(stretch)[None])[0]

    def of_recording(self, recording: np.ndarray) -> np.ndarray:
        """The same of a short recording with all its silences, as `predict` answers it. Shape: [T] -> [C]."""
        return self._usual.answer(self._usual.clip_windows(self._at_own_rate(recording))).mean(axis=0)

    def _at_own_rate(self, sound: np.ndarray) -> np.ndarray:
        return samples.resample(samples.level(sound), SpeechProbability.sample_rate, self.sample_rate)
