"""OnnxModel: the model of an exported `.onnx` file by onnxruntime, without torch.

>>> from ser_gpu.onnx import OnnxModel
>>> OnnxModel("model.onnx").predict("clip.wav").emotion  # doctest: +SKIP
'happy'
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu import enrolment
from ser_gpu.audio.samples import PIECE_SECONDS
from ser_gpu.audio.samples import recording as read_recording
from ser_gpu.errors import AudioError, InputError, NoSpeechError, UnexpectedError, extra
from ser_gpu.prediction import Prediction
from ser_gpu.voice import Voice, VoiceError, require_hash

if TYPE_CHECKING:
    from ser_gpu.timeline import Timeline
    from ser_gpu.timeline.speakers import Speakers
    from ser_gpu.timeline.stream import Stream

SHORTEST_SECONDS = 0.05
_WINDOWS_AT_ONCE = 8
_SMALLEST_POWER = 1e-10


@dataclass(frozen=True, eq=False)
class _Heard:
    """The windows with speech in a piece of a recording, the answers to them, and the seconds that they cover.

    Shape: [V, L] float32, [V, C] float32.
    """

    windows: np.ndarray
    probabilities: np.ndarray
    seconds: float


class OnnxModel:
    """Names the emotion of recordings as `ser_gpu.load_model` does, with the same windows and the same answers.

    A file that was exported with `--speaker` enrols speakers and takes their voices, those of the model of torch too.

    Args:
        path: of a file that `ser-gpu export` wrote.
        threads: of onnxruntime; None, as many as it chooses.

    Attributes:
        labels: the emotions, in the order of the probabilities.
        sample_rate: Hz that `probabilities` expects.
        window_samples: L, of the window that the network hears.
        metadata: all that the file says about itself.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ValueError: the file is missing, or was not written by `ser-gpu export`.
    """

    def __init__(self, path: str | os.PathLike, threads: int | None = None):
        ort = extra("onnxruntime", "onnx")
        if not Path(path).is_file():
            raise InputError(f"{os.fspath(path)}: no such file")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self.session = ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
            self.metadata = dict(self.session.get_modelmeta().custom_metadata_map)
            self.labels = tuple(json.loads(self.metadata["labels"]))
            self.sample_rate = int(self.metadata["sample_rate"])
            self.window_samples = int(self.metadata["window_samples"])
            self._trim = json.loads(self.metadata["trim"])
            of_all = json.loads(self.metadata.get("population", "null"))
            self._population = of_all and {name: np.array(values, np.float32) for name, values in of_all.items()}
            self._no_head = {
                each.name: np.zeros(each.shape, np.float32) for each in self.session.get_inputs() if each.name == "head"
            }
        except Exception as error:  # onnxruntime has many
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{os.fspath(path)}: is no file of ser-gpu export ({reason})") from None

    def probabilities(self, waveform: np.ndarray, voice: Voice | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Answers to clips at `sample_rate`, and in which of them somebody speaks; shorter ones end in zeros.

        Silence around the sound is cut; of more than a window the middle is heard.

        Args:
            voice: who speaks in all of them.

        Shape: [B, T] float32 -> [B, C] float32, [B] bool.

        Raises:
            VoiceError: the voice was enrolled with another model, or the file takes none.
        """
        self.require(voice)
        given = {"waveform": waveform}
        if self._population:
            given |= {**self._population, **self._no_head, "weight": np.zeros(len(waveform), np.float32)}
            if voice is not None:
                given |= {"mean": voice.mean, "variance": voice.variance}
                given |= {} if voice.head is None else {"head": voice.head}
        probabilities, speech = self.session.run(["probabilities", "speech"], given)
        return (probabilities if voice is None else _sharpened(probabilities, voice.sharpness)), speech

    def require(self, voice: Voice | None) -> None:
        """Raise unless the voice, if there is one, was enrolled with this model.

        Raises:
            VoiceError: it was another one, or the file takes no voice.
        """
        if voice is None:
            return
        if not self._population:
            raise VoiceError("the .onnx file takes no voice: write one that does by ser-gpu export --speaker")
        require_hash(voice, self.metadata["network"])

    def predict(self, recording: object, sample_rate: int | None = None, voice: Voice | None = None) -> Prediction:
        """Name the emotion of one recording.

        Args:
            recording: a path, bytes, a binary stream, an array, a pair (rate, samples), or {"array": samples,
                "sampling_rate": rate}; see `ser_gpu.audio.samples.recording`.
            sample_rate: Hz of an array; left out, it is at the model's own rate.
            voice: who speaks; None, nobody in particular.

        Raises:
            AudioError: a recording that cannot be used, or under 50 ms; one line that names it.
            NoSpeechError: silence, noise, or another sound without a voice.
            VoiceError: the voice was enrolled with another model, or the file takes none.
        """
        self.require(voice)
        total, count, seconds = np.zeros(len(self.labels), np.float32), 0, 0.0
        name, pieces = self._speech(recording, sample_rate, voice)
        for heard in pieces:
            total += heard.probabilities.sum(axis=0)
            count += len(heard.probabilities)
            seconds += heard.seconds
        if count == 0:
            raise NoSpeechError.of(name, "no speech found")
        return Prediction.of(self.labels, (total / np.float32(count)).tolist(), seconds)

    def predict_many(
        self,
        recordings: Iterable,
        sample_rate: int | None = None,
        voice: Voice | Iterable[Voice | None] | None = None,
    ) -> Iterator[Prediction | AudioError]:
        """Name the emotion of many recordings, in their order: for each a `Prediction`, or the error that it met.

        Args:
            voice: as in `predict`, for all; or one for each recording.

        Raises:
            VoiceError: as in `predict`.
            ValueError: fewer voices than recordings.
        """
        voices = repeat(voice) if voice is None or isinstance(voice, Voice) else iter(voice)
        nothing = object()
        for recording in recordings:
            if (its_voice := next(voices, nothing)) is nothing:
                raise InputError("fewer voices than recordings")
            self.require(its_voice)
            try:
                yield self.predict(recording, sample_rate, its_voice)
            except AudioError as error:
                yield error
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
                yield UnexpectedError.of("recording", f"unexpected error, please report it ({reason})")

    def enrol(
        self, recordings: Iterable, emotions: Iterable[str] | None = None, sample_rate: int | None = None
    ) -> Voice:
        """Learn a speaker's voice, as `ser_gpu.adapt.enrol` does; the arguments are the same.

        Raises:
            AudioError: a recording that cannot be used, or in which nobody speaks; one line that names it.
            ValueError: no recording, an emotion that nobody knows, or another number of emotions than recordings; the
                file takes no voice.
        """
        if not self._population:
            raise VoiceError("the .onnx file cannot enrol: write one that can by ser-gpu export --speaker")
        recordings = [recordings] if isinstance(recordings, (str, bytes, Path)) else list(recordings)
        found, counts = [], []
        for recording in recordings:
            name, pieces = self._speech(recording, sample_rate)
            heard = [piece for piece in pieces if len(piece.windows)]
            if not heard:
                raise NoSpeechError.of(name, "no speech found")
            found += heard
            counts.append(sum(len(piece.windows) for piece in heard))
        plan = enrolment.plan(counts, emotions, self.labels)
        windows, answers = (np.concatenate([getattr(p, n) for p in found]) for n in ("windows", "probabilities"))
        weight = plan.weight * np.float32(plan.share)
        given = {"waveform": windows[plan.kept], "weight": weight, **self._population, **self._no_head}
        asked = ["speaker_mean", "speaker_variance", "features", "probabilities"]
        mean, variance, features, adapted = self.session.run(asked, given)
        logs = np.log(np.maximum(adapted, np.finfo(np.float32).tiny))
        head = enrolment.head(plan, features, logs, self.labels, float(self.metadata["temperature"]))
        notes = enrolment.notes(plan, [self.labels[best] for best in answers[plan.kept].argmax(axis=1)])
        seconds, hashed = sum(piece.seconds for piece in found), self.metadata["network"]
        return Voice(mean, variance, hashed, len(recordings), plan.count, seconds, plan.emotions, notes, head)

    def timeline(
        self,
        recording: object,
        sample_rate: int | None = None,
        voice: Voice | Mapping[str, Voice] | None = None,
        speakers: "Speakers | None" = None,
        step_seconds: float = 0.5,
    ) -> "Timeline":
        """The emotions of one recording over time, as `SpeechEmotionModel.timeline`."""
        from ser_gpu.timeline import timeline
        from ser_gpu.timeline.onnx_answers import OnnxAnswers

        return timeline(OnnxAnswers(self, voice), recording, sample_rate, speakers, step_seconds)

    def stream(self, sample_rate: int | None = None, voice: Voice | None = None) -> "Stream":
        """Answer speech while it is spoken, as `SpeechEmotionModel.stream`."""
        from ser_gpu.timeline.onnx_answers import OnnxAnswers
        from ser_gpu.timeline.stream import Stream

        return Stream(OnnxAnswers(self, voice), sample_rate)

    def _speech(
        self, recording: object, sample_rate: int | None, voice: Voice | None = None
    ) -> tuple[str, Iterator[_Heard]]:
        """What to call a recording, and its windows with speech, a piece at a time."""
        name, pieces = read_recording(recording, sample_rate, self.sample_rate, PIECE_SECONDS)
        return name, self._speech_of_pieces(name, pieces, voice)

    def _speech_of_pieces(self, name: str, pieces: Iterator[np.ndarray], voice: Voice | None) -> Iterator[_Heard]:
        shortest, offset = SHORTEST_SECONDS * self.sample_rate, 0
        for piece in pieces:
            if len(piece) < shortest and offset == 0:
                milliseconds, least = 1000 * len(piece) / self.sample_rate, 1000 * SHORTEST_SECONDS
                raise AudioError.of(name, f"{milliseconds:.0f} ms is too short, {least:.0f} ms is the least")
            if len(piece) >= shortest:
                yield self._answered(*self.windows(piece), voice)
            offset += len(piece)

    def _answered(self, starts: np.ndarray, windows: np.ndarray, voice: Voice | None) -> _Heard:
        padded = self._padded(windows)
        parts = [padded[at : at + _WINDOWS_AT_ONCE] for at in range(0, len(padded), _WINDOWS_AT_ONCE)]
        answers = [self.probabilities(part, voice) for part in parts]
        probabilities, speaks = (np.concatenate(each) for each in zip(*answers, strict=True))
        length, spoken = windows.shape[1], starts[speaks]
        covered = int(np.diff(spoken).clip(max=length).sum()) + length if len(spoken) else 0
        return _Heard(padded[speaks], probabilities[speaks], covered / self.sample_rate)

    def windows(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sound of a clip in windows that overlap by half, the last one flush with its end, silent ones left out.

        Shape: [T] -> [V] int64, of their first samples; [V, L'] float32, L' at most L.
        """
        first, end = self._bounds(waveform)
        length = min(self.window_samples, end - first)
        starts = np.array([*range(first, end - length, max(1, length // 2)), end - length])
        windows = np.stack([waveform[start : start + length] for start in starts])
        peaks = np.abs(windows).max(axis=1)
        sounds = peaks >= peaks.max() * 10 ** (-self._trim["top_db"] / 20)
        return starts[sounds], windows[sounds]

    def _padded(self, windows: np.ndarray) -> np.ndarray:
        """Zeros around windows that are shorter than L; in front whole hops of the trimming.

        Shape: [V, L'] -> [V, L].
        """
        missing, hop = self.window_samples - windows.shape[1], self._trim["hop"]
        before = missing // 2 // hop * hop
        return np.pad(windows, ((0, 0), (before, missing - before)))

    def _bounds(self, waveform: np.ndarray) -> tuple[int, int]:
        """First sample of the sound and first sample after it: frames within `top_db` of the loudest one."""
        length, hop = self._trim["frame_length"], self._trim["hop"]
        frames = len(waveform) // hop + 1
        padded = np.pad(waveform, length // 2)[: (frames + length // hop - 1) * hop]
        blocks = np.square(padded).reshape(-1, hop).sum(axis=1)
        power = np.lib.stride_tricks.sliding_window_view(blocks, length // hop).sum(axis=1) / length
        level = 10 * np.log10(np.maximum(power, np.float32(_SMALLEST_POWER)))
        (sounds,) = np.nonzero(level - level.max() > -self._trim["top_db"])
        end = min((int(sounds[-1]) + 1) * hop, len(waveform))
        return min(int(sounds[0]) * hop, end - 1), end


def _sharpened(probabilities: np.ndarray, sharpness: float) -> np.ndarray:
    """As if the logits had been multiplied by it.

    Shape: [B, C] -> [B, C].
    """
    powers = probabilities ** np.float32(sharpness)
    return powers / powers.sum(axis=1, keepdims=True)
