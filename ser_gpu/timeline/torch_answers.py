"""TorchAnswers: what a timeline asks of a `SpeechEmotionModel`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ser_gpu.audio.mono import level, resampled
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.inference import predict
from ser_gpu.prediction import NoSpeechError
from ser_gpu.voice import Voice, require_model
from ser_gpu.windows import in_evaluation

if TYPE_CHECKING:
    from ser_gpu.model import SpeechEmotionModel


class TorchAnswers:
    """See `ser_gpu.timeline.answers.Answers`.

    Args:
        model: on any device, in any mode; it is not changed.
        voice: who speaks; of several speakers, the voice of each by their name, and who is not there is nobody in
            particular.

    Raises:
        VoiceError: a voice was enrolled with another model.
    """

    def __init__(self, model: "SpeechEmotionModel", voice: Voice | Mapping[str, Voice] | None = None):
        for each in voice.values() if isinstance(voice, Mapping) else [voice]:
            require_model(each, model)
        self.model = in_evaluation(model)
        self.voice = voice
        self.labels = model.labels
        self.sample_rate = model.sample_rate
        self.window_seconds = model.config.audio.clip_seconds

    @torch.inference_mode()
    def of_stretch(self, samples: np.ndarray, speaker: str | None = None) -> np.ndarray:
        """Shape: [T] float32 -> [C]."""
        waveform = torch.from_numpy(self.at_model_rate(level(samples))).to(self.model.device)
        logits = self.model(waveform[None], voice=self._voice_of(speaker))
        return self.model.probabilities(logits)[0].cpu().numpy()

    def of_recording(self, samples: np.ndarray) -> np.ndarray | None:
        """Shape: [T] float32 -> [C]."""
        try:
            answer = predict(self.model, (SpeechProbability.sample_rate, samples), voice=self._voice_of(None))
        except NoSpeechError:
            return None
        return np.array(list(answer.probabilities.values()))

    def _voice_of(self, speaker: str | None) -> Voice | None:
        return self.voice.get(speaker) if isinstance(self.voice, Mapping) else self.voice

    def at_model_rate(self, waveform: np.ndarray) -> np.ndarray:
        """Shape: [T] at 16 kHz -> [T'] at the rate of the model."""
        return np.concatenate(list(resampled(iter([waveform]), SpeechProbability.sample_rate, self.sample_rate)))
