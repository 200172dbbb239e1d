"""SpeechDetector: does somebody speak? The network of `ser_gpu.audio.silero` for a batch on a GPU, and for export."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops.scan import scan

from ser_gpu.audio import silero
from ser_gpu.stages.mel import Float32Module

_HIDDEN, _CONTEXT, _HOP, _FRAME = 128, 64, 128, silero.SpeechProbability.frame


class SpeechDetector(Float32Module):
    """What `ser_gpu.audio.silero` computes in NumPy: `speaks`, and its `speech_probability` and `levelled`.

    The weights are constants: no part of a state dict, and not trained.

    Shape: [B, T] float32 at 16 kHz -> [B] bool.

    Raises:
        MissingExtraError: silero-vad is not installed.
    """

    def __init__(self):
        super().__init__()
        for name, values in silero.load_weights().items():
            self.register_buffer(name.replace(".", "_"), torch.tensor(values), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        speech = self.speech_probability(self.levelled(waveform))
        return speech.topk(silero.LEAST_FRAMES, dim=1).values[:, -1] >= silero.THRESHOLD

    def speech_probability(self, waveform: Tensor) -> Tensor:
        """Shape: [B, T] -> [B, frames]."""
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

    def _lstm(self, features: Tensor) -> Tensor:
        """Shape: [B, N, 128] -> [B, N, 128]."""
        start = features.new_zeros(1, features.shape[0], _HIDDEN)
        weights = [getattr(self, f"lstm_cell_{name}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
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
        """Shape: [B, T] -> [B, T]."""
        levels = _frames(waveform).square().mean(dim=2).sqrt().sort(dim=1).values  # [B, N], frames of zeros first
        sounding = (levels > 0).sum(dim=1)
        place = levels.shape[1] - sounding + (silero.LOUD_SHARE * sounding).long()
        loud = levels.gather(1, place.clamp(max=levels.shape[1] - 1)[:, None])
        gain = silero.LEVEL / loud.clamp(min=silero.SMALLEST_LEVEL)
        return (waveform * gain).clamp(-silero.LARGEST, silero.LARGEST)


def _frames(waveform: Tensor) -> Tensor:
    """Shape: [B, T] -> [B, N, 512], three at least; zeros behind."""
    samples = waveform.shape[1]
    count = torch.sym_max(silero.LEAST_FRAMES, (samples + _FRAME - 1) // _FRAME)
    return F.pad(waveform, (0, count * _FRAME - samples)).view(-1, count, _FRAME)
