"""SpeechEmotionModel: every stage in one forward pass, from a raw waveform to logits and probabilities."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ser_gpu.config import ModelConfig
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.errors import InputError
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.stages.mel import LogMel, normalised
from ser_gpu.stages.spectrogram_augment import BandGain, SpectrogramMask, SpectrogramWarp
from ser_gpu.stages.trim import TrimSilence
from ser_gpu.stages.tta import TestTimeAugmentation
from ser_gpu.stages.vad import VoiceActivity
from ser_gpu.stages.waveform_augment import WaveformAugment

if TYPE_CHECKING:
    from ser_gpu.prediction import Prediction
    from ser_gpu.timeline import Timeline
    from ser_gpu.timeline.speakers import Speakers
    from ser_gpu.timeline.stream import Stream
    from ser_gpu.voice import Voice

_SMALLEST_PEAK = torch.finfo(torch.float32).tiny


class SpeechEmotionModel(nn.Module):
    """Raw waveform in, logits out: trim, augment, log-mel and mask in float32, then the CNN.

    Under `torch.autocast`, or after `half()` or `bfloat16()`, the CNN alone is in 16 bits. Augmentation and masks act
    in `train()` only, test-time augmentation in `eval()` only. Each clip is brought to the same peak first, so that
    its level, down to float32's smallest normal number, does not matter.

    Args:
        config: from which the model can be rebuilt.
        labels: the emotions, in the order of the logits.
        mel_kernels: window and mel basis of an earlier model; left out, nnAudio makes them.

    Shape:
        - waveform: [B, T] floating point at `sample_rate`; lengths: [B] integers, samples of each clip, or None where
          every clip fills its row; without `tta` the answer is of the clip alone, in a ninth of the time of the CNN;
          `voice` is of all clips, or one for each (None: nobody in particular), and acts in `eval()` only
        - output: [B, C] logits

    Raises:
        ValueError: a waveform that is not [B, T], not floating point, or empty; lengths of another shape or kind, or,
            where they are on the CPU, beyond the waveform; a voice that was enrolled with another model.

    Example:
        >>> model = SpeechEmotionModel().eval()
        >>> model(torch.zeros(4, 48_000)).shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        config: ModelConfig | None = None,
        labels: Sequence[str] = EMOTIONS,
        mel_kernels: tuple[Tensor, Tensor] | None = None,
    ):
        super().__init__()
        config = config or ModelConfig()
        rate = config.audio.sample_rate
        self.config = config
        self.labels = tuple(labels)
        self.trim = TrimSilence(config.trim, config.audio.clip_samples)
        self.augment = WaveformAugment(config.augment, rate)
        self.mel = LogMel(config.mel, rate, mel_kernels)
        self.warp = SpectrogramWarp(config.augment, config.mel, rate)
        self.gain = BandGain(config.augment)
        self.tta = TestTimeAugmentation(config.tta, config.mel)
        self.mask = SpectrogramMask(config.augment)
        self.vad = VoiceActivity(rate)
        self.cnn = EmotionCnn(config.cnn, config.mel.n_mels, config.frames, len(self.labels))
        self.register_buffer("temperature", torch.ones((), dtype=torch.float32))

    @property
    def sample_rate(self) -> int:
        """Hz that `forward` expects."""
        return self.config.audio.sample_rate

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.temperature.device

    def _apply(self, fn, recurse: bool = True):
        temperature = self.temperature
        super()._apply(fn, recurse)
        self.temperature = temperature.to(self.temperature.device)  # it stays float32, as the front end does
        return self

    def forward(
        self,
        waveform: Tensor,
        lengths: Tensor | None = None,
        tta: bool = True,
        voice: "Voice | Sequence[Voice | None] | None" = None,
    ) -> Tensor:
        return self.classify(self.spectrogram(waveform, lengths, tta), waveform.shape[0], voice)

    def spectrogram(self, waveform: Tensor, lengths: Tensor | None = None, tta: bool = True) -> Tensor:
        """What the CNN sees of each clip; in evaluation, and unless it is without `tta`, of all its copies.

        Shape: [B, T], [B] -> [V B, 1, M, F] float32.
        """
        return self.spectrogram_of_window(self.window(waveform, lengths), tta)

    def window(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Each clip at the same peak, its silence trimmed, padded or cropped to the window.

        Shape: [B, T], [B] -> [B, L] float32.
        """
        _check_waveform(waveform)
        if lengths is not None:
            lengths = _checked_lengths(lengths, waveform)
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            if lengths is not None:
                beyond = torch.arange(waveform.shape[1], device=waveform.device) >= lengths[:, None]
                waveform = waveform.masked_fill(beyond, 0.0)
            peak = waveform.abs().amax(dim=1, keepdim=True).clamp(min=_SMALLEST_PEAK)
            return self.trim(waveform / peak, lengths)

    def decibels(self, window: Tensor) -> Tensor:
        """The log-mel spectrogram of each window before it is normalised and masked; in training, augmented.

        Shape: [B, L] -> [B, 1, M, F] float32.
        """
        with torch.autocast(window.device.type, enabled=False):
            return self.gain(self.warp(self.mel.decibels(self.augment(window))))

    def spectrogram_of_window(self, window: Tensor, tta: bool = True) -> Tensor:
        """As `spectrogram`, of clips that are trimmed and fill the window.

        Shape: [B, L] -> [V B, 1, M, F] float32.
        """
        with torch.autocast(window.device.type, enabled=False):
            decibels = self.decibels(window)
            return self.mask(normalised(self.tta(decibels) if tta else decibels))

    def classify(
        self, spectrogram: Tensor, clips: int, voice: "Voice | Sequence[Voice | None] | None" = None
    ) -> Tensor:
        """The mean logits of the CNN's members, over all copies of each clip.

        Args:
            clips: B, how many the spectrogram is of.
            voice: who speaks, as in `forward`.

        Shape: [V B, 1, M, F] -> [B, C].
        """
        dtype = next(self.cnn.parameters()).dtype
        if voice is None:
            return self.cnn(spectrogram.to(dtype)).mean(dim=0).unflatten(0, (-1, clips)).mean(dim=0)
        from ser_gpu.voice import of_clips  # as below: who asks for a voice has loaded it

        voices = of_clips(self, voice, clips)
        with speaker_norm.using(self.cnn, [each and each.statistics for each in voices]):
            logits = self.cnn(spectrogram.to(dtype)).mean(dim=0).unflatten(0, (-1, clips)).mean(dim=0)
        sharpness = [1.0 if each is None else each.sharpness for each in voices]
        return logits * torch.tensor(sharpness, device=logits.device, dtype=logits.dtype)[:, None]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax after the temperature that was fitted on validation clips.

        Shape: [B, C] -> [B, C] float32.

        Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
        """
        return (logits.float() / self.temperature.float()).softmax(dim=1)

    def predict(self, recording: object, sample_rate: int | None = None, voice: "Voice | None" = None) -> "Prediction":
        """Name the emotion of one recording: `ser_gpu.inference.predict`, which says what it takes and raises."""
        from ser_gpu.inference import predict  # the one import against the direction of the layers, for convenience

        return predict(self, recording, sample_rate, voice)

    def predict_many(
        self,
        recordings: Iterable,
        sample_rate: int | None = None,
        voice: "Voice | Iterable[Voice | None] | None" = None,
        workers: int = 1,
    ) -> Iterator["Prediction | Exception"]:
        """Name the emotion of many recordings, in batches: `ser_gpu.inference.predict_many`."""
        from ser_gpu.inference import predict_many

        return predict_many(self, recordings, sample_rate, voice, workers)

    def require(self, voice: "Voice | None") -> None:
        """Raise unless the voice, if there is one, was enrolled with this model: `ser_gpu.voice.require_model`."""
        from ser_gpu.voice import require_model

        require_model(voice, self)

    def enrol(
        self, recordings: Iterable, emotions: Iterable[str] | None = None, sample_rate: int | None = None
    ) -> "Voice":
        """Learn a speaker's voice from some recordings, without a change of the model: `ser_gpu.adapt.enrol`."""
        from ser_gpu.adapt import enrol

        return enrol(self, recordings, emotions, sample_rate)

    def timeline(
        self,
        recording: object,
        sample_rate: int | None = None,
        voice: "Voice | Mapping[str, Voice] | None" = None,
        speakers: "Speakers | None" = None,
        step_seconds: float = 0.5,
    ) -> "Timeline":
        """The emotions of one recording over time, however long it is: `ser_gpu.timeline.timeline`.

        Args:
            voice: who speaks, as `enrol` gives it; with `speakers`, the voice of each by their name.
            speakers: who speaks when: `ser_gpu.timeline.speakers.read_rttm`.
        """
        from ser_gpu.timeline import timeline
        from ser_gpu.timeline.torch_answers import TorchAnswers

        return timeline(TorchAnswers(self, voice), recording, sample_rate, speakers, step_seconds)

    def stream(self, sample_rate: int | None = None, voice: "Voice | None" = None) -> "Stream":
        """Answer speech while it is spoken: `ser_gpu.timeline.stream.Stream`."""
        from ser_gpu.timeline.stream import Stream
        from ser_gpu.timeline.torch_answers import TorchAnswers

        return Stream(TorchAnswers(self, voice), sample_rate)


def _check_waveform(waveform: Tensor) -> None:
    if waveform.ndim != 2 or waveform.numel() == 0 or not waveform.is_floating_point():
        raise InputError(f"waveform must be [B, T] floating point, got {list(waveform.shape)} of {waveform.dtype}")


def _checked_lengths(lengths: Tensor, waveform: Tensor) -> Tensor:
    clips, samples = waveform.shape
    if not isinstance(lengths, Tensor):
        lengths = torch.as_tensor(lengths)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise InputError(f"lengths must be integers, got {lengths.dtype}")
    if lengths.shape != (clips,):
        raise InputError(f"lengths must be [{clips}], one a clip, got {list(lengths.shape)}")
    # a read of values: on a GPU it would wait, and a compiled graph has none
    on_host = lengths.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_host and not ((lengths >= 1) & (lengths <= samples)).all():
        raise InputError(f"lengths must be between 1 and {samples}, got {lengths.tolist()}")
    return lengths.to(waveform.device, torch.int64)
