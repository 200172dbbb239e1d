"""The first weights of a training, taken from a checkpoint: the trunk, and the head where label names agree."""

import hashlib
from pathlib import Path

import torch

from ser_gpu import checkpoint
from ser_gpu.config import ModelConfig
from ser_gpu.corpora.clip import OWN
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.cnn import EmotionCnn


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        ValueError: there is no such file.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint")
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@torch.no_grad()
def take_weights(model: SpeechEmotionModel, source: SpeechEmotionModel, name: str | Path) -> tuple[str, ...]:
    """Copy the weights of another model's network into one that begins to train.

    Rows of the head go by the name of their label; those of labels that the other does not know keep their first
    values. The temperature is not taken.

    Args:
        source: not changed.
        name: what to call it in an error.

    Returns:
        The labels whose rows were taken.

    Raises:
        ValueError: the networks differ, or what they see does; names the first difference.
    """
    _require_same(model.config, source.config, name)
    shared = [label for label in model.labels if label in source.labels]
    here = torch.tensor([model.labels.index(label) for label in shared], dtype=torch.int64, device=model.device)
    there = torch.tensor([source.labels.index(label) for label in shared], dtype=torch.int64, device=model.device)
    head = _head(model)
    own = model.cnn.state_dict()
    for key, value in source.cnn.state_dict().items():
        value = value.to(model.device)
        if own[key].shape[key in head :] != value.shape[key in head :]:
            raise InputError(f"{name}: its network has {key} of {list(value.shape)}, this one {list(own[key].shape)}")
        if key in head:
            own[key][here] = value[there]
        else:
            own[key].copy_(value)
    if model.config.mel.trainable:
        model.mel.load_state_dict(source.mel.state_dict())
    return tuple(shared)


def load(path: str | Path) -> SpeechEmotionModel:
    """The model of a checkpoint, on the CPU.

    Raises:
        CheckpointError: it cannot be used.
    """
    return checkpoint.load_model(path, "cpu")


def corpora(path: str | Path) -> tuple[str, ...]:
    """The corpora on which the weights of a checkpoint were trained.

    Raises:
        CheckpointError: it cannot be used.
    """
    _, provenance = checkpoint.load(path, "cpu")
    return tuple((Protocol.from_dict(provenance.protocol).corpus or OWN).split(", "))  # older files name it otherwise


def _head(model: SpeechEmotionModel) -> set[str]:
    """The tensors of the network whose first axis is the emotions: those that grow with their number."""
    config, classes = model.config, len(model.labels)
    with torch.device("meta"):
        larger = EmotionCnn(config.cnn, config.mel.n_mels, config.frames, classes + 1).state_dict()
    return {key for key, value in model.cnn.state_dict().items() if larger[key].shape != value.shape}


def _require_same(own: ModelConfig, other: ModelConfig, name: str | Path) -> None:
    spared = ("cnn.block_dropout", "cnn.head_dropout", "mel.backend", "audio.clip_seconds")
    here, there = own.as_dict(), other.as_dict()
    for part in ("audio", "mel", "cnn"):
        for key, value in here[part].items():
            setting = f"{part}.{key}"
            if setting not in spared and there[part][key] != value:
                raise InputError(f"{name}: {setting} is {there[part][key]!r} there and {value!r} here")
