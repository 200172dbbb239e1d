"""From a recording to a waveform: the mix to mono, the resampling, the level; and all clips of a data set at once."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import torch
import torch.nn.functional as F
import torchaudio.functional
from torch import Tensor

from ser_gpu.data.audio_file import AudioError, open_audio

INT16_SCALE = 32_768.0
_LARGEST_RATIO_TERM = 640
_FILTER_ZERO_CROSSINGS = 64
_FILTER_ROLLOFF = 0.9476
_LARGEST_SAMPLE = 1e30
_SMALLEST_PEAK = 1e-6  # of the largest sample: what float32 leaves of a constant


def load(path: str | PathLike, sample_rate: int) -> Tensor:
    """Read a whole recording as mono at `sample_rate` Hz, without offset, its peak at 1.

    Shape: -> [T] float32.

    Raises:
        AudioError: the file is no audio that can be read, or holds no or non-finite samples.
    """
    return next(segments(path, sample_rate))


def segments(source: str | PathLike | BinaryIO, sample_rate: int, seconds: float = math.inf) -> Iterator[Tensor]:
    """Read a recording in pieces of at most `seconds`, each as `load` gives a whole one, in constant memory.

    Shape: -> [T] float32 each.

    Raises:
        AudioError: as in `load`, and as in `ser_gpu.data.audio_file.open_audio`.
    """
    empty = True
    with open_audio(source) as file:
        mono = (_mix(block, file.name) for block in file.blocks())
        for piece in _regroup(_resample_blocks(mono, file.sample_rate, sample_rate), seconds * sample_rate):
            empty = False
            yield level(piece)
    if empty:
        raise AudioError(f"{file.name}: holds no samples")


def to_mono(audio: Tensor, from_rate: int, to_rate: int, name: str = "audio") -> Tensor:
    """Average the channels, resample, and set the level, as `load` does.

    Shape: [T] or [channels, T], float or int16 -> [T'] float32.

    Raises:
        AudioError: another shape, no sample, or a sample that is NaN or infinite.
    """
    if audio.ndim not in (1, 2) or (audio.ndim == 2 and audio.shape[0] > max(8, audio.shape[1])):
        raise AudioError(f"{name}: expected [samples] or [channels, samples], got {list(audio.shape)}")
    if from_rate <= 0:
        raise AudioError(f"{name}: the sample rate must be positive, got {from_rate}")
    if audio.dtype == torch.int16:
        audio = audio / INT16_SCALE
    elif not audio.is_floating_point():
        raise AudioError(f"{name}: samples must be floating point or int16, got {audio.dtype}")
    if audio.numel() == 0:
        raise AudioError(f"{name}: holds no samples")
    return level(resample(_mix(audio.reshape(-1, audio.shape[-1]), name), from_rate, to_rate))


def level(waveform: Tensor) -> Tensor:
    """Take the offset out and bring the peak to 1; what is constant becomes zero.

    Shape: [T] -> [T] float32.
    """
    largest = waveform.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    waveform = waveform / largest  # first, so that the mean of huge samples stays finite
    centred = waveform - waveform.mean(dtype=torch.float64).float()
    peak = centred.abs().max()
    return centred / peak if peak > _SMALLEST_PEAK else torch.zeros_like(centred)


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Band-limited resampling with a Kaiser-windowed sinc (Smith, Digital Audio Resampling Home Page).

    The ratio is rounded to terms of at most 640 below, which moves a pitch by less than a third of a cent and keeps
    the filter small for rates such as 44,101 Hz.

    Shape: [..., T] -> [..., T'].
    """
    ratio = _ratio(from_rate, to_rate)
    if ratio == 1:
        return waveform
    return torchaudio.functional.resample(
        waveform,
        ratio.numerator,
        ratio.denominator,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=_FILTER_ZERO_CROSSINGS,
        rolloff=_FILTER_ROLLOFF,
        beta=14.77,
    )


def _resample_blocks(blocks: Iterator[Tensor], from_rate: int, to_rate: int) -> Iterator[Tensor]:
    """What `resample` makes of the whole; each block is resampled with the samples that the filter reaches."""
    ratio = _ratio(from_rate, to_rate)
    step = ratio.numerator
    reach = math.ceil(_FILTER_ZERO_CROSSINGS * max(1, ratio) / _FILTER_ROLLOFF) + step
    reach = math.ceil(reach / step) * step
    pending = torch.zeros(0)
    before = 0  # samples at the start of `pending` that are there for the filter alone
    for block in blocks:
        pending = torch.cat([pending, block])
        ready = (len(pending) - reach) // step * step
        if ready > before:
            yield _between(resample(pending[: ready + reach], from_rate, to_rate), before / ratio, ready / ratio)
            kept = max(0, ready - reach)
            pending, before = pending[kept:], ready - kept
    if len(pending) > before:
        yield _between(resample(pending, from_rate, to_rate), before / ratio, None)


def _between(samples: Tensor, start: Fraction, end: Fraction | None) -> Tensor:
    return samples[int(start) : None if end is None else int(end)]


def _regroup(blocks: Iterator[Tensor], size: float) -> Iterator[Tensor]:
    """The same samples in pieces of `size`, the last one shorter."""
    pending: list[Tensor] = []
    count = 0
    for block in blocks:
        while count + len(block) >= size:
            cut = int(size) - count
            yield torch.cat([*pending, block[:cut]])
            block, pending, count = block[cut:], [], 0
        if len(block):
            pending.append(block)
            count += len(block)
    if count:
        yield torch.cat(pending)


def _mix(channels: Tensor, name: str) -> Tensor:
    mono = channels[0].float() if len(channels) == 1 else channels.double().mean(dim=0).float()
    if not (mono.abs() < _LARGEST_SAMPLE).all():  # written so that NaN is caught too
        raise AudioError(f"{name}: holds samples that are not finite or beyond {_LARGEST_SAMPLE:.0e}")
    return mono


def _ratio(from_rate: int, to_rate: int) -> Fraction:
    return Fraction(from_rate, to_rate).limit_denominator(_LARGEST_RATIO_TERM)


class ClipBank:
    """Every clip, decoded once, resident on a device as int16; a batch is an index.

    Attributes:
        waveforms: [N, T] int16, padded with zeros behind each clip.
        lengths: [N] int64, samples of each clip.
        sample_rate: Hz.
    """

    def __init__(self, waveforms: Tensor, lengths: Tensor, sample_rate: int):
        self.waveforms = waveforms
        self.lengths = lengths
        self.sample_rate = sample_rate

    @classmethod
    def read(
        cls, paths: Sequence[str | Path], sample_rate: int, on_clip: Callable[[], None] | None = None
    ) -> "ClipBank":
        """Decode `paths` in parallel; `on_clip` is called once a clip, for a progress bar."""

        def decode(path: str | Path) -> Tensor:
            waveform = (load(path, sample_rate) * INT16_SCALE).round().clamp(-INT16_SCALE, INT16_SCALE - 1)
            if on_clip is not None:
                on_clip()
            return waveform.to(torch.int16)

        with ThreadPoolExecutor() as pool:
            clips = list(pool.map(decode, paths))
        lengths = torch.tensor([len(clip) for clip in clips])
        longest = int(lengths.max())
        waveforms = torch.stack([F.pad(clip, (0, longest - len(clip))) for clip in clips])
        return cls(waveforms, lengths, sample_rate)

    def to(self, device: torch.device | str) -> "ClipBank":
        """The same clips on another device."""
        return ClipBank(self.waveforms.to(device), self.lengths.to(device), self.sample_rate)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms and lengths of some clips.

        Shape: [B] int64 on the bank's device -> [B, T] float32, [B] int64.
        """
        return self.waveforms[index] / INT16_SCALE, self.lengths[index]
