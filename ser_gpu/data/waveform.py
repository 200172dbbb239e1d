"""From a file to a waveform: decoding, the mix to mono, the resampling; and all clips of a data set at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
import torchaudio.functional
from torch import Tensor

INT16_SCALE = 32_768.0
_LARGEST_RATIO_TERM = 640


class AudioError(ValueError):
    """Audio that cannot be used; the message is one line that names the file."""


def load(path: str | Path, sample_rate: int) -> Tensor:
    """Read an audio file as mono at `sample_rate` Hz.

    Shape: -> [T] float32, nominally in [-1, 1].

    Raises:
        AudioError: the file is missing, is no audio that libsndfile reads, or holds no or non-finite samples.
    """
    samples, rate = _decode(path)
    return to_mono(torch.from_numpy(samples.T), rate, sample_rate, name=str(path))


def to_mono(audio: Tensor, from_rate: int, to_rate: int, name: str = "audio") -> Tensor:
    """Average the channels and resample.

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
    mono = audio.to(torch.float32) if audio.ndim == 1 else audio.to(torch.float32).mean(dim=0)
    if mono.numel() == 0:
        raise AudioError(f"{name}: holds no samples")
    if not torch.isfinite(mono).all():
        raise AudioError(f"{name}: holds samples that are not finite (NaN or infinity)")
    return resample(mono, from_rate, to_rate)


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Band-limited resampling with a Kaiser-windowed sinc (Smith, Digital Audio Resampling Home Page).

    The ratio is rounded to terms of at most 640 below, which moves a pitch by less than a third of a cent and keeps
    the filter small for rates such as 44,101 Hz.

    Shape: [..., T] -> [..., T'].
    """
    ratio = Fraction(from_rate, to_rate).limit_denominator(_LARGEST_RATIO_TERM)
    if ratio == 1:
        return waveform
    return torchaudio.functional.resample(
        waveform,
        ratio.numerator,
        ratio.denominator,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9476,
        beta=14.77,
    )


def _decode(path: str | Path) -> tuple[np.ndarray, int]:
    path = Path(path)
    if not path.exists():
        raise AudioError(f"{path}: no such file")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not an audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: is empty")
    try:
        return soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path}: cannot be read as audio ({reason.strip().rstrip('.')})") from None


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
