"""Checkpoints: `.pth` files of plain data, loaded with `weights_only=True`, written whole or not at all."""

import io
import math
import pickle
import zipfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor

from ser_gpu.atomic import replacing
from ser_gpu.config import ModelConfig
from ser_gpu.data.protocols import Protocol
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.version import __version__

FORMAT_VERSION = 1
_MEL_KERNELS = ("window", "mel_basis")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one line that names the file."""


@dataclass(frozen=True)
class Provenance:
    """Where weights come from: who they were trained on, how, and what they reached.

    Attributes:
        protocol: name, fold and test actors.
        manifest_hash: of the split that they were trained on.
        seed: of the training.
        metrics: plain numbers by part, such as {"validation": {"accuracy": ...}}.
        training: the training's settings.
        package_version: of ser_gpu that trained them.
    """

    protocol: Protocol
    manifest_hash: str
    seed: int
    metrics: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    package_version: str = __version__


def save(path: str | Path, model: SpeechEmotionModel, provenance: Provenance) -> None:
    """Write weights, configuration, labels, temperature and provenance."""
    content = {
        "format_version": FORMAT_VERSION,
        "config": model.config.as_dict(),
        "labels": list(model.labels),
        "temperature": float(model.temperature),
        "state_dict": {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()},
        **asdict(provenance),
    }
    write(path, content)


def load(path: str | Path, device: str | torch.device = "cpu") -> tuple[SpeechEmotionModel, Provenance]:
    """Rebuild the model from the stored configuration, in evaluation mode, with where it comes from.

    Raises:
        CheckpointError: a file that is missing, damaged, not a checkpoint of ser_gpu, or of a newer format.
    """
    content = read(path)
    version = content.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: checkpoint format {_one_line(repr(version))}, this version of ser_gpu reads {FORMAT_VERSION}"
        )
    try:
        config, labels = ModelConfig.from_dict(content["config"]), _labels(content["labels"])
        weights = _weights(content["state_dict"], config, labels)
        model = SpeechEmotionModel(config, labels, _mel_kernels(weights, len(config.pictures)))
        model.load_state_dict(weights)
        model.temperature.fill_(_temperature(content["temperature"]))
        stored = content["protocol"]
        protocol = Protocol(stored["name"], stored["fold"], tuple(stored["test_actors"]))
        others = {f.name: content[f.name] for f in fields(Provenance) if f.name != "protocol"}
        provenance = Provenance(protocol=protocol, **others)
    except KeyError as error:
        raise CheckpointError(f"{path}: not a ser_gpu checkpoint, it has no {error}") from None
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: does not fit this version of ser_gpu: {_one_line(error)}") from None
    return model.to(device).eval(), provenance


def _labels(stored: list) -> tuple[str, ...]:
    if not isinstance(stored, list) or not all(isinstance(label, str) and label for label in stored):
        raise ValueError("the labels must be a list of names")
    if len(stored) < 2 or len(set(stored)) < len(stored):
        raise ValueError("the labels must be two names or more, each once")
    return tuple(stored)


def _temperature(stored: float) -> float:
    if not 0.0 < stored < math.inf:
        raise ValueError(f"the temperature must be a positive number, got {stored}")
    return stored


def _mel_kernels(weights: dict, pictures: int) -> list[tuple[Tensor, Tensor]] | None:
    """Window and mel basis of each picture, where they are stored."""
    names = [[f"mels.{at}.mel_power.{kernel}" for kernel in _MEL_KERNELS] for at in range(pictures)]
    stored = all(name in weights for each in names for name in each)
    return [tuple(weights[name] for name in each) for each in names] if stored else None


def _weights(stored: dict, config: ModelConfig, labels: tuple[str, ...]) -> dict:
    """The stored tensors, once they are what the configuration asks for: before memory is taken for it."""
    for name, value in stored.items():
        if not isinstance(value, Tensor) or value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise ValueError(f"{name} is no plain tensor")
        if not value.isfinite().all():
            raise ValueError(f"{name} is not finite")
    with torch.device("meta"):
        network = EmotionCnn(config.cnn, config.mel.n_mels, config.frames, len(labels))
    for name, value in network.state_dict(prefix="cnn.").items():
        if name not in stored or stored[name].shape != value.shape:
            there = list(stored[name].shape) if name in stored else "missing"
            raise ValueError(f"{name} must be {list(value.shape)}, it is {there}")
    return stored


def load_model(path: str | Path, device: str | torch.device = "cpu") -> SpeechEmotionModel:
    """The model of a checkpoint, ready to predict.

    Raises:
        CheckpointError: as in `load`.
    """
    return load(path, device)[0]


def write(path: str | Path, content: dict) -> None:
    """Write plain data and tensors for `read`; the same content gives the same bytes, whatever the name.

    Raises:
        OSError: the file cannot be written; names `path`.
    """
    buffer = io.BytesIO()  # since torch.save hides why a file cannot be written
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read(path: str | Path) -> dict:
    """Read what `write` wrote, as data: code in it is refused.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than plain data and tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path}: refused, not a checkpoint of plain data and tensors") from None
    except Exception as error:  # a hostile file can make the reader fail in any way
        raise CheckpointError(f"{path}: cannot be read as a checkpoint: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a ser_gpu checkpoint")
    return content


def _check_archive(path: Path) -> None:
    """Refuse a file that is not whole, and a bomb: compressed, or with more in it than its size."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            bomb = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            bomb = bomb or sum(entry.file_size for entry in entries) > path.stat().st_size
            damaged = None if bomb else archive.testzip()
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError):
        raise CheckpointError(f"{path}: not a whole checkpoint file (torch.save writes a zip archive)") from None
    if bomb:
        raise CheckpointError(f"{path}: refused, not an archive as torch.save writes it")
    if damaged:
        raise CheckpointError(f"{path}: damaged, the checksum of {damaged} is wrong")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
