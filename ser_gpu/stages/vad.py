"""VoiceActivity: does somebody speak in this window? SpeechProbability: when does somebody speak?

The first guards `predict`, since the network answers for any sound; the second cuts a recording into a timeline.
"""

import json
import math
import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_gpu.extras import MissingExtraError

PERIODICITY = 7.8
FLUCTUATION_DB = 1.5

_FRAME_SECONDS, _HOP_SECONDS = 0.100, 0.020
_BAND_HZ = (100.0, 1_500.0)
_ENVELOPE_HZ = 150.0
_PITCH_HZ = (55.0, 450.0)
_VOICED_FRAMES = 5
_LOUD_DB = 25.0
_STEADY_SECONDS = 0.5
_SILERO_CONTEXT, _SILERO_HOP, _SILERO_HIDDEN = 64, 128, 128


class VoiceActivity(nn.Module):
    """Tell speech from silence, noise of any colour, hum and tones, at any level.

    A window holds speech if five frames (a tenth of a second) are as periodic as a vowel, and if its loud frames
    fluctuate as syllables do. Periodicity is the highest peak of the autocorrelation of a frame, its spectrum whitened
    between 100 and 1,500 Hz so that coloured noise has none, in units of what an arbitrary autocorrelation of that
    spectrum has. Windows under half a second are too short to fluctuate and asked for periodicity alone.

    Both thresholds lie between what was measured: five frames of 800 noises of all colours reach 7.75 at most, each of
    1,440 clips of acted speech 8.08 at least, and a third of them in white noise at 5 dB 8.19 at least; white to pink
    noise and hum fluctuate by 0.8 dB, the same clips by 2.9 dB at least, and in that noise by 2.1 dB.

    Args:
        sample_rate: Hz.

    Shape: [B, T] float32 -> [B] bool.

    Source: Sondhi, New Methods of Pitch Extraction, IEEE Trans. Audio and Electroacoustics, 1968 (spectral flattening).
    """

    def __init__(self, sample_rate: int):
        super().__init__()
        self.sample_rate = sample_rate
        self.frame_length = round(_FRAME_SECONDS * sample_rate)
        self.hop = round(_HOP_SECONDS * sample_rate)

    def forward(self, waveform: Tensor) -> Tensor:
        if len(waveform) == 0:  # an FFT on the CPU (MKL) refuses an empty batch
            return torch.zeros(0, dtype=torch.bool, device=waveform.device)
        frames = F.pad(waveform, (0, max(0, self.frame_length - waveform.shape[1]))).unfold(
            1, self.frame_length, self.hop
        )
        periodic = self._periodicity(frames)
        voiced = min(_VOICED_FRAMES, frames.shape[1])
        speaks = periodic.topk(voiced, dim=1).values[:, -1] > PERIODICITY
        if waveform.shape[1] < _STEADY_SECONDS * self.sample_rate:
            return speaks
        return speaks & (self._fluctuation_db(frames) > FLUCTUATION_DB)

    def _periodicity(self, frames: Tensor) -> Tensor:
        """Shape: [B, N, frame_length] -> [B, N]."""
        size = 2 * self.frame_length
        window = torch.hann_window(self.frame_length, device=frames.device, dtype=frames.dtype)
        amplitude = torch.fft.rfft(frames * window, size).abs()
        hertz = torch.fft.rfftfreq(size, 1 / self.sample_rate, device=frames.device, dtype=frames.dtype)
        reach = round(_ENVELOPE_HZ * size / self.sample_rate)
        envelope = F.avg_pool1d(amplitude, 2 * reach + 1, 1, reach, count_include_pad=False)
        in_band = (hertz > _BAND_HZ[0]) & (hertz < _BAND_HZ[1])
        white = amplitude / envelope.clamp(min=torch.finfo(torch.float32).tiny)
        white = (white - white[..., in_band].mean(dim=2, keepdim=True)) * in_band
        correlation = torch.fft.irfft(white, size)
        shortest, longest = (round(self.sample_rate / hertz) for hertz in reversed(_PITCH_HZ))
        typical = white.square().sum(dim=2).mul(2).sqrt() / size
        return correlation[..., shortest:longest].amax(dim=2) / typical.clamp(min=1e-9)

    def _fluctuation_db(self, frames: Tensor) -> Tensor:
        """Standard deviation of the level over the frames that are near the loudest one's.

        Shape: [B, N, frame_length] -> [B].
        """
        power = frames.square().mean(dim=2)
        loud = power > power.amax(dim=1, keepdim=True) * 10 ** (-_LOUD_DB / 10)
        decibels = 10 * power.clamp(min=torch.finfo(torch.float32).tiny).log10()
        count = loud.sum(dim=1).clamp(min=1)
        mean = (decibels * loud).sum(dim=1) / count
        return (((decibels - mean[:, None]).square() * loud).sum(dim=1) / count).sqrt()


class SpeechProbability(nn.Module):
    """The probability of speech every 32 ms, by the network of silero-vad.

    The weights are read as plain numbers from the installed package `silero-vad`; the package itself is not imported,
    since its import changes the number of threads of torch. Its own code asks for one frame after the other; here the
    convolutions take all frames at once, and the LSTM goes on from the state that it is given.

    Raises:
        MissingExtraError: silero-vad is not installed; the message says how to install it.

    Shape: waveform [T] float32 at 16 kHz, T a multiple of 512; a state, or None at the start -> [T / 512], the state.

    Source: Silero Team, silero-vad, https://github.com/snakers4/silero-vad (MIT), `tinygrad_model.py`.
    """

    sample_rate = 16_000
    frame = 512

    def __init__(self):
        super().__init__()
        for name, value in _silero_weights().items():
            self.register_buffer(name.replace(".", "_"), value, persistent=False)

    @torch.inference_mode()
    def forward(self, waveform: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        if state is None:
            zeros = self.final_conv_weight.new_zeros(1, 1, _SILERO_HIDDEN)
            state = waveform.new_zeros(_SILERO_CONTEXT), zeros, zeros
        context, hidden, cell = state
        frames = torch.cat([context, waveform]).unfold(0, _SILERO_CONTEXT + self.frame, self.frame)
        hidden_of_frames, hidden, cell = self._lstm(self._features(frames), hidden, cell)
        speech = F.conv1d(hidden_of_frames.relu().mT, self.final_conv_weight, self.final_conv_bias).sigmoid()
        return speech[0, 0], (waveform[-_SILERO_CONTEXT:].clone(), hidden, cell)

    def _features(self, frames: Tensor) -> Tensor:
        """Shape: [N, 576] -> [1, N, 128]."""
        padded = F.pad(frames[:, None], (0, _SILERO_CONTEXT), mode="reflect")
        spectrum = F.conv1d(padded, self.stft_conv_weight, stride=_SILERO_HOP)
        half = spectrum.shape[1] // 2
        out = (spectrum[:, :half].square() + spectrum[:, half:].square()).sqrt()
        for layer, stride in enumerate((1, 2, 2, 1), 1):
            weight, bias = getattr(self, f"conv{layer}_weight"), getattr(self, f"conv{layer}_bias")
            out = F.conv1d(out, weight, bias, stride=stride, padding=1).relu()
        return out.mT.reshape(1, len(frames), -1)

    def _lstm(self, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shape: [1, N, 128], [1, 1, 128], [1, 1, 128] -> [1, N, 128], [1, 1, 128], [1, 1, 128]."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self, f"lstm_cell_{name}") for name in names]
        return torch.lstm(features, (hidden, cell), weights, True, 1, 0.0, False, False, True)


@cache
def _silero_weights() -> dict[str, Tensor]:
    """The arrays of a safetensors file: the length of its header, the header as JSON, then the numbers."""
    spec = find_spec("silero_vad")
    if spec is None:
        raise MissingExtraError("the timeline needs silero-vad: pip install silero-vad")
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / "silero_vad_16k.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    weights = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, shape = 8 + length + entry["data_offsets"][0], entry["shape"]
            values = torch.frombuffer(bytearray(content), dtype=torch.float32, count=math.prod(shape), offset=start)
            weights[name] = values.clone().reshape(shape)
    return weights
