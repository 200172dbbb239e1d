"""own_voice: a recording's own speech, enrolled for the timeline of that recording."""

import numpy as np
import torch
from torch import Tensor

from ser_gpu import adapt
from ser_gpu.audio.samples import level
from ser_gpu.enrolment import MOST_WINDOWS
from ser_gpu.errors import NoSpeechError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.timeline import stretches
from ser_gpu.timeline.speakers import Speakers
from ser_gpu.timeline.torch_answers import TorchAnswers
from ser_gpu.voice import Voice, model_hash

SHORTEST_SECONDS = 1.0


def own_voice(
    model: SpeechEmotionModel, recording: object, sample_rate: int | None = None, speakers: Speakers | None = None
) -> Voice | dict[str, Voice]:
    """Enrol a recording's own speech; the recording is read once for it, in constant memory.

    It presumes one speaker, whose speech is varied: who is angry all the time is made neutral, and two speakers become
    one who does not exist. Where it is known who speaks when, each speaker is enrolled by themselves.

    Args:
        model: on any device, in any mode; it is not changed.
        recording: as in `SpeechEmotionModel.timeline`; what cannot be read twice is no use here.
        sample_rate: as in `SpeechEmotionModel.timeline`.
        speakers: who speaks when.

    Returns:
        The voice; with `speakers` that of each speaker who speaks for a second and more without a pause.

    Raises:
        NoSpeechError: nobody speaks for a second.
        AudioError: a recording that cannot be used.
        ValueError: a network without batch normalisation.

    Example:
        >>> voice = own_voice(model, "talk.mp3")  # doctest: +SKIP
        >>> model.timeline("talk.mp3", voice=voice)  # doctest: +SKIP
    """
    listener = _Listener(model)
    name, parts = stretches(listener, recording, sample_rate, speakers)
    for _ in parts:
        pass
    if not listener.heard:
        raise NoSpeechError(f"{name}: too little speech to enrol, nobody speaks for a second without a pause")
    hashed = model_hash(model)
    voices = {
        speaker: adapt.of_windows(listener.model, [torch.stack(heard.kept)], None, heard.seconds, hashed)
        for speaker, heard in listener.heard.items()
    }
    return voices[None] if speakers is None else {name: each for name, each in voices.items() if name is not None}


class _Listener(TorchAnswers):
    """Keeps what it hears instead of an answer."""

    def __init__(self, model: SpeechEmotionModel):
        super().__init__(model)
        self.heard: dict[str | None, _Thinned] = {}

    def of_recording(self, samples: np.ndarray) -> None:
        return None

    @torch.inference_mode()
    def of_stretch(self, samples: np.ndarray, speaker: str | None = None) -> np.ndarray:
        waveform = self.at_model_rate(level(samples))
        seconds = len(waveform) / self.sample_rate
        if seconds >= SHORTEST_SECONDS:
            window = self.model.window(torch.from_numpy(waveform)[None].to(self.model.device))[0].cpu()
            self.heard.setdefault(speaker, _Thinned()).take(window, seconds)
        return np.full(len(self.labels), 1 / len(self.labels))


class _Thinned:
    """Every nth window, n as small as keeps them few; so they are spread over the recording."""

    def __init__(self):
        self.kept: list[Tensor] = []
        self.seconds = 0.0
        self._every = 1
        self._count = 0

    def take(self, window: Tensor, seconds: float) -> None:
        self.seconds += seconds
        if self._count % self._every == 0:
            self.kept.append(window)
        self._count += 1
        if len(self.kept) == 2 * MOST_WINDOWS:
            self.kept = self.kept[::2]
            self._every *= 2
