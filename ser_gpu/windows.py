"""The windows of a recording in which somebody speaks, and what a model answers to them.

Silence around the speech is cut, speech longer than the window is read in windows that overlap by half, and the
probabilities of those in which somebody speaks are averaged: in `ser_gpu.inference` and for the clips of a `ClipBank`.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ser_gpu.audio.clip_bank import INT16_SCALE, ClipBank, as_int16
from ser_gpu.audio.reader import AudioError
from ser_gpu.audio.samples import recording as read_recording
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.fast_cnn import fast_copy
from ser_gpu.voice import Voice, require_model

SHORTEST_SECONDS = 0.05
SEGMENT_SECONDS = 60.0
_AT_ONCE = {"cpu": 4}  # fastest of 1 to 12, with nine copies of each and a worker a core
_AT_ONCE_ON_GPU = 256
_CLIPS_AT_ONCE = 64


@dataclass(frozen=True)
class Windows:
    """Where somebody speaks in a piece of a recording.

    Attributes:
        starts: of each window, in samples from the start of the recording, [V] int64.
        samples: of each window; speech shorter than the window has zeros around it, [V, L] float32.
        seconds: that the windows cover together, what two of them share counted once.
        last: True where the recording ends with this piece.
    """

    starts: Tensor
    samples: Tensor
    seconds: float
    last: bool


def speech(
    model: SpeechEmotionModel, recording: object, sample_rate: int | None = None
) -> tuple[str, Iterator[Windows]]:
    """What to call a recording, and its windows with speech, a piece of at most a minute at a time.

    Raises:
        AudioError: as in `predict`, some when the recording is opened and some while it is read.
    """
    name, pieces = read_recording(recording, sample_rate, model.sample_rate, SEGMENT_SECONDS)
    return name, _speech_of_pieces(model, name, map(torch.from_numpy, pieces))


@torch.inference_mode()
def clip_logits(
    model: SpeechEmotionModel, bank: ClipBank, rows: Tensor, tta: bool = True, voice: Voice | None = None
) -> Tensor:
    """What `predict` answers to some clips of a bank, in evaluation mode, as logits: the temperature times the log of
    the mean probabilities over the windows with speech; over all windows where none has any.

    Args:
        tta: test-time augmentation.
        voice: who speaks in all of them.

    Shape: [N] int64 -> [N, C] float32.
    """
    require_model(voice, model)
    model = in_evaluation(model)
    if len(rows) == 0:
        return torch.zeros(0, len(model.labels), device=model.device)
    parts = (bank_windows(model, bank, part) for part in rows.split(_CLIPS_AT_ONCE))
    return torch.cat([windows_logits(model, part, tta, voice) for part in parts])


def bank_windows(model: SpeechEmotionModel, bank: ClipBank, rows: Tensor) -> list[Tensor]:
    """The windows of some clips, as the bank keeps them, on its device. They do not depend on the network, so a
    training asks for those of its validation part once.

    Shape: [N] int64 -> N times [V, L] int16.
    """
    heard = (windows_to_answer(model, bank.waveform(row).cpu()) for row in rows.tolist())
    return [as_int16(each).to(bank.samples.device) for each in heard]


@torch.inference_mode()
def windows_logits(
    model: SpeechEmotionModel, windows: Sequence[Tensor], tta: bool = True, voice: Voice | None = None
) -> Tensor:
    """As `clip_logits`, of the windows of each clip, N of them, 1 or more.

    Args:
        model: in evaluation mode.

    Shape: [V, L] each, int16 or floating point -> [N, C] float32.
    """
    together = torch.cat(list(windows))
    parts = (together if together.is_floating_point() else together / INT16_SCALE).split(
        at_once(model) if tta else _CLIPS_AT_ONCE
    )
    answers = torch.cat([probabilities(model, part, tta, voice) for part in parts])
    answers = answers.split([len(each) for each in windows])
    mean = torch.stack([each.mean(dim=0) for each in answers])
    return mean.clamp(min=torch.finfo(mean.dtype).tiny).log() * model.temperature


@torch.inference_mode()
def windows_to_answer(model: SpeechEmotionModel, waveform: Tensor) -> Tensor:
    """The windows of a clip with speech; all where none has any.

    Shape: [T] -> [V, L].
    """
    _, windows = _windows(model, waveform)
    if len(windows) > 1:
        spoken = _speaks(model, windows)
        windows = windows[spoken] if spoken.any() else windows
    return _padded(model, windows)


@torch.inference_mode()
def probabilities(
    model: SpeechEmotionModel,
    windows: Tensor,
    tta: bool = True,
    voice: Voice | Sequence[Voice | None] | None = None,
) -> Tensor:
    """What the model answers to each window, in evaluation mode.

    Args:
        tta: test-time augmentation.
        voice: who speaks, in all of them or in each.

    Shape: [V, L] -> [V, C].
    """
    if len(windows) == 0:  # an FFT on the CPU (MKL) refuses an empty batch
        return torch.zeros(0, len(model.labels), device=model.device)
    return model.probabilities(model(windows.to(model.device), tta=tta, voice=voice))


def at_once(model: SpeechEmotionModel) -> int:
    """Windows in a batch that are answered fastest on the model's device."""
    return _AT_ONCE.get(model.device.type, _AT_ONCE_ON_GPU)


def in_evaluation(model: SpeechEmotionModel) -> SpeechEmotionModel:
    """The model, or a copy of it in evaluation mode: another thread may be training it."""
    if any(module.training for module in model.modules()):
        return copy.deepcopy(model).eval()
    return model


def fast(model: SpeechEmotionModel, voice: Voice | None = None) -> tuple[SpeechEmotionModel, Voice | None]:
    """What answers fastest, and the voice with which to ask it: on a processor the same stages with a copy of the
    network that is made for this voice, and no voice; on a GPU both as they are.

    The copy shares tensors with the model, whose weights must not change as long as it answers.
    """
    if model.device.type != "cpu":
        return model, voice
    fast = copy.copy(model)
    fast._modules = {**model._modules, "cnn": fast_copy(model.cnn, voice and voice.statistics)}
    if voice is not None:
        fast._buffers = {**model._buffers, "temperature": model.temperature / voice.sharpness}
    return fast, None


def _speech_of_pieces(model: SpeechEmotionModel, name: str, pieces: Iterator[Tensor]) -> Iterator[Windows]:
    shortest, segment = SHORTEST_SECONDS * model.sample_rate, round(SEGMENT_SECONDS * model.sample_rate)
    offset = 0
    for piece in pieces:
        if len(piece) < shortest and offset == 0:
            milliseconds, least = 1000 * len(piece) / model.sample_rate, 1000 * SHORTEST_SECONDS
            raise AudioError(f"{name}: {milliseconds:.0f} ms is too short, {least:.0f} ms is the least")
        if len(piece) >= shortest:
            starts, windows = _windows(model, piece)
            spoken = _speaks(model, windows)
            samples = _padded(model, windows[spoken])
            seconds = _covered(starts[spoken], windows.shape[1]) / model.sample_rate
            yield Windows(offset + starts[spoken], samples, seconds, last=len(piece) < segment)
        offset += len(piece)


@torch.inference_mode()
def _windows(model: SpeechEmotionModel, waveform: Tensor) -> tuple[Tensor, Tensor]:
    """The sound of one clip in overlapping windows, the last one flush with its end, silent ones left out.

    Shape: [T] -> [W] int64, [W, L'] with L' at most L.
    """
    first, end = (int(bound) for bound in model.trim.bounds(waveform[None]))
    first = min(first, end - 1)
    length = min(model.config.audio.clip_samples, end - first)
    starts = torch.tensor([*range(first, end - length, max(1, length // 2)), end - length])
    windows = torch.stack([waveform[at : at + length] for at in starts.tolist()])
    peaks = windows.abs().amax(dim=1)
    sounds = peaks >= peaks.max() * 10 ** (-model.config.trim.top_db / 20)
    return starts[sounds], windows[sounds]


def _covered(starts: Tensor, length: int) -> int:
    """Samples that windows cover together.

    Args:
        starts: of each, in rising order.
        length: of each.

    Shape: [V] int64 -> [].
    """
    return int(starts.diff().clamp(max=length).sum()) + length if len(starts) else 0


@torch.inference_mode()
def _speaks(model: SpeechEmotionModel, windows: Tensor) -> Tensor:
    """On the model's device, as all that the model does.

    Shape: [W, L'] -> [W] bool, on the CPU.
    """
    return torch.cat([model.vad(part.to(model.device)).cpu() for part in windows.split(_CLIPS_AT_ONCE)])


def _padded(model: SpeechEmotionModel, windows: Tensor) -> Tensor:
    """Zeros around windows that are shorter than L; in front whole hops of the trimming, whose frames stay the same.

    Shape: [W, L'] -> [W, L].
    """
    missing, hop = model.config.audio.clip_samples - windows.shape[1], model.config.trim.hop
    before = missing // 2 // hop * hop
    return F.pad(windows, (before, missing - before))
