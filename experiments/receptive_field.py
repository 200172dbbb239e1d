"""The parts of the network, in the order in which a spectrogram passes them: shapes, parameters, receptive fields."""

from dataclasses import dataclass

import torch
from torch import nn

from ser_gpu.model import SpeechEmotionModel


@dataclass(frozen=True)
class Part:
    """One part of the network.

    Attributes:
        name: as in the code.
        kind: the class, or the layers of a sequence.
        shape: of the output, for one clip.
        parameters: how many are trained.
        receptive_field: mel bands and frames of the spectrogram that one cell of the output depends on.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    receptive_field: tuple[int, int]


@torch.inference_mode()
def parts(model: SpeechEmotionModel) -> list[Part]:
    """The parts of the model's network, or of its first one where several answer together.

    Receptive fields follow the convolutions and poolings in order and stop at the size of the spectrogram.

    Source: Araujo et al., Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
    """
    network, config = model.cnn.members[0], model.config
    size = (config.mel.n_mels, config.frames)
    was_training = network.training
    named = _named_parts(network)
    shapes, layers = _passed(network.eval(), named, (1, *size))
    network.train(was_training)
    field, stride = [1, 1], [1, 1]
    rows = []
    for name, part in named.items():
        own = set(part.modules())
        for layer in (layer for layer in layers if layer in own):
            _widen(layer, field, stride)
        whole = len(shapes[name]) == 1
        reached = size if whole else tuple(min(pair) for pair in zip(field, size, strict=True))
        parameters = sum(p.numel() for p in part.parameters())
        rows.append(Part(name, _kind(part), shapes[name], parameters, reached))
    return rows


def _passed(
    network: nn.Module, named: dict[str, nn.Module], spectrogram: tuple[int, int, int]
) -> tuple[dict[str, tuple[int, ...]], list[nn.Module]]:
    """The output shape of each part, for one clip, and the layers in the order in which they are called."""
    shapes: dict[str, tuple[int, ...]] = {}
    layers: list[nn.Module] = []
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:])))
        for name, part in named.items()
    ]
    hooks += [module.register_forward_hook(lambda layer, *_: layers.append(layer)) for module in network.modules()]
    network(torch.zeros(1, *spectrogram, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    return shapes, layers


def _named_parts(network: nn.Module) -> dict[str, nn.Module]:
    """The children, each block on its own, without dropout."""
    named = {}
    for name, child in network.named_children():
        if isinstance(child, nn.Sequential) and all(list(block.children()) for block in child):
            named |= {f"{name}.{number}": block for number, block in child.named_children()}
        elif not isinstance(child, nn.Dropout):
            named[name] = child
    return named


def _widen(layer: nn.Module, field: list[int], stride: list[int]) -> None:
    if not isinstance(layer, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d):
        return
    for axis in (0, 1):
        kernel, step, dilation = (_pair(getattr(layer, key, 1))[axis] for key in ("kernel_size", "stride", "dilation"))
        field[axis] += (kernel - 1) * dilation * stride[axis]
        stride[axis] *= step


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _kind(part: nn.Module) -> str:
    if isinstance(part, nn.Sequential):
        return ", ".join(type(layer).__name__ for layer in part)
    return type(part).__name__
