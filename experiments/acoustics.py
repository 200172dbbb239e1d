"""What emotion does to a voice, in numbers: energy by frequency, tempo, pitch.

Differences are taken within a speaker and then averaged over speakers, so a deep voice is compared with itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from ser_gpu.corpora.clip import Clip
from ser_gpu.stages.spectrogram_augment import hertz_to_mel, mel_to_hertz

SYLLABLES = 7  # "Kids are talking by the door" and "Dogs are sitting by the door"
_SMALLEST_SHARE = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean over speakers and its 95 % confidence interval, numbers or arrays of one shape."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def over_speakers(values: np.ndarray) -> Interval:
    """Mean over the first axis and its 95 % interval by Student's t; NaN where fewer than two speakers have a value.

    Shape: [speakers, ...] -> [...].
    """
    values = np.asarray(values, dtype=float)
    count = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    mean = np.nansum(values, axis=0) / count
    variance = np.nansum(np.square(values - mean), axis=0) / np.maximum(count - 1, 1)
    half = student.ppf(0.975, np.maximum(count - 1, 1)) * np.sqrt(variance / count)
    enough = count > 1
    mean, half = np.where(enough, mean, np.nan), np.where(enough, half, np.nan)
    return Interval(mean, mean - half, mean + half)


def speaker_means(values: np.ndarray, members: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """The mean of some clips for each speaker, speakers in rising order; NaN where a speaker has none.

    Shape: [N, ...], [N] bool, [N] -> [speakers, ...].
    """
    values = np.asarray(values, dtype=float)
    means = np.full((len(np.unique(speakers)), *values.shape[1:]), np.nan)
    for row, speaker in enumerate(np.unique(speakers)):
        own = values[members & (speakers == speaker)]
        known = ~np.isnan(own)
        means[row] = np.where(known.any(axis=0), np.nansum(own, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)
    return means


def difference(values: np.ndarray, one: np.ndarray, other: np.ndarray, speakers: np.ndarray) -> Interval:
    """Mean of some clips less that of others, speaker by speaker.

    Shape: [N, ...], [N] bool, [N] bool, [N] -> [...].
    """
    return over_speakers(speaker_means(values, one, speakers) - speaker_means(values, other, speakers))


def deviations(values: np.ndarray, labels: np.ndarray, speakers: np.ndarray, classes: int) -> Interval:
    """Mean of each emotion less the speaker's mean over all emotions that it has a value for.

    Shape: [N], [N] int, [N] -> [C].
    """
    means = np.stack([speaker_means(values, labels == emotion, speakers) for emotion in range(classes)], axis=1)
    known = ~np.isnan(means)
    own = np.nansum(means, axis=1) / np.maximum(known.sum(axis=1), 1)
    return over_speakers(means - own[:, None])


def spectrum_shares(waveform: Tensor, n_fft: int = 1024) -> Tensor:
    """Long-term average spectrum: the share of a clip's power at each frequency from 0 Hz to half the sample rate.

    Shape: [B, L] -> [B, n_fft // 2 + 1]; rows sum to one.
    """
    window = torch.hann_window(n_fft, device=waveform.device)
    power = torch.stft(waveform, n_fft, n_fft // 2, window=window, return_complex=True).abs().square().sum(dim=2)
    return power / power.sum(dim=1, keepdim=True).clamp(min=_SMALLEST_SHARE)


def centroid(shares: Tensor, sample_rate: int) -> Tensor:
    """Spectral centroid: the mean frequency in Hz, weighted by power.

    Shape: [B, K] -> [B].
    """
    return shares @ torch.linspace(0, sample_rate / 2, shares.shape[1], device=shares.device)


def energy_above(shares: Tensor, sample_rate: int, hertz: float) -> Tensor:
    """Energy above a frequency in dB re the energy of the whole clip.

    Shape: [B, K] -> [B].
    """
    frequency = torch.linspace(0, sample_rate / 2, shares.shape[1], device=shares.device)
    return 10 * (shares * (frequency > hertz)).sum(dim=1).clamp(min=_SMALLEST_SHARE).log10()


def band_levels(power: Tensor) -> Tensor:
    """Energy of each band over the whole clip in dB re the energy of all bands: it does not depend on the level.

    Shape: [B, M, F] -> [B, M].
    """
    energy = power.sum(dim=2)
    return 10 * (energy / energy.sum(dim=1, keepdim=True).clamp(min=_SMALLEST_SHARE)).clamp(min=1e-9).log10()


def syllables_per_second(seconds: np.ndarray) -> np.ndarray:
    """Tempo of the speech, pauses included: both sentences of RAVDESS have seven syllables.

    Shape: [N] seconds from the first sound to the last -> [N].
    """
    return SYLLABLES / np.asarray(seconds)


def frame_levels(waveform: np.ndarray, frame_length: int, hop: int) -> np.ndarray:
    """Root mean square of centred frames in dB re the loudest one.

    Shape: [T] -> [1 + T // hop].
    """
    padded = np.pad(waveform, (frame_length // 2, frame_length // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop]
    power = np.maximum(np.square(frames, dtype=float).mean(axis=1), 1e-10)
    return 10 * np.log10(power / power.max())


def band_centres(bands: int, f_min: float, f_max: float) -> np.ndarray:
    """Centre of each mel band in Hz.

    Shape: -> [bands].
    """
    ends = hertz_to_mel(torch.tensor([f_min, f_max], dtype=torch.float64))
    return mel_to_hertz(torch.linspace(*ends.tolist(), bands + 2, dtype=torch.float64))[1:-1].numpy()


def distances_by_relation(spectrograms: Tensor, clips: Sequence[Clip]) -> dict[str, np.ndarray]:
    """Root mean square differences between the log-mels of pairs of clips of one sentence, by what the pair shares.

    Args:
        spectrograms: log-mels, one a clip, each of zero mean and unit variance.
        clips: with `speaker` and `emotion`, and `intensity` and `statement` among their further fields.

    Shape: [N, M, F].
    """
    flat = spectrograms.flatten(1)
    squared = flat.square().sum(dim=1)
    apart = ((squared[:, None] + squared - 2 * flat @ flat.T).clamp(min=0) / flat.shape[1]).sqrt().numpy()
    speaker, emotion = _equal([clip.speaker for clip in clips]), _equal([clip.emotion for clip in clips])
    intensity, statement = (_equal([clip.get(name, "") for clip in clips]) for name in ("intensity", "statement"))
    pair = np.triu(np.ones_like(apart, dtype=bool), k=1) & statement
    said = emotion & intensity
    return {
        "repetitions: same speaker,\nsame emotion": apart[pair & speaker & said],
        "same speaker,\nanother emotion": apart[pair & speaker & ~emotion],
        "another speaker,\nsame emotion": apart[pair & ~speaker & said],
        "another speaker,\nanother emotion": apart[pair & ~speaker & ~emotion],
    }


def _equal(values: Sequence[str | None]) -> np.ndarray:
    values = np.asarray(values, dtype=str)
    return values[:, None] == values
