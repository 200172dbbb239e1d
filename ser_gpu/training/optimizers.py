"""The optimizers: AdamW, Muon for convolution kernels, and the exponential moving average of the weights."""

import copy
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ser_gpu.training.config import TrainConfig

_A, _B, _C = 3.4445, -4.7750, 2.0315  # of Muon's quintic
_ITERATIONS = 5
_SMALLEST_NORM = 1e-7


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[Optimizer]:
    """AdamW; with "muon", Muon for 2-D convolution kernels of more than one input channel, AdamW for the rest.
    Their learning rates are tensors, so that a step takes no number from the host."""
    kernels = [each for each in model.parameters() if each.ndim == 4 and each.shape[1] > 1]  # not first, not depthwise
    kernels = kernels if config.optimizer == "muon" else []
    inside = {id(kernel) for kernel in kernels}
    others = [each for each in model.parameters() if id(each) not in inside]
    decayed, spared = ([each for each in others if (each.ndim > 1) is decays] for decays in (True, False))
    groups = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]  # biases and batch normalisation
    settings = {"fused": True, "capturable": next(model.parameters()).is_cuda}  # for a graph that holds the step
    optimizers: list[Optimizer] = [AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, **settings)]
    if kernels:
        optimizers.append(Muon(kernels, lr=config.kernel_lr, weight_decay=config.weight_decay))
    for optimizer in optimizers:
        restore(optimizer, optimizer.state_dict())
    return optimizers


def restore(optimizer: Optimizer, state: dict) -> None:
    """Go on from a saved state, where learning rates may be numbers."""
    pairs = zip(optimizer.param_groups, state["param_groups"], strict=True)
    groups = [saved | {name: own.get(name) for name in ("fused", "capturable")} for own, saved in pairs]
    optimizer.load_state_dict(state | {"param_groups": groups})
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=group["params"][0].device)


class MovingAverage(nn.Module):
    """Moving average of a model's weights and buffers, as `module`, with a warm-up: few steps must not end near the
    random first weights. `torch.optim.swa_utils.AveragedModel` would wait for the device."""

    def __init__(self, model: nn.Module, decay: float):
        super().__init__()
        self.module, self.decay = copy.deepcopy(model), decay
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.long, device=next(model.parameters()).device))
        own, new = ([*each.parameters(), *each.buffers()] for each in (self.module, model))
        pairs = [*zip(own, new, strict=True)]
        self._moved = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the model; the first update copies it, and every update copies integers, such as counters."""
        count = self.n_averaged.double()
        kept = torch.where(count == 0, 0.0, ((1 + count) / (10 + count)).clamp(max=self.decay))
        own, new = zip(*self._moved, strict=True)
        ways = torch._foreach_sub(new, own)
        torch._foreach_mul_(ways, (1 - kept).float())
        torch._foreach_add_(own, ways)
        for counter, value in self._copied:
            counter.copy_(value)
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
            directions = orthogonal([each.flatten(1) for each in ahead], padded=kernels[0].is_cuda)
            torch._foreach_mul_(directions, [max(1.0, len(each) / each.shape[1]) ** 0.5 for each in directions])
            torch._foreach_mul_(directions, group["lr"])
            steps = [each.reshape(kernel.shape) for each, kernel in zip(directions, kernels, strict=True)]
            torch._foreach_sub_(kernels, steps)


def orthogonal(matrices: Sequence[Tensor], padded: bool = False) -> list[Tensor]:
    """Each matrix with its singular vectors, and singular values of 0.7 to 1.2 (but the smallest). Shape: [R, S] each.

    The Newton-Schulz iteration X <- (a + b XX' + c (XX')^2) X runs on XX' alone, so the long side enters two products.
    Matrices of one size go together. `padded`: all go together, with zeros up to the largest size, which is more to
    compute, but a GPU waits for the host between small products."""
    wide = [each if each.shape[0] <= each.shape[1] else each.mT for each in matrices]
    sizes = [max(map(len, wide)) if padded else len(each) for each in wide]
    turned: list[Tensor] = list(wide)
    for size in {*sizes}:
        places = [place for place, its in enumerate(sizes) if its == size]
        grams = [wide[place] @ wide[place].mT for place in places]
        products = _iterated(torch.stack([F.pad(gram, (0, size - len(gram)) * 2) for gram in grams]))
        for place, product in zip(places, products, strict=True):
            rows = len(wide[place])
            turned[place] = product[:rows, :rows] @ wide[place]
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
