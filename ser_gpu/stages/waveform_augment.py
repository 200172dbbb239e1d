"""WaveformAugment: the transforms of the waveform for training, as one torch-audiomentations `Compose`.
To add a transform, write it in a file of its own and name it in `TRANSFORMS` (CONTRIBUTING.md shows how)."""

import pkgutil
from collections.abc import Callable

from torch import Tensor, nn

from ser_gpu.config import AugmentConfig
from ser_gpu.errors import InputError


class WaveformAugment(nn.Module):
    """The transforms that `config.chain` names, in that order: [B, L] -> [B, L]; the identity in `eval()`.
    There is no gain, since the spectrogram is relative to the clip's own peak."""

    def __init__(self, config: AugmentConfig, sample_rate: int):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.chain: nn.Module | None = None

    def forward(self, waveform: Tensor) -> Tensor:
        if not (self.training and self.config.enabled):
            return waveform
        if self.chain is None:  # built late: inference need not wait for the import
            self.chain = build_chain(self.config, self.sample_rate)
        return self.chain(waveform.unsqueeze(1)).samples.squeeze(1)


def build_chain(config: AugmentConfig, sample_rate: int) -> nn.Module:
    """The transforms as a `Compose`; raises InputError where `TRANSFORMS` lacks a name of `config.chain`."""
    from torch_audiomentations import Compose

    names = [name.strip() for name in config.chain.split(",") if name.strip()]
    if unknown := [name for name in names if name not in TRANSFORMS]:
        raise InputError(f"AugmentConfig.chain must be some of {', '.join(TRANSFORMS)}, got {', '.join(unknown)}")
    return Compose([TRANSFORMS[name](config, sample_rate) for name in names], output_type="dict")


def _imported(name: str) -> Callable[[AugmentConfig, int], nn.Module]:
    return lambda config, sample_rate: pkgutil.resolve_name(name)(config, sample_rate)


# Name -> a function of (AugmentConfig, sample rate in Hz) that makes a torch-audiomentations transform, or any module
# that maps [B, 1, L] to [B, 1, L]
TRANSFORMS: dict[str, Callable[[AugmentConfig, int], nn.Module]] = {
    "warp": _imported("ser_gpu.stages.stretch:Warp"),
    "channel": _imported("ser_gpu.stages.channel:RandomChannel"),
    "noise": _imported("ser_gpu.stages.channel:AddNoise"),
}
