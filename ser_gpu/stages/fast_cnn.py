"""fast_copy: the network as it answers fastest on a processor."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ser_gpu.stages import speaker_norm
from ser_gpu.stages.cnn import EmotionCnn, ResidualCnn
from ser_gpu.stages.speaker_norm import Statistics


class _To(nn.Module):
    """Shape: any -> the same, of another type."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


def fast_copy(cnn: EmotionCnn, voice: Statistics | None = None) -> EmotionCnn:
    """A copy that answers the same, with batch normalisation folded into the convolutions, and its blocks in bfloat16
    where the processor multiplies in it; for evaluation, and for one voice or for nobody in particular.

    The stem, up to the first pooling, and the last layer stay in float32: a rounded spectrogram and rounded logits cost
    most. Networks of other kinds, and other types than float32, are copied as they are. Tensors that do not differ are
    those of the network itself, not copies.
    """
    cnn = _sharing(cnn)
    if voice is not None:
        speaker_norm.become(cnn, voice)
    for member in cnn.members:
        if isinstance(member, ResidualCnn) and member.classify.weight.dtype == torch.float32:
            _fold(member)
            if multiplies_bfloat16():
                member.blocks.bfloat16()
                member.blocks[0].pool = nn.Sequential(member.blocks[0].pool, _To(torch.bfloat16))
                member.pool = nn.Sequential(_To(torch.float32), member.pool)
    return cnn


def multiplies_bfloat16() -> bool:
    """Whether this processor does."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def _sharing(module: nn.Module) -> nn.Module:
    """A copy of the modules that has the same tensors, until a layer is given another one. To copy the tensors too, by
    `copy.deepcopy`, would take a third of the time of one answer.
    """
    copied = copy.copy(module)
    copied._parameters = {
        name: None if value is None else nn.Parameter(value.detach(), requires_grad=False)
        for name, value in module._parameters.items()
    }
    copied._buffers = dict(module._buffers)
    copied._modules = {name: None if child is None else _sharing(child) for name, child in module._modules.items()}
    return copied


def _fold(member: ResidualCnn) -> None:
    pairs = [(member.stem, "0", "1"), *((block, f"conv{n}", f"norm{n}") for block in member.blocks for n in (1, 2))]
    for parent, convolution, normalisation in pairs:
        conv, norm = getattr(parent, convolution), getattr(parent, normalisation)
        statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        setattr(parent, normalisation, nn.Identity())
