"""Answers to clips that a model never heard, as a training or a cross-validation writes them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_gpu.data import ravdess
from ser_gpu.data.ravdess import EMOTIONS, Clip
from ser_gpu.results import metrics

_SMALLEST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Predictions:
    """Answers of one or of many trainings; a clip that several of them answered to is in several rows.

    Attributes:
        clips: by name alone, the files need not exist.
        folds: of the training that answered, [N].
        probabilities: of each emotion, [N, C].
    """

    clips: tuple[Clip, ...]
    folds: np.ndarray
    probabilities: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Acted emotion of each row, [N]."""
        return np.array([clip.emotion for clip in self.clips])

    @property
    def predicted(self) -> np.ndarray:
        """Likeliest emotion of each row, [N]."""
        return self.probabilities.argmax(axis=1)

    def report(self) -> dict:
        """All scores of the answers taken together; intervals resample actors."""
        return metrics.report(
            labels=self.labels,
            logits=np.log(np.maximum(self.probabilities, _SMALLEST_PROBABILITY)),
            temperature=1.0,
            emotions=EMOTIONS,
            sexes=[clip.sex for clip in self.clips],
            intensities=[clip.intensity for clip in self.clips],
            groups=[clip.actor for clip in self.clips],
        )

    def together(self) -> "Predictions":
        """One answer for each clip and fold: the mean of those that several trainings gave."""
        rows: dict[tuple[int, str], list[int]] = {}
        for row, (fold, clip) in enumerate(zip(self.folds, self.clips, strict=True)):
            rows.setdefault((int(fold), clip.name), []).append(row)
        first = [group[0] for group in rows.values()]
        return Predictions(
            clips=tuple(self.clips[row] for row in first),
            folds=self.folds[first],
            probabilities=np.array([self.probabilities[group].mean(axis=0) for group in rows.values()]),
        )

    def accuracy_of(self, names_by_fold: dict[int, set[str]]) -> tuple[float, float]:
        """Accuracy on clips that are named for their fold, and on the others; NaN where there are none."""
        inside = np.array(
            [clip.name in names_by_fold.get(int(fold), ()) for clip, fold in zip(self.clips, self.folds, strict=True)]
        )
        right = self.predicted == self.labels
        return tuple(float(right[rows].mean()) if rows.any() else float("nan") for rows in (inside, ~inside))


def read(path: str | Path, part: str = "test") -> Predictions:
    """The answers to one part.

    Raises:
        ValueError: the table holds no answer to that part.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows: Sequence[dict] = [row for row in csv.DictReader(file) if row["part"] == part]
    if not rows:
        raise ValueError(f"{path}: no answers to the {part} part")
    return Predictions(
        clips=tuple(ravdess.parse(f"{row['clip']}.wav") for row in rows),
        folds=np.array([int(row.get("fold", 0)) for row in rows]),
        probabilities=np.array([[float(row[emotion]) for emotion in EMOTIONS] for row in rows]),
    )
