"""OnnxModel: the model of an exported `.onnx` file by onnxruntime, without torch.

>>> from ser_gpu.onnx import OnnxModel
>>> OnnxModel("model.onnx").predict("clip.wav").emotion  # doctest: +SKIP
'happy'
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ser_gpu.audio.error import AudioError
from ser_gpu.audio.mono import PIECE_SECONDS
from ser_gpu.audio.mono import recording as read_recording
from ser_gpu.extras import extra
from ser_gpu.prediction import NoSpeechError, Prediction, UnexpectedError

SHORTEST_SECONDS = 0.05
_WINDOWS_AT_ONCE = 8
_SMALLEST_POWER = 1e-10


class OnnxModel:
    """Names the emotion of recordings as `ser_gpu.load_model` does, with the same windows and the same answers.

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
            raise ValueError(f"{os.fspath(path)}: no such file")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self.session = ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
            self.metadata = dict(self.session.get_modelmeta().custom_metadata_map)
            self.labels = tuple(json.loads(self.metadata["labels"]))
            self.sample_rate = int(self.metadata["sample_rate"])
            self.window_samples = int(self.metadata["window_samples"])
            self._trim = json.loads(self.metadata["trim"])
        except Exception as error:  # onnxruntime has many
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"{os.fspath(path)}: is no file of ser-gpu export ({reason})") from None

    def probabilities(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Answers to clips at `sample_rate`, and in which of them somebody speaks; shorter ones end in zeros.

        Silence around the sound is cut; of more than a window the middle is heard.

        Shape: [B, T] float32 -> [B, C] float32, [B] bool.
        """
        return tuple(self.session.run(["probabilities", "speech"], {"waveform": waveform}))

    def predict(self, recording: object, sample_rate: int | None = None) -> Prediction:
        """Name the emotion of one recording.

        Args:
            recording: a path, bytes, a binary stream, an array, a pair (rate, samples), or {"array": samples,
                "sampling_rate": rate}; see `ser_gpu.audio.mono.recording`.
            sample_rate: Hz of an array; left out, it is at the model's own rate.

        Raises:
            AudioError: a recording that cannot be used, or under 50 ms; one line that names it.
            NoSpeechError: silence, noise, or another sound without a voice.
        """
        total, count = np.zeros(len(self.labels), np.float32), 0
        name, pieces = read_recording(recording, sample_rate, self.sample_rate, PIECE_SECONDS)
        for windows in self._windows_of_pieces(name, pieces):
            for start in range(0, len(windows), _WINDOWS_AT_ONCE):
                probabilities, speaks = self.probabilities(windows[start : start + _WINDOWS_AT_ONCE])
                total += probabilities[speaks].sum(axis=0)
                count += int(speaks.sum())
        if count == 0:
            raise NoSpeechError.of(name, "no speech found")
        return Prediction.of(self.labels, (total / np.float32(count)).tolist())

    def predict_many(self, recordings: Iterable, sample_rate: int | None = None) -> Iterator[Prediction | AudioError]:
        """Name the emotion of many recordings, in their order: for each a `Prediction`, or the error that it met."""
        for recording in recordings:
            try:
                yield self.predict(recording, sample_rate)
            except AudioError as error:
                yield error
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
                yield UnexpectedError.of("recording", f"unexpected error, please report it ({reason})")

    def _windows_of_pieces(self, name: str, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        shortest, offset = SHORTEST_SECONDS * self.sample_rate, 0
        for piece in pieces:
            if len(piece) < shortest and offset == 0:
                milliseconds, least = 1000 * len(piece) / self.sample_rate, 1000 * SHORTEST_SECONDS
                raise AudioError.of(name, f"{milliseconds:.0f} ms is too short, {least:.0f} ms is the least")
            if len(piece) >= shortest:
                yield self.windows(piece)
            offset += len(piece)

    def windows(self, waveform: np.ndarray) -> np.ndarray:
        """The sound of a clip in windows that overlap by half, the last one flush with its end, silent ones left out.

        What is shorter than a window has zeros around it, in front whole hops of the trimming.

        Shape: [T] -> [V, L] float32.
        """
        first, end = self._bounds(waveform)
        length = min(self.window_samples, end - first)
        starts = [*range(first, end - length, max(1, length // 2)), end - length]
        windows = np.stack([waveform[start : start + length] for start in starts])
        peaks = np.abs(windows).max(axis=1)
        windows = windows[peaks >= peaks.max() * 10 ** (-self._trim["top_db"] / 20)]
        missing = self.window_samples - length
        before = missing // 2 // self._trim["hop"] * self._trim["hop"]
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
