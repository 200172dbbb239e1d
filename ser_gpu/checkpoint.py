"""Checkpoints: `.pth` files of plain data, loaded with `weights_only=True`, written whole or not at all."""

import io
import math
import pickle
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from ser_gpu.config import ModelConfig
from ser_gpu.errors import InputError
from ser_gpu.files import replacing
from ser_gpu.migrations import FORMAT_VERSION, migrated
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.version import __version__

_MEL_KERNELS = ("mel.mel_power.window", "mel.mel_power.mel_basis")


class CheckpointError(InputError):
    """A checkpoint that cannot be used; the message is one line that names the file."""


@dataclass(frozen=True)
class Provenance:
    """Where weights come from. Plain data that a checkpoint carries and that nothing here interprets.

    Attributes:
        protocol: name, fold and test speakers, as `ser_gpu.corpora.splits.Protocol.as_dict` gives them.
        manifest_hash: of the split that they were trained on.
        seed: of the training.
        metrics: numbers by part, such as {"validation": {"accuracy": ...}}.
        training: the training's settings.
        package_version: of ser_gpu that trained them.
    """

    protocol: dict
    manifest_hash: str
    seed: int
    metrics: dict | None = None
    training: dict | None = None
    package_version: str = __version__


def save(path: str | Path, model: SpeechEmotionModel, provenance: Provenance) -> None:
    """Write weights, configuration, labels, temperature and provenance."""
    content = {
        "format_version": FORMAT_VERSION,
        "config": model.config.as_dict(),
        "labels": list(model.labels),
        "state_dict": {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()},
        "provenance": asdict(provenance),
    }
    write(path, content)


def load(
    path: str | Path | None = None, device: str | torch.device | None = None
) -> tuple[SpeechEmotionModel, Provenance]:
    """Rebuild the model from the stored configuration, in evaluation mode, with where it comes from.

    Args:
        path: of the file; left out, the weights that come with the package.
        device: left out, as `default_device` says.

    Raises:
        CheckpointError: a file that is missing, damaged, not a checkpoint of ser_gpu, or of a newer format.
    """
    path = default_weights() if path is None else path
    stored = read(path)
    if stored and all(isinstance(value, Tensor) for value in stored.values()):
        raise CheckpointError(f"{path}: is a state dict, not a checkpoint; write it with ser_gpu.checkpoint.save")
    try:
        content = migrated(stored)
        model = rebuilt(content["config"], content["labels"], content["state_dict"])
        provenance = _provenance(content["provenance"])
    except KeyError as error:
        raise CheckpointError(f"{path}: not a ser_gpu checkpoint, it has no {error}") from None
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: does not fit this version of ser_gpu: {_one_line(error)}") from None
    return model.to(default_device() if device is None else device).eval(), provenance


def load_model(path: str | Path | None = None, device: str | torch.device | None = None) -> SpeechEmotionModel:
    """The model of a checkpoint, ready to predict; arguments and errors as in `load`."""
    return load(path, device)[0]


def rebuilt(config: dict, labels: list[str], weights: dict[str, Tensor]) -> SpeechEmotionModel:
    """The model of plain data that nobody has checked: configuration, names and tensors, on the CPU.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, RuntimeError: they do not fit each other or this version.
    """
    known, names = ModelConfig.from_dict(config), _labels(labels)
    weights = _weights(weights, known, names)
    model = SpeechEmotionModel(known, names, _mel_kernels(weights)).float()
    model.load_state_dict(weights)
    return model


def default_weights() -> Path:
    """The weights that come with the package: in the installed package, or beside it in a checkout.

    Raises:
        CheckpointError: there are none.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / "DEFAULT").is_file():
            return folder / (folder / "DEFAULT").read_text(encoding="utf-8").strip()
    raise CheckpointError(f"{package}: the package has no weights; name a checkpoint")


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _provenance(stored: dict) -> Provenance:
    known = {f.name: stored[f.name] for f in fields(Provenance)}
    if not isinstance(known["protocol"], dict):
        raise InputError("the protocol must be a dictionary")
    return Provenance(**known)


def _labels(stored: list) -> tuple[str, ...]:
    if not isinstance(stored, list) or not all(isinstance(label, str) and label for label in stored):
        raise InputError("the labels must be a list of names")
    if len(stored) < 2 or len(set(stored)) < len(stored):
        raise InputError("the labels must be two names or more, each once")
    return tuple(stored)


def _mel_kernels(weights: dict) -> tuple[Tensor, Tensor] | None:
    """Window and mel basis, where they are stored."""
    return tuple(weights[name] for name in _MEL_KERNELS) if all(name in weights for name in _MEL_KERNELS) else None


def _weights(stored: dict, config: ModelConfig, labels: tuple[str, ...]) -> dict:
    """The stored tensors, once they are what the configuration asks for: before memory is taken for it."""
    for name, value in stored.items():
        if not isinstance(value, Tensor) or value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise InputError(f"{name} is no plain tensor")
        if not value.isfinite().all():
            raise InputError(f"{name} is not finite")
    temperature = stored["temperature"]
    if temperature.numel() != 1 or not 0.0 < float(temperature) < math.inf:
        raise InputError("the temperature must be a positive number")
    with torch.device("meta"):
        network = EmotionCnn(config.cnn, config.mel.n_mels, config.frames, len(labels))
    for name, value in network.state_dict(prefix="cnn.").items():
        if name not in stored or stored[name].shape != value.shape:
            there = list(stored[name].shape) if name in stored else "missing"
            raise InputError(f"{name} must be {list(value.shape)}, it is {there}")
    return stored


def write(path: str | Path, content: dict) -> None:
    """Write plain data and tensors for `read`; the same content gives the same bytes, whatever the name.

    Raises:
        OSError: the file cannot be written; names `path`.
    """
    buffer = io.BytesIO()  # since torch.save hides why a file cannot be written
    torch.save(content, buffer)
    with replacing(path) as temporary, buffer.getbuffer() as whole:
        temporary.write_bytes(whole)


def read(path: str | Path, kind: str = "checkpoint") -> dict:
    """Read what `write` wrote, as data: code in it is refused.

    Args:
        kind: what to call the file in an error.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than plain data and tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such {kind}")
    _check_archive(path, kind)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path}: refused, not a {kind} of plain data and tensors") from None
    except Exception as error:  # a hostile file can make the reader fail in any way
        raise CheckpointError(f"{path}: cannot be read as a {kind}: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a ser_gpu {kind}")
    return content


def _check_archive(path: Path, kind: str) -> None:
    """Refuse a file that is not whole, and a bomb: compressed, or with more in it than its size."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            bomb = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            bomb = bomb or sum(entry.file_size for entry in entries) > path.stat().st_size
            damaged = None if bomb else archive.testzip()
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError):
        raise CheckpointError(f"{path}: not a whole {kind} file (torch.save writes a zip archive)") from None
    if bomb:
        raise CheckpointError(f"{path}: refused, not an archive as torch.save writes it")
    if damaged:
        raise CheckpointError(f"{path}: damaged, the checksum of {damaged} is wrong")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
