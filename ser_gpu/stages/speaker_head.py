"""SpeakerLinear: the last layer of a network, which in evaluation adds what a voice changes of it.

The head of a voice is [C, N + 1]: what is added to the weights of the last layer of all members of a network, one
beside the other, N inputs together, and last to their bias.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ser_gpu.stages import speaker_task


class SpeakerLinear(nn.Linear):
    """`torch.nn.Linear`, state and all; in `eval()`, inside of a task, with the head of each clip's voice.

    Shape: [B, D] -> [B, C].
    """

    def forward(self, x: Tensor) -> Tensor:
        task = None if self.training else speaker_task.current()
        logits = super().forward(x)
        return logits if task is None else task.classify(self, x, logits)


def layers(network: nn.Module) -> list[SpeakerLinear]:
    """Those of a network, one for each member."""
    return [module for module in network.modules() if isinstance(module, SpeakerLinear)]


def parts(own: Sequence[SpeakerLinear], head: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What a head adds to the weight and the bias of each layer.

    Shape: [..., C, N + 1] -> [..., C, D], [..., C] each.
    """
    sizes = [layer.in_features for layer in own]
    return [(weight, head[..., -1]) for weight in head[..., :-1].split(sizes, dim=-1)]


def inputs(network: nn.Module) -> int:
    """N: inputs of the last layers of all members; 0 where they take no head."""
    return sum(layer.in_features for layer in layers(network))


def joined(found: Sequence[Tensor], like: Tensor) -> Tensor:
    """The inputs of the members' layers as the mean of their logits sees them; N is 0 where there is no layer.

    Shape: [B, D] each, [B] -> [B, N].
    """
    return torch.cat(list(found), dim=1) / len(found) if found else like.new_zeros(like.shape[0], 0)
