"""Recognizer: names the emotion of recordings, one, many or over time, and enrols speakers, with any backend."""

import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice, repeat
from numbers import Number
from queue import SimpleQueue
from typing import NamedTuple, Self

import numpy as np

from ser_gpu.audio import samples, silero
from ser_gpu.config import TrimConfig
from ser_gpu.errors import AudioError, InputError, NoSpeechError, UnexpectedError
from ser_gpu.prediction import Prediction
from ser_gpu.timeline import Answers, Speakers, Stream, Timeline, timeline
from ser_gpu.timeline.cuts import SpeechCuts, TimelineSettings
from ser_gpu.voices import enrol
from ser_gpu.voices.plan import Measured, Plan, emotion_names
from ser_gpu.voices.voice import Voice, VoiceError
from ser_gpu.windows import Windows, covered, cut, padded

AHEAD = 48  # recordings in work at a time, more where a batch is larger
_UNTAKEN = 1_024  # finished answers that wait for an earlier recording
_COPIES = 16
_CUTS = TimelineSettings()
_LEAD_SECONDS = 0.25  # heard before the first window: the detector is late where speech begins at once


def cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Recognizer(ABC):
    """What every backend can do: `ser_gpu.model.SpeechEmotionModel`, and `ser_gpu.onnx.OnnxModel` without torch."""

    labels: tuple[str, ...]  # the emotions, in the order of the probabilities
    sample_rate: int  # Hz of its windows
    window_samples: int  # L, samples of a window
    trim_config: TrimConfig
    network_hash: str | None  # SHA-256 in hexadecimal, which a voice must match; None where it takes no voice
    windows_at_once: int  # size of the fastest batch

    @abstractmethod
    def answer(self, windows: np.ndarray) -> np.ndarray:
        """The probabilities of the emotions in each window. Shape: [V, L'] float32 -> [V, C] float32."""

    @abstractmethod
    def measure(self, windows: np.ndarray, plan: Plan) -> tuple[Measured, np.ndarray]:
        """Measure a voice, and the likeliest emotion of each window without it. Shape: [K, L] -> [K] int64."""

    @abstractmethod
    def with_voice(self, voice: Voice | None = None) -> Self:
        """The backend as it is now, for this speaker or none. Raises VoiceError for a voice of another model."""

    def snapshot(self) -> Self:
        """A backend that stays as this one is now."""
        return self

    def hear(self, sound: np.ndarray, state: silero.State | None = None) -> tuple[np.ndarray, silero.State | None]:
        """The probability of speech every 32 ms: a call of `ser_gpu.audio.silero.SpeechProbability`."""
        return silero.detector()(sound, state)

    def require(self, voice: Voice | None) -> None:
        """Raise VoiceError for a voice that was enrolled with another model."""
        if voice is not None and not isinstance(voice, Voice):
            raise VoiceError(f"voice must be what model.enrol gives, got {type(voice).__name__}")
        if voice is not None and voice.model != self.network_hash:
            raise VoiceError("the voice was enrolled with another model; enrol it again with this one")

    def predict(self, recording: object, sample_rate: int | None = None, voice: Voice | None = None) -> Prediction:
        """Name the emotion of one recording of any length, in constant memory; the model is not changed.

        Args:
            recording: a path, bytes, a binary stream, samples, a pair (rate, samples), or {"array": samples,
                "sampling_rate": rate}; see `ser_gpu.audio.samples.recording`.
            sample_rate: Hz of an array or a tensor; left out, the model's own rate.

        Raises AudioError (unusable, or under 50 ms), NoSpeechError, or VoiceError (a voice of another model).
        """
        model = self.with_voice(voice)
        _, pieces = model.speech(recording, sample_rate)
        return model.mean((model.answer_all(piece.samples), piece.seconds) for piece in pieces)

    def predict_many(
        self,
        recordings: Iterable,
        sample_rate: int | None = None,
        voice: Voice | Iterable[Voice | None] | None = None,
        workers: int = 1,
    ) -> Iterator[Prediction | AudioError]:
        """The prediction of each recording, or the error that it met, in order; in constant memory.

        Recordings are read in threads ahead of the model, and windows of several recordings share a batch.

        Args:
            recordings: each as `predict` takes it; one alone is a list of one.
            voice: one for all recordings, or one for each.
            workers: batches that are answered at a time; two on a GPU, so that one is uploaded while the other is
                answered, and on a processor one for each core after `torch.set_num_threads(1)`.

        Raises ValueError where there are fewer voices than recordings; VoiceError as `predict`.
        """
        voices = repeat(voice) if voice is None or isinstance(voice, Voice) else iter(voice)
        recordings, nothing = iter(_several(recordings)), object()
        ahead = max(AHEAD, self.windows_at_once // 4)
        pipeline, jobs, unfinished = _Pipeline(self, workers), deque[_Job](), set[_Job]()
        try:
            while True:
                for recording in islice(recordings, min(ahead - len(unfinished), _UNTAKEN - len(jobs))):
                    if (its_voice := next(voices, nothing)) is nothing:
                        raise InputError("fewer voices than recordings")
                    self.require(its_voice)
                    jobs.append(_Job(recording, sample_rate, its_voice))
                    unfinished.add(jobs[-1])
                    pipeline.read(jobs[-1])
                if not jobs:
                    return
                unfinished.discard(pipeline.finished.get())
                while jobs and jobs[0].outcome is not None:
                    yield jobs.popleft().outcome
        finally:
            pipeline.stop()

    def enrol(
        self, recordings: Iterable, emotions: Iterable[str] | None = None, sample_rate: int | None = None
    ) -> Voice:
        """Learn a speaker's voice; the model is not changed.

        Args:
            recordings: of this speaker alone, or one; 16 varied ones or more help.
            emotions: of each recording, where they are known. Each emotion then has the same total weight. With two
                or more the last layer is adapted too; with one alone, the speaker's statistics count less.

        Raises AudioError as `predict`; ValueError for no recording, unknown emotions, another number of emotions than
        recordings, a network without batch normalisation, or a file that takes no voice.
        """
        recordings = list(_several(recordings))
        emotions = emotion_names(emotions, len(recordings), self.labels) or None  # before they are heard
        heard, seconds = [], 0.0
        for recording in recordings:
            pieces, covers = zip(*self.speech(recording, sample_rate)[1], strict=True)
            heard.append(np.concatenate(pieces))
            seconds += sum(covers)
        return enrol.of_windows(self, heard, emotions, seconds)

    def timeline(
        self,
        recording: object,
        sample_rate: int | None = None,
        voice: Voice | Mapping[str, Voice] | None = None,
        speakers: Speakers | None = None,
    ) -> Timeline:
        """The emotions of one recording over time; with `speakers`, of `read_rttm`, `voice` may map names to voices."""
        return timeline(Answers(self, voice), recording, sample_rate, speakers)

    def stream(self, sample_rate: int | None = None, voice: Voice | None = None) -> Stream:
        """Answer speech while it is spoken: `ser_gpu.timeline.stream.Stream`."""
        return Stream(Answers(self, voice), sample_rate)

    def speech(self, recording: object, sample_rate: int | None = None) -> tuple[str, Iterator[Windows]]:
        """A recording's name, and the windows with speech of each minute that has some, [V, L], V > 0. Raises
        AudioError now or in reading, NoSpeechError at the end where no minute has any."""
        name, pieces = samples.recording(recording, sample_rate, self.sample_rate, samples.PIECE_SECONDS)
        return name, self._speech_of_pieces(name, pieces)

    def _speech_of_pieces(self, name: str, pieces: Iterator[np.ndarray]) -> Iterator[Windows]:
        rate, size, trim, is_heard = self.sample_rate, self.window_samples, self.trim_config, False
        for number, piece in enumerate(pieces):
            if len(piece) >= samples.SHORTEST_SECONDS * rate:
                starts, cuts = cut(piece, size, trim)
                if (speech := self._spoken(piece, starts, cuts)).any():
                    yield Windows(padded(cuts[speech], size, trim.hop), covered(starts[speech], cuts.shape[1]) / rate)
                    is_heard = True
            elif number == 0:
                milliseconds, least = 1000 * len(piece) / rate, 1000 * samples.SHORTEST_SECONDS
                raise AudioError.of(name, f"{milliseconds:.0f} ms is too short, {least:.0f} ms is the least")
        if not is_heard:
            raise NoSpeechError.of(name, "no speech found")

    def answer_all(self, windows: np.ndarray) -> np.ndarray:
        """As `answer`, of any number of windows, in batches. Shape: [V, L'] float32 -> [V, C] float32."""
        size = self.windows_at_once
        return np.concatenate([self.answer(windows[at : at + size]) for at in range(0, len(windows), size)])

    def clip_windows(self, waveform: np.ndarray) -> np.ndarray:
        """The windows of a clip with speech; all where none has any. Shape: [T] -> [V, L]."""
        starts, cuts = cut(waveform, self.window_samples, self.trim_config)
        if len(cuts) > 1 and (speech := self._spoken(waveform, starts, cuts)).any():
            cuts = cuts[speech]
        return padded(cuts, self.window_samples, self.trim_config.hop)

    def _spoken(self, sound: np.ndarray, starts: np.ndarray, windows: np.ndarray) -> np.ndarray:
        # a window has speech if a stretch of the timeline reaches into it; without any, one answer for all of them
        own_rate, rate, ends = self.sample_rate, silero.SpeechProbability.sample_rate, starts + windows.shape[1]
        first = max(0, starts[0] - round(_LEAD_SECONDS * own_rate))
        heard = samples.resample(sound[first : ends[-1]], own_rate, rate)
        cuts = SpeechCuts(self.hear, self.window_samples / own_rate, _CUTS)
        ratio, spoken, at, more = own_rate / rate, np.zeros(len(windows), bool), 0, cuts.block
        least = ratio * cuts.frame * (_CUTS.margin_frames + _CUTS.least_frames)  # a margin alone holds no voice
        while at < len(heard) and not spoken.all():  # what comes later would change nothing
            stretches = cuts.take(heard[at : at + more])
            at, more = at + more, 2 * more
            stretches += cuts.begun() if at < len(heard) else cuts.close()
            for start, end in ((first + ratio * each.start, first + ratio * each.end) for each in stretches):
                spoken |= np.minimum(ends, end) - np.maximum(starts, start) >= min(least, end - start)
        return spoken if spoken.any() else np.repeat(silero.speaks(heard[None]), len(windows))

    def mean(self, answers: Iterable[tuple[np.ndarray, float]]) -> Prediction:
        """The mean of probabilities, [V, C], given with the seconds they cover."""
        total, count, seconds = np.zeros(len(self.labels), np.float32), 0, 0.0
        for probabilities, covers in answers:
            total += probabilities.sum(axis=0)
            count += len(probabilities)
            seconds += covers
        return Prediction.of(self.labels, (total / np.float32(count)).tolist(), seconds)


def _several(recordings: object) -> Iterable:
    # one recording where several are meant is that one; an array [N, T] has several
    if isinstance(recordings, str | bytes | bytearray | memoryview | os.PathLike | Mapping):
        is_one = True
    elif isinstance(recordings, Sequence):  # of numbers, or (rate, samples)
        first = islice(recordings, 2)
        is_one = any(isinstance(each, Number) or getattr(each, "ndim", None) == 0 for each in first)
    elif hasattr(recordings, "shape") and getattr(getattr(recordings, "dtype", "O"), "kind", "f") in "biufc":
        is_one = len(recordings.shape) < 2 or recordings.shape[-1] <= samples.MOST_CHANNELS
    else:
        is_one = hasattr(recordings, "read") or not isinstance(recordings, Iterable)
    return [recordings] if is_one else recordings


class _Job:
    # a recording on its way to its answer, or to the error that it met

    def __init__(self, recording: object, sample_rate: int | None, voice: Voice | None):
        self.recording, self.sample_rate, self.voice = recording, sample_rate, voice
        self.name, self.pieces = "recording", None
        self.answers: list[tuple[np.ndarray, float]] = []  # probabilities of each piece, [V, C], and its seconds
        self.outcome: Prediction | AudioError | None = None

    def next_piece(self, model_of: Callable[[Voice | None], Recognizer]) -> np.ndarray | None:
        """The windows to answer next, [V, L]; None at the end, when it has its outcome."""
        if self.pieces is None:
            self.model = model_of(self.voice)
            self.name, self.pieces = self.model.speech(self.recording, self.sample_rate)
        for windows, seconds in self.pieces:
            self.unanswered = len(windows)
            self.answers.append((np.zeros((self.unanswered, len(self.model.labels)), np.float32), seconds))
            return windows
        self.outcome = self.model.mean(self.answers)
        return None

    def fail(self, error: Exception) -> None:
        if not isinstance(error, AudioError):
            error = UnexpectedError.at(self.name, error)
        self.outcome = self.outcome or error


class _Asked(NamedTuple):
    job: _Job
    place: int  # in its piece
    window: np.ndarray  # [L]


class _Pipeline:
    # each thread reads recordings, and answers what waits as soon as it is a batch

    def __init__(self, model: Recognizer, workers: int):
        self._size, self._model_of = model.windows_at_once, lru_cache(_COPIES)(model.with_voice)
        self._threads, self._workers = ThreadPoolExecutor(max(cores(), workers)), workers
        self._lock = threading.Lock()
        self._asked: list[_Asked] = []
        self._unread = self._answering = 0  # recordings that no thread has begun, and batches
        self._stopped = False
        self.finished: SimpleQueue[_Job] = SimpleQueue()

    def read(self, job: _Job) -> None:
        with self._lock:
            self._unread += 1
        self._threads.submit(self._read_and_answer, job)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _read_and_answer(self, job: _Job) -> None:
        with self._lock:
            self._unread -= 1
        self._read(job)
        self._answer_batches()

    def _read(self, job: _Job) -> None:
        try:
            windows = job.next_piece(self._model_of)
        except Exception as error:
            job.fail(error)
            windows = None
        if windows is None:
            self.finished.put(job)
            return
        with self._lock:
            self._asked += [_Asked(job, *each) for each in enumerate(windows)]
            self._call_another()

    def _call_another(self) -> None:
        if not self._stopped and self._answering < self._workers and len(self._asked) >= self._size:
            self._threads.submit(self._answer_batches)

    def _answer_batches(self) -> None:
        while batch := self._next_batch():
            answered = self._answer(batch)
            with self._lock:
                self._answering -= 1
            for job in answered:
                self._read(job)

    def _next_batch(self) -> list[_Asked]:
        with self._lock:
            # one that is not full waits while another is answered, or so many recordings are to be read
            least = self._size if self._answering or self._unread >= self._size else 1
            if self._stopped or self._answering == self._workers or len(self._asked) < least:
                return []
            model = self._asked[0].job.model
            batch = [each for each in self._asked if each.job.model is model][: self._size]
            taken = set(map(id, batch))
            self._asked = [each for each in self._asked if id(each) not in taken]
            self._answering += 1
            self._call_another()
            return batch

    def _answer(self, batch: list[_Asked]) -> list[_Job]:
        # the jobs whose piece is answered
        try:
            found = batch[0].job.model.answer(np.stack([each.window for each in batch]))
        except Exception as error:
            if len(batch) == 1:
                batch[0].job.fail(error)
                self.finished.put(batch[0].job)
                return []
            return [job for each in batch for job in self._answer([each])]  # alone, to find the one that fails
        with self._lock:
            for (job, place, _), probabilities in zip(batch, found, strict=True):
                job.answers[-1][0][place] = probabilities
                job.unanswered -= 1
            return [job for job in dict.fromkeys(each.job for each in batch) if job.unanswered == 0]
