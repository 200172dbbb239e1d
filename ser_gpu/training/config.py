"""The settings of a training, and single settings changed by name."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from ser_gpu.config import (
    ModelConfig,
    require,
    require_not_negative,
    require_positive,
    require_probabilities,
)
from ser_gpu.errors import InputError

OPTIMIZERS = ("adamw", "muon")
EPOCHS_SPEAKER_INDEPENDENT = 60
_LATER = ("grouped_share", "speaker_group", "corpus_power", "corpus_groups", "emotion_balance")


@dataclass(frozen=True)
class TrainConfig:
    """One training: the split (protocol, fold), the seed, and how the weights are updated.

    `epochs` suit a test part of known speakers; for new ones `EPOCHS_SPEAKER_INDEPENDENT` are enough.

    `grouped_share` of the batches are made of groups of `speaker_group` clips of one speaker each, whose batch
    normalisation and mixup are the group's own; the others are ordinary. Where there are several corpora, each is drawn
    by its number of clips to the power `corpus_power`; an ordinary batch is then `corpus_groups` equal groups of one
    corpus each (1: all corpora mixed), and in a share `emotion_balance` of the groups emotions are equally likely.

    `optimizer` is "adamw" for all weights, or "muon" for convolution kernels, at a peak learning rate of `kernel_lr`,
    and AdamW for the rest, at `lr`. `warmup` is the share of steps in which the learning rate rises. A `refit` trains
    on the validation part too.
    """

    protocol: str = "stratified"
    fold: int = 0
    seed: int = 0
    epochs: int = 120
    batch_size: int = 32
    optimizer: str = "muon"
    lr: float = 2e-3
    kernel_lr: float = 0.02
    weight_decay: float = 0.05
    warmup: float = 0.15
    label_smoothing: float = 0.1
    ema_decay: float = 0.99
    refit: bool = False
    grouped_share: float = 0.0
    speaker_group: int = 8
    corpus_power: float = 0.5
    corpus_groups: int = 2
    emotion_balance: float = 0.5

    def __post_init__(self):
        require(self.optimizer in OPTIMIZERS, self, "optimizer", f"one of {', '.join(OPTIMIZERS)}")
        require_positive(self, "epochs", "batch_size", "lr", "kernel_lr", "corpus_groups")
        require_not_negative(self, "fold", "seed", "weight_decay", "corpus_power")
        require(self.speaker_group >= 2, self, "speaker_group", "2 or more")
        require(self.seed < 2**32, self, "seed", "below 2^32")
        require(0.0 < self.warmup < 1.0, self, "warmup", "between 0 and 1, both excluded")
        require_probabilities(self, "label_smoothing", "ema_decay", "grouped_share", "emotion_balance")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the split on which the weights are trained."""
        return ("train", "validation") if self.refit else ("train",)


def completed(stored: dict) -> dict:
    """Settings of a training as an older version stored them, with those that came later as it did without.

    >>> completed({"epochs": 3})["grouped_share"]
    0.0
    """
    return {name: getattr(TrainConfig, name) for name in _LATER} | stored


def with_settings(
    training: TrainConfig, model: ModelConfig, settings: Sequence[str]
) -> tuple[TrainConfig, ModelConfig]:
    """Both configurations with single values changed, each setting a `part.name=value`.

    Raises:
        ValueError: a part or name that there is not, or a value of another kind; names the setting.

    Example:
        >>> training, model = with_settings(TrainConfig(), ModelConfig(), ["cnn.width=48", "training.lr=1e-3"])
        >>> model.cnn.width, training.lr
        (48, 0.001)
    """
    parts = {"training": training, **{part.name: getattr(model, part.name) for part in fields(model)}}
    for setting in settings:
        name, _, text = setting.partition("=")
        part, _, key = name.partition(".")
        if part not in parts:
            raise InputError(f"no such setting: {name!r}; a setting is PART.NAME, with PART one of {', '.join(parts)}")
        known = [each.name for each in fields(parts[part])]
        if key not in known:
            raise InputError(f"no such setting: {name!r}; {part} has {_some(known, key)}")
        parts[part] = replace(parts[part], **{key: _parsed(setting, text, getattr(parts[part], key))})
    return parts.pop("training"), ModelConfig(**parts)


def _some(known: Sequence[str], key: str) -> str:
    """The names, those that look like `key` first, as many as fit into a line."""
    from difflib import get_close_matches

    near = get_close_matches(key, known)
    names = ", ".join(dict.fromkeys([*near, *known]))
    return names if len(names) < 120 else f"{names[:120].rpartition(',')[0]}, ..."


def _parsed(setting: str, text: str, before: bool | int | float | str) -> bool | int | float | str:
    if isinstance(before, str):
        return text
    try:
        return {"true": True, "false": False}[text] if isinstance(before, bool) else type(before)(text)
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(before)]
        raise InputError(f"{setting}: the value must be {kind}") from None
