"""Speech emotion recognition, end to end on the GPU: raw waveform in, emotion out, one `nn.Module` between."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ser_gpu.checkpoint import load_model
    from ser_gpu.config import ModelConfig
    from ser_gpu.corpora.clip import EMOTIONS
    from ser_gpu.model import SpeechEmotionModel
    from ser_gpu.prediction import Prediction

__version__ = "0.2.0"  # a build reads it here without importing the package

__all__ = ["EMOTIONS", "ModelConfig", "Prediction", "SpeechEmotionModel", "__version__", "load_model"]

# Importing the package, or one stage of it, imports nothing else: each name is found when it is asked for.
_HOMES = {"EMOTIONS": "corpora.clip", "ModelConfig": "config", "Prediction": "prediction"}
_HOMES |= {"SpeechEmotionModel": "model", "load_model": "checkpoint"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ser_gpu.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
