"""RandomChannel and AddNoise: another microphone, line and room, and noise of any colour, for a whole batch at once."""

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ser_gpu.stages.batched import BatchedTransform, uniform
from ser_gpu.stages.mel import map_chunks

KNOTS_HZ = (62.5, 125.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0)
LOW_CUT_HZ = (20.0, 400.0)
HIGH_CUT_HZ = (3_000.0, 8_000.0)
DIRECT_TO_REVERB_DB = (0.0, 20.0)
SHORTEST_REVERB_SECONDS = 0.1
_SLOPE = 8  # of the cuts: 24 dB an octave
_SMALLEST_POWER = 1e-12


class RandomChannel(BatchedTransform):
    """Pass each clip through a colour, a band and a room of its own: one filter, applied in one FFT.

    The colour is a gain of up to `colour_db` up or down at each octave, straight in between. The band loses what lies
    below a cut of 20 to 400 Hz and above one of 3 to 8 kHz. The room answers with noise that decays by 60 dB within
    up to `reverb_seconds` and is 0 to 20 dB weaker than the direct sound. The clip keeps its length; the room's
    answer beyond its end is cut.

    Args:
        colour_db: largest gain or loss of an octave.
        reverb_seconds: longest reverberation time (60 dB).
        p: probability with which a clip meets it.
        sample_rate: Hz.

    Source: Polack 1988 (exponentially decaying noise as a room's response); a Butterworth magnitude for the cuts.
    """

    def __init__(self, colour_db: float, reverb_seconds: float, p: float, sample_rate: int):
        super().__init__(p, sample_rate)
        self.colour_db = colour_db
        self.reverb_seconds = max(reverb_seconds, SHORTEST_REVERB_SECONDS)

    def draw(self, waveform: Tensor) -> dict[str, Tensor]:
        batch, device = len(waveform), waveform.device
        tail = round(self.reverb_seconds * self.sample_rate)
        return {
            "colour_db": torch.empty(batch, len(KNOTS_HZ), device=device).uniform_(-self.colour_db, self.colour_db),
            "low_cut": _log_uniform(batch, *LOW_CUT_HZ, device),
            "high_cut": _log_uniform(batch, *HIGH_CUT_HZ, device),
            "reverb_seconds": uniform(batch, SHORTEST_REVERB_SECONDS, self.reverb_seconds, device),
            "direct_to_reverb_db": uniform(batch, *DIRECT_TO_REVERB_DB, device),
            "noise": torch.randn(batch, tail, device=device),
        }

    def change(self, waveform: Tensor, **drawn: Tensor) -> Tensor:
        names = ("colour_db", "low_cut", "high_cut", "reverb_seconds", "direct_to_reverb_db", "noise")
        return map_chunks(self._filter, waveform, *(drawn[name] for name in names))

    def _filter(
        self,
        waveform: Tensor,
        colour_db: Tensor,
        low_cut: Tensor,
        high_cut: Tensor,
        reverb_seconds: Tensor,
        direct_to_reverb_db: Tensor,
        noise: Tensor,
    ) -> Tensor:
        length = waveform.shape[1]
        size = next_fast_len(length + noise.shape[1], real=True)
        hertz = torch.linspace(0.0, self.sample_rate / 2, size // 2 + 1, device=waveform.device)
        response = colour(colour_db, hertz) * band(low_cut, high_cut, hertz)
        impulse = room(noise, reverb_seconds, direct_to_reverb_db, self.sample_rate)
        spectrum = torch.fft.rfft(waveform, size) * torch.fft.rfft(impulse, size) * response
        return torch.fft.irfft(spectrum, size)[:, :length]


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

    def draw(self, waveform: Tensor) -> dict[str, Tensor]:
        decay = uniform(len(waveform), self.min_decay, self.max_decay, waveform.device)
        snr_db = uniform(len(waveform), self.min_snr_db, self.max_snr_db, waveform.device)
        length, dtype = waveform.shape[1], waveform.dtype
        return {"snr_db": snr_db, "noise": map_chunks(lambda chunk: coloured_noise(chunk, length, dtype), decay)}

    def change(self, waveform: Tensor, snr_db: Tensor, noise: Tensor) -> Tensor:
        ratio = 10.0 ** (snr_db[:, None] / 10.0)
        signal_power = waveform.square().mean(dim=1, keepdim=True)
        noise_power = noise.square().mean(dim=1, keepdim=True).clamp(min=_SMALLEST_POWER)
        return waveform + noise * (signal_power / (noise_power * ratio)).sqrt()


def coloured_noise(decay: Tensor, length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gaussian noise, drawn as a spectrum and shaped there; its power does not matter and is not fixed.

    The bin at 0 Hz is shaped as its neighbour.

    Shape: [B] -> [B, length].
    """
    bins = torch.arange(length // 2 + 1, device=decay.device).clamp(min=1)
    spectrum = torch.randn(len(decay), len(bins), 2, device=decay.device, dtype=dtype)
    shape = torch.exp(-0.5 * decay[:, None] * bins.log())
    return torch.fft.irfft(torch.view_as_complex(spectrum * shape[..., None].to(dtype)), n=length)


def colour(gains_db: Tensor, hertz: Tensor) -> Tensor:
    """Amplitude at each frequency of gains at `KNOTS_HZ`, straight in dB over octaves and flat beyond.

    Shape: [B, knots], [K] -> [B, K].
    """
    octave = (hertz.clamp(min=KNOTS_HZ[0]) / KNOTS_HZ[0]).log2().clamp(max=len(KNOTS_HZ) - 1 - 1e-4)
    left = octave.floor()
    decibels = torch.lerp(gains_db[:, left.long()], gains_db[:, left.long() + 1], (octave - left)[None])
    return 10.0 ** (decibels / 20.0)


def band(low_cut: Tensor, high_cut: Tensor, hertz: Tensor) -> Tensor:
    """Amplitude at each frequency of a band between two cuts in Hz, where it is 3 dB down.

    Shape: [B], [B], [K] -> [B, K].
    """
    above = (low_cut[:, None] / hertz.clamp(min=1.0)).pow(_SLOPE)
    below = (hertz / high_cut[:, None]).pow(_SLOPE)
    return ((1 + above) * (1 + below)).rsqrt()


def room(noise: Tensor, reverb_seconds: Tensor, direct_to_reverb_db: Tensor, sample_rate: int) -> Tensor:
    """Impulse response of a room: the direct sound, of energy one, and a decaying tail.

    Shape: [B, N], [B], [B] -> [B, N].
    """
    time = torch.arange(noise.shape[1], device=noise.device) / sample_rate
    tail = noise * torch.exp(-3.0 * math.log(10.0) * time / reverb_seconds[:, None])
    energy = tail.square().sum(dim=1, keepdim=True)
    tail = tail * (10.0 ** (-direct_to_reverb_db[:, None] / 10.0) / energy).sqrt()
    direct = torch.zeros_like(tail)
    direct[:, 0] = 1.0
    return direct + tail


def _log_uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return uniform(count, math.log(low), math.log(high), device).exp()
