"""SpeechEmotionModel: every stage in one forward pass, from a raw waveform to logits and probabilities."""

import copy
import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from ser_gpu.audio.clip_bank import ClipBank, as_int16
from ser_gpu.audio.silero import LSTM, SpeechProbability, State, load_weights
from ser_gpu.config import ModelConfig
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.errors import InputError
from ser_gpu.recognizer import Recognizer
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.cnn import EmotionCnn
from ser_gpu.stages.mel import LogMel
from ser_gpu.stages.prepared import prepared, sharing
from ser_gpu.stages.spectrogram_augment import BandGain, SpectrogramMask, SpectrogramWarp
from ser_gpu.stages.trim import TrimSilence
from ser_gpu.stages.tta import TestTimeAugmentation
from ser_gpu.stages.waveform_augment import WaveformAugment
from ser_gpu.voices.plan import Measured, Plan
from ser_gpu.voices.voice import Voice

_COPIES_AT_ONCE, _WINDOWS_AT_ONCE_ON_GPU = 16, 256  # on a processor fastest with a worker a core
_CLIPS_AT_ONCE = 64
_MOST_COPIES = 16
_SMALLEST_PEAK = torch.finfo(torch.float32).tiny
_COPYING = threading.RLock()


@dataclass(eq=False)
class _Known:
    state: list
    digest: str | None = None
    copies: dict[Voice | None, "SpeechEmotionModel"] = field(default_factory=dict)  # the last used at the end


_KNOWN: "WeakKeyDictionary[SpeechEmotionModel, _Known]" = WeakKeyDictionary()  # not in a model's state or its copies


class SpeechEmotionModel(nn.Module, Recognizer):
    """Raw waveform in, logits out: trim, augment, log-mel and mask in float32, then the CNN.

    Under `torch.autocast`, or after `half()` or `bfloat16()`, the CNN alone is in 16 bits. Augmentation and masks act
    in `train()` only, test-time augmentation in `eval()` only. `labels` are in the order of the logits; `mel_kernels`
    are window and mel basis of an earlier model, which nnAudio makes where they are left out.

    Shape: [B, T] floating point or int16, lengths [B] integers or None where every clip fills its row -> [B, C] logits.
    Raises ValueError for another shape or kind, and, on the CPU, for lengths beyond the waveform.

    >>> SpeechEmotionModel().eval()(torch.zeros(4, 48_000)).shape
    torch.Size([4, 8])
    """

    _is_prepared = False

    def __init__(
        self,
        config: ModelConfig | None = None,
        labels: Sequence[str] = EMOTIONS,
        mel_kernels: tuple[Tensor, Tensor] | None = None,
    ):
        super().__init__()
        config = config or ModelConfig()
        rate = config.audio.sample_rate
        self.config, self.labels = config, tuple(labels)
        self.sample_rate, self.window_samples, self.trim_config = rate, config.audio.clip_samples, config.trim
        self.trim = TrimSilence(config.trim, config.audio.clip_samples)
        self.augment = WaveformAugment(config.augment, rate)
        self.mel = LogMel(config.mel, rate, mel_kernels)
        self.warp = SpectrogramWarp(config.augment, config.mel, rate, config.trim.fill)
        self.gain = BandGain(config.augment)
        self.tta = TestTimeAugmentation(config.tta, config.mel, config.trim.fill)
        self.mask = SpectrogramMask(config.augment)
        self.cnn = EmotionCnn(config.cnn, config.mel.n_mels, config.frames, len(self.labels))
        self.register_buffer("temperature", torch.ones((), dtype=torch.float32))

    @property
    def windows_at_once(self) -> int:
        return max(4, _COPIES_AT_ONCE // self.tta.copies) if self.device.type == "cpu" else _WINDOWS_AT_ONCE_ON_GPU

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.temperature.device

    def _apply(self, fn, recurse: bool = True):
        temperature = self.temperature
        super()._apply(fn, recurse)
        self.temperature = temperature.to(self.temperature.device)  # still float32, as in the front end
        return self

    def forward(self, waveform: Tensor, lengths: Tensor | None = None, tta: bool = True) -> Tensor:
        if not torch.compiler.is_compiling():
            _allow_fork()
        return self.classify(self.spectrogram(waveform, lengths, tta), waveform.shape[0])

    def spectrogram(self, waveform: Tensor, lengths: Tensor | None = None, tta: bool = True) -> Tensor:
        """What the CNN sees: each clip, or in evaluation its V copies. Shape: [B, T], [B] -> [V B, 1, M, F]."""
        return self.spectrogram_of_window(self.window(waveform, lengths), tta)

    def window(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Each clip at the same peak, trimmed, and padded or cropped. Shape: [B, T], [B] -> [B, L] float32."""
        kind, is_int16 = waveform.dtype, waveform.dtype == torch.int16
        if waveform.ndim != 2 or waveform.numel() == 0 or not (kind.is_floating_point or is_int16):
            raise InputError(f"waveform must be [B, T] floating point or int16, got {list(waveform.shape)} of {kind}")
        waveform = waveform if is_int16 else waveform.float()
        if lengths is not None:
            lengths = _checked_lengths(lengths, waveform)
            beyond = torch.arange(waveform.shape[1], device=waveform.device) >= lengths[:, None]
            waveform = waveform.masked_fill(beyond, 0)
        highest, lowest = (each.float() for each in (waveform.amax(dim=1), waveform.amin(dim=1)))
        peak = torch.maximum(highest, -lowest).clamp(min=_SMALLEST_PEAK)[:, None]
        if is_int16:  # half of the memory to move until the window is cut
            return self.trim(waveform, lengths) / peak
        return self.trim(waveform / peak, lengths)

    def decibels(self, window: Tensor) -> Tensor:
        """Log-mel before it is normalised and masked; in training, augmented. Shape: [B, L] -> [B, 1, M, F] float32."""
        with torch.autocast(window.device.type, enabled=False):
            if not self.training:
                return self.mel.decibels(window)
            return self.gain(self.warp(self.mel.decibels(self.augment(window))))

    def spectrogram_of_window(self, window: Tensor, tta: bool = True) -> Tensor:
        """As `spectrogram`, of windows that `window` has made. Shape: [B, L] -> [V B, 1, M, F] float32."""
        decibels = self.decibels(window)
        return self.mask(self.mel.normalised(self.tta(decibels) if tta else decibels))

    def classify(self, spectrogram: Tensor, clips: int) -> Tensor:
        """The mean logits over the CNN's members and the copies of each clip. Shape: [V B, 1, M, F] -> [B, C]."""
        dtype = next(self.cnn.parameters()).dtype
        return self.cnn(spectrogram.to(dtype)).mean(dim=0).unflatten(0, (-1, clips)).mean(dim=0)

    def embed(self, waveform: Tensor, lengths: Tensor | None = None, tta: bool = True) -> Tensor:
        """What the last layer sees, for a classifier of your own; takes and raises what `forward` does.
        Shape: [B, T], [B] -> [B, E] float32."""
        spectrogram = self.spectrogram(waveform, lengths, tta).to(next(self.cnn.parameters()).dtype)
        return self.cnn.features(spectrogram).float().unflatten(0, (-1, waveform.shape[0])).mean(dim=0)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax after the temperature that was fitted on validation clips. Shape: [B, C] -> [B, C] float32.

        Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
        """
        return (logits.float() / self.temperature.float()).softmax(dim=1)

    @property
    def network_hash(self) -> str:
        """SHA-256 of the labels and the network's weights; computed again when a weight has changed."""
        known = self._known()
        if known.digest is None:
            digest = hashlib.sha256(repr(self.labels).encode())
            for each in self.cnn.state_dict().values():
                digest.update(f"{each.dtype}{list(each.shape)}".encode())
                digest.update(each.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            known.digest = digest.hexdigest()
        return known.digest

    def with_voice(self, voice: Voice | None = None) -> "SpeechEmotionModel":
        """The model in evaluation mode for this speaker or none, its network by `ser_gpu.stages.prepared`.

        It shares tensors with the model, whose weights must not change while it answers; the last 16 are kept, until a
        weight changes. Raises VoiceError for a voice of another model.
        """
        if self._is_prepared and voice is None:
            return self
        self.require(voice)
        if any(module.training for module in self.modules()):  # another thread may be training it
            return self.snapshot().with_voice(voice)
        known = self._known()
        with _COPYING:
            found = known.copies.pop(voice, None) or self._prepared(voice)
            known.copies[voice] = found
            if len(known.copies) > _MOST_COPIES:
                del known.copies[next(iter(known.copies))]
        return found

    def snapshot(self) -> "SpeechEmotionModel":
        """A copy in evaluation mode, with tensors of its own."""
        return copy.deepcopy(self).eval()

    def _prepared(self, voice: Voice | None) -> "SpeechEmotionModel":
        found, statistics = copy.copy(self), None
        if voice is not None:
            arrays = (each for each in (voice.mean, voice.variance, voice.head) if each is not None)
            statistics = speaker_norm.Statistics(*(torch.from_numpy(each).to(self.device) for each in arrays))
            found._buffers = {**self._buffers, "temperature": self.temperature / voice.sharpness}
        found._modules = {**self._modules, "cnn": prepared(self.cnn, statistics)}
        found._is_prepared = True
        return found

    def _known(self) -> "_Known":
        held = (each for module in self.cnn.modules() for each in (module._parameters, module._buffers))
        tensors = [self.temperature, *(each for tensors in held for each in tensors.values() if each is not None)]
        state = [(each.data_ptr(), 0 if each.is_inference() else each._version) for each in tensors]
        state += map(id, self._modules.values())
        with _COPYING:
            if self not in _KNOWN or _KNOWN[self].state != state:
                _KNOWN[self] = _Known(state)
            return _KNOWN[self]

    def hear(self, sound: np.ndarray, state: State | None = None) -> tuple[np.ndarray, State]:
        torch.get_num_threads()  # in a new thread OpenMP learns of `torch.set_num_threads` by this call alone
        return _detector()(sound, state)

    @torch.inference_mode()
    def answer(self, windows: np.ndarray) -> np.ndarray:
        return self.probabilities(self(uploaded(torch.from_numpy(windows), self.device))).cpu().numpy()

    @torch.inference_mode()
    def measure(self, windows: np.ndarray, plan: Plan) -> tuple[Measured, np.ndarray]:
        if any(module.training for module in self.modules()):
            return self.snapshot().measure(windows, plan)
        spectrogram = self.spectrogram(torch.from_numpy(windows).to(self.device))
        measured = self.measured(spectrogram, plan)
        return measured, self.classify(spectrogram[: len(windows)], len(windows)).argmax(dim=1).cpu().numpy()

    @torch.inference_mode()
    def measured(self, spectrogram: Tensor, plan: Plan) -> Measured:
        """Measure a voice in the plan's windows, [V K, 1, M, F]. Raises ValueError without batch normalisation."""
        if not speaker_norm.layers(self.cnn):
            network = self.config.cnn.network
            raise InputError(f"the network {network!r} has no batch normalisation that could be adapted")
        views = len(spectrogram) // len(plan.kept)  # measured together: a copy's own statistics answer worse
        weight = torch.from_numpy(plan.weight).to(self.device).repeat(views) / views
        network = sharing(self.cnn)
        with speaker_norm.measuring(network, weight, plan.share) as found:
            logits = network(spectrogram.to(next(self.cnn.parameters()).dtype)).mean(dim=0)
        statistics, features = found()
        logits, features = (each.float().cpu().unflatten(0, (views, -1)).mean(dim=0) for each in (logits, features))
        arrays = (statistics.mean, statistics.variance, features, (logits / self.temperature.cpu()).log_softmax(dim=1))
        return Measured(*(each.cpu().numpy() for each in arrays))


def uploaded(windows: Tensor, device: torch.device) -> Tensor:
    """Windows on a device; on a GPU each as int16 at its own peak, from page-locked memory and by a stream of its own,
    while the batch before is answered. Shape: [V, L] floating point or int16 -> the same."""
    if device.type != "cuda":
        return windows.to(device)
    if windows.dtype != torch.int16:
        windows = as_int16(windows / windows.abs().amax(dim=1, keepdim=True).clamp(min=_SMALLEST_PEAK))
    upload, current = _upload_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(upload):
        moved = windows.pin_memory().to(device, non_blocking=True)
    current.wait_stream(upload)
    moved.record_stream(current)  # its memory is used again only after the answer
    return moved


_upload_stream = cache(torch.cuda.Stream)  # of a device


@cache
def _allow_fork() -> None:
    # a child has none of the threads that OpenMP's pool would wait for
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


@cache
def _detector() -> SpeechProbability:
    _allow_fork()
    weights = [torch.from_numpy(load_weights()[f"lstm_cell.{name}"].copy()) for name in LSTM]

    def product(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        return torch.mm(torch.from_numpy(rows), torch.from_numpy(matrix)).numpy()

    @torch.inference_mode()
    def recurrence(features: np.ndarray, *state: np.ndarray) -> tuple[np.ndarray, ...]:
        before = [torch.tensor(each)[None] for each in state]
        outputs, hidden, cell = torch.lstm(torch.from_numpy(features), before, weights, True, 1, 0, False, False, False)
        return outputs.numpy(), hidden[0].numpy(), cell[0].numpy()

    return SpeechProbability(product, recurrence)


@torch.inference_mode()
def clip_logits(model: SpeechEmotionModel, bank: ClipBank, rows: Tensor, tta: bool = True) -> Tensor:
    """What `predict` answers to clips of a bank, as logits: temperature times the log of the mean probabilities.

    The mean is over the windows with speech, or over all where none has any. Shape: [N] int64 -> [N, C] float32.
    """
    if any(module.training for module in model.modules()):
        model = model.snapshot()
    if len(rows) == 0:
        return torch.zeros(0, len(model.labels), device=model.device)
    parts = (bank_windows(model, bank, part) for part in rows.split(_CLIPS_AT_ONCE))
    return torch.cat([windows_logits(model, part, tta) for part in parts])


def bank_windows(model: SpeechEmotionModel, bank: ClipBank, rows: Tensor) -> list[Tensor]:
    """The windows of some clips, whatever the network, on the bank's device. Shape: [N] -> N times [V, L] int16."""
    heard = (torch.from_numpy(model.clip_windows(bank.waveform(row).cpu().numpy())) for row in rows.tolist())
    return [as_int16(each).to(bank.samples.device) for each in heard]


@torch.inference_mode()
def windows_logits(model: SpeechEmotionModel, windows: Sequence[Tensor], tta: bool = True) -> Tensor:
    """As `clip_logits`, by a model in evaluation mode. Shape: N times [V, L] int16, N > 0 -> [N, C] float32."""
    parts = torch.cat(list(windows)).split(model.windows_at_once if tta else _CLIPS_AT_ONCE)
    answers = torch.cat([model.probabilities(model(part.to(model.device), tta=tta)) for part in parts])
    mean = torch.stack([each.mean(dim=0) for each in answers.split([len(each) for each in windows])])
    return mean.clamp(min=torch.finfo(mean.dtype).tiny).log() * model.temperature


def _checked_lengths(lengths: Tensor, waveform: Tensor) -> Tensor:
    clips, samples = waveform.shape
    lengths = torch.as_tensor(lengths)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise InputError(f"lengths must be integers, got {lengths.dtype}")
    if lengths.shape != (clips,):
        raise InputError(f"lengths must be [{clips}], one a clip, got {list(lengths.shape)}")
    # values are read on the CPU alone: a GPU would have to wait, and a compiled graph has none
    on_host = lengths.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_host and not ((lengths >= 1) & (lengths <= samples)).all():
        raise InputError(f"lengths must be between 1 and {samples}, got {lengths.tolist()}")
    return lengths.to(waveform.device, torch.int64)
