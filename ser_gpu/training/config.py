"""The settings of a training, and its plan: everything that decides what comes out of it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ser_gpu.config import ModelConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.settings import NOT_NEGATIVE, POSITIVE, PROBABILITY, Settings, at_least, parsed, setting

OPTIMIZERS = ("adamw", "muon")
EPOCHS, EPOCHS_SPEAKER_INDEPENDENT = 120, 60  # for a test part of known speakers; new ones need fewer
FEW_STEPS, FEW_STEPS_AN_EPOCH, SMALL_BATCH = 240, 8, 8  # see `Plan.fitted`
PLAN_FILE = "config.json"
_EPOCHS = f"(default: {EPOCHS}, or {EPOCHS_SPEAKER_INDEPENDENT} where the test speakers are not in training"


@dataclass(frozen=True)
class TrainConfig(Settings):
    """The settings of one training. Each default is also the value for an older file that lacks the setting."""

    protocol: str = "stratified"
    fold: int = setting(0, NOT_NEGATIVE)
    seed: int = setting(
        0, NOT_NEGATIVE, (lambda seed: seed < 2**32, "below 2^32"), help="seed of first weights, order and augmentation"
    )
    epochs: int = setting(EPOCHS, POSITIVE, help=f"passes over the training part {_EPOCHS}; more for few clips)")
    batch_size: int = setting(32, POSITIVE, help="clips a step (default: 32, or fewer for few clips)")
    optimizer: str = setting("muon", choices=OPTIMIZERS)  # "muon" for convolution kernels, AdamW for the rest
    lr: float = setting(2e-3, POSITIVE, help="highest learning rate of the one-cycle schedule")
    kernel_lr: float = setting(0.02, POSITIVE)  # Muon's
    weight_decay: float = setting(0.05, NOT_NEGATIVE)
    warmup: float = setting(0.15, (lambda warmup: 0 < warmup < 1, "between 0 and 1, both excluded"))  # share of steps
    label_smoothing: float = setting(0.1, PROBABILITY)
    ema_decay: float = setting(0.99, PROBABILITY)
    refit: bool = False  # train on the validation part too
    head_only: bool = False  # fit the last layer alone, to features of the first weights
    grouped_share: float = setting(0.0, PROBABILITY)  # share of batches that are groups of one speaker each
    speaker_group: int = setting(8, at_least(2))  # clips a group; batch normalisation and mixup stay inside it
    corpus_power: float = setting(0.5, NOT_NEGATIVE)  # a corpus is drawn by its number of clips to this power
    corpus_groups: int = setting(2, POSITIVE)  # equal groups of one corpus each in an ordinary batch
    emotion_balance: float = setting(0.5, PROBABILITY)  # share of such groups with all emotions equally likely

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the split on which the weights are trained."""
        return ("train", "validation") if self.refit else ("train",)

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> "TrainConfig":
        """What any version stored, with defaults where settings came later; an unknown one raises InputError."""
        if unknown := sorted(stored.keys() - {each.name for each in fields(cls)}):
            raise InputError(f"no such setting: training.{unknown[0]}; another version of ser_gpu stored it")
        return cls(**stored)


@dataclass(frozen=True)
class Plan:
    """What a training does; `config.json` in its folder holds it."""

    training: TrainConfig
    model: ModelConfig
    bfloat16: bool  # in the CNN
    data: str | None = None  # folder or CSV of the recordings; None for the default corpus
    corpus: str | None = None  # to read them as; None where that is found out
    test_speakers: tuple[str, ...] = ()  # for the protocol `test-speakers`
    refit: str | None = None  # folder of the training that this one repeats with its validation part
    test: bool = True  # score the test part at the end
    corpora: dict[str, str | None] | None = None  # several, instead of `data`; a folder may be None, as in `load_many`
    init: str | None = None  # checkpoint with the first weights; None where they are drawn
    init_sha256: str | None = None  # of that file
    init_corpora: tuple[str, ...] = ()  # on which those weights were trained
    test_corpora: tuple[str, ...] = ()  # for the protocol `test-corpora`
    temperature: float | None = None  # of the probabilities; None where it is fitted on the validation part
    free: tuple[str, ...] | None = None  # settings of the training that `fitted` may change; None in an older file
    init_licence: str | None = None  # of those weights

    @property
    def protocol(self) -> Protocol:
        """Who is in which part."""
        return Protocol(self.training.protocol, self.training.fold, self.test_speakers, test_corpora=self.test_corpora)

    def fitted(self, clips: int) -> "Plan":
        """For a training part of so many clips: below 256 batches are smaller, and epochs as many as give 240 steps.
        With fewer steps, neither weights nor the statistics of batch normalisation come to something."""
        epochs, batch = self.training.epochs, self.training.batch_size
        if "batch_size" in self.free:
            batch = min(batch, max(1, clips // FEW_STEPS_AN_EPOCH // SMALL_BATCH) * SMALL_BATCH)
        if "epochs" in self.free:
            epochs = max(epochs, math.ceil(FEW_STEPS / (clips // min(batch, clips))))
        return replace(self, training=replace(self.training, epochs=epochs, batch_size=batch))

    @classmethod
    def read(cls, folder: Path) -> "Plan | None":
        """The plan of the training in a folder; None where there is none. InputError where it cannot be used."""
        path = folder / PLAN_FILE
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            stored |= {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
            stored["training"] = TrainConfig.from_dict(stored["training"])
            stored["model"] = ModelConfig.from_dict(stored["model"])
            return cls(**stored)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{path}: damaged, or of another version; name another folder with --out") from None


def with_settings(
    training: TrainConfig, model: ModelConfig, settings: Mapping[str, object] | Sequence[str]
) -> tuple[TrainConfig, ModelConfig]:
    """Both configurations with some values changed: `{"cnn.width": 48}`, or texts such as "cnn.width=48"."""
    parts = {"training": training, **vars(model)}
    values = settings if isinstance(settings, Mapping) else dict(parsed(each, parts) for each in settings)
    for part, config in parts.items():
        own = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{part}.")}
        parts[part] = replace(config, **own)
    return parts.pop("training"), ModelConfig(**parts)
