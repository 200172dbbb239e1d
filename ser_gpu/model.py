"""SpeechEmotionModel: every stage in one forward pass, from raw audio to logits; and `predict`."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ser_gpu.config import ModelConfig
from ser_gpu.data.ravdess import EMOTIONS
from ser_gpu.data.waveform import AudioError, load, to_mono
from ser_gpu.stages.augment import SpectrogramMask, WaveformAugment
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.stages.mel import LogMel
from ser_gpu.stages.trim import TrimSilence

SHORTEST_SECONDS = 0.05
_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class Prediction:
    """An emotion, how sure the model is of it (0 to 1), and the probability of each emotion in label order."""

    emotion: str
    confidence: float
    probabilities: dict[str, float]


class SpeechEmotionModel(nn.Module):
    """Raw waveform in, logits out: trim, augment, log-mel and mask in float32, then the CNN.

    Under `torch.autocast` the CNN alone is autocast. Augmentation and masks act in `train()` only.

    Args:
        config: from which the model can be rebuilt.
        labels: the emotions, in the order of the logits.
        mel_kernels: window and mel basis of an earlier model; left out, nnAudio makes them.

    Shape:
        - waveform: [B, T] floating point at `sample_rate`; lengths: [B] int64, samples of each clip, or None
        - output: [B, C] logits

    Example:
        >>> model = SpeechEmotionModel().eval()
        >>> model(torch.zeros(4, 48_000)).shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        config: ModelConfig | None = None,
        labels: tuple[str, ...] = EMOTIONS,
        mel_kernels: tuple[Tensor, Tensor] | None = None,
    ):
        super().__init__()
        config = config or ModelConfig()
        self.config = config
        self.labels = tuple(labels)
        self.trim = TrimSilence(config.trim, config.audio.clip_samples)
        self.augment = WaveformAugment(config.augment, config.audio.sample_rate)
        self.mel = LogMel(config.mel, config.audio.sample_rate, mel_kernels)
        self.mask = SpectrogramMask(config.augment)
        self.cnn = EmotionCnn(config.cnn, config.mel.channels, config.mel.n_mels, config.frames, len(self.labels))
        self.register_buffer("temperature", torch.ones(()), persistent=False)

    @property
    def sample_rate(self) -> int:
        """Hz that `forward` expects."""
        return self.config.audio.sample_rate

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.temperature.device

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.cnn(self.spectrogram(waveform, lengths)).mean(dim=0)

    def spectrogram(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the CNN sees.

        Shape: [B, T], [B] -> [B, 1, M, F] float32.

        Raises:
            ValueError: the waveform is not [B, T], not floating point, or empty.
        """
        if waveform.ndim != 2 or waveform.numel() == 0 or not waveform.is_floating_point():
            raise ValueError(f"waveform must be [B, T] floating point, got {list(waveform.shape)} of {waveform.dtype}")
        with torch.autocast(waveform.device.type, enabled=False):
            clip = self.augment(self.trim(waveform.float(), lengths))
            return self.mask(self.mel(clip))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax after the temperature that was fitted on validation clips.

        Shape: [B, C] -> [B, C] float32.

        Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
        """
        return (logits.float() / self.temperature).softmax(dim=1)

    def predict(self, audio: str | PathLike | np.ndarray | Tensor, sample_rate: int | None = None) -> Prediction:
        """Name the emotion of one recording, in evaluation mode.

        Silence around the speech is cut. Speech longer than the window is read in windows that overlap by half, and
        the probabilities of those that are not silent are averaged.

        Args:
            audio: a file that libsndfile reads, or samples as [T] or [channels, T], float or int16.
            sample_rate: Hz of the samples; left out, they are at the model's own rate. A file brings its own.

        Raises:
            AudioError: a file or samples that cannot be used, or under 50 ms; one line that names the file.
        """
        if isinstance(audio, str | PathLike):
            name = str(audio)
            waveform = load(Path(audio), self.sample_rate)
        else:
            name = "audio"
            samples = torch.as_tensor(audio)
            waveform = to_mono(samples.cpu(), sample_rate or self.sample_rate, self.sample_rate, name)
        if len(waveform) < SHORTEST_SECONDS * self.sample_rate:
            milliseconds = 1000 * len(waveform) / self.sample_rate
            raise AudioError(
                f"{name}: {milliseconds:.0f} ms is too short, {1000 * SHORTEST_SECONDS:.0f} ms is the least"
            )
        windows = self._windows(waveform.to(self.device))
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                parts = [self.probabilities(self(chunk)) for chunk in windows.split(_WINDOWS_AT_ONCE)]
        finally:
            self.train(was_training)
        mean = torch.cat(parts).mean(dim=0).tolist()
        best = max(range(len(mean)), key=mean.__getitem__)
        return Prediction(self.labels[best], mean[best], dict(zip(self.labels, mean, strict=True)))

    def _windows(self, waveform: Tensor) -> Tensor:
        """The speech of one clip in overlapping windows, the last one flush with its end, silent ones left out.

        Shape: [T] -> [W, L'] with L' at most L.
        """
        start, end = (int(bound) for bound in self.trim.bounds(waveform[None]))
        speech = waveform[start:end]
        length = self.config.audio.clip_samples
        if len(speech) <= length:
            return speech[None]
        starts = [*range(0, len(speech) - length, length // 2), len(speech) - length]
        windows = torch.stack([speech[at : at + length] for at in starts])
        peaks = windows.abs().amax(dim=1)
        return windows[peaks > peaks.max() * 10 ** (-self.config.trim.top_db / 20)]
