"""Float32Module: a stage whose constants stay float32, whatever the model around it is turned into."""

from torch import Tensor, nn


class Float32Module(nn.Module):
    """A module whose floating-point buffers and parameters follow the model's device, but keep their own dtype.

    `model.half()`, `.bfloat16()` and `.double()` are for the CNN: decibels in 16 bits are wrong by more than a decibel.
    """

    def _apply(self, fn, recurse: bool = True):
        def keep_dtype(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            return changed if changed.dtype == tensor.dtype else tensor.to(changed.device)

        return super()._apply(keep_dtype, recurse)
