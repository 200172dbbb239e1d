"""What emotion does to a voice, in numbers: where its energy lies, how fast and how high it speaks.

Differences are taken within an actor and then averaged over actors, so that a deep voice is compared with itself.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

SYLLABLES = 7  # "Kids are talking by the door" and "Dogs are sitting by the door"
_SMALLEST_SHARE = 1e-12
_MEL_BREAK_HZ, _MEL_BREAK, _HZ_PER_MEL, _MEL_LOG_STEP = 1_000.0, 15.0, 200.0 / 3.0, np.log(6.4) / 27.0


@dataclass(frozen=True)
class Interval:
    """A mean over actors and its 95 % confidence interval, numbers or arrays of one shape."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def over_actors(values: np.ndarray) -> Interval:
    """Mean over the first axis and its 95 % interval by Student's t; NaN where fewer than two actors have a value.

    Shape: [actors, ...] -> [...].
    """
    values = np.asarray(values, dtype=float)
    count = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    mean = np.nansum(values, axis=0) / count
    variance = np.nansum(np.square(values - mean), axis=0) / np.maximum(count - 1, 1)
    half = student.ppf(0.975, np.maximum(count - 1, 1)) * np.sqrt(variance / count)
    enough = count > 1
    mean, half = np.where(enough, mean, np.nan), np.where(enough, half, np.nan)
    return Interval(mean, mean - half, mean + half)


def actor_means(values: np.ndarray, members: np.ndarray, actors: np.ndarray) -> np.ndarray:
    """The mean of some clips, for each actor, in rising order of actors; NaN where an actor has none.

    Shape: [N, ...], [N] bool, [N] -> [actors, ...].
    """
    values = np.asarray(values, dtype=float)
    means = np.full((len(np.unique(actors)), *values.shape[1:]), np.nan)
    for row, actor in enumerate(np.unique(actors)):
        own = values[members & (actors == actor)]
        known = ~np.isnan(own)
        means[row] = np.where(known.any(axis=0), np.nansum(own, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)
    return means


def difference(values: np.ndarray, one: np.ndarray, other: np.ndarray, actors: np.ndarray) -> Interval:
    """Mean of some clips less that of others, actor by actor.

    Shape: [N, ...], [N] bool, [N] bool, [N] -> [...].
    """
    return over_actors(actor_means(values, one, actors) - actor_means(values, other, actors))


def deviations(values: np.ndarray, labels: np.ndarray, actors: np.ndarray, classes: int) -> Interval:
    """Mean of each emotion less the actor's mean over all emotions that it has a value for.

    Shape: [N], [N] int, [N] -> [C].
    """
    means = np.stack([actor_means(values, labels == emotion, actors) for emotion in range(classes)], axis=1)
    known = ~np.isnan(means)
    own = np.nansum(means, axis=1) / np.maximum(known.sum(axis=1), 1)
    return over_actors(means - own[:, None])


def spectrum_shares(waveform: Tensor, n_fft: int = 1024) -> Tensor:
    """The share of a clip's power at each frequency from 0 Hz to half the sample rate: its long-term average spectrum.

    Shape: [B, L] -> [B, n_fft // 2 + 1]; rows sum to one.
    """
    window = torch.hann_window(n_fft, device=waveform.device)
    power = torch.stft(waveform, n_fft, n_fft // 2, window=window, return_complex=True).abs().square().sum(dim=2)
    return power / power.sum(dim=1, keepdim=True).clamp(min=_SMALLEST_SHARE)


def centroid(shares: Tensor, sample_rate: int) -> Tensor:
    """Mean frequency in Hz, weighted by power.

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
    """Energy of each band over the whole clip in dB re the energy of all bands: what a difference of level leaves.

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


def hz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's mel scale, which librosa and nnAudio use: linear up to 1 kHz, logarithmic above.

    Source: Slaney, Auditory Toolbox, Interval Research Corporation Technical Report 1998-010.
    """
    hertz = np.asarray(hertz, dtype=float)
    above = _MEL_BREAK + np.log(np.maximum(hertz, _MEL_BREAK_HZ) / _MEL_BREAK_HZ) / _MEL_LOG_STEP
    return np.where(hertz < _MEL_BREAK_HZ, hertz / _HZ_PER_MEL, above)


def mel_to_hz(mels: np.ndarray) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    mels = np.asarray(mels, dtype=float)
    above = _MEL_BREAK_HZ * np.exp(_MEL_LOG_STEP * (np.maximum(mels, _MEL_BREAK) - _MEL_BREAK))
    return np.where(mels < _MEL_BREAK, mels * _HZ_PER_MEL, above)


def band_centres(bands: int, f_min: float, f_max: float) -> np.ndarray:
    """Centre of each mel band in Hz.

    Shape: -> [bands].
    """
    return mel_to_hz(np.linspace(hz_to_mel(f_min), hz_to_mel(f_max), bands + 2))[1:-1]


def read_pitch(path: str | Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Median pitch in semitones re 100 Hz and its spread in semitones, of clips by name; NaN where there is none.

    Args:
        path: what `python -m experiments.pitch` writes.

    Shape: -> [N], [N].
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        found = {row["clip"]: row for row in csv.DictReader(file) if row["median_hz"]}
    rows = [found.get(name) for name in names]
    median = np.array([float(row["median_hz"]) if row else np.nan for row in rows])
    spread = np.array([float(row["spread_semitones"]) if row else np.nan for row in rows])
    return 12 * np.log2(median / 100), spread


def distances_by_relation(pictures: Tensor, clips: Sequence) -> dict[str, np.ndarray]:
    """How far apart clips are as pictures, by what they share: root mean square difference of normalised log-mels.

    Args:
        pictures: one a clip, each of zero mean and unit variance.
        clips: with `twins`, `actor`, `emotion`, `intensity`, `statement`.

    Shape: [N, M, F].
    """
    flat = pictures.flatten(1)
    squared = flat.square().sum(dim=1)
    apart = ((squared[:, None] + squared - 2 * flat @ flat.T).clamp(min=0) / flat.shape[1]).sqrt().numpy()
    same = {
        name: _equal([getattr(clip, name) for clip in clips]) for name in ("actor", "emotion", "intensity", "statement")
    }
    pair = np.triu(np.ones_like(apart, dtype=bool), k=1) & same["statement"]
    said = same["emotion"] & same["intensity"]
    return {
        "twins: same actor,\nsame emotion": apart[pair & same["actor"] & said],
        "same actor,\nanother emotion": apart[pair & same["actor"] & ~same["emotion"]],
        "another actor,\nsame emotion": apart[pair & ~same["actor"] & said],
        "another actor,\nanother emotion": apart[pair & ~same["actor"] & ~same["emotion"]],
    }


def _equal(values: Sequence[int]) -> np.ndarray:
    values = np.asarray(values)
    return values[:, None] == values
