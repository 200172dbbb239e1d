"""What a model answers on clips, how right it is, and what that was measured with."""

import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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

_FACETS = ("gender", "intensity", "corpus")
_ORDER = ("male", "female", "normal", "low", "medium", "high", "strong")
FEW_CLIPS = 30
_PACKAGES = ("torchaudio", "nnAudio", "torch-audiomentations", "soundfile", "soxr", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Answers:
    """Logits of one or of several trainings on clips; a clip that several of them answered is in several rows."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]  # the emotions, one a column
    logits: np.ndarray  # [N, C]
    temperature: float = 1.0
    folds: np.ndarray | None = None  # of the training that answered, [N]; None where there is one training

    @cached_property
    def truth(self) -> np.ndarray:
        """The label of each row, as an index of `labels`, [N]."""
        return np.array([self.labels.index(clip.emotion) for clip in self.clips])

    @cached_property
    def probabilities(self) -> np.ndarray:
        """After the temperature, [N, C]."""
        from scipy.special import softmax  # here, since scipy comes with the [train] extra

        return softmax(self.logits.astype(np.float64) / self.temperature, axis=1)

    @property
    def predicted(self) -> np.ndarray:
        """The likeliest emotion of each row, [N]."""
        return self.probabilities.argmax(axis=1)

    def headline(self) -> dict[str, float]:
        """Accuracy, UAR and macro F1."""
        return metrics.headline(self.truth, self.predicted)

    def report(self, by_speaker: bool) -> dict:
        """All scores, ready for JSON; 95 % intervals resample clips, or speakers if `by_speaker` and two or more."""
        truth, predicted = self.truth, self.predicted
        confusion = metrics.confusion_matrix(truth, predicted, len(self.labels))
        raw = replace(self, temperature=1.0).probabilities
        before, after = (metrics.reliability(truth, found) for found in (raw, self.probabilities))
        groups = [clip.speaker or clip.id for clip in self.clips] if by_speaker else []
        if len({*groups}) < 2:
            groups = [clip.id for clip in self.clips]
        rows_of = {facet: self._rows_of(facet) for facet in _FACETS}  # facet -> value -> [N] bool
        each = metrics.per_emotion(confusion)
        emotions, most = {}, each["clips"].argmax()
        for i, emotion in enumerate(self.labels):
            spoken = {value: rows & (truth == i) for value, rows in rows_of["intensity"].items()}
            recall = {value: float((predicted[rows] == i).mean()) for value, rows in spoken.items() if rows.any()}
            emotions[emotion] = {name: values[i].item() for name, values in each.items()}
            emotions[emotion]["recall_by"] = {"intensity": recall} if spoken else {}
        scores = {"clips": len(truth), **self.headline()}
        scores["chance"] = float(1 / np.count_nonzero(each["clips"]))  # of a guess among the emotions that occur
        scores["most_frequent"] = {"emotion": self.labels[most], "accuracy": float(each["clips"][most] / len(truth))}
        scores["interval95"] = metrics.bootstrap_intervals(truth, predicted, groups)
        scores["log_loss"] = metrics.log_loss(truth, self.logits.astype(np.float64) / self.temperature)
        errors = {"ece": metrics.calibration_error(after), "ece_before_temperature": metrics.calibration_error(before)}
        scores |= errors | {"reliability": {"before": before, "after": after}}
        scores |= {"per_emotion": emotions, "confusion": confusion.tolist()}
        scores["most_confused"] = metrics.most_confused(confusion, self.labels)
        present = np.unique(truth)
        if len(present) < len(self.labels):  # the scores of the likeliest of the emotions that occur
            common = metrics.headline(truth, metrics.likeliest(self.probabilities, present))
            names = [self.labels[i] for i in present]
            scores["common_emotions"] = {"labels": names, "chance": 1 / len(names), **common}
        scores["by"] = {}
        for facet, values in rows_of.items():
            of = {value: metrics.headline(truth[rows], predicted[rows]) for value, rows in values.items()}
            if values and not (facet == "corpus" and len(values) == 1):
                scores["by"][facet] = {value: {"clips": int(values[value].sum()), **of[value]} for value in values}
        return scores

    def _rows_of(self, name: str) -> dict[str, np.ndarray]:
        values = np.array([field(clip, name) for clip in self.clips])
        known = sorted({*values.tolist()} - {""}, key=lambda value: (*(value != each for each in _ORDER), value))
        return {value: values == value for value in known}


def notes(report: dict) -> list[str]:
    """What a reader of the scores must know: that a guess may have them, or that they are of few clips."""
    said, chance, (low, high) = [], report["chance"], report["interval95"]["uar"]
    if low <= chance:
        said.append(f"a UAR of {report['uar']:.3f} ({low:.3f} to {high:.3f}) cannot be told from chance, {chance:.3f}")
    if report["clips"] < FEW_CLIPS:
        clips = "1 clip gives" if report["clips"] == 1 else f"{report['clips']} clips give"
        said.append(f"{clips} rough scores, and intervals that are too narrow")
    return said


def field(clip: Clip, name: str) -> str:
    """What is known of a clip, in a field of its own or an extra one; empty where nothing is."""
    return getattr(clip, name, None) or clip.get(name) or ""


def answers(model: SpeechEmotionModel, bank: ClipBank, rows: Tensor, clips: list[Clip], tta: bool = True) -> Answers:
    """What a model answers on rows of a bank, [N] int64 on its device, which are of these clips."""
    return of_logits(model, clip_logits(model, bank, rows, tta=tta), clips)


def of_logits(model: SpeechEmotionModel, logits: Tensor, clips: Sequence[Clip]) -> Answers:
    """The answers that logits, [N, C], are: one row a clip."""
    return Answers(tuple(clips), model.labels, logits.cpu().numpy(), float(model.temperature))


def environment(device: torch.device) -> dict:
    """What a figure was measured with, ready for JSON: versions, device, threads. Stands in every result file."""
    packages = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            packages[package] = version(package)
    versions = {"ser_gpu": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    tf32 = {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32}
    on = {"device": device.type, "device_name": name, "threads": torch.get_num_threads(), "tf32": tf32}
    return versions | packages | on
