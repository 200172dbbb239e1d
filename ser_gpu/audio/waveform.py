"""From a recording to a waveform: mono float32 tensors at the model's rate; `ser_gpu.audio.samples` does the work."""

import math
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from ser_gpu.audio import samples
from ser_gpu.audio.reader import Source
from ser_gpu.audio.samples import PIECE_SECONDS


def load(path: Source, sample_rate: int) -> Tensor:
    """Read a whole recording as mono at `sample_rate` Hz, without offset, its peak at 1.

    Shape: -> [T] float32.

    Raises:
        AudioError: the file is no audio that can be read, or holds no or non-finite samples.
    """
    return next(segments(path, sample_rate))


def segments(source: Source, sample_rate: int, seconds: float = math.inf) -> Iterator[Tensor]:
    """Read a recording in pieces of at most `seconds`, each as `load` gives a whole one, in constant memory.

    Shape: -> [T] float32 each.

    Raises:
        AudioError: as in `load`, and as in `ser_gpu.audio.reader.open_audio`.
    """
    return _tensors(samples.segments(source, sample_rate, seconds))


def recording(
    audio: object, sample_rate: object, model_rate: int, seconds: float = PIECE_SECONDS
) -> tuple[str, Iterator[Tensor]]:
    """What to call a recording, and its samples in pieces of at most `seconds`, each as `load` gives a whole one.

    Arguments and errors are those of `ser_gpu.audio.samples.recording`.

    Shape: -> [T] float32 each.
    """
    name, pieces = samples.recording(audio, sample_rate, model_rate, seconds)
    return name, _tensors(pieces)


def level(waveform: Tensor) -> Tensor:
    """Take the offset out and bring the peak to 1; what is constant becomes zero.

    Shape: [T] -> [T] float32.
    """
    return torch.from_numpy(samples.level(waveform.numpy()))


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Band-limited resampling by libsoxr in its very high quality, for any two rates.

    Shape: [..., T] -> [..., T'] float32, T' = T * to_rate / from_rate, rounded up.
    """
    *rows, size = waveform.shape
    out = waveform.new_zeros(math.prod(rows), -(-size * to_rate // from_rate), dtype=torch.float32)
    if size:
        for at, row in enumerate(waveform.float().reshape(len(out), size)):
            out[at] = torch.from_numpy(np.concatenate(list(samples.resampled(iter([row.numpy()]), from_rate, to_rate))))
    return out.reshape(*rows, out.shape[1])


def _tensors(pieces: Iterator[np.ndarray]) -> Iterator[Tensor]:
    """The same pieces; a reader that stops early closes the recording."""
    with closing(pieces):
        yield from map(torch.from_numpy, pieces)
