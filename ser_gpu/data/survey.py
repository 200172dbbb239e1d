"""What the recordings are, before anything is done to them: length, channels, level, and which are the same twice."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import soundfile

from ser_gpu.data.protocols import Split
from ser_gpu.data.ravdess import Clip

_BLOCK_SECONDS = 0.02
_SILENCE_DB = 30.0
_SMALLEST_POWER = 1e-12


@dataclass(frozen=True)
class Recording:
    """One file as it is on disk.

    Attributes:
        seconds: its length.
        sample_rate: Hz.
        channels: 1, or 2 in stereo.
        level_db: of the speech, in dB below full scale.
        digest: of the samples, mixed to mono: equal for equal sound.
    """

    seconds: float
    sample_rate: int
    channels: int
    level_db: float
    digest: str


def survey(clips: Sequence[Clip], on_clip: Callable[[], None] | None = None) -> list[Recording]:
    """Read every file once, in the order of `clips`; `on_clip` is called once a clip, for a progress bar."""

    def one(clip: Clip) -> Recording:
        samples, rate = soundfile.read(clip.path, always_2d=True)
        mono = samples.mean(axis=1)
        if on_clip is not None:
            on_clip()
        digest = hashlib.sha256(mono.tobytes()).hexdigest()
        return Recording(len(mono) / rate, rate, samples.shape[1], speech_level(mono, rate), digest)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, clips))


def speech_level(samples: np.ndarray, sample_rate: int) -> float:
    """Mean power of those blocks of 20 ms that are less than 30 dB below the loudest one, in dB re full scale.

    Shape: [T].
    """
    block = min(len(samples), round(_BLOCK_SECONDS * sample_rate))
    power = np.square(samples[: len(samples) // block * block].reshape(-1, block)).mean(axis=1)
    power = np.maximum(power, _SMALLEST_POWER)
    return float(10 * np.log10(power[power > power.max() * 10 ** (-_SILENCE_DB / 10)].mean()))


def identical(clips: Sequence[Clip], recordings: Sequence[Recording]) -> list[tuple[str, ...]]:
    """Names of clips that hold the same samples, in groups of two and more."""
    names: dict[str, list[str]] = {}
    for clip, recording in zip(clips, recordings, strict=True):
        names.setdefault(recording.digest, []).append(clip.name)
    return [tuple(group) for group in names.values() if len(group) > 1]


def with_twin_in_training(clips: Sequence[Clip], split: Split, part: str = "test") -> set[str]:
    """Those clips of a part whose other repetition (same actor, sentence, emotion, intensity) is in training."""
    trained = {clip.twins for clip in clips if split.part_of[clip.name] == "train"}
    return {clip.name for clip in clips if split.part_of[clip.name] == part and clip.twins in trained}


def with_speaker_in_training(clips: Sequence[Clip], split: Split, part: str = "test") -> set[str]:
    """Those clips of a part whose speaker is heard in training."""
    trained = {clip.actor for clip in clips if split.part_of[clip.name] == "train"}
    return {clip.name for clip in clips if split.part_of[clip.name] == part and clip.actor in trained}
