"""TorchAnswers: what a timeline asks of a `SpeechEmotionModel`."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ser_gpu.audio.samples import level, resampled
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.errors import NoSpeechError
from ser_gpu.inference import predict
from ser_gpu.voice import Voice, require_model
from ser_gpu.windows import fast

if TYPE_CHECKING:
    from ser_gpu.model import SpeechEmotionModel


class TorchAnswers:
    """See `ser_gpu.timeline.answers.Answers`.

    Args:
        model: on any device, in any mode; it is not changed, and may change afterwards.
        voice: who speaks; of several speakers, the voice of each by their name, and who is not there is nobody in
            particular.

    Raises:
        VoiceError: a voice was enrolled with another model.
    """

    def __init__(self, model: "SpeechEmotionModel", voice: Voice | Mapping[str, Voice] | None = None):
        voices, self.voice = (voice, None) if isinstance(voice, Mapping) else ({}, voice)
        for each in (self.voice, *voices.values()):
            require_model(each, model)
        self.model = copy.deepcopy(model).eval()  # as it is now: copies of it will share its tensors for a long time
        self.usual = fast(self.model, self.voice)
        self.of_speaker = {speaker: fast(self.model, each) for speaker, each in voices.items()}
        self.labels = model.labels
        self.sample_rate = model.sample_rate
        self.window_seconds = model.config.audio.clip_seconds

    @torch.inference_mode()
    def of_stretch(self, samples: np.ndarray, speaker: str | None = None) -> np.ndarray:
        """Shape: [T] float32 -> [C]."""
        waveform = torch.from_numpy(self.at_model_rate(level(samples))).to(self.model.device)
        model, voice = self.of_speaker.get(speaker, self.usual)
        return model.probabilities(model(waveform[None], voice=voice))[0].cpu().numpy()

    def of_recording(self, samples: np.ndarray) -> np.ndarray | None:
        """Shape: [T] float32 -> [C]."""
        try:
            answer = predict(self.model, (SpeechProbability.sample_rate, samples), voice=self.voice)
        except NoSpeechError:
            return None
        return np.array(list(answer.probabilities.values()))

    def at_model_rate(self, waveform: np.ndarray) -> np.ndarray:
        """Shape: [T] at 16 kHz -> [T'] at the rate of the model."""
        return np.concatenate(list(resampled(iter([waveform]), SpeechProbability.sample_rate, self.sample_rate)))
