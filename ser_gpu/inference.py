"""From recordings to answers: one recording, or many in batches, that are read and answered side by side."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import lru_cache, partial
from itertools import islice, repeat

import torch
from torch import Tensor

from ser_gpu import windows
from ser_gpu.audio.reader import AudioError
from ser_gpu.errors import InputError, NoSpeechError, UnexpectedError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.prediction import Prediction
from ser_gpu.voice import Voice, require_model
from ser_gpu.windows import Windows

_READ_AHEAD = 16  # recordings
_VOICES = 8  # whose networks are kept, three to six megabytes each


def predict(
    model: SpeechEmotionModel, recording: object, sample_rate: int | None = None, voice: Voice | None = None
) -> Prediction:
    """Name the emotion of one recording, in evaluation mode; the model is not changed.

    A long recording is read a minute at a time, so that memory does not grow with its length.

    Args:
        model: on any device, in any mode.
        recording: a path, bytes, a binary stream, an array or a tensor of samples, a pair (rate, samples), or
            {"array": samples, "sampling_rate": rate}; see `ser_gpu.audio.samples.recording`.
        sample_rate: Hz of an array or a tensor; left out, it is at the model's own rate.
        voice: who speaks, as `model.enrol` gives it; None, nobody in particular.

    Raises:
        AudioError: a recording that cannot be used, or under 50 ms; one line that names it.
        NoSpeechError: silence, noise, or another sound without a voice.
        VoiceError: the voice was enrolled with another model.
    """
    require_model(voice, model)
    model = windows.in_evaluation(model)
    model, voice = windows.fast(model, voice)
    job = _Job(model, recording, sample_rate, voice)
    for piece in job.pieces:
        job.seconds += piece.seconds
        for part in piece.samples.split(windows.at_once(model)):
            job.add(windows.probabilities(model, part, voice=voice))
    return job.prediction()


def predict_many(
    model: SpeechEmotionModel,
    recordings: Iterable,
    sample_rate: int | None = None,
    voice: Voice | Iterable[Voice | None] | None = None,
    workers: int = 1,
) -> Iterator[Prediction | AudioError]:
    """Name the emotion of many recordings, in their order: for each a `Prediction`, or the error that it met.

    Recordings are read in threads ahead of the model, and windows of several recordings share a batch. Memory grows
    neither with their number nor with their length.

    Args:
        model: as in `predict`.
        recordings: each as in `predict`; they are asked for as they are read.
        sample_rate: as in `predict`, for all.
        voice: as in `predict`, for all; or one for each recording.
        workers: batches that are answered at a time, each by a thread of its own. On a processor one for each core is
            fastest, after `torch.set_num_threads(1)`; on a GPU one.

    Raises:
        VoiceError: a voice was enrolled with another model.
        ValueError: fewer voices than recordings.
    """
    if voice is None or isinstance(voice, Voice):
        require_model(voice, model)
    model = windows.in_evaluation(model)
    pipeline = _Pipeline(model, _with_voices(model, recordings, voice), sample_rate, workers)
    try:
        pipeline.start()
        while pipeline.step():
            yield from pipeline.answered()
    finally:
        pipeline.stop()


class _Pipeline:
    """Recordings that are read, put together to batches and answered, each ahead of what comes after it."""

    def __init__(
        self,
        model: SpeechEmotionModel,
        recordings: Iterator[tuple[object, Voice | None]],
        sample_rate: int | None,
        workers: int,
    ):
        self.model = model
        self.fast = lru_cache(_VOICES)(partial(windows.fast, model))
        self.recordings = recordings
        self.sample_rate = sample_rate
        self.at_once = windows.at_once(model)
        self.ahead = 2 * workers  # batches: no worker waits for its next one
        self.readers, self.answerers = ThreadPoolExecutor(os.cpu_count()), ThreadPoolExecutor(workers)
        self.reading: deque[tuple[_Job, Future]] = deque()
        self.queue: list[tuple[_Job, Tensor]] = []
        self.answering: deque[Future] = deque()
        self.unanswered: deque[_Job] = deque()

    def start(self) -> None:
        """Begin to read."""
        for _ in range(_READ_AHEAD):
            self._read_another()

    def step(self) -> bool:
        """Do what can be done, or wait until there is something; False where nothing is left."""
        if not (self.reading or self.queue or self.answering):
            return False
        full = len(self.queue) >= self.at_once
        if self.answering and self.answering[0].done():
            for job, found in self.answering.popleft().result():
                job.take(found)
        elif full and len(self.answering) < self.ahead:
            self._answer()
        elif not full and self.reading and self.reading[0][1].done():
            self._take_windows()
        elif self.queue and not self.answering:
            self._answer()  # what there is, rather than wait for a full batch
        else:
            read_next = [self.reading[0][1]] if self.reading and not full else []
            wait([*islice(self.answering, 1), *read_next], return_when=FIRST_COMPLETED)
        return True

    def answered(self) -> Iterator[Prediction | AudioError]:
        """Take out what is answered, up to the first recording that is not."""
        while self.unanswered and self.unanswered[0].is_answered:
            yield self.unanswered.popleft().outcome()

    def stop(self) -> None:
        """Begin nothing more."""
        for pool in (self.readers, self.answerers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _read_another(self) -> None:
        for recording, voice in islice(self.recordings, 1):
            job = _Job(self.model, recording, self.sample_rate, voice)
            self.unanswered.append(job)
            self.reading.append((job, self.readers.submit(job.read)))

    def _take_windows(self) -> None:
        job, future = self.reading.popleft()
        heard = future.result()
        if job.is_read:
            self._read_another()
        else:
            self.reading.appendleft((job, self.readers.submit(job.read)))
        self.queue.extend((job, window) for window in heard)

    def _answer(self) -> None:
        batch, self.queue = self.queue[: self.at_once], self.queue[self.at_once :]
        self.answering.append(self.answerers.submit(self._answers, batch))

    def _answers(self, batch: list[tuple["_Job", Tensor]]) -> list[tuple["_Job", Tensor | AudioError]]:
        """Answer windows of several recordings, those with the same voice together; runs in a thread."""
        of_voice: dict[Voice | None, list[tuple[_Job, Tensor]]] = {}
        for job, window in batch:
            of_voice.setdefault(job.voice, []).append((job, window))
        return [answer for voice, queue in of_voice.items() for answer in self._answers_together(voice, queue)]

    def _answers_together(
        self, voice: Voice | None, queue: list[tuple["_Job", Tensor]]
    ) -> list[tuple["_Job", Tensor | AudioError]]:
        """In one batch; where that fails, each alone, to find out which one does."""
        jobs = [job for job, _ in queue]
        try:
            model, left = self.fast(voice)
            found = windows.probabilities(model, torch.stack([window for _, window in queue]), voice=left)
        except Exception as error:
            if len(queue) == 1:
                return [(jobs[0], _unexpected(jobs[0].name, error))]
            return [answer for one in queue for answer in self._answers_together(voice, [one])]
        return list(zip(jobs, found.split(1), strict=True))


class _Job:
    """A recording on its way to its answer. What it met on the way, if it was an error, is the answer."""

    def __init__(
        self, model: SpeechEmotionModel, recording: object, sample_rate: int | None, voice: Voice | None = None
    ):
        self.model = model
        self.voice = voice
        self.error: AudioError | None = None
        self.is_read = False
        self.queued = 0
        self.answered = 0
        self.seconds = 0.0
        self.total = torch.zeros(len(model.labels), dtype=torch.float32)
        self.name, self.pieces = "recording", iter(())
        try:
            self.name, self.pieces = windows.speech(model, recording, sample_rate)
        except AudioError as error:
            self.fail(error)
        except Exception as error:
            self.fail(_unexpected(self.name, error))

    def read(self) -> Tensor:
        """The windows of the next piece; runs in a thread.

        Shape: -> [V, L].
        """
        none = torch.zeros(0, self.model.config.audio.clip_samples)
        if self.error is not None:
            return none
        try:
            piece = next(self.pieces, Windows(none, none, 0.0, last=True))
        except AudioError as error:
            self.fail(error)
            return none
        except Exception as error:
            self.fail(_unexpected(self.name, error))
            return none
        self.is_read = piece.last
        self.queued += len(piece.samples)
        self.seconds += piece.seconds
        return piece.samples

    def add(self, probabilities: Tensor) -> None:
        """Take the answer to some of the windows.

        Shape: [V, C].
        """
        self.total += probabilities.sum(dim=0).cpu()
        self.answered += len(probabilities)

    def take(self, answer: Tensor | AudioError) -> None:
        """The answer to a window, [1, C], or why there is none."""
        if isinstance(answer, AudioError):
            self.fail(answer)
        else:
            self.add(answer)

    def fail(self, error: AudioError) -> None:
        """End with an error."""
        self.error = self.error or error
        self.is_read = True

    @property
    def is_answered(self) -> bool:
        """True where nothing is left to do."""
        return self.is_read and (self.answered == self.queued or self.error is not None)

    def prediction(self) -> Prediction:
        """The mean over the windows with speech.

        Raises:
            AudioError: what was met on the way.
            NoSpeechError: there was none.
        """
        if self.error is not None:
            raise self.error
        if self.answered == 0:
            raise NoSpeechError(f"{self.name}: no speech found")
        mean = (self.total / self.answered).tolist()
        return Prediction.of(self.model.labels, mean, self.seconds)

    def outcome(self) -> Prediction | AudioError:
        """The answer, or the error instead of it."""
        try:
            return self.prediction()
        except AudioError as error:
            return error


def _with_voices(
    model: SpeechEmotionModel, recordings: Iterable, voice: Voice | Iterable[Voice | None] | None
) -> Iterator[tuple[object, Voice | None]]:
    """Each recording with its voice, as they are asked for."""
    voices = repeat(voice) if voice is None or isinstance(voice, Voice) else iter(voice)
    nothing = object()
    for recording in recordings:
        its_voice = next(voices, nothing)
        if its_voice is nothing:
            raise InputError("fewer voices than recordings")
        require_model(its_voice, model)
        yield recording, its_voice


def _unexpected(name: str, error: Exception) -> UnexpectedError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
    return UnexpectedError(f"{name}: unexpected error, please report it ({reason})")
