"""Speech emotion recognition, end to end on the GPU: raw waveform in, emotion out, one `nn.Module` between."""

from ser_gpu.checkpoint import load_model
from ser_gpu.config import ModelConfig
from ser_gpu.data.ravdess import EMOTIONS
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.version import __version__

__all__ = ["EMOTIONS", "ModelConfig", "SpeechEmotionModel", "__version__", "load_model"]
