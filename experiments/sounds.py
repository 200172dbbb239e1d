"""Conditions outside the studio: telephone, noise, rooms, other levels, other sample rates, a lossy codec."""

import io
import math
from collections.abc import Callable

import soundfile
import torch
import torchaudio.functional as audio
from torch import Tensor
from torch.nn.functional import avg_pool1d

from ser_gpu.audio.samples import resample
from ser_gpu.stages.channel import coloured_noise, room

Sound = tuple[Tensor, int]  # samples and their rate in Hz
Condition = Callable[[Tensor, int, torch.Generator], Sound]


def as_recorded(waveform: Tensor, rate: int, _: torch.Generator) -> Sound:
    """Unchanged."""
    return waveform, rate


def telephone(waveform: Tensor, rate: int, _: torch.Generator) -> Sound:
    """300 to 3,400 Hz, 8 kHz, mu-law of 8 bits."""
    narrow = torch.from_numpy(resample(waveform.numpy(), rate, 8_000))
    narrow = audio.lowpass_biquad(audio.highpass_biquad(narrow, 8_000, 300.0), 8_000, 3_400.0)
    narrow = narrow / narrow.abs().max()
    return audio.mu_law_decoding(audio.mu_law_encoding(narrow, 256), 256), 8_000


def at_44_100_hz(waveform: Tensor, rate: int, _: torch.Generator) -> Sound:
    """Resampled to the rate of a compact disc."""
    return torch.from_numpy(resample(waveform.numpy(), rate, 44_100)), 44_100


def in_noise(decay: float, snr_db: float) -> Condition:
    """Noise whose power falls as 1 / f^decay, at a ratio to the mean power of the speech."""

    def add(waveform: Tensor, rate: int, generator: torch.Generator) -> Sound:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            noise = coloured_noise(torch.tensor([decay]), len(waveform))[0]
        power = waveform.square().mean() / noise.square().mean()
        return waveform + noise * (power * 10 ** (-snr_db / 10)).sqrt(), rate

    return add


def in_room(reverb_seconds: float, direct_to_reverb_db: float) -> Condition:
    """A room that decays by 60 dB in that time."""

    def play(waveform: Tensor, rate: int, generator: torch.Generator) -> Sound:
        noise = torch.randn(1, math.ceil(reverb_seconds * rate), generator=generator)
        impulse = room(noise, torch.tensor([reverb_seconds]), torch.tensor([direct_to_reverb_db]), rate)[0]
        return audio.fftconvolve(waveform, impulse), rate

    return play


def at_level(decibels: float) -> Condition:
    """Peak at that level; above 0 dB it is clipped. Stored with 16 bits."""

    def change(waveform: Tensor, rate: int, _: torch.Generator) -> Sound:
        scaled = waveform / waveform.abs().max() * 10 ** (decibels / 20)
        return (scaled.clamp(-1, 1) * 32_767).round() / 32_767, rate

    return change


def quiet_after_a_click(waveform: Tensor, rate: int, generator: torch.Generator) -> Sound:
    """A click at full scale, and a quarter second later the voice, 50 dB below it."""
    quiet = 10 ** (-50 / 20) * waveform / waveform.abs().max()
    out = torch.cat([torch.zeros(rate // 2), quiet])
    out[rate // 4] = 1.0
    return out + 1e-5 * torch.randn(len(out), generator=generator), rate


def whispered(waveform: Tensor, rate: int, generator: torch.Generator) -> Sound:
    """Noise through the spectral envelope of the speech, frame by frame: what is left without a pitch."""
    size, hop = round(0.032 * rate), round(0.008 * rate)
    window = torch.hann_window(size)

    def spectrum(sound: Tensor) -> Tensor:
        return torch.stft(sound, size, hop, window=window, return_complex=True)

    reach = round(300 / (rate / size))  # harmonics of a voice are nearer to each other than this
    power = spectrum(waveform).abs().square()
    envelope = avg_pool1d(power.T[:, None], 2 * reach + 1, 1, reach, count_include_pad=False)[:, 0].T.sqrt()
    noise = spectrum(torch.randn(len(waveform), generator=generator))
    return torch.istft(envelope * noise, size, hop, window=window, length=len(waveform)), rate


def between_silences(waveform: Tensor, rate: int, _: torch.Generator) -> Sound:
    """Two seconds of digital silence before and after."""
    silence = torch.zeros(2 * rate)
    return torch.cat([silence, waveform, silence]), rate


def as_mp3(waveform: Tensor, rate: int, _: torch.Generator) -> Sound:
    """Coded at the lowest quality that libsndfile offers."""
    file = io.BytesIO()
    soundfile.write(file, waveform.numpy(), rate, format="MP3", compression_level=0.99)
    file.seek(0)
    samples, rate = soundfile.read(file, dtype="float32")
    return torch.from_numpy(samples), rate


CONDITIONS: dict[str, Condition] = {
    "as recorded": as_recorded,
    "telephone, 8 kHz": telephone,
    "44.1 kHz": at_44_100_hz,
    "MP3, lowest quality": as_mp3,
    "white noise, 20 dB": in_noise(0.0, 20.0),
    "white noise, 10 dB": in_noise(0.0, 10.0),
    "white noise, 5 dB": in_noise(0.0, 5.0),
    "pink noise, 20 dB": in_noise(1.0, 20.0),
    "pink noise, 10 dB": in_noise(1.0, 10.0),
    "pink noise, 5 dB": in_noise(1.0, 5.0),
    "room, 0.3 s": in_room(0.3, 6.0),
    "room, 0.6 s": in_room(0.6, 3.0),
    "level -40 dB": at_level(-40.0),
    "clipped by 12 dB": at_level(12.0),
    "2 s of silence around": between_silences,
}
