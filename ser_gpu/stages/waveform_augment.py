"""WaveformAugment: the transforms of the waveform for training, as one torch-audiomentations `Compose`.

To add a transform, write it in a file of its own and name it in `TRANSFORMS` (CONTRIBUTING.md shows how).
"""

from collections.abc import Callable

from torch import Tensor, nn

from ser_gpu.config import AugmentConfig
from ser_gpu.errors import InputError


class WaveformAugment(nn.Module):
    """The transforms that the configuration's `chain` names, in that order: pitch, tempo and place; channel; noise.

    Pitch, tempo and place are left to `SpectrogramWarp` where the configuration says so. There is no gain: the
    spectrogram is relative to the clip's own peak. The identity in `eval()`. The chain is built with the first
    training batch, so that inference does not import it. All of it is drawn from torch's generators.

    Shape: [B, L] -> [B, L].
    """

    def __init__(self, config: AugmentConfig, sample_rate: int):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.chain: nn.Module | None = None

    def forward(self, waveform: Tensor) -> Tensor:
        if not (self.training and self.config.enabled):
            return waveform
        if self.chain is None:
            self.chain = build_chain(self.config, self.sample_rate)
        return self.chain(waveform.unsqueeze(1)).samples.squeeze(1)


def build_chain(config: AugmentConfig, sample_rate: int) -> nn.Module:
    """The transforms as a torch-audiomentations `Compose`; users can put stock transforms beside them.

    Raises:
        ValueError: `config.chain` has a name that `TRANSFORMS` does not have.
    """
    from torch_audiomentations import Compose

    names = [name.strip() for name in config.chain.split(",") if name.strip()]
    if unknown := [name for name in names if name not in TRANSFORMS]:
        raise InputError(f"AugmentConfig.chain must be some of {', '.join(TRANSFORMS)}, got {', '.join(unknown)}")
    transforms = [TRANSFORMS[name](config, sample_rate) for name in names]
    return Compose([each for each in transforms if each is not None], output_type="dict")


def _warp(c: AugmentConfig, sample_rate: int) -> nn.Module | None:
    if c.warp != "waveform":
        return None
    from ser_gpu.stages.stretch import Warp

    return Warp(
        sample_rate,
        speed=(c.min_speed, c.max_speed),
        speed_p=c.speed_probability,
        semitones=c.pitch_semitones,
        pitch_p=c.pitch_probability,
        stretch=(c.min_stretch, c.max_stretch),
        stretch_p=c.stretch_probability,
        shift_seconds=c.shift_seconds,
        shift_p=c.shift_probability,
    )


def _channel(c: AugmentConfig, sample_rate: int) -> nn.Module | None:
    if c.channel_probability == 0:
        return None
    from ser_gpu.stages.channel import RandomChannel

    return RandomChannel(c.channel_colour_db, c.reverb_seconds, c.channel_probability, sample_rate)


def _noise(c: AugmentConfig, sample_rate: int) -> nn.Module:
    from ser_gpu.stages.channel import AddNoise

    return AddNoise(c.min_snr_db, c.max_snr_db, c.min_noise_decay, c.max_noise_decay, c.noise_probability, sample_rate)


# Name -> a function of (AugmentConfig, sample rate in Hz) that makes a torch-audiomentations transform, or any module
# that maps [B, 1, L] to [B, 1, L], or None for none
TRANSFORMS: dict[str, Callable[[AugmentConfig, int], nn.Module | None]] = {
    "warp": _warp,
    "channel": _channel,
    "noise": _noise,
}
