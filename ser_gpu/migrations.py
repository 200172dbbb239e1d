"""What older checkpoints meant: one named function for each change of the format, applied in turn.

A new setting of the configuration, a renamed one, or a renamed tensor gets the next format version and a function here
that turns a file of the version before into it. So files outlive the code.
"""

from collections.abc import Callable

from torch import Tensor

from ser_gpu.errors import InputError

FORMAT_VERSION = 2


def migrated(content: dict) -> dict:
    """The content of a checkpoint of any known version as the newest version has it.

    Raises:
        ValueError: a version that is no number, or newer than this code; a setting that no longer exists.
        KeyError: something that every checkpoint has is missing.
    """
    version = content.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        shown = " ".join(repr(version).split())[:60]
        raise InputError(f"checkpoint format {shown}, this version of ser_gpu reads 1 to {FORMAT_VERSION}")
    for number in range(version, FORMAT_VERSION):
        content = _STEPS[number](content)
    return content


def _one_spectrogram_and_registries(content: dict) -> dict:
    """1 to 2: networks see one spectrogram, in one way; the network and the chain of transforms have names; the
    temperature is a tensor of the state; what is known of the training stands in a part of its own."""
    config = {name: dict(part) for name, part in content["config"].items()}
    cnn = config["cnn"]
    for name, kept in (("sees", "wide"), ("band_stride", 2), ("pool_first", True)):
        if cnn.pop(name, kept) != kept:
            raise InputError(f"cnn.{name} is no longer supported with another value than {kept!r}")
    cnn["network"] = "residual"
    config["augment"]["chain"] = "warp,channel,noise"
    config["tta"] = config.pop("views")
    state = {name.replace("mels.0.", "mel.", 1): value for name, value in content["state_dict"].items()}
    known = ("protocol", "manifest_hash", "seed", "metrics", "training", "package_version")
    return {
        "format_version": 2,
        "config": config,
        "labels": content["labels"],
        "state_dict": state | {"temperature": _tensor(content["temperature"], state)},
        "provenance": {name: content[name] for name in known},
    }


def _tensor(value: float, state: dict[str, Tensor]) -> Tensor:
    return next(iter(state.values())).new_tensor(value)


_STEPS: dict[int, Callable[[dict], dict]] = {1: _one_spectrogram_and_registries}
