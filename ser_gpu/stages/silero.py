"""SpeechDetector: does somebody speak? The network of `ser_gpu.audio.silero` in torch, for export."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from ser_gpu.audio import silero
from ser_gpu.stages.mel import Float32Module

_HIDDEN, _CONTEXT, _HOP, _FRAME = 128, 64, 128, silero.SpeechProbability.frame
_RATE = silero.SpeechProbability.sample_rate
_ZEROS = 6  # zeros of the windowed sinc on each side


class SpeechDetector(Float32Module):
    """`ser_gpu.audio.silero.speaks` at any sample rate (Hz), with constant weights. Shape: [B, T] float32 -> [B] bool.

    Raises MissingExtraError where silero-vad is not installed.
    """

    def __init__(self, sample_rate: int = _RATE):
        super().__init__()
        self.resampled = nn.Identity() if sample_rate == _RATE else Resampled(sample_rate)
        for name, values in silero.load_weights().items():
            self.register_buffer(name.replace(".", "_"), torch.tensor(values), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        speech = self.speech_probability(self.levelled(self.resampled(waveform)))
        return speech.topk(silero.LEAST_FRAMES, dim=1).values[:, -1] >= silero.THRESHOLD

    def speech_probability(self, waveform: Tensor) -> Tensor:
        """As `ser_gpu.audio.silero.speech_probability`. Shape: [B, T] at 16 kHz -> [B, frames]."""
        frames = _frames(waveform)  # [B, N, 512]
        batch, count, _ = frames.shape
        before = F.pad(frames[:, :-1, -_CONTEXT:], (0, 0, 1, 0))  # the end of the frame before
        after = frames[..., -1 - _CONTEXT : -1].flip(2)  # reflected
        heard = torch.cat([before, frames, after], dim=2).flatten(0, 1)
        real, imaginary = F.conv1d(heard[:, None], self.stft_conv_weight, stride=_HOP).chunk(2, dim=1)
        out = (real.square() + imaginary.square()).sqrt()  # [B N, 129, 4]
        for layer, stride in enumerate(silero.STRIDES, 1):
            kernel, bias = getattr(self, f"conv{layer}_weight"), getattr(self, f"conv{layer}_bias")
            out = F.conv1d(out, kernel, bias, stride=stride, padding=1).relu()
        outputs = self._lstm(out.view(batch, count, _HIDDEN))
        return F.conv1d(outputs.relu().transpose(1, 2), self.final_conv_weight, self.final_conv_bias)[:, 0].sigmoid()

    def _lstm(self, features: Tensor) -> Tensor:  # [B, N, 128] -> [B, N, 128]
        start = features.new_zeros(1, features.shape[0], _HIDDEN)
        weights = [getattr(self, f"lstm_cell_{name}") for name in silero.LSTM]
        if not torch.compiler.is_exporting():
            return torch.lstm(features, (start, start), weights, True, 1, 0.0, False, False, True)[0]
        # torch.export would unroll the LSTM for one number of frames; a scan is one node, in torch and in ONNX
        from_input, from_hidden, *biases = weights

        def step(state: tuple[Tensor, Tensor], given: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            hidden, cell = state
            enter, forget, new, leave = (given + hidden @ from_hidden.T).chunk(4, dim=1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            return (hidden, cell), hidden.clone()

        given = (features @ from_input.T + sum(biases)).transpose(0, 1)
        return scan(step, (start[0], start[0].clone()), given)[1].transpose(0, 1)

    def levelled(self, waveform: Tensor) -> Tensor:
        """As `ser_gpu.audio.silero.levelled`. Shape: [B, T] at 16 kHz -> [B, T]."""
        levels = _frames(waveform).square().mean(dim=2).sqrt().sort(dim=1).values  # [B, N], frames of zeros first
        sounding = (levels > 0).sum(dim=1)
        place = levels.shape[1] - sounding + (silero.LOUD_SHARE * sounding).long()
        loud = levels.gather(1, place.clamp(max=levels.shape[1] - 1)[:, None])
        gain = silero.LEVEL / loud.clamp(min=silero.SMALLEST_LEVEL)
        return (waveform * gain).clamp(-silero.LARGEST, silero.LARGEST)


class Resampled(nn.Module):
    """Resampling to 16 kHz by one convolution, since a graph cannot hold soxr. Shape: [B, T] -> [B, T'].

    Source: Smith, Digital Audio Resampling, https://ccrma.stanford.edu/~jos/resample (a windowed sinc).
    """

    def __init__(self, sample_rate: int):
        super().__init__()
        common = math.gcd(sample_rate, _RATE)
        self.step, phases = sample_rate // common, _RATE // common  # samples in, samples out
        cutoff = 0.95 * min(1.0, _RATE / sample_rate)
        self.reach = math.ceil(_ZEROS / cutoff)
        place = torch.arange(-self.reach, self.reach + self.step, dtype=torch.float64)
        turns = (place - self.step / phases * torch.arange(phases)[:, None]) * cutoff  # [phases, taps]
        window = (torch.pi * turns.clamp(-_ZEROS, _ZEROS) / (2 * _ZEROS)).cos().square()
        self.register_buffer("kernels", (cutoff * turns.sinc() * window).float()[:, None], persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        padded = F.pad(waveform, (self.reach, self.reach + self.step - 1))
        return F.conv1d(padded[:, None], self.kernels, stride=self.step).transpose(1, 2).flatten(1)


def _frames(waveform: Tensor) -> Tensor:  # [B, T] -> [B, N, 512], N at least 3
    samples = waveform.shape[1]
    count = torch.sym_max(silero.LEAST_FRAMES, (samples + _FRAME - 1) // _FRAME)
    return F.pad(waveform, (0, count * _FRAME - samples)).view(-1, count, _FRAME)
