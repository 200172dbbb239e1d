"""What a model answers on clips, how right it is, and what that was measured with."""

import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from torch import Tensor

from ser_gpu import __version__
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.corpora.clip import Clip
from ser_gpu.evaluation import metrics
from ser_gpu.model import SpeechEmotionModel, clip_logits

FACETS = ("gender", "intensity", "corpus")
_ORDER = ("male", "female", "normal", "low", "medium", "high", "strong")
_PACKAGES = ("torchaudio", "nnAudio", "torch-audiomentations", "soundfile", "soxr", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Answers:
    """Logits of one or of several trainings on clips; a clip that several of them answered is in several rows.

    Attributes:
        clips: one a row.
        labels: the emotions, one a column.
        logits: [N, C].
        temperature: by which the logits are divided.
        folds: fold of the training that answered, [N]; None where there is one training.
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    logits: np.ndarray
    temperature: float = 1.0
    folds: np.ndarray | None = None

    @cached_property
    def truth(self) -> np.ndarray:
        """The label of each row, as an index of `labels`, [N]."""
        return np.array([self.labels.index(clip.emotion) for clip in self.clips])

    @cached_property
    def probabilities(self) -> np.ndarray:
        """After the temperature, [N, C]."""
        return _softmax(self.logits.astype(np.float64) / self.temperature)

    @property
    def predicted(self) -> np.ndarray:
        """The likeliest emotion of each row, [N]."""
        return self.probabilities.argmax(axis=1)

    def headline(self) -> dict[str, float]:
        """Accuracy, UAR and macro F1."""
        return metrics.headline(self.truth, self.predicted)

    def report(self, by_speaker: bool) -> dict:
        """All scores as plain numbers, ready for JSON.

        Args:
            by_speaker: the 95 % intervals resample speakers, where there are two or more; else clips.
        """
        truth, predicted, logits = self.truth, self.predicted, self.logits.astype(np.float64)
        confusion = metrics.confusion_matrix(truth, predicted, len(self.labels))
        each = metrics.per_emotion(confusion)
        before, after = (metrics.reliability(truth, found) for found in (_softmax(logits), self.probabilities))
        clips = [clip.id for clip in self.clips]
        speakers = [clip.speaker or clip.id for clip in self.clips]
        facets = {name: self._facet(name) for name in FACETS}
        intensity = facets["intensity"]
        return {
            "clips": len(truth),
            **self.headline(),
            "interval95": metrics.bootstrap_intervals(
                truth, predicted, speakers if by_speaker and len({*speakers}) > 1 else clips
            ),
            "log_loss": metrics.log_loss(truth, logits / self.temperature),
            "ece": metrics.calibration_error(after),
            "ece_before_temperature": metrics.calibration_error(before),
            "reliability": {"before": before, "after": after},
            "per_emotion": {
                emotion: {name: values[i].item() for name, values in each.items()}
                | {"recall_by": {"intensity": self._recall(i, intensity)} if intensity else {}}
                for i, emotion in enumerate(self.labels)
            },
            "confusion": confusion.tolist(),
            "most_confused": metrics.most_confused(confusion, self.labels),
            **self._common(),
            "by": {
                facet: {
                    value: {"clips": int(rows.sum()), **metrics.headline(truth[rows], predicted[rows])}
                    for value, rows in values.items()
                }
                for facet, values in facets.items()
                if values and not (facet == "corpus" and len(values) == 1)
            },
        }

    def _common(self) -> dict[str, dict]:
        """Where not every label occurs, the scores of the likeliest of those that do; chance is an UAR of `chance`."""
        present = np.unique(self.truth)
        if len(present) == len(self.labels):
            return {}
        among = present[self.probabilities[:, present].argmax(axis=1)]
        names = [self.labels[i] for i in present]
        scores = metrics.headline(self.truth, among)
        return {"common_emotions": {"labels": names, "chance": 1 / len(names), **scores}}

    def _recall(self, emotion: int, facet: dict[str, np.ndarray]) -> dict[str, float]:
        """Recall of an emotion for each value of a facet with which it was spoken."""
        spoken = {value: rows & (self.truth == emotion) for value, rows in facet.items()}
        return {value: float((self.predicted[rows] == emotion).mean()) for value, rows in spoken.items() if rows.any()}

    def _facet(self, name: str) -> dict[str, np.ndarray]:
        """For each known value of a field of the clips, the rows that have it, [N] bool."""
        values = np.array([getattr(clip, name, None) or clip.get(name) or "" for clip in self.clips])
        known = sorted({*values.tolist()} - {""}, key=lambda value: (*(value != each for each in _ORDER), value))
        return {value: values == value for value in known}


def answers(
    model: SpeechEmotionModel, bank: ClipBank, rows: Tensor, clips: Sequence[Clip], tta: bool = True
) -> Answers:
    """What a model answers on rows of a bank; without test-time augmentation in a ninth of the time.

    Args:
        rows: [N] int64, on the bank's device.
        clips: of these rows.
    """
    return of_logits(model, clip_logits(model, bank, rows, tta=tta), clips)


def of_logits(model: SpeechEmotionModel, logits: Tensor, clips: Sequence[Clip]) -> Answers:
    """The answers that logits, [N, C], are: one row a clip."""
    return Answers(tuple(clips), model.labels, logits.cpu().numpy(), float(model.temperature))


def _softmax(logits: np.ndarray) -> np.ndarray:
    from scipy.special import softmax  # here, since scipy comes with the [train] extra

    return softmax(logits, axis=1)  # [N, C]


def environment(device: torch.device) -> dict:
    """What a figure was measured with, ready for JSON: versions, device, threads. Stands in every result file."""
    packages = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            packages[package] = version(package)
    return {
        "ser_gpu": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **packages,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
    }
