"""Voice activity detection by the network of silero-vad, in NumPy."""

import json
import math
import struct
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ser_gpu.errors import MissingExtraError, check

_CONTEXT, _WINDOW, _HOP, _HIDDEN = 64, 256, 128, 128
STRIDES = (1, 2, 2, 1)
LSTM = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_CHUNK = 128  # frames at a time, so that layers' outputs stay in the processor's cache

LEVEL, SMALLEST_LEVEL, LOUD_SHARE, LARGEST = 0.1, 1e-7, 0.9, 4.0
LEAST_FRAMES = 3
THRESHOLD = 0.25  # on training speakers each of 360 clips reached 0.34, mains hum 0.24: `python -m experiments.vad`

State = tuple[np.ndarray, np.ndarray, np.ndarray]


class SpeechProbability:
    """The probability of speech every 32 ms, and the state for the sound that follows; no state at the start.

    `product` multiplies two matrices, as NumPy's threads cannot be limited; `recurrence` is a faster LSTM, of features
    [N, B, 128] and a state. MissingExtraError without silero-vad.

    Shape: [B, T] or [T] float32 at 16 kHz, T a multiple of 512 -> [B, T / 512] or [T / 512] float32.
    Source: Silero Team, silero-vad, https://github.com/snakers4/silero-vad (MIT), `tinygrad_model.py`.
    """

    sample_rate = 16_000  # Hz
    frame = 512  # samples

    def __init__(
        self,
        product: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.matmul,
        recurrence: Callable[[np.ndarray, np.ndarray, np.ndarray], State] | None = None,
    ):
        weights, self._product, self._recurrence = load_weights(), product, recurrence or self._lstm
        self._hann = np.float32(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW))  # as `stft_conv.weight`
        kernels = (weights[f"conv{layer}.weight"].transpose(2, 1, 0) for layer in range(1, 5))  # [3, C, C'] each
        matrices = (np.ascontiguousarray(each.reshape(-1, each.shape[2])) for each in kernels)
        biases = (weights[f"conv{layer}.bias"] for layer in range(1, 5))
        self._layers = list(zip(matrices, biases, STRIDES, strict=True))
        # the sigmoid of x is (1 + tanh(x / 2)) / 2: with three gates halved, one tanh serves all four
        enter, forget, cell, leave = np.arange(4 * _HIDDEN).reshape(4, _HIDDEN)
        order = np.concatenate([enter, forget, leave, cell])
        scale = np.repeat(np.float32([0.5, 0.5, 0.5, 1]), _HIDDEN)
        from_input, from_hidden, *biases = (weights[f"lstm_cell.{name}"] for name in LSTM)
        scaled = (np.ascontiguousarray(each[order].T * scale) for each in (from_input, from_hidden, sum(biases)))
        self._from_input, self._from_hidden, self._bias = scaled
        self._final, self._final_bias = weights["final_conv.weight"][0, :, 0], weights["final_conv.bias"]

    def __call__(self, waveform: np.ndarray, state: State | None = None) -> tuple[np.ndarray, State]:
        *batch, samples = waveform.shape
        clips, count = math.prod(batch), samples // self.frame
        if state is None:
            state = tuple(np.zeros((clips, size), np.float32) for size in (_CONTEXT, _HIDDEN, _HIDDEN))
        context, hidden, cell = state
        frames = waveform.reshape(clips, count, self.frame).transpose(1, 0, 2)  # [N, B, 512]
        outputs = np.empty((count, clips, _HIDDEN), np.float32)
        step = max(1, _CHUNK // max(1, clips))
        for first in range(0, count, step):
            part = frames[first : first + step]
            before = np.concatenate([context[None], part[:-1, :, -_CONTEXT:]])
            context = part[-1, :, -_CONTEXT:]
            after = part[..., -2 : -2 - _CONTEXT : -1]  # reflected
            heard = np.concatenate([before, part, after], axis=2).reshape(-1, self.frame + 2 * _CONTEXT)
            features = self._features(heard).reshape(len(part), clips, -1)
            outputs[first : first + step], hidden, cell = self._recurrence(features, hidden, cell)
        speech = 0.5 + 0.5 * np.tanh(0.5 * (np.maximum(outputs, 0) @ self._final + self._final_bias))  # [N, B]
        return speech.T.reshape(*batch, count), (context.copy(), hidden, cell)

    def _lstm(self, features: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> State:
        outputs = np.empty_like(features)
        for at, gates in enumerate(features @ self._from_input + self._bias):
            values = np.tanh(gates + hidden @ self._from_hidden)
            opened = 0.5 + 0.5 * values[:, : 3 * _HIDDEN]
            enter, forget, leave = (opened[:, gate * _HIDDEN : (gate + 1) * _HIDDEN] for gate in range(3))
            cell = forget * cell + enter * values[:, 3 * _HIDDEN :]
            hidden = outputs[at] = leave * np.tanh(cell)
        return outputs, hidden, cell

    def _features(self, heard: np.ndarray) -> np.ndarray:  # [N, 640] -> [N, 128]
        # views by np.ndarray: as_strided takes ten times as long
        windows = np.ndarray((len(heard), 4, _WINDOW), np.float32, heard, 0, (heard.strides[0], 4 * _HOP, 4))
        out = _surrounded(np.abs(np.fft.rfft(windows * self._hann)))  # [N, 6, 129]
        for matrix, bias, stride in self._layers:
            frames, three = len(out), len(matrix)
            step = stride * out.shape[2]
            shape, strides = (frames, (out[0].size - three) // step + 1, three), (out.strides[0], 4 * step, 4)
            rows = np.ndarray(shape, np.float32, out, 0, strides)  # [N, F, 3 C]
            found = self._product(rows.reshape(-1, three), matrix)  # one matrix: NumPy would take a stack one by one
            out = _surrounded(np.maximum(found + bias, 0).reshape(*shape[:2], -1))
        return out[:, 1]


def _surrounded(frames: np.ndarray) -> np.ndarray:
    # a frame of zeros before and after: [N, F, C] -> [N, F + 2, C]; np.pad takes much longer
    out = np.zeros((len(frames), frames.shape[1] + 2, frames.shape[2]), np.float32)
    out[:, 1:-1] = frames
    return out


def speech_probability(clips: np.ndarray) -> np.ndarray:
    """The probability of speech every 32 ms, 3 at least. Shape: [B, T] float32 at 16 kHz -> [B, frames] float32."""
    return detector()(_whole_frames(clips))[0]


def levelled(clips: np.ndarray) -> np.ndarray:
    """Each clip with its loud frames at `LEVEL` (RMS). Shape: [B, T] float32 -> [B, T] float32."""
    # the 90th percentile of frames that are not zero: neither a click nor digital silence counts
    frames = _whole_frames(clips).reshape(len(clips), -1, SpeechProbability.frame)
    levels = np.sort(np.sqrt(np.square(frames).mean(axis=2)), axis=1)  # [B, N], frames of zeros first
    sounding = (levels > 0).sum(axis=1)
    place = levels.shape[1] - sounding + (LOUD_SHARE * sounding).astype(int)
    loud = np.take_along_axis(levels, np.minimum(place, levels.shape[1] - 1)[:, None], axis=1)
    return np.clip(clips * (LEVEL / np.maximum(loud, SMALLEST_LEVEL)), -LARGEST, LARGEST).astype(np.float32)


def speaks(clips: np.ndarray) -> np.ndarray:
    """Whether a clip of any level has a tenth of a second of speech. Shape: [B, T] float32 at 16 kHz -> [B] bool."""
    # no silence in front: what begins at once then seems to speak, a hum or a melody too
    return np.sort(speech_probability(levelled(clips)), axis=1)[:, -LEAST_FRAMES] >= THRESHOLD


def _whole_frames(clips: np.ndarray) -> np.ndarray:
    frame = SpeechProbability.frame
    samples = max(LEAST_FRAMES, -(-clips.shape[1] // frame)) * frame
    return np.pad(clips, ((0, 0), (0, samples - clips.shape[1])))


detector = cache(SpeechProbability)  # all share one, since it keeps no state


@cache
def load_weights() -> dict[str, np.ndarray]:
    """The weights by name, of a safetensors file: length of the header, header as JSON, numbers.

    MissingExtraError without silero-vad, which is not imported: that would load torch.
    """
    spec = find_spec("silero_vad")
    check(spec is not None, "speech is found by silero-vad: pip install silero-vad", MissingExtraError)
    folder = Path(next(iter(spec.submodule_search_locations)))
    content = (folder / "data" / "silero_vad_16k.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)

    def values(shape: list[int], start: int) -> np.ndarray:
        return np.frombuffer(content, "<f4", math.prod(shape), 8 + length + start).reshape(shape)

    return {name: values(entry["shape"], entry["data_offsets"][0]) for name, entry in header.items()}
