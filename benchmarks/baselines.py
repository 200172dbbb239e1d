"""The usual way: librosa on the CPU, clip by clip, in one process or in several."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec

import librosa
import numpy as np
from threadpoolctl import threadpool_limits

from ser_gpu.config import ModelConfig

INT16_SCALE = 32_768.0


def versions() -> dict[str, str]:
    """Versions of the baselines that are installed."""
    return {name: version(name) for name in ("librosa", "scipy", "flashmel") if find_spec(name)}


def log_mel(waveform: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Mel decibels below the peak of each clip.

    Shape: [..., L] -> [..., M, F].
    """
    mel = config.mel
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=config.audio.sample_rate,
        n_fft=mel.n_fft,
        hop_length=mel.hop,
        n_mels=mel.n_mels,
        fmin=mel.f_min,
        fmax=mel.f_max,
        pad_mode="constant",
        dtype=waveform.dtype,
    )
    level = librosa.power_to_db(power, ref=1.0, top_db=None)
    return np.maximum(level - level.max(axis=(-2, -1), keepdims=True), -mel.top_db)


def decibels(clip: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Log-mel of one clip as it was recorded, without its silence.

    Shape: [T] int16 -> [M, F] float32.
    """
    return log_mel(_trimmed(clip, config), config)


def features(clip: np.ndarray, config: ModelConfig) -> np.ndarray:
    """The same as the network sees it.

    Shape: [T] int16 -> [M, F] float32.
    """
    return _normalised(decibels(clip, config), config)


def augmented_features(clip: np.ndarray, seed: int, config: ModelConfig) -> np.ndarray:
    """What the network sees of one clip with noise, a pitch shift and a time stretch.

    Shape: [T] int16 -> [M, F] float32.
    """
    generator = np.random.default_rng(seed)
    augment, rate = config.augment, config.audio.sample_rate
    waveform = _trimmed(clip, config)
    waveform = pitch_shift(waveform, generator.uniform(-augment.pitch_semitones, augment.pitch_semitones), rate)
    waveform = time_stretch(waveform, generator.uniform(augment.min_stretch, augment.max_stretch))
    waveform = add_noise(waveform, generator.uniform(augment.min_snr_db, augment.max_snr_db), generator)
    return _normalised(log_mel(waveform, config), config)


def augmented_features_of(clip_and_seed: tuple[np.ndarray, int], config: ModelConfig) -> np.ndarray:
    """As `augmented_features`, for `Workers`."""
    return augmented_features(*clip_and_seed, config)


def one_thread(_worker: int = 0) -> None:
    """Hold this process to one thread: several that each take all cores are slower than one."""
    threadpool_limits(1)


def pitch_shift(waveform: np.ndarray, semitones: float, sample_rate: int) -> np.ndarray:
    """librosa's phase vocoder with the FFT and hop of ours, then its resampling.

    Shape: [L] -> [L].
    """
    return librosa.effects.pitch_shift(waveform, sr=sample_rate, n_steps=semitones, n_fft=1024, hop_length=256)


def time_stretch(waveform: np.ndarray, tempo: float) -> np.ndarray:
    """librosa's phase vocoder, cut or padded around the centre to the length it had.

    Shape: [L] -> [L].
    """
    return _fixed(librosa.effects.time_stretch(waveform, rate=tempo, n_fft=1024, hop_length=256), len(waveform))


def add_noise(waveform: np.ndarray, snr_db: float, generator: np.random.Generator) -> np.ndarray:
    """White noise at a signal-to-noise ratio.

    Shape: [L] -> [L].
    """
    level = np.sqrt(np.mean(waveform**2) / 10 ** (snr_db / 10))
    return waveform + level * generator.standard_normal(len(waveform), dtype=np.float32)


class Workers:
    """A pool of warm processes of one thread each that prepare clips; chunks are as large as they can be.

    Args:
        processes: how many.
        dry: do it in this process, for a test.
    """

    def __init__(self, processes: int, dry: bool):
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None
        if not dry:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread)

    def __enter__(self) -> "Workers":
        self.map(features, [np.ones(16_000, np.int16)] * self.processes, config=ModelConfig())
        return self

    def __exit__(self, *_):
        if self._pool is not None:
            self._pool.shutdown()

    def map(self, function, clips: list, **settings) -> np.ndarray:
        """Results of all clips, stacked."""
        one = partial(function, **settings)
        if self._pool is None:
            with threadpool_limits(1):
                return np.stack([one(clip) for clip in clips])
        chunk = max(1, -(-len(clips) // self.processes))
        return np.stack(list(self._pool.map(one, clips, chunksize=chunk)))


def _trimmed(clip: np.ndarray, config: ModelConfig) -> np.ndarray:
    trim = config.trim
    speech, _ = librosa.effects.trim(
        clip / np.float32(INT16_SCALE), top_db=trim.top_db, frame_length=trim.frame_length, hop_length=trim.hop
    )
    return _fixed(speech, config.audio.clip_samples, "wrap" if trim.fill == "repeat" else "constant")


def _fixed(waveform: np.ndarray, length: int, mode: str = "constant") -> np.ndarray:
    if len(waveform) > length:
        start = (len(waveform) - length) // 2
        return waveform[start : start + length]
    return librosa.util.pad_center(waveform, size=length, mode=mode)


def _normalised(decibels: np.ndarray, config: ModelConfig) -> np.ndarray:
    decibels = decibels - config.mel.mean_subtraction * decibels.mean(axis=1, keepdims=True)
    return ((decibels - decibels.mean()) / np.sqrt(decibels.var() + 1e-6)).astype(np.float32)
