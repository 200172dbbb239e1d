"""The layers of the network, in the order in which a spectrogram passes them: shapes, parameters, receptive fields."""

from dataclasses import dataclass

import torch
from torch import nn

from ser_gpu.model import SpeechEmotionModel

_NAMES = {"SpeakerNorm2d": "BatchNorm2d", "SpeakerLinear": "Linear"}  # what these are, but for a voice


@dataclass(frozen=True)
class Layer:
    """One layer of the network.

    Attributes:
        name: as in the code.
        kind: as PyTorch names it, with its size.
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
def layers(model: SpeechEmotionModel) -> list[Layer]:
    """The layers of the model's network, or of its first one where several answer together.

    Activations, reshaping and dropout of nothing are left out. Receptive fields follow the convolutions and poolings in
    order and stop at the size of the spectrogram.

    Source: Araujo et al., Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
    """
    network, config = model.cnn.members[0], model.config
    size = (config.mel.n_mels, config.frames)
    field, stride = [1, 1], [1, 1]
    rows: list[Layer] = []
    names = {module: name for name, module in network.named_modules()}

    def passed(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        if isinstance(layer, nn.ReLU | nn.Flatten) or getattr(layer, "p", 1) == 0:
            return
        _widen(layer, field, stride)
        whole = out.ndim == 2 or out.shape[2:] == (1, 1)
        reached = size if whole else tuple(min(pair) for pair in zip(field, size, strict=True))
        parameters = sum(each.numel() for each in layer.parameters())
        rows.append(Layer(names[layer], _kind(layer), tuple(out.shape[1:]), parameters, reached))

    hooks = [layer.register_forward_hook(passed) for layer in names if not list(layer.children())]
    was_training = network.training
    network.eval()(torch.zeros(1, 1, *size, device=model.device))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return rows


def _widen(layer: nn.Module, field: list[int], stride: list[int]) -> None:
    if not isinstance(layer, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d):
        return
    for axis in (0, 1):
        kernel, step, dilation = (_pair(getattr(layer, key, 1))[axis] for key in ("kernel_size", "stride", "dilation"))
        field[axis] += (kernel - 1) * dilation * stride[axis]
        stride[axis] *= step


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _kind(layer: nn.Module) -> str:
    kind = type(layer).__name__
    if isinstance(layer, nn.Dropout | nn.Dropout2d):
        return f"{kind}, p = {layer.p:g}"
    size = getattr(layer, "kernel_size", None)
    return f"{_NAMES.get(kind, kind)}{'' if size is None else ' {} x {}'.format(*_pair(size))}"
