"""Which optimizer updates which weights."""

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW, Optimizer

from ser_gpu.training.config import TrainConfig
from ser_gpu.training.muon import Muon


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[Optimizer]:
    """AdamW for all weights; with "muon", Muon for the kernels of 2-D convolutions that see more than one channel (not
    the first layer, not depthwise ones) and AdamW for the others.
    """
    kernels = [each for each in model.parameters() if each.ndim == 4 and each.shape[1] > 1]
    if config.optimizer == "adamw" or not kernels:
        return [AdamW(_decay_groups(model.parameters(), config.weight_decay), lr=config.lr)]
    inside = {id(kernel) for kernel in kernels}
    others = [each for each in model.parameters() if id(each) not in inside]
    return [
        AdamW(_decay_groups(others, config.weight_decay), lr=config.lr),
        Muon(kernels, lr=config.kernel_lr, weight_decay=config.weight_decay),
    ]


def _decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    """Weight decay for convolution and linear kernels; none for biases and batch normalisation."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for each in parameters:
        (decayed if each.ndim > 1 else spared).append(each)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
