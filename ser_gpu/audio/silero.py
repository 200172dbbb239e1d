"""SpeechProbability: when does somebody speak? The network of silero-vad, in NumPy."""

import json
import math
import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ser_gpu.errors import MissingExtraError

_CONTEXT, _WINDOW, _HOP, _HIDDEN = 64, 256, 128, 128
_STRIDES = (1, 2, 2, 1)

State = tuple[np.ndarray, np.ndarray, np.ndarray]


class SpeechProbability:
    """The probability of speech every 32 ms, by the network of silero-vad.

    The weights are read as plain numbers from the installed package `silero-vad`; the package itself is not imported,
    since its import loads torch and changes its number of threads. Its own code asks for one frame after the other;
    here the convolutions take all frames at once, and the LSTM goes on from the state that it is given.

    Raises:
        MissingExtraError: silero-vad is not installed; the message says how to install it.

    Shape: waveform [T] float32 at 16 kHz, T a multiple of 512; a state, or None at the start -> [T / 512] float32, the
    state.

    Source: Silero Team, silero-vad, https://github.com/snakers4/silero-vad (MIT), `tinygrad_model.py`.
    """

    sample_rate = 16_000
    frame = 512

    def __init__(self):
        weights = load_weights()
        self._stft = weights["stft_conv.weight"][:, 0].T
        self._layers = [
            (_as_matrix(weights[f"conv{layer}.weight"]), weights[f"conv{layer}.bias"], stride)
            for layer, stride in enumerate(_STRIDES, 1)
        ]
        self._from_input = weights["lstm_cell.weight_ih"].T
        self._from_hidden = np.ascontiguousarray(weights["lstm_cell.weight_hh"].T)
        self._bias = weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"]
        self._final, self._final_bias = weights["final_conv.weight"][0, :, 0], weights["final_conv.bias"]

    def __call__(self, waveform: np.ndarray, state: State | None = None) -> tuple[np.ndarray, State]:
        if state is None:
            state = tuple(np.zeros(size, np.float32) for size in (_CONTEXT, _HIDDEN, _HIDDEN))
        context, hidden, cell = state
        sound = np.concatenate([context, waveform])
        frames = np.lib.stride_tricks.sliding_window_view(sound, _CONTEXT + self.frame)[:: self.frame]
        outputs, hidden, cell = self._lstm(self._features(frames), hidden, cell)
        speech = _sigmoid(np.maximum(outputs, 0) @ self._final + self._final_bias)
        return speech, (waveform[-_CONTEXT:].copy(), hidden, cell)

    def _features(self, frames: np.ndarray) -> np.ndarray:
        """Shape: [N, 576] -> [N, 128]."""
        padded = np.pad(frames, ((0, 0), (0, _CONTEXT)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=1)[:, ::_HOP]
        spectrum = windows @ self._stft
        half = spectrum.shape[2] // 2
        out = np.sqrt(np.square(spectrum[..., :half]) + np.square(spectrum[..., half:]))
        for matrix, bias, stride in self._layers:
            out = np.maximum(_convolved(out, matrix, stride) + bias, 0)
        return out[:, 0]

    def _lstm(
        self, features: np.ndarray, hidden: np.ndarray, cell: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shape: [N, 128], [128], [128] -> [N, 128], [128], [128]."""
        outputs = np.empty((len(features), _HIDDEN), np.float32)
        for at, given in enumerate(features @ self._from_input + self._bias):
            gates = given + hidden @ self._from_hidden
            opened = _sigmoid(gates)  # of the third gate it is not used
            enter, forget, leave = opened[:_HIDDEN], opened[_HIDDEN : 2 * _HIDDEN], opened[3 * _HIDDEN :]
            cell = forget * cell + enter * np.tanh(gates[2 * _HIDDEN : 3 * _HIDDEN])
            hidden = outputs[at] = leave * np.tanh(cell)
        return outputs, hidden, cell


def _as_matrix(kernel: np.ndarray) -> np.ndarray:
    """Shape: [C', C, 3] -> [3 C, C']."""
    return np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, len(kernel)))


def _convolved(values: np.ndarray, matrix: np.ndarray, stride: int) -> np.ndarray:
    """A convolution over three neighbours, with zeros around.

    Shape: [N, F, C], [3 C, C'] -> [N, F', C'].
    """
    padded = np.pad(values, ((0, 0), (1, 1), (0, 0)))
    at = range(0, values.shape[1], stride)
    return np.stack([padded[:, start : start + 3].reshape(len(values), -1) for start in at], axis=1) @ matrix


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return (0.5 * (1 + np.tanh(0.5 * values))).astype(np.float32)


def data_folder() -> Path:
    """Where the package silero-vad has its networks.

    Raises:
        MissingExtraError: it is not installed; the message says how to install it.
    """
    spec = find_spec("silero_vad")
    if spec is None:
        raise MissingExtraError("the timeline needs silero-vad: pip install silero-vad")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


@cache
def load_weights() -> dict[str, np.ndarray]:
    """The network's weights by name, of a safetensors file: length of the header, header as JSON, numbers."""
    content = (data_folder() / "silero_vad_16k.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    weights = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, shape = 8 + length + entry["data_offsets"][0], entry["shape"]
            weights[name] = np.frombuffer(content, "<f4", math.prod(shape), start).reshape(shape)
    return weights
