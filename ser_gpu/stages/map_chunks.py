"""map_chunks: on a CPU, a few clips at a time, so that what lies between two operations stays in its cache."""

from collections.abc import Callable

import torch
from torch import Tensor


def map_chunks(function: Callable[..., Tensor], *tensors: Tensor, clips: int = 4) -> Tensor:
    """Apply a function of a batch; on a CPU to `clips` clips at a time, which is up to three times as fast.

    An exported graph, which is for any batch, has the function once.

    Shape: each tensor [B, ...] -> [B, ...].
    """
    if torch.compiler.is_exporting() or tensors[0].device.type != "cpu" or len(tensors[0]) <= clips:
        return function(*tensors)
    parts = zip(*(tensor.split(clips) for tensor in tensors), strict=True)
    return torch.cat([function(*part) for part in parts])
