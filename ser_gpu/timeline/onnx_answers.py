"""OnnxAnswers: what a timeline asks of an `OnnxModel`, without torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.audio.samples import level, resampled
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.errors import NoSpeechError
from ser_gpu.voice import Voice

if TYPE_CHECKING:
    from ser_gpu.onnx import OnnxModel


class OnnxAnswers:
    """See `ser_gpu.timeline.answers.Answers`.

    Args:
        model: of an exported file.
        voice: who speaks; of several speakers, the voice of each by their name, and who is not there is nobody in
            particular.

    Raises:
        VoiceError: a voice was enrolled with another model, or the file takes none.
    """

    def __init__(self, model: "OnnxModel", voice: Voice | Mapping[str, Voice] | None = None):
        for each in voice.values() if isinstance(voice, Mapping) else [voice]:
            model.require(each)
        self.model = model
        self.voice = voice
        self.labels = model.labels
        self.sample_rate = model.sample_rate
        self.window_seconds = model.window_samples / model.sample_rate

    def of_stretch(self, samples: np.ndarray, speaker: str | None = None) -> np.ndarray:
        """Shape: [T] float32 -> [C]."""
        blocks = resampled(iter([level(samples)]), SpeechProbability.sample_rate, self.sample_rate)
        probabilities, _ = self.model.probabilities(np.concatenate(list(blocks))[None], self._voice_of(speaker))
        return probabilities[0]

    def of_recording(self, samples: np.ndarray) -> np.ndarray | None:
        """Shape: [T] float32 -> [C]."""
        try:
            answer = self.model.predict((SpeechProbability.sample_rate, samples), voice=self._voice_of(None))
        except NoSpeechError:
            return None
        return np.array(list(answer.probabilities.values()))

    def _voice_of(self, speaker: str | None) -> Voice | None:
        return self.voice.get(speaker) if isinstance(self.voice, Mapping) else self.voice
