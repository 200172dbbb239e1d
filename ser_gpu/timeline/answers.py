"""Answers: what a timeline asks of a model. Whoever has these few methods has a timeline, with or without torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from ser_gpu.model import SpeechEmotionModel
    from ser_gpu.onnx import OnnxModel
    from ser_gpu.voice import Voice


class Answers(Protocol):
    """A model, as a stream of samples asks it.

    Samples are at the rate of the detector of speech, 16 kHz, as they came: neither their level nor their offset is
    set.

    Attributes:
        labels: the emotions, in order.
        sample_rate: Hz of samples that come without a rate.
        window_seconds: of speech that it hears at once.
    """

    labels: tuple[str, ...]
    sample_rate: int
    window_seconds: float

    def of_stretch(self, samples: np.ndarray, speaker: str | None = None) -> np.ndarray:
        """The probabilities of the emotions in a stretch of speech, of at most the window.

        Shape: [T] float32 -> [C].
        """

    def of_recording(self, samples: np.ndarray) -> np.ndarray | None:
        """The same of a short recording with all its silences, as `predict` answers it; None where that finds no
        speech.

        Shape: [T] float32 -> [C].
        """


def answers_of(model: "SpeechEmotionModel | OnnxModel", voice: "Voice | Mapping[str, Voice] | None" = None) -> Answers:
    """Of a model of either kind.

    Args:
        voice: who speaks; of several speakers, the voice of each by their name, and who is not there is nobody in
            particular.

    Raises:
        VoiceError: a voice was enrolled with another model.
    """
    from ser_gpu.onnx import OnnxModel

    if isinstance(model, OnnxModel):
        from ser_gpu.timeline.onnx_answers import OnnxAnswers

        return OnnxAnswers(model, voice)
    from ser_gpu.timeline.torch_answers import TorchAnswers

    return TorchAnswers(model, voice)
