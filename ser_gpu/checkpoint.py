"""Checkpoints: `.pth` files of plain data, loaded with `weights_only=True`, written whole or not at all."""

import io
import pickle
import zipfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch

from ser_gpu.atomic import replacing
from ser_gpu.config import ModelConfig
from ser_gpu.data.protocols import Protocol
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.version import __version__

FORMAT_VERSION = 1
_MEL_KERNELS = ("mel.mel_power.window", "mel.mel_power.mel_basis")


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
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path}: checkpoint format {version!r}, this version of ser_gpu reads {FORMAT_VERSION}")
    try:
        weights = content["state_dict"]
        mel_kernels = tuple(weights[name] for name in _MEL_KERNELS if name in weights) or None
        model = SpeechEmotionModel(ModelConfig.from_dict(content["config"]), tuple(content["labels"]), mel_kernels)
        model.load_state_dict(weights)
        model.temperature.fill_(content["temperature"])
        stored = content["protocol"]
        protocol = Protocol(stored["name"], stored["fold"], tuple(stored["test_actors"]))
        others = {f.name: content[f.name] for f in fields(Provenance) if f.name != "protocol"}
        provenance = Provenance(protocol=protocol, **others)
    except KeyError as error:
        raise CheckpointError(f"{path}: not a ser_gpu checkpoint, it has no {error}") from None
    except (RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: does not fit this version of ser_gpu: {_one_line(error)}") from None
    return model.to(device).eval(), provenance


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
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        raise CheckpointError(f"{path}: not a whole checkpoint file (torch.save writes a zip archive)") from None
    if damaged:
        raise CheckpointError(f"{path}: damaged, the checksum of {damaged} is wrong")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path}: refused, not a checkpoint of plain data and tensors") from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a checkpoint: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a ser_gpu checkpoint")
    return content


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
