"""Samples in memory, of any type and layout: checked, and as blocks of float32 at their natural scale."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.audio.error import AudioError, reason
from ser_gpu.audio.reader import HIGHEST_RATE, LOWEST_RATE

if TYPE_CHECKING:
    from torch import Tensor

MOST_CHANNELS = 8
_BLOCK_VALUES = 2**20


def checked_rate(value: object, name: str) -> int:
    """A sample rate in Hz: a whole number of any type, such as 48000.0, `np.int64(48000)` or `Fraction(48000)`.

    Raises:
        AudioError: anything else, or a rate that no recording has.
    """
    number = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    try:
        if isinstance(number, str | bytes | bool):
            raise TypeError
        rate = int(number)
        if rate != number:
            raise ValueError
    except (TypeError, ValueError, ArithmeticError):
        problem = f"the sample rate must be a whole number of Hz, got {_shown(value)}"
        raise AudioError.of(name, problem) from None
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        problem = f"the sample rate must be between {LOWEST_RATE:,} and {HIGHEST_RATE:,} Hz, got {_shown(value)}"
        raise AudioError.of(name, problem)
    return rate


def channels_of(audio: object, name: str) -> np.ndarray:
    """Samples as rows of channels, without a copy where that can be; of [a, b], the shorter side is the channels.

    Shape: [T], [T, C] or [C, T] with C up to `MOST_CHANNELS` -> [C, T] of the same type.

    Raises:
        AudioError: another shape, no sample, or another type than integers and floating point.
    """
    array = array_of(audio, name)
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise AudioError.of(name, f"samples must be integers or floating point, got {array.dtype}")
    if array.ndim not in (1, 2):
        problem = f"expected samples as [T], [T, channels] or [channels, T], got {list(array.shape)}"
        raise AudioError.of(name, f"{problem}; a batch is for predict_many")
    if array.size == 0:
        raise AudioError.of(name, "holds no samples")
    if array.ndim == 1:
        return array[None]
    if min(array.shape) > MOST_CHANNELS:
        problem = f"{list(array.shape)} would be more than {MOST_CHANNELS} channels"
        raise AudioError.of(name, f"{problem}: several clips are for predict_many, one by one")
    return array if array.shape[0] <= array.shape[1] else array.T


def blocks(channels: np.ndarray) -> Iterator[np.ndarray]:
    """The samples in order, about four megabytes at a time: integers become -1 to 1, unsigned ones around their middle.

    Shape: [C, T] -> [C, frames] float32 each.
    """
    frames = max(1, _BLOCK_VALUES // len(channels))
    for start in range(0, channels.shape[1], frames):
        yield _float(channels[:, start : start + frames])


def _float(block: np.ndarray) -> np.ndarray:
    if block.dtype.kind in "iu":
        half = 2.0 ** (8 * block.dtype.itemsize - 1)
        middle = half if block.dtype.kind == "u" else 0.0
        return ((block.astype(np.float64) - middle) / half).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite, and refused as such
        return block.astype(np.float32)


def array_of(audio: object, name: str) -> np.ndarray:
    """Samples of any library as an array of their own type; a list of whole numbers, which has no scale, is refused.

    Raises:
        AudioError: what cannot be an array.
    """
    try:
        if "torch" in sys.modules and isinstance(audio, sys.modules["torch"].Tensor):
            return _of_tensor(audio.detach())
        array = np.asarray(audio)
    except Exception as error:  # whatever stands behind `__array__`, or lists of unequal length
        problem = f"{type(audio).__name__} cannot be made an array ({reason(error)})"
        raise AudioError.of(name, problem) from None
    if isinstance(audio, list | tuple) and array.dtype.kind in "iu":
        raise AudioError.of(name, "a list of whole numbers has no scale: make an array of it, such as np.int16")
    return array


def _of_tensor(tensor: "Tensor") -> np.ndarray:
    import torch  # here, since it is loaded where there is a tensor, and not needed elsewhere

    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()  # numpy has neither bfloat16 nor 8 bits
    return tensor.cpu().resolve_conj().resolve_neg().numpy()


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # such as a whole number of five thousand digits
        return type(value).__name__
    return text if len(text) <= 40 else f"{text[:37]}..."
