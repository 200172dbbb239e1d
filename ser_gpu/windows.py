"""The sound of a recording in windows that overlap by half, with its silence cut."""

from typing import NamedTuple

import numpy as np

from ser_gpu.config import TrimConfig

_SMALLEST_POWER = 1e-10


class Windows(NamedTuple):
    """Where somebody speaks in a piece of a recording."""

    samples: np.ndarray  # [V, L'] float32, L' at most the window's length
    seconds: float  # that the windows cover together, an overlap counted once


def cut(waveform: np.ndarray, size: int, trim: TrimConfig) -> tuple[np.ndarray, np.ndarray]:
    """First samples and windows of at most `size`, without silent ones. Shape: [T] -> [V] int64, [V, L'] float32."""
    first, end = bounds(waveform, trim)
    length = min(size, end - first)
    starts = np.array([*range(first, end - length, max(1, length // 2)), end - length])  # the last one ends at `end`
    windows = np.stack([waveform[start : start + length] for start in starts])  # [V, L']
    peaks = np.abs(windows).max(axis=1)
    sounds = peaks >= peaks.max() * 10 ** (-trim.top_db / 20)
    return starts[sounds], windows[sounds]


def bounds(waveform: np.ndarray, trim: TrimConfig) -> tuple[int, int]:
    """First sample of the sound and first after it, as in `ser_gpu.stages.trim.TrimSilence`. Shape: [T] -> [], []."""
    frames, blocks_per_frame = len(waveform) // trim.hop + 1, trim.frame_length // trim.hop
    half = np.zeros(trim.frame_length // 2, np.float32)
    padded = np.concatenate([half, waveform, half])[: (frames + blocks_per_frame - 1) * trim.hop]
    blocks = np.square(padded).reshape(-1, trim.hop).sum(axis=1)
    power = sum(blocks[at : at + frames] for at in range(blocks_per_frame)) / trim.frame_length
    level = 10 * np.log10(np.maximum(power, np.float32(_SMALLEST_POWER)))
    (sounds,) = np.nonzero(level - level.max() > -trim.top_db)
    end = min((int(sounds[-1]) + 1) * trim.hop, len(waveform))
    return min(int(sounds[0]) * trim.hop, end - 1), end


def padded(windows: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Windows with zeros around them, `size` long. Shape: [V, L'] -> [V, L]."""
    missing = size - windows.shape[1]
    before = missing // 2 // hop * hop  # whole hops, so that the trimming has the same frames
    return np.pad(windows, ((0, 0), (before, missing - before))) if missing else windows


def covered(starts: np.ndarray, length: int) -> int:
    """Samples that windows of one length cover together. Shape: [V] int64 in rising order, V > 0 -> []."""
    return int(np.diff(starts).clip(max=length).sum()) + length
