"""prepared: a copy of a network for one voice, as fast as the device allows."""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ser_gpu.errors import InputError
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.cnn import EmotionCnn, ResidualCnn


@torch.no_grad()
def prepared(cnn: EmotionCnn, voice: speaker_norm.Statistics | None = None) -> EmotionCnn:
    """A copy for evaluation, for a voice or none, which shares unchanged tensors; ValueError for an unfitting voice.

    Members of the kind `ResidualCnn` in float32 have their batch normalisation folded and become one network, and its
    blocks are in `block_dtype`; not the stem and the last layer, since rounding a spectrogram or logits costs most.
    """
    cnn = sharing(cnn)
    if voice is not None:
        _become(cnn, voice)
    weight = next(cnn.parameters())
    if weight.dtype != torch.float32 or not all(isinstance(member, ResidualCnn) for member in cnn.members):
        return cnn
    for member in cnn.members:
        _fold(member)
    dtype = block_dtype(weight.device)
    if dtype != torch.bfloat16:  # in groups a processor may multiply in it slowly
        cnn.members = nn.ModuleList([_merged(cnn.members)])
    for member in cnn.members if dtype != torch.float32 else ():
        member.blocks.to(dtype)
        member.blocks[0].pool.register_forward_hook(lambda _, __, pooled: pooled.to(dtype))
        member.pool.register_forward_pre_hook(lambda _, features: features[0].float())
    return cnn


def block_dtype(device: torch.device) -> torch.dtype:
    """In what the residual blocks answer: 16 bits where the device is fast in them."""
    if device.type == "cuda":
        return torch.float16  # an eighth of bfloat16's rounding; what follows a normalisation does not overflow
    return torch.bfloat16 if multiplies_bfloat16() else torch.float32


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16."""
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def trains_in_bfloat16(device: torch.device) -> bool:
    """Whether a training on this device has its CNN in bfloat16: where that is fast."""
    return device.type == "cuda" or multiplies_bfloat16()


def sharing(module: nn.Module) -> nn.Module:
    """A copy of the modules with the same tensors."""
    shared = {id(each): each for each in module.buffers()}
    shared |= {id(each): nn.Parameter(each.detach(), requires_grad=False) for each in module.parameters()}
    return copy.deepcopy(module, shared)


def _become(cnn: EmotionCnn, voice: speaker_norm.Statistics) -> None:
    channels, inputs = sum(layer.num_features for layer in speaker_norm.layers(cnn)), speaker_norm.head_inputs(cnn)
    if voice.mean.shape != (channels,) or (voice.head is not None and voice.head.shape[1] != inputs + 1):
        raise InputError(f"the voice is of another network: this one normalises {channels} channels")
    for layer, (first, second) in speaker_norm.by_layer(cnn, voice).items():
        if isinstance(layer, speaker_norm.SpeakerNorm2d):
            layer.running_mean, layer.running_var = first.to(layer.running_mean), second.to(layer.running_var)
        else:
            layer.weight = nn.Parameter(layer.weight + first.to(layer.weight), requires_grad=False)
            layer.bias = nn.Parameter(layer.bias + second.to(layer.bias), requires_grad=False)


def _fold(member: ResidualCnn) -> None:
    pairs = [(member.stem, "0", "1"), *((block, f"conv{n}", f"norm{n}") for block in member.blocks for n in (1, 2))]
    for parent, convolution, normalisation in pairs:
        conv, norm = getattr(parent, convolution), getattr(parent, normalisation)
        statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        setattr(parent, normalisation, nn.Identity())


def _merged(members: Sequence[ResidualCnn]) -> ResidualCnn:
    # one network whose logits are the mean: a group of channels for each member, which side by side are faster
    merged, count = members[0], len(members)
    for name, conv in merged.named_modules():
        if isinstance(conv, nn.Conv2d):
            same = [member.get_submodule(name) for member in members]
            conv.groups = 1 if conv is merged.stem[0] else count  # all members see the same spectrogram
            conv.weight = nn.Parameter(torch.cat([each.weight for each in same]), requires_grad=False)
            if conv.bias is not None:
                conv.bias = nn.Parameter(torch.cat([each.bias for each in same]), requires_grad=False)
    last = [member.classify for member in members]
    weight, bias = torch.cat([each.weight for each in last], dim=1) / count, sum(each.bias for each in last) / count
    merged.classify.weight, merged.classify.bias = (nn.Parameter(each, requires_grad=False) for each in (weight, bias))
    return merged.to(memory_format=torch.channels_last)
