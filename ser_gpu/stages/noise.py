"""AddNoise: noise of any colour at a random signal-to-noise ratio, for a whole batch at once."""

import torch
from torch import Tensor
from torch_audiomentations.utils.object_dict import ObjectDict

from ser_gpu.stages.batched import BatchedTransform, uniform
from ser_gpu.stages.map_chunks import map_chunks

_SMALLEST_POWER = 1e-12


class AddNoise(BatchedTransform):
    """Add noise whose power falls as 1 / f^decay (0 white, 1 pink, 2 brown), its ratio and decay drawn for each clip.

    The signal-to-noise ratio compares mean powers over the whole window, silence around the speech included.
    """

    def __init__(
        self, min_snr_db: float, max_snr_db: float, min_decay: float, max_decay: float, p: float, sample_rate: int
    ):
        super().__init__(p, sample_rate)
        self.min_snr_db, self.max_snr_db = min_snr_db, max_snr_db
        self.min_decay, self.max_decay = min_decay, max_decay

    def randomize_parameters(self, samples=None, sample_rate=None, targets=None, target_rate=None):
        batch, device = len(samples), samples.device
        decay = uniform(batch, self.min_decay, self.max_decay, device)
        self.transform_parameters["snr_db"] = uniform(batch, self.min_snr_db, self.max_snr_db, device)
        self.transform_parameters["noise"] = map_chunks(
            lambda decay: coloured_noise(decay, samples.shape[-1], samples.dtype), decay
        )

    def apply_transform(self, samples=None, sample_rate=None, targets=None, target_rate=None) -> ObjectDict:
        noise = self.transform_parameters["noise"].unsqueeze(1)
        ratio = 10.0 ** (self.transform_parameters["snr_db"][:, None, None] / 10.0)
        signal_power = samples.square().mean(dim=2, keepdim=True)
        noise_power = noise.square().mean(dim=2, keepdim=True).clamp(min=_SMALLEST_POWER)
        return ObjectDict(samples=samples + noise * (signal_power / (noise_power * ratio)).sqrt())


def coloured_noise(decay: Tensor, length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gaussian noise, drawn as a spectrum and shaped there; its power does not matter and is not fixed.

    The bin at 0 Hz is shaped as its neighbour.

    Shape: [B] -> [B, length].
    """
    bins = torch.arange(length // 2 + 1, device=decay.device).clamp(min=1)
    spectrum = torch.randn(len(decay), len(bins), 2, device=decay.device, dtype=dtype)
    shape = torch.exp(-0.5 * decay[:, None] * bins.log())
    return torch.fft.irfft(torch.view_as_complex(spectrum * shape[..., None].to(dtype)), n=length)
