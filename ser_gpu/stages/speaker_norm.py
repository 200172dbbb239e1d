"""SpeakerNorm2d: batch normalisation with the statistics of a group of clips in training, and of a voice afterwards."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ser_gpu.errors import InputError
from ser_gpu.stages import speaker_head
from ser_gpu.stages.speaker_head import SpeakerLinear
from ser_gpu.stages.speaker_task import current, doing


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and variance of what comes into each batch normalisation of a network, one layer after the other; and,
    where emotions were named, what is added to its last layer (see `speaker_head`).

    Shape: mean [N], variance [N] float32, N the channels of all layers together; head [C, inputs + 1].
    """

    mean: Tensor
    variance: Tensor
    head: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Heard:
    """What was measured on some clips.

    Shape: features [B, inputs] of the last layer, logits [B, C], the mean of the members'.
    """

    statistics: Statistics
    features: Tensor
    logits: Tensor


class SpeakerNorm2d(nn.BatchNorm2d):
    """Batch normalisation; its state is that of `torch.nn.BatchNorm2d`.

    In `train()` with `groups` above 1, a batch is that many equal parts, such as clips of one speaker each, and each
    part is normalised by its own statistics. The running statistics are those of the whole batch all the same: the
    variance is the total one, within groups and between them. With one group it is `torch.nn.BatchNorm2d`.

    In `eval()` the running statistics normalise, or inside of `using` those of a voice for each clip.

    Shape: [B, C, H, W] -> [B, C, H, W], B a multiple of `groups`.

    Source: Ioffe and Szegedy, Batch Normalization, ICML 2015; Li et al., Revisiting Batch Normalization For Practical
    Domain Adaptation, 2016, for the statistics of a new domain.
    """

    def __init__(self, channels: int):
        super().__init__(channels)
        self.groups = 1

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x) if self.groups == 1 else self._by_group(x)
        task = current()
        return super().forward(x) if task is None else task.normalise(self, x)

    def _by_group(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, H, W]."""
        parts = [
            torch.native_batch_norm(part, self.weight, self.bias, None, None, True, 0.0, self.eps)
            for part in x.chunk(self.groups)
        ]
        with torch.no_grad():
            means = torch.stack([mean for _, mean, _ in parts]).float()
            within = torch.stack([inverse for _, _, inverse in parts]).float().pow(-2) - self.eps
            mean = means.mean(dim=0)
            total = within.mean(dim=0) + (means - mean).square().mean(dim=0)
            cells = x.numel() // x.shape[1]
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((total * (cells / (cells - 1))).to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        return torch.cat([out for out, _, _ in parts])


def layers(network: nn.Module) -> list[SpeakerNorm2d]:
    """Those of a network, in the order of `Statistics`."""
    return [module for module in network.modules() if isinstance(module, SpeakerNorm2d)]


def population(network: nn.Module) -> Statistics:
    """The running statistics of a network: those of all voices of its training."""
    own = layers(network)
    return Statistics(torch.cat([layer.running_mean for layer in own]), torch.cat([layer.running_var for layer in own]))


def set_groups(network: nn.Module, groups: int) -> None:
    """Into how many equal parts the next batches in training fall."""
    for layer in layers(network):
        layer.groups = groups


@torch.inference_mode()
def measured(network: nn.Module, spectrogram: Tensor, weight: Tensor, share: float) -> Heard:
    """The statistics of some clips, shrunk towards the population's, which the running statistics are.

    Each layer is measured on what the layers before it give when they are adapted.

    Args:
        network: in evaluation mode; it is not changed.
        spectrogram: of the clips.
        weight: of each clip; they sum to one.
        share: of the clips' statistics against the population's, 0 to 1.

    Shape: [B, 1, M, F], [B] -> all on the CPU.
    """
    with measuring(network, weight, share) as found:
        logits = network(spectrogram).mean(dim=0)
    statistics, features = found()
    return Heard(Statistics(statistics.mean.cpu(), statistics.variance.cpu()), features.cpu(), logits.float().cpu())


@contextmanager
def measuring(
    network: nn.Module, weight: Tensor, share: float | Tensor, population: Statistics | None = None
) -> Iterator[Callable[[], tuple[Statistics, Tensor]]]:
    """Let this thread's forward pass of a network in evaluation measure its clips, and normalise by what it finds.

    Args:
        network, weight, share: as in `measured`.
        population: towards which to shrink; left out, the running statistics. Its head is added to the last layer.

    Yields:
        What was found, for after the pass: the statistics, and the features of the last layer, [B, inputs].
    """
    own, last = layers(network), speaker_head.layers(network)
    task = _Measure(weight, share)
    if population is not None:
        task.population = dict(zip(own, _parts(own, population), strict=True))
        if population.head is not None:
            task.heads = dict(zip(last, speaker_head.parts(last, population.head), strict=True))
    with doing(task):
        yield lambda: (
            Statistics(*map(torch.cat, zip(*(task.found[layer] for layer in own), strict=True))),
            speaker_head.joined([task.features[layer] for layer in last], weight),
        )


@contextmanager
def using(network: nn.Module, voices: Sequence[Statistics | None]) -> Iterator[None]:
    """Let this thread's forward passes of a network in evaluation normalise each clip by the statistics of its voice.

    Args:
        network: it is not changed, and other threads do not notice.
        voices: of each clip of the batch, or of each clip of one view where the batch is several views one after the
            other; None is the population.

    Raises:
        ValueError: statistics of another network.
    """
    if all(voice is None for voice in voices):
        yield
        return
    with doing(_Use(network, voices)):
        yield


@torch.no_grad()
def become(network: nn.Module, voice: Statistics) -> None:
    """Change a network to the one of a voice: its statistics become the running ones, and its head is added.

    Its layers get other tensors; those that they had, which another network may share, stay as they are.
    """
    own = layers(network)
    sizes = [layer.num_features for layer in own]
    for layer, mean, variance in zip(own, voice.mean.split(sizes), voice.variance.split(sizes), strict=True):
        layer.running_mean = mean.to(layer.running_mean)
        layer.running_var = variance.to(layer.running_var)
    if voice.head is not None:
        last = speaker_head.layers(network)
        for layer, (weight, bias) in zip(last, speaker_head.parts(last, voice.head), strict=True):
            layer.weight = nn.Parameter(layer.weight + weight.to(layer.weight), requires_grad=False)
            layer.bias = nn.Parameter(layer.bias + bias.to(layer.bias), requires_grad=False)


class _Measure:
    """Measures each layer's input, and normalises it by what was found."""

    def __init__(self, weight: Tensor, share: float | Tensor):
        self.weight = weight[:, None]
        self.share = share
        self.population: dict[SpeakerNorm2d, tuple[Tensor, Tensor]] = {}
        self.heads: dict[SpeakerLinear, tuple[Tensor, Tensor]] = {}
        self.found: dict[SpeakerNorm2d, tuple[Tensor, Tensor]] = {}
        self.features: dict[SpeakerLinear, Tensor] = {}

    def normalise(self, layer: SpeakerNorm2d, x: Tensor) -> Tensor:
        values = x.float()
        mean = (self.weight * values.mean(dim=(2, 3))).sum(dim=0)
        spread = (values - mean[:, None, None]).square().mean(dim=(2, 3))
        variance = (self.weight * spread).sum(dim=0)
        of_all = (layer.running_mean.float(), layer.running_var.float())
        of_all = self.population.get(layer, of_all)
        mean = torch.lerp(of_all[0], mean, self.share)
        variance = torch.lerp(of_all[1], variance, self.share)
        self.found[layer] = mean, variance
        scale, shift = _affine(layer, mean, variance)
        return (values * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    def classify(self, layer: SpeakerLinear, x: Tensor, logits: Tensor) -> Tensor:
        self.features[layer] = x.float()
        if layer not in self.heads:
            return logits
        weight, bias = self.heads[layer]
        return logits + torch.nn.functional.linear(x.float(), weight, bias).to(logits.dtype)


class _Use:
    """Normalises each clip by the statistics of its voice."""

    def __init__(self, network: nn.Module, voices: Sequence[Statistics | None]):
        own = layers(network)
        sizes = [layer.num_features for layer in own]
        distinct = list({id(voice): voice for voice in voices}.values())
        place = {id(voice): i for i, voice in enumerate(distinct)}
        device = own[0].running_mean.device if own else None
        self.rows = torch.tensor([place[id(voice)] for voice in voices], device=device)
        self.of_layer: dict[SpeakerNorm2d, tuple[Tensor, Tensor]] = {}
        known = [voice for voice in distinct if voice is not None]
        if not own or any(voice.mean.shape != (sum(sizes),) for voice in known):
            raise InputError(f"the voice is of another network: this one normalises {sum(sizes)} channels")
        means = [None if voice is None else voice.mean.to(device).split(sizes) for voice in distinct]
        variances = [None if voice is None else voice.variance.to(device).split(sizes) for voice in distinct]
        for i, layer in enumerate(own):
            mean = torch.stack([layer.running_mean.float() if each is None else each[i] for each in means])
            variance = torch.stack([layer.running_var.float() if each is None else each[i] for each in variances])
            self.of_layer[layer] = _affine(layer, mean, variance)
        self.of_last = self._heads(speaker_head.layers(network), distinct, device)

    @staticmethod
    def _heads(
        last: Sequence[SpeakerLinear], distinct: Sequence[Statistics | None], device: torch.device | None
    ) -> dict[SpeakerLinear, tuple[Tensor, Tensor]]:
        """What each distinct voice adds to the weight and the bias of each last layer; nothing without a head."""
        heads = [None if voice is None else voice.head for voice in distinct]
        if all(head is None for head in heads):
            return {}
        shape = (last[0].out_features, sum(layer.in_features for layer in last) + 1) if last else ()
        if any(head is not None and head.shape != shape for head in heads):
            raise InputError("the voice is of another network: its head does not fit")
        stacked = torch.stack([torch.zeros(shape) if head is None else head for head in heads]).to(device)
        return dict(zip(last, speaker_head.parts(last, stacked), strict=True))

    def classify(self, layer: SpeakerLinear, x: Tensor, logits: Tensor) -> Tensor:
        if layer not in self.of_last:
            return logits
        weight, bias = (each[self.rows] for each in self.of_last[layer])
        of_views = x.float().unflatten(0, (-1, len(self.rows)))
        added = torch.einsum("vbd,bcd->vbc", of_views, weight) + bias
        return logits + added.flatten(0, 1).to(logits.dtype)

    def normalise(self, layer: SpeakerNorm2d, x: Tensor) -> Tensor:
        views = x.shape[0] // self.rows.shape[0]
        scale, shift = (each[self.rows].repeat(views, 1)[:, :, None, None] for each in self.of_layer[layer])
        return (x.float() * scale + shift).to(x.dtype)


def _parts(own: Sequence[SpeakerNorm2d], statistics: Statistics) -> Iterator[tuple[Tensor, Tensor]]:
    """Mean and variance of each layer.

    Shape: -> [C], [C] each.
    """
    sizes = [layer.num_features for layer in own]
    return zip(statistics.mean.split(sizes), statistics.variance.split(sizes), strict=True)


def _affine(layer: SpeakerNorm2d, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift that normalise by these statistics and then do what the layer learnt.

    Shape: [..., C], [..., C] -> [..., C], [..., C].
    """
    scale = layer.weight.float() * (variance + layer.eps).rsqrt()
    return scale, layer.bias.float() - mean * scale
