"""Checkpoints: `.pth` files of plain data, loaded with `weights_only=True`, written whole or not at all.
Where a setting or tensor is renamed or removed, a new format version and a function in `_STEPS` convert older files;
what an older file means for a new setting is in `ser_gpu.config._LATER`."""

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from ser_gpu import __version__
from ser_gpu.config import ModelConfig
from ser_gpu.errors import InputError, check
from ser_gpu.files import replacing
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.cnn import EmotionCnn

FORMAT_VERSION = 2
Device = str | torch.device
_MEL_KERNELS = ("mel.mel_power.window", "mel.mel_power.mel_basis")


class CheckpointError(InputError):
    """A checkpoint that cannot be used; the message names the file."""


@dataclass(frozen=True)
class Provenance:
    """Where weights come from: plain data, which this module stores but does not interpret."""

    protocol: dict  # name, fold and test speakers, as `ser_gpu.corpora.splits.Protocol.as_dict` gives them
    manifest_hash: str  # of the split that they were trained on
    seed: int  # of the training
    metrics: dict | None = None  # numbers by part, such as {"validation": {"accuracy": ...}}
    training: dict | None = None  # its settings
    package_version: str = __version__  # of ser_gpu that trained them
    licence: str | None = None  # of what they were trained on, and of the weights that they began with


def save(path: str | Path, model: SpeechEmotionModel, provenance: Provenance) -> None:
    """Write weights, configuration, labels, temperature and provenance."""
    content = {"format_version": FORMAT_VERSION, "config": model.config.as_dict(), "labels": list(model.labels)}
    content["state_dict"] = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write(path, content | {"provenance": asdict(provenance)})


def load(path: str | Path | None = None, device: Device | None = None) -> tuple[SpeechEmotionModel, Provenance]:
    """The stored model, in evaluation mode, and where it comes from; `path` as `weights_file` takes it, default device
    `default_device`. CheckpointError where the file is missing, damaged, no checkpoint, or of a newer version."""
    path = weights_file(path)
    stored = read(path)
    if stored and all(isinstance(value, Tensor) for value in stored.values()):
        raise CheckpointError(f"{path}: is a state dict, not a checkpoint; write it with ser_gpu.checkpoint.save")
    try:
        content = migrated(stored)
        stored = {"licence": None} | content["provenance"]
        where_from = {field.name: stored[field.name] for field in fields(Provenance)}
        check(isinstance(where_from["protocol"], dict), "the protocol must be a dictionary")
        model = rebuilt(content["config"], content["labels"], content["state_dict"])
    except KeyError as error:
        raise CheckpointError(f"{path}: not a ser_gpu checkpoint, it has no {error}") from None
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: does not fit this version of ser_gpu: {_one_line(error)}") from None
    return model.to(default_device() if device is None else device).eval(), Provenance(**where_from)


def load_model(path: str | Path | None = None, device: Device | None = None) -> SpeechEmotionModel:
    """The model of a checkpoint, ready to predict; arguments and errors as in `load`."""
    return load(path, device)[0]


def rebuilt(config: dict, labels: list[str], weights: dict[str, Tensor]) -> SpeechEmotionModel:
    """The model, on the CPU, of a configuration, names and tensors that nobody has checked.
    Raises ValueError, KeyError, TypeError, AttributeError or RuntimeError where they do not fit."""
    config = ModelConfig.from_dict(config)
    are_names = isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)
    if not are_names or not 2 <= len(set(labels)) == len(labels):
        raise InputError("the labels must be a list of two names or more, each once")
    for name, value in weights.items():
        if not isinstance(value, Tensor) or value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise InputError(f"{name} is no plain tensor")
        check(value.isfinite().all(), f"{name} is not finite")
    temperature = weights["temperature"]
    if temperature.numel() != 1 or not 0.0 < float(temperature) < math.inf:
        raise InputError("the temperature must be a positive number")
    with torch.device("meta"):  # check shapes before a hostile configuration takes memory
        network = EmotionCnn(config.cnn, config.mel.n_mels, config.frames, len(labels))
    for name, value in network.state_dict(prefix="cnn.").items():
        if name not in weights or weights[name].shape != value.shape:
            there = list(weights[name].shape) if name in weights else "missing"
            raise InputError(f"{name} must be {list(value.shape)}, it is {there}")
    kernels = [weights[name] for name in _MEL_KERNELS if name in weights]
    model = SpeechEmotionModel(config, tuple(labels), tuple(kernels) if len(kernels) == len(_MEL_KERNELS) else None)
    model.float().load_state_dict(weights)
    return model


def weights_file(path: str | Path | None = None) -> Path:
    """The file that is meant: a path, the name of weights of the package, such as "ser_ravdess", or the default."""
    package = Path(__file__).resolve().parent
    for folder in (package / "weights", package.parent / "weights"):  # installed, or in a checkout
        if path is None and (folder / "DEFAULT").is_file():
            return folder / (folder / "DEFAULT").read_text(encoding="utf-8").strip()
        if path is not None and Path(path).name == str(path) and (named := folder / f"{path}.pth").is_file():
            return Path(path) if Path(path).is_file() else named
    check(path is not None, f"{package}: the package has no weights; name a checkpoint", CheckpointError)
    return Path(path)


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def write(path: str | Path, content: dict) -> None:
    """Write plain data and tensors for `read`; the same content gives the same bytes, whatever the file's name."""
    buffer = io.BytesIO()  # since torch.save hides why a file cannot be written
    torch.save(content, buffer)
    with replacing(path) as temporary, buffer.getbuffer() as whole:
        temporary.write_bytes(whole)


def read(path: str | Path) -> dict:
    """Read what `write` wrote, as data: code in it is refused.
    Raises CheckpointError where the file is missing, damaged, or holds more than plain data and tensors."""
    path = Path(path)
    if not path.is_file():
        shipped = "" if path.suffix else ", ".join(sorted(each.stem for each in weights_file().parent.glob("*.pth")))
        raise CheckpointError(f"{path}: no such checkpoint{shipped and f'; shipped are {shipped}'}")
    if path.suffix.lower() == ".pt2":
        raise CheckpointError(f"{path}: a .pt2 file is for torch.export.load; predict takes a .pth or .onnx file")
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path}: refused, not a checkpoint of plain data and tensors") from None
    except Exception as error:  # a hostile file can raise anything
        raise CheckpointError(f"{path}: cannot be read as a checkpoint: {_one_line(error)}") from None
    check(isinstance(content, dict), f"{path}: not a ser_gpu checkpoint", CheckpointError)
    return content


def _check_archive(path: Path) -> None:
    """Refuse a damaged file, and a zip bomb: compressed, or with more in it than its size."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            is_compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if is_compressed or sum(entry.file_size for entry in entries) > path.stat().st_size:
                problem = "refused, not an archive as torch.save writes it"
            elif damaged := archive.testzip():
                problem = f"damaged, the checksum of {damaged} is wrong"
            else:
                return
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError):
        problem = "not a whole checkpoint file (torch.save writes a zip archive)"
    raise CheckpointError(f"{path}: {problem}")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]


def migrated(content: dict) -> dict:
    """The content of a checkpoint of any known version, converted to the newest version.
    Raises InputError where the version is unknown or a setting no longer exists, KeyError where a part is missing."""
    version = content.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        shown = " ".join(repr(version).split())[:60]
        raise InputError(f"checkpoint format {shown}, this version of ser_gpu reads 1 to {FORMAT_VERSION}")
    for number in range(version, FORMAT_VERSION):
        content = _STEPS[number](content)
    return content


def _one_spectrogram_and_registries(content: dict) -> dict:
    """1 to 2: one spectrogram, seen in one way; network and transforms have names; provenance is a part of its own."""
    config = {name: dict(part) for name, part in content["config"].items()}
    cnn = config["cnn"]
    for name, kept in (("sees", "wide"), ("band_stride", 2), ("pool_first", True)):
        check(cnn.pop(name, kept) == kept, f"cnn.{name} is no longer supported with another value than {kept!r}")
    cnn["network"] = "residual"
    config["augment"]["chain"] = "warp,channel,noise"
    config["tta"] = config.pop("views")
    state = {name.replace("mels.0.", "mel.", 1): value for name, value in content["state_dict"].items()}
    known = ("protocol", "manifest_hash", "seed", "metrics", "training", "package_version")
    state["temperature"] = next(iter(state.values())).new_tensor(content["temperature"])
    provenance = {name: content[name] for name in known}
    found = {"format_version": 2, "config": config, "labels": content["labels"], "state_dict": state}
    return found | {"provenance": provenance}


_STEPS: dict[int, Callable[[dict], dict]] = {1: _one_spectrogram_and_registries}
