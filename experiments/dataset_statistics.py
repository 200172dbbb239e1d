"""Statistics of a data set: length, channels and level of each recording, identical files, what the parts share."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import soundfile

from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Split
from ser_gpu.evaluation.report import Answers

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
        level_db: of the speech, in dB re full scale.
        digest: of the samples, mixed to mono: equal for equal sound.
    """

    seconds: float
    sample_rate: int
    channels: int
    level_db: float
    digest: str


def read(clips: Sequence[Clip], on_clip: Callable[[], None] | None = None) -> list[Recording]:
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
    """Mean power of the blocks of 20 ms that are less than 30 dB below the loudest one, in dB re full scale.

    Shape: [T].
    """
    block = min(len(samples), round(_BLOCK_SECONDS * sample_rate))
    power = np.square(samples[: len(samples) // block * block].reshape(-1, block)).mean(axis=1)
    power = np.maximum(power, _SMALLEST_POWER)
    return float(10 * np.log10(power[power > power.max() * 10 ** (-_SILENCE_DB / 10)].mean()))


def identical(clips: Sequence[Clip], recordings: Sequence[Recording]) -> list[tuple[str, ...]]:
    """Ids of clips that hold the same samples, in groups of two and more."""
    ids: dict[str, list[str]] = {}
    for clip, recording in zip(clips, recordings, strict=True):
        ids.setdefault(recording.digest, []).append(clip.id)
    return [tuple(group) for group in ids.values() if len(group) > 1]


def with_repetition_in_training(clips: Sequence[Clip], split: Split, part: str = "test") -> set[str]:
    """Ids of the clips of a part that have another clip of their repetition group in training."""
    trained = {clip.group for clip in clips if split.part_of[clip.id] == "train" and clip.group is not None}
    return {clip.id for clip in clips if split.part_of[clip.id] == part and clip.group in trained}


def with_speaker_in_training(clips: Sequence[Clip], split: Split, part: str = "test") -> set[str]:
    """Ids of the clips of a part whose speaker is in training."""
    trained = {clip.speaker for clip in clips if split.part_of[clip.id] == "train" and clip.speaker is not None}
    return {clip.id for clip in clips if split.part_of[clip.id] == part and clip.speaker in trained}


def accuracy_of(answers: Answers, ids_by_fold: Mapping[int, set[str]]) -> tuple[float, float]:
    """Accuracy on the clips that are named for their fold, and on the others; NaN where there are none."""
    pairs = zip(answers.folds.tolist(), answers.clips, strict=True)
    inside = np.array([clip.id in ids_by_fold.get(fold, ()) for fold, clip in pairs])
    right = answers.predicted == answers.truth
    return tuple(float(right[rows].mean()) if rows.any() else float("nan") for rows in (inside, ~inside))
