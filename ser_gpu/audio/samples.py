"""From anything that can be a recording to mono float32 samples at the model's rate: channels, resampling, level."""

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.audio.reader import Source, in_memory, name_of, open_audio
from ser_gpu.errors import AudioError, reason, shortened

if TYPE_CHECKING:
    from torch import Tensor

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
MOST_CHANNELS = 8
PIECE_SECONDS = 60.0
SHORTEST_SECONDS = 0.05  # a shorter clip holds no syllable
Opened = AbstractContextManager[tuple[int, Iterator[np.ndarray]]]  # the rate in Hz, and blocks [C, T]
_BLOCK_VALUES = 2**20
_LARGEST_SAMPLE = 1e30
_REMEMBERED = 0.92  # share of a power that still counts a quarter of a second later
# least share of the channels' mean power in a mix (-10 dB): one voice in eight channels keeps 1/8, and [y, -y / 2] 0.1
_CANCELLED = 0.0999
_SMALLEST_PEAK = 1e-6  # of the largest sample: what float32 leaves of a constant


def load(path: Source, sample_rate: int) -> "Tensor":
    """Read a whole file as mono [T] float32 at `sample_rate` Hz, without offset, peak 1; errors as in `recording`."""
    import torch  # here, since the rest of this module does without

    return torch.from_numpy(next(recording(path, None, sample_rate, math.inf)[1]))


def recording(
    audio: object, sample_rate: object, model_rate: int, seconds: float = PIECE_SECONDS
) -> tuple[str, Iterator[np.ndarray]]:
    """The name of a recording, and its samples in pieces [T] float32 of at most `seconds`, without offset, peak 1.

    Args:
        audio: a path, the bytes of a file, a binary stream, or integer or floating-point samples [T], [T, C] or [C, T]
            (the shorter side is the channels, 8 at most), alone or with their rate as `(rate, samples)`,
            `(samples, rate)` or `{"array": samples, "sampling_rate": rate}`; or a `Channel` of one of these.
        sample_rate: Hz of samples that come without a rate; None means `model_rate`.
        model_rate: Hz of the pieces.

    Raises AudioError at once for a wrong type, shape or rate, or while reading: no audio, no samples, not finite.
    """
    name, found = natural_blocks(audio, sample_rate, model_rate)
    return name, (level(piece) for piece in regroup(resampled(found, model_rate), seconds * model_rate))


def natural_blocks(audio: object, sample_rate: object, model_rate: int) -> tuple[str, Iterator[tuple[int, np.ndarray]]]:
    """As `recording`, but samples as they come: pairs of the rate in Hz and a mono block [T] at its natural scale."""
    name, taken = None, slice(None)
    if isinstance(audio, Channel):
        name, audio, taken = audio.name, audio.audio, slice(audio.number, audio.number + 1)
    name, opened = _opened(audio, sample_rate, model_rate, name)

    def mono() -> Iterator[tuple[int, np.ndarray]]:
        mixer = None
        with opened as (rate, found):
            rate = checked_rate(rate, name)
            for block in found:
                mixer = mixer or Mixer(rate, name)
                yield rate, mixer(block[taken])
        if mixer is None:
            raise AudioError.of(name, "holds no samples")
        yield rate, mixer.rest()

    return name, mono()


def _opened(audio: object, sample_rate: object, model_rate: int, name: str | None = None) -> tuple[str, Opened]:
    given_rate = model_rate if sample_rate is None else checked_rate(sample_rate, "audio")
    if isinstance(audio, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(audio, "read"):
        return name or name_of(audio), open_audio(audio, name)
    own_name, values, rate = _in_memory(audio, given_rate)
    return name or own_name, nullcontext((rate, blocks(channels_of(values, own_name))))


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel of a recording, itself a recording."""

    audio: object  # that can be read several times
    number: int  # from 0
    name: str

    def __str__(self) -> str:
        return self.name


def apart(audio: object) -> list[Channel]:
    """Each channel of a recording, to be answered by itself. What cannot be read has one: reading that says why.

    >>> list(map(str, apart((16_000, np.ones((16_000, 2))))))
    ['audio channel 1', 'audio channel 2']
    """
    name, numbers = None, ()
    with suppress(AudioError):
        if hasattr(audio, "read"):  # once
            name = name_of(audio)
            audio = in_memory(audio, name)
        name, opened = _opened(audio, None, LOWEST_RATE, name)
        with opened as (_, parts):
            numbers = range(len(next(parts, ())))
    found = [Channel(audio, number, f"{name} channel {number + 1}") for number in numbers]
    return found or [Channel(audio, 0, name or "audio")]


def _in_memory(audio: object, rate: int) -> tuple[str, object, int]:
    if isinstance(audio, tuple) and len(audio) == 2:
        is_reversed = getattr(audio[0], "ndim", 0) > 0 or isinstance(audio[0], list)
        own_rate, values = reversed(audio) if is_reversed else audio
        return "audio", values, checked_rate(own_rate, "audio")
    if hasattr(audio, "__array__"):
        return "audio", audio, rate
    try:  # a dictionary, or another object with these two fields
        values, own_rate = audio["array"], audio["sampling_rate"]
    except Exception:
        kinds = "a path, bytes, a stream, an array, (rate, samples) or {'array': ..., 'sampling_rate': ...}"
        problem = f"{type(audio).__name__} is no recording: give {kinds}; predict_many takes several"
        raise AudioError.of("audio", problem) from None
    path = audio.get("path") if isinstance(audio, Mapping) else None
    name = path if isinstance(path, str) and path else "audio"
    return name, values, checked_rate(own_rate, name)


def checked_rate(value: object, name: str) -> int:
    """A sample rate in Hz from a number of any type, such as `np.int64(48000)`; raises AudioError for anything else."""
    with suppress(Exception):  # what a foreign object raises
        array = np.asarray(value)
        if array.ndim == 0 and array.dtype.kind in "iufO" and LOWEST_RATE <= int(array) == array <= HIGHEST_RATE:
            return int(array)
    got = type(value).__name__
    with suppress(Exception):  # of its repr, too
        got = shortened(repr(value), 40)
    rule = f"a whole number of Hz between {LOWEST_RATE:,} and {HIGHEST_RATE:,}"
    raise AudioError.of(name, f"the sample rate must be {rule}, got {got}")


def channels_of(audio: object, name: str) -> np.ndarray:
    """Samples as rows of channels, without a copy where possible; the shorter side is the channels, at most 8.
    Shape: [T], [T, C] or [C, T] -> [C, T] of the same type. Raises AudioError for any other."""
    array = array_of(audio, name)
    problem = None
    if array.dtype.kind not in "iuf":
        problem = f"samples must be integers or floating point, got {array.dtype}"
    elif array.ndim not in (1, 2):
        problem = f"expected [T], [T, channels] or [channels, T], got {list(array.shape)}; a batch is for predict_many"
    elif array.size == 0:
        problem = "holds no samples"
    elif array.ndim == 2 and min(array.shape) > MOST_CHANNELS:
        problem = f"{list(array.shape)} are more than {MOST_CHANNELS} channels: several clips are for predict_many"
    if problem:
        raise AudioError.of(name, problem)
    rows = np.atleast_2d(array)
    return rows if rows.shape[0] <= rows.shape[1] else rows.T


def array_of(audio: object, name: str) -> np.ndarray:
    """Samples of any library as a NumPy array of their own type; raises AudioError where that is impossible."""
    torch = sys.modules.get("torch")  # loaded where there is a tensor, and not needed elsewhere
    try:
        if torch is not None and isinstance(audio, torch.Tensor):
            return (audio.float() if audio.dtype == torch.bfloat16 else audio).numpy(force=True)  # NumPy has no such
        array = np.asarray(audio)
    except Exception as error:  # from any `__array__`, or lists of unequal length
        raise AudioError.of(name, f"{type(audio).__name__} cannot be made an array ({reason(error)})") from None
    if isinstance(audio, list | tuple) and array.dtype.kind in "iu":
        raise AudioError.of(name, "a list of whole numbers has no scale: make an array of it, such as np.int16")
    return array


def blocks(channels: np.ndarray) -> Iterator[np.ndarray]:
    """[C, T] as float32 blocks of about 4 MB; integers are scaled to -1 to 1, unsigned ones around their middle."""
    frames = max(1, _BLOCK_VALUES // len(channels))
    for start in range(0, channels.shape[1], frames):
        block = channels[:, start : start + frames]
        if block.dtype.kind in "iu":
            half = 2.0 ** (8 * block.dtype.itemsize - 1)
            block = (block.astype(np.float64) - (half if block.dtype.kind == "u" else 0.0)) / half
        with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 is infinite, refused later
            block = block.astype(np.float32)
        yield block  # outside `errstate`, which else holds for the caller too


class Mixer:
    """Blocks of one recording -> mono: the mean of the channels, or the loudest where they cancel each other, in this
    quarter of a second or on average over the last few (one channel has its sign turned). Quarters are counted from
    the start of the recording: however it is cut into blocks, the samples are the same."""

    def __init__(self, rate: int, name: str):
        self._size, self._name = rate // 4, name
        self._held = np.zeros((0, 0), np.float32)  # [C, T], less than a quarter of a second
        self._powers: np.ndarray | float = 0.0  # of the channels, and of their mean

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """What is decided. Shape: [C, T] -> [T'] float32. Raises AudioError where samples are not finite."""
        if not max(block.max(initial=0), -block.min(initial=0)) < _LARGEST_SAMPLE:  # written so that NaN is caught too
            raise AudioError.of(self._name, f"holds samples that are not finite or beyond {_LARGEST_SAMPLE:.0e}")
        if len(self._held) not in (0, len(block)):
            raise AudioError.of(self._name, f"has {len(block)} channels after {len(self._held)}")
        if len(block) == 1:
            self._held = block[:, :0]
            return block[0]
        held = np.concatenate([self._held.reshape(len(block), -1), block], axis=1)
        whole = held.shape[1] // self._size * self._size
        self._held = held[:, whole:].copy()
        return self._mixed(held[:, :whole])

    def rest(self) -> np.ndarray:
        """What is left at the end. Shape: -> [T] float32."""
        return self._mixed(self._held)

    def _mixed(self, channels: np.ndarray) -> np.ndarray:
        parts = [np.zeros(0, np.float32)]
        for part in (channels[:, at : at + self._size] for at in range(0, channels.shape[1], self._size)):
            mean = part.mean(axis=0, dtype=np.float64)
            powers = np.append(part.var(axis=1, dtype=np.float64), mean.var())
            self._powers = powers + _REMEMBERED * self._powers
            is_cancelled = any(each[-1] < _CANCELLED * each[:-1].mean() for each in (powers, self._powers))
            parts.append(part[self._powers[:-1].argmax()] if is_cancelled else mean.astype(np.float32))
        return np.concatenate(parts)


def level(waveform: np.ndarray) -> np.ndarray:
    """Remove the offset and scale the peak to 1; a constant becomes zero. Shape: [T] -> [T] float32."""
    waveform = waveform.astype(np.float32, copy=False)
    largest = max(np.abs(waveform).max(), np.finfo(np.float32).tiny)
    waveform = waveform / largest  # first, so that the mean of huge samples stays finite
    centred = waveform - np.float32(waveform.mean(dtype=np.float64))
    peak = np.abs(centred).max()
    return centred / peak if peak > _SMALLEST_PEAK else np.zeros_like(centred)


def resample(waveform: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Band-limited resampling between any two rates, by libsoxr in very high quality.
    Shape: [T] -> [T'] float32, T' = T * to_rate / from_rate, rounded up."""
    return np.concatenate(list(resampled([(from_rate, waveform.astype(np.float32))], to_rate)))


def resampled(blocks: Iterable[tuple[int, np.ndarray]], to_rate: int) -> Iterator[np.ndarray]:
    """Pairs of the rate in Hz and a mono block -> blocks at another rate; wherever they are cut, the same samples."""
    import soxr  # here, since importing this package should cost nothing

    stream, taken, given = None, 0, 0
    for from_rate, block in blocks:
        if from_rate != to_rate:
            stream = stream or soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="VHQ")
            taken += len(block)
            block = stream.resample_chunk(np.ascontiguousarray(block))
            given += len(block)
        yield block
    if stream is not None:
        # soxr rounds the number of samples up or down (very few become none): silence at the end makes up for it
        silence = np.zeros(-(-from_rate // to_rate) + 1, np.float32)
        left = -(-taken * to_rate // from_rate) - given
        yield stream.resample_chunk(silence, last=True)[:left]


def regroup(blocks: Iterator[np.ndarray], size: float) -> Iterator[np.ndarray]:
    """The same samples in pieces of `size` samples, the last one shorter."""
    pending: list[np.ndarray] = []
    for block in blocks:
        while sum(map(len, pending)) + len(block) >= size:
            cut = int(size) - sum(map(len, pending))
            yield np.concatenate([*pending, block[:cut]])
            block, pending = block[cut:], []
        pending.append(block)
    if any(map(len, pending)):
        yield np.concatenate(pending)
