"""RandomChannel and AddNoise: another microphone, line and room, and noise of any colour, for a whole batch at once."""

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ser_gpu.config import AugmentConfig
from ser_gpu.stages.batched import BatchedTransform, uniform
from ser_gpu.stages.mel import map_chunks

KNOTS_HZ = (62.5, 125.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0)
LOW_CUT_HZ = (20.0, 400.0)
HIGH_CUT_HZ = (3_000.0, 8_000.0)
DIRECT_TO_REVERB_DB = (0.0, 20.0)
SHORTEST_REVERB_SECONDS = 0.1
_SLOPE = 8  # of the cuts: 24 dB per octave
_SMALLEST_POWER = 1e-12


class RandomChannel(BatchedTransform):
    """Filter each clip by a random colour, band and room, all in one FFT.
    The colour is a gain of up to +-`channel_colour_db` at each octave, the band lies between two cuts, and the room is
    noise that decays by 60 dB within up to `reverb_seconds`, as far as the clip goes.
    Source: Polack 1988 (exponentially decaying noise as a room's response); a Butterworth magnitude for the cuts."""

    def __init__(self, config: AugmentConfig, sample_rate: int):
        super().__init__(config.channel_probability, sample_rate)
        self.colour_db = config.channel_colour_db
        self.reverb_seconds = max(config.reverb_seconds, SHORTEST_REVERB_SECONDS)

    def draw(self, waveform: Tensor) -> dict[str, Tensor]:
        batch, device = len(waveform), waveform.device
        tail = round(self.reverb_seconds * self.sample_rate)
        return {
            "colour_db": uniform((batch, len(KNOTS_HZ)), -self.colour_db, self.colour_db, device),
            "low_cut": uniform(batch, *map(math.log, LOW_CUT_HZ), device).exp(),
            "high_cut": uniform(batch, *map(math.log, HIGH_CUT_HZ), device).exp(),
            "reverb_seconds": uniform(batch, SHORTEST_REVERB_SECONDS, self.reverb_seconds, device),
            "direct_to_reverb_db": uniform(batch, *DIRECT_TO_REVERB_DB, device),
            "noise": torch.randn(batch, tail, device=device),
        }

    def change(self, waveform: Tensor, **drawn: Tensor) -> Tensor:
        length = waveform.shape[1]
        size = next_fast_len(length + drawn["noise"].shape[1], real=True)
        hertz = torch.linspace(0.0, self.sample_rate / 2, size // 2 + 1, device=waveform.device)

        def filtered(waveform, colour_db, low_cut, high_cut, reverb_seconds, direct_to_reverb_db, noise):
            response = colour(colour_db, hertz) * band(low_cut, high_cut, hertz)
            impulse = room(noise, reverb_seconds, direct_to_reverb_db, self.sample_rate)
            spectrum = torch.fft.rfft(waveform, size) * torch.fft.rfft(impulse, size) * response
            return torch.fft.irfft(spectrum, size)[:, :length]

        return map_chunks(filtered, waveform, *drawn.values())  # in the order of `draw`


class AddNoise(BatchedTransform):
    """Add noise whose power falls as 1 / f^decay (0 white, 1 pink, 2 brown), SNR and decay drawn for each clip.
    The signal-to-noise ratio compares mean powers over the whole window, silence around the speech included."""

    def __init__(self, config: AugmentConfig, sample_rate: int):
        super().__init__(config.noise_probability, sample_rate)
        self.config = config

    def draw(self, waveform: Tensor) -> dict[str, Tensor]:
        c, (batch, length), device, dtype = self.config, waveform.shape, waveform.device, waveform.dtype
        decay = uniform(batch, c.min_noise_decay, c.max_noise_decay, device)
        snr_db = uniform(batch, c.min_snr_db, c.max_snr_db, device)
        return {"snr_db": snr_db, "noise": map_chunks(lambda chunk: coloured_noise(chunk, length, dtype), decay)}

    def change(self, waveform: Tensor, snr_db: Tensor, noise: Tensor) -> Tensor:
        ratio = 10.0 ** (snr_db[:, None] / 10.0)
        signal_power = waveform.square().mean(dim=1, keepdim=True)
        noise_power = noise.square().mean(dim=1, keepdim=True).clamp(min=_SMALLEST_POWER)
        return waveform + noise * (signal_power / (noise_power * ratio)).sqrt()


def coloured_noise(decay: Tensor, length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gaussian noise whose power falls as 1 / f^decay, of no fixed level. Shape: [B] -> [B, length]."""
    bins = torch.arange(length // 2 + 1, device=decay.device).clamp(min=1)  # 0 Hz is shaped like its neighbour
    spectrum = torch.randn(len(decay), len(bins), 2, device=decay.device, dtype=dtype)
    shape = torch.exp(-0.5 * decay[:, None] * bins.log())
    return torch.fft.irfft(torch.view_as_complex(spectrum * shape[..., None].to(dtype)), n=length)


def colour(gains_db: Tensor, hertz: Tensor) -> Tensor:
    """Amplitude per frequency for gains at `KNOTS_HZ`, linear over octaves in dB. Shape: [B, knots], [K] -> [B, K]."""
    octave = (hertz.clamp(min=KNOTS_HZ[0]) / KNOTS_HZ[0]).log2().clamp(max=len(KNOTS_HZ) - 1 - 1e-4)
    left = octave.floor()
    decibels = torch.lerp(gains_db[:, left.long()], gains_db[:, left.long() + 1], (octave - left)[None])
    return 10.0 ** (decibels / 20.0)


def band(low_cut: Tensor, high_cut: Tensor, hertz: Tensor) -> Tensor:
    """Amplitude per frequency of a band, 3 dB down at its two cuts (Hz). Shape: [B], [B], [K] -> [B, K]."""
    above = (low_cut[:, None] / hertz.clamp(min=1.0)).pow(_SLOPE)
    below = (hertz / high_cut[:, None]).pow(_SLOPE)
    return ((1 + above) * (1 + below)).rsqrt()


def room(noise: Tensor, reverb_seconds: Tensor, direct_to_reverb_db: Tensor, sample_rate: int) -> Tensor:
    """A room's impulse response: direct sound of energy one, and a decaying tail. Shape: [B, N], [B], [B] -> [B, N]."""
    time = torch.arange(noise.shape[1], device=noise.device) / sample_rate
    tail = noise * torch.exp(-3.0 * math.log(10.0) * time / reverb_seconds[:, None])
    energy = tail.square().sum(dim=1, keepdim=True)
    impulse = tail * (10.0 ** (-direct_to_reverb_db[:, None] / 10.0) / energy).sqrt()
    impulse[:, 0] += 1.0
    return impulse
