"""SpeechEmotionModel: every stage in one forward pass, from raw audio to logits; and `predict`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from ser_gpu.config import ModelConfig
from ser_gpu.data.audio_file import AudioError
from ser_gpu.data.ravdess import EMOTIONS
from ser_gpu.data.waveform import segments, to_mono
from ser_gpu.stages.augment import BandGain, SpectrogramMask, WaveformAugment
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.stages.mel import LogMel, normalised
from ser_gpu.stages.spectrogram_warp import SpectrogramWarp
from ser_gpu.stages.trim import TrimSilence
from ser_gpu.stages.views import Views
from ser_gpu.stages.voice import VoiceActivity

SHORTEST_SECONDS = 0.05
SEGMENT_SECONDS = 60.0
_WINDOWS_AT_ONCE = 32


class NoSpeechError(AudioError):
    """A recording in which nobody speaks; the message is one line that names the file."""


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
        mel_kernels: window and mel basis of each picture, from an earlier model; left out, nnAudio makes them.

    Shape:
        - waveform: [B, T] floating point at `sample_rate`; lengths: [B] int64, samples of each clip, or None; without
          `views` the answer is of the clip alone, in a ninth of the time of the CNN
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
        mel_kernels: Sequence[tuple[Tensor, Tensor]] | None = None,
    ):
        super().__init__()
        config = config or ModelConfig()
        self.config = config
        self.labels = tuple(labels)
        self.trim = TrimSilence(config.trim, config.audio.clip_samples)
        self.augment = WaveformAugment(config.augment, config.audio.sample_rate)
        self.mels = nn.ModuleList(
            LogMel(mel, config.audio.sample_rate, kernels)
            for mel, kernels in zip(config.pictures, mel_kernels or [None] * len(config.pictures), strict=True)
        )
        self.warp = SpectrogramWarp(config.augment, config.pictures, config.audio.sample_rate)
        self.gain = BandGain(config.augment)
        self.views = Views(config.views, config.pictures)
        self.mask = SpectrogramMask(config.augment)
        self.voice = VoiceActivity(config.audio.sample_rate)
        self.cnn = EmotionCnn(config.cnn, config.mel.n_mels, config.frames, len(self.labels))
        self.register_buffer("temperature", torch.ones(()), persistent=False)

    @property
    def sample_rate(self) -> int:
        """Hz that `forward` expects."""
        return self.config.audio.sample_rate

    @property
    def mel(self) -> LogMel:
        """The first of the pictures."""
        return self.mels[0]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.temperature.device

    def forward(self, waveform: Tensor, lengths: Tensor | None = None, views: bool = True) -> Tensor:
        logits = self.cnn(self.spectrogram(waveform, lengths, views)).mean(dim=0)
        return logits.unflatten(0, (-1, len(waveform))).mean(dim=0)

    def spectrogram(self, waveform: Tensor, lengths: Tensor | None = None, views: bool = True) -> Tensor:
        """What the CNN sees: the pictures of each clip; in evaluation, and unless it is without `views`, those of all
        views, view by view.

        Shape: [B, T], [B] -> [V B, P, M, F] float32.

        Raises:
            ValueError: the waveform is not [B, T], not floating point, or empty.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            decibels = self.decibels(waveform, lengths)
            return self.mask(normalised(self.views(decibels) if views else decibels))

    def decibels(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The pictures of each clip before they are normalised and masked; in training, augmented.

        Shape: [B, T], [B] -> [B, P, M, F] float32.

        Raises:
            ValueError: as in `spectrogram`.
        """
        if waveform.ndim != 2 or waveform.numel() == 0 or not waveform.is_floating_point():
            raise ValueError(f"waveform must be [B, T] floating point, got {list(waveform.shape)} of {waveform.dtype}")
        with torch.autocast(waveform.device.type, enabled=False):
            clip = self.augment(self.trim(waveform.float(), lengths))
            return self.gain(self.warp(torch.stack([mel.decibels(clip) for mel in self.mels], dim=1)))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax after the temperature that was fitted on validation clips.

        Shape: [B, C] -> [B, C] float32.

        Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
        """
        return (logits.float() / self.temperature).softmax(dim=1)

    def predict(
        self, audio: str | PathLike | BinaryIO | np.ndarray | Tensor, sample_rate: int | None = None
    ) -> Prediction:
        """Name the emotion of one recording, in evaluation mode.

        Silence around the speech is cut. Speech longer than the window is read in windows that overlap by half, and
        the probabilities of those in which somebody speaks are averaged. A long recording is read a minute at a
        time, so that memory does not grow with its length.

        Args:
            audio: a file that libsndfile reads, or a binary stream of one, or samples as [T] or [channels, T], float
                or int16.
            sample_rate: Hz of the samples; left out, they are at the model's own rate. A file brings its own.

        Raises:
            AudioError: a file or samples that cannot be used, or under 50 ms; one line that names the file.
            NoSpeechError: silence, noise, or another sound without a voice.
        """
        name, pieces = self._pieces(audio, sample_rate)
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                probabilities = [self._of_windows(self._windows(piece.to(self.device))) for piece in pieces]
        finally:
            self.train(was_training)
        answers = torch.cat(probabilities)
        if len(answers) == 0:
            raise NoSpeechError(f"{name}: no speech found")
        mean = answers.mean(dim=0).tolist()
        best = max(range(len(mean)), key=mean.__getitem__)
        return Prediction(self.labels[best], mean[best], dict(zip(self.labels, mean, strict=True)))

    def _pieces(
        self, audio: str | PathLike | BinaryIO | np.ndarray | Tensor, sample_rate: int | None
    ) -> tuple[str, Iterator[Tensor]]:
        """What to call the recording, and its samples in segments of a minute."""
        if isinstance(audio, np.ndarray | Tensor):
            waveform = to_mono(torch.as_tensor(audio).cpu(), sample_rate or self.sample_rate, self.sample_rate)
            name, pieces = "audio", iter(waveform.split(round(SEGMENT_SECONDS * self.sample_rate)))
        else:
            name = str(audio) if isinstance(audio, str | PathLike) else "standard input"
            pieces = segments(audio, self.sample_rate, SEGMENT_SECONDS)
        return name, self._long_enough(name, pieces)

    def _long_enough(self, name: str, pieces: Iterator[Tensor]) -> Iterator[Tensor]:
        for at, piece in enumerate(pieces):
            if len(piece) >= SHORTEST_SECONDS * self.sample_rate:
                yield piece
            elif at == 0:
                milliseconds, least = 1000 * len(piece) / self.sample_rate, 1000 * SHORTEST_SECONDS
                raise AudioError(f"{name}: {milliseconds:.0f} ms is too short, {least:.0f} ms is the least")

    def _of_windows(self, windows: Tensor) -> Tensor:
        """Probabilities of those windows in which somebody speaks.

        Shape: [W, T] -> [V, C] with V at most W.
        """
        parts = windows.split(_WINDOWS_AT_ONCE)
        spoken = [part[self.voice(part)] for part in parts]
        none = windows.new_zeros(0, len(self.labels))
        return torch.cat([none, *(self.probabilities(self(part)) for part in spoken if len(part))])

    def _windows(self, waveform: Tensor) -> Tensor:
        """The sound of one clip in overlapping windows, the last one flush with its end, silent ones left out.

        Shape: [T] -> [W, L'] with L' at most L.
        """
        start, end = (int(bound) for bound in self.trim.bounds(waveform[None]))
        sound = waveform[start:end]
        length = self.config.audio.clip_samples
        if len(sound) <= length:
            return sound[None]
        starts = [*range(0, len(sound) - length, length // 2), len(sound) - length]
        windows = torch.stack([sound[at : at + length] for at in starts])
        peaks = windows.abs().amax(dim=1)
        return windows[peaks > peaks.max() * 10 ** (-self.config.trim.top_db / 20)]
