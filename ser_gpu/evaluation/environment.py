"""What a figure was measured with: versions, device, threads. Stands in every result file."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from ser_gpu import __version__

_PACKAGES = ("torchaudio", "nnAudio", "torch-audiomentations", "soundfile", "soxr", "numpy", "scikit-learn")


def describe(device: torch.device) -> dict:
    """Versions and device as plain strings and numbers, ready for JSON."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "ser_gpu": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **{package: found for package in _PACKAGES if (found := _version(package))},
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
