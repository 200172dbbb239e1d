"""The optimizers: AdamW, Muon for convolution kernels, and the exponential moving average of the weights."""

from collections.abc import Iterable, Sequence
from itertools import compress

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from ser_gpu.training.config import TrainConfig

_A, _B, _C = 3.4445, -4.7750, 2.0315  # of Muon's quintic
_ITERATIONS = 5
_SMALLEST_NORM = 1e-7


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[Optimizer]:
    """AdamW; with "muon", Muon for 2-D convolution kernels of more than one input channel, AdamW for the rest."""
    kernels = [each for each in model.parameters() if each.ndim == 4 and each.shape[1] > 1]  # not first, not depthwise
    kernels = kernels if config.optimizer == "muon" else []
    inside = {id(kernel) for kernel in kernels}
    others = [each for each in model.parameters() if id(each) not in inside]
    decayed, spared = ([each for each in others if (each.ndim > 1) is decays] for decays in (True, False))
    groups = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]  # biases and batch normalisation
    adamw = AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    return [adamw, Muon(kernels, lr=config.kernel_lr, weight_decay=config.weight_decay)] if kernels else [adamw]


class MovingAverage(AveragedModel):
    """Moving average of weights and buffers, with a warm-up: few steps must not end near the random first weights."""

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the model; the first update copies it, and every update copies integers, such as counters."""
        updates = int(self.n_averaged)  # on the CPU; torch's own update copies it to the device and waits
        own, new = ([*each.parameters(), *each.buffers()] for each in (self.module, model))
        moves = [each.is_floating_point() and updates > 0 for each in own]
        if updates:
            share = 1 - min(self.decay, (1 + updates) / (10 + updates))
            torch._foreach_lerp_([*compress(own, moves)], [*compress(new, moves)], share)
        for each, value, moved in zip(own, new, moves, strict=True):
            if not moved:
                each.copy_(value)
        self.n_averaged += 1


class Muon(Optimizer):
    """Nesterov momentum with an orthogonal step and decoupled weight decay; `torch.optim.Muon` takes matrices only.
    A kernel is a matrix: output channels by all the rest. `lr` is the spectral norm of the step, times
    sqrt(rows / columns) where rows are more.
    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024."""

    def __init__(self, kernels: Iterable[Tensor], lr: float, momentum: float = 0.9, weight_decay: float = 0.05):
        super().__init__(kernels, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Move every kernel that has a gradient."""
        for group in self.param_groups:
            kernels = [kernel for kernel in group["params"] if kernel.grad is not None]
            if not kernels:
                continue
            for kernel in kernels:
                if not self.state[kernel]:
                    self.state[kernel]["momentum_buffer"] = torch.zeros_like(kernel)
            gradients = [kernel.grad for kernel in kernels]
            averages = [self.state[kernel]["momentum_buffer"] for kernel in kernels]
            torch._foreach_lerp_(averages, gradients, 1.0 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
            torch._foreach_mul_(kernels, 1.0 - group["lr"] * group["weight_decay"])
            for kernel, direction in zip(kernels, orthogonal([each.flatten(1) for each in ahead]), strict=True):
                rows, columns = direction.shape
                kernel.sub_(direction.reshape(kernel.shape), alpha=group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each matrix with its singular vectors, and singular values of 0.7 to 1.2 (but the smallest). Shape: [R, S] each.

    The Newton-Schulz iteration X <- (a + b XX' + c (XX')^2) X runs on XX' alone, so the long side enters two products.
    Matrices of one size go together, since a GPU waits for the host between small products."""
    wide = [each if each.shape[0] <= each.shape[1] else each.mT for each in matrices]
    turned: list[Tensor] = list(wide)
    for size in {len(each) for each in wide}:
        places = [place for place, each in enumerate(wide) if len(each) == size]
        products = _iterated(torch.stack([wide[place] @ wide[place].mT for place in places]))
        for place, product in zip(places, products, strict=True):
            turned[place] = product @ wide[place]
    return [each if each.shape == matrix.shape else each.mT for each, matrix in zip(turned, matrices, strict=True)]


def _iterated(gram: Tensor) -> Tensor:
    """The factor of each matrix, from its Gram matrix. Shape: [N, R, R] -> [N, R, R]."""
    square = gram.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=_SMALLEST_NORM**2)[:, None, None]  # of the norm
    gram = gram / square
    identity = torch.eye(gram.shape[1], device=gram.device, dtype=gram.dtype)

    def quintic(gram: Tensor) -> Tensor:
        return torch.baddbmm(_A * identity + _B * gram, gram, gram, alpha=_C)

    product = factor = quintic(gram)
    for _ in range(_ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = quintic(gram)
        product = factor @ product
    return product * square.rsqrt()
