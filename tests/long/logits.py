"""What the shipped weights answer to fixed clips, so that a change of any library or machine is seen."""

import torch
from torch import Tensor

import ser_gpu
from ser_gpu.audio.samples import level
from tests.conftest import harmonic_voice


@torch.inference_mode()
def of_shipped_weights(seed: int) -> Tensor:
    """Shape: -> [8, C], one clip of each pitch."""
    model = ser_gpu.load_model("ser_ravdess", "cpu")
    return torch.cat([model(voice[None]) for voice in clips(seed)])


def clips(seed: int) -> list[Tensor]:
    """Eight synthetic voices of 0.7 to 4.9 seconds, so that some are padded and some are cut.

    Shape: [T] each.
    """
    return [
        torch.from_numpy(level(harmonic_voice(number, number, seed + number, seconds=0.4 + 0.6 * number)))
        for number in range(8)
    ]
