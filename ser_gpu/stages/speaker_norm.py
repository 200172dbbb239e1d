"""SpeakerNorm2d: batch normalisation by the statistics of a group of clips in training, and of a voice afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Statistics(NamedTuple):
    """Mean and variance of the inputs of each batch normalisation, layer after layer, and the head, if there is one."""

    mean: Tensor  # [C] float32, C the channels of all layers together
    variance: Tensor  # [C] float32
    head: Tensor | None = None  # [classes, N + 1]: added to the last layers' weights, N inputs together, and bias


class SpeakerNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, but in `train()` each of `groups` equal parts of a batch has its own statistics.

    The running statistics are those of the whole batch. Shape: [B, C, H, W] -> the same, B a multiple of `groups`.
    Source: Li et al., Revisiting Batch Normalization For Practical Domain Adaptation, 2016.
    """

    def __init__(self, channels: int):
        super().__init__(channels)
        self.groups = 1

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.groups == 1:
            return super().forward(x)
        settings = self.weight, self.bias, None, None, True, 0.0, self.eps
        parts = [torch.native_batch_norm(part, *settings) for part in x.chunk(self.groups)]
        with torch.no_grad():
            means = torch.stack([mean for _, mean, _ in parts]).float()  # [groups, C]
            within = torch.stack([inverse for _, _, inverse in parts]).float().pow(-2) - self.eps
            mean = means.mean(dim=0)
            total = within.mean(dim=0) + (means - mean).square().mean(dim=0)  # within groups and between them
            cells = x.numel() // x.shape[1]
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((total * (cells / (cells - 1))).to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        return torch.cat([out for out, _, _ in parts])


class SpeakerLinear(nn.Linear):
    """`torch.nn.Linear` as the last layer of a network, to which a voice may add a head."""


def layers(network: nn.Module) -> list[SpeakerNorm2d]:
    """The normalisations of a network, in the order of `Statistics`."""
    return [module for module in network.modules() if isinstance(module, SpeakerNorm2d)]


def last_layers(network: nn.Module) -> list[SpeakerLinear]:
    """The last layer of each member that takes a head."""
    return [module for module in network.modules() if isinstance(module, SpeakerLinear)]


def head_inputs(network: nn.Module) -> int:
    """N: inputs of the last layers of all members; 0 where they take no head."""
    return sum(layer.in_features for layer in last_layers(network))


def population(network: nn.Module) -> Statistics:
    """The running statistics of a network, which are those of its training."""
    own = layers(network)
    return Statistics(torch.cat([layer.running_mean for layer in own]), torch.cat([layer.running_var for layer in own]))


def by_layer(network: nn.Module, voice: Statistics) -> dict[nn.Module, tuple[Tensor, Tensor]]:
    """Mean and variance of each normalisation, and the head's weight and bias of each last layer."""
    own, last = layers(network), last_layers(network)
    sizes = [layer.num_features for layer in own]
    found = dict(zip(own, zip(voice.mean.split(sizes), voice.variance.split(sizes), strict=True), strict=True))
    if voice.head is not None:
        weights = voice.head[:, :-1].split([layer.in_features for layer in last], dim=1)
        found |= {layer: (weight, voice.head[:, -1]) for layer, weight in zip(last, weights, strict=True)}
    return found


def set_groups(network: nn.Module, groups: int) -> None:
    """Set into how many equal parts training batches fall."""
    for layer in layers(network):
        layer.groups = groups


@contextmanager
def measuring(
    network: nn.Module, weight: Tensor, share: float | Tensor, towards: Statistics | None = None
) -> Iterator[Callable[[], tuple[Statistics, Tensor]]]:
    """Let a network's forward pass in evaluation measure its clips, and normalise each layer by what it finds.

    It yields a function that gives, after the pass, the statistics, and the features of the last layers, [B, N], scaled
    for the mean of their logits. Nobody else may use the network meanwhile.

    Args:
        weight: of each clip, [B]; they sum to one.
        share: of the clips' statistics, 0 to 1; the rest is that of `towards`.
        towards: left out, the running statistics; its head is added to the last layer.
    """
    own, last = layers(network), last_layers(network)
    given = by_layer(network, towards or population(network))
    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    features: dict[nn.Module, Tensor] = {}

    def normalise(layer: SpeakerNorm2d, inputs: tuple[Tensor], _: Tensor) -> Tensor:
        values = inputs[0].float()  # [B, C, H, W]
        mean = (weight[:, None] * values.mean(dim=(2, 3))).sum(dim=0)
        spread = (values - mean[:, None, None]).square().mean(dim=(2, 3))
        variance = (weight[:, None] * spread).sum(dim=0)
        pairs = zip(given[layer], (mean, variance), strict=True)
        found[layer] = tuple(torch.lerp(before.float(), own, share) for before, own in pairs)
        own_scale = layer.weight.float(), layer.bias.float()
        return F.batch_norm(values, *found[layer], *own_scale, eps=layer.eps).to(inputs[0].dtype)

    def classify(layer: SpeakerLinear, inputs: tuple[Tensor], logits: Tensor) -> Tensor:
        features[layer] = inputs[0].float()
        return logits + F.linear(features[layer], *given[layer]).to(logits.dtype) if layer in given else logits

    hooks = [layer.register_forward_hook(normalise) for layer in own]
    hooks += [layer.register_forward_hook(classify) for layer in last]
    try:
        yield lambda: (
            Statistics(*map(torch.cat, zip(*(found[layer] for layer in own), strict=True))),
            torch.cat([features[layer] for layer in last], dim=1) / len(last) if last else weight[:, None][:, :0],
        )
    finally:
        for hook in hooks:
            hook.remove()
