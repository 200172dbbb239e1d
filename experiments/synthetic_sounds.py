"""Sounds that are no speech, three seconds each, synthesised from a seed: noise, tones, machines, music, animals, and
what people do without words.
"""

import math
from collections.abc import Callable

import torch
import torchaudio.functional as audio
from torch import Tensor

from ser_gpu.stages.channel import coloured_noise

RATE = 16_000
SECONDS = 3.0
SAMPLES = round(SECONDS * RATE)
_SCALE = (0, 2, 4, 5, 7, 9, 11, 12)

Sound = Callable[[torch.Generator], Tensor]


def noise(decay: float) -> Sound:
    """Noise whose power falls as 1 / f^decay."""

    def make(generator: torch.Generator) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_whole(2**31, generator))
            return coloured_noise(torch.tensor([decay]), SAMPLES)[0]

    return make


def grey_noise(generator: torch.Generator) -> Tensor:
    """As loud at every frequency: white noise through the inverse of the A-weighting of IEC 61672, 50 Hz and more."""
    hertz = torch.fft.rfftfreq(SAMPLES, 1 / RATE).clamp(min=50.0)
    squared = hertz.square()
    weight = 12_194**2 * squared.square() / ((squared + 20.6**2) * (squared + 12_194**2))
    weight /= ((squared + 107.7**2) * (squared + 737.9**2)).sqrt()
    return torch.fft.irfft(torch.fft.rfft(_white(SAMPLES, generator)) / weight, SAMPLES)


def hum(generator: torch.Generator) -> Tensor:
    """Of the mains, with harmonics."""
    return _harmonics(torch.full((SAMPLES,), (50.0, 60.0)[_whole(2, generator)]), 20) + 0.01 * _white(
        SAMPLES, generator
    )


def tone(generator: torch.Generator) -> Tensor:
    return _sine(torch.full((SAMPLES,), _between(100, 3_000, generator)))


def dtmf(generator: torch.Generator) -> Tensor:
    """A telephone number dialled, five digits a second."""
    out = torch.zeros(SAMPLES)
    low, high = (697.0, 770.0, 852.0, 941.0), (1_209.0, 1_336.0, 1_477.0)
    for start in range(0, SAMPLES - 1_600, 3_200):
        pair = low[_whole(4, generator)], high[_whole(3, generator)]
        out[start : start + 1_600] = sum(_sine(torch.full((1_600,), hertz)) for hertz in pair)
    return out


def ringing(generator: torch.Generator) -> Tensor:
    """A telephone's bell: two tones in turn, 20 a second, a second on and half a second off."""
    time, low = _time(SAMPLES), _between(700, 1_200, generator)
    pitch = torch.where((20 * time) % 1 < 0.5, low, 1.25 * low)
    return _harmonics(pitch, 3) * (time % 1.5 < 1)


def siren(generator: torch.Generator) -> Tensor:
    """An alarm between two pitches."""
    rate, low = _between(0.5, 4, generator), _between(400, 900, generator)
    return _harmonics(low * (1.25 + 0.25 * torch.sign(torch.sin(2 * math.pi * rate * _time(SAMPLES)))), 4)


def smoke_alarm(generator: torch.Generator) -> Tensor:
    """Three beeps of half a second around 3.1 kHz."""
    beep = _time(SAMPLES) % 1 < 0.5
    return torch.sign(_sine(torch.full((SAMPLES,), _between(2_800, 3_400, generator)))) * beep


def melody(generator: torch.Generator) -> Tensor:
    """Eight plucked notes of a major scale."""
    return torch.cat([_plucked(_note(generator), SAMPLES // 8) for _ in range(8)])


def chords(generator: torch.Generator) -> Tensor:
    """Three chords on a piano-like instrument, with a drum on each beat."""
    out, length = torch.zeros(SAMPLES), SAMPLES // 3
    for start in range(0, 3 * length, length):
        root = _note(generator)
        for step in (0, (3, 4)[_whole(2, generator)], 7, 12):
            out[start : start + length] += _plucked(root * 2 ** (step / 12), length, decay=1.5)
        for beat in range(start, start + length, length // 2):
            drum = _white(2_400, generator) * torch.exp(-40 * _time(2_400))
            out[beat : beat + 2_400] += 3 * drum[: len(out) - beat]
    return out


def strings(generator: torch.Generator) -> Tensor:
    """A held note with vibrato that swells, as of a violin or a flute."""
    time = _time(SAMPLES)
    pitch = 2 * _note(generator) * (1 + 0.01 * torch.sin(2 * math.pi * _between(4.5, 6.5, generator) * time))
    return _harmonics(pitch, 12) * (0.2 + torch.sin(math.pi * time / SECONDS))


def bell(generator: torch.Generator) -> Tensor:
    """A church bell, whose partials are no harmonics."""
    base, out = _between(200, 500, generator), torch.zeros(SAMPLES)
    for at, ratio in enumerate((0.5, 1, 1.19, 1.5, 2, 2.74, 3.76)):
        out += _sine(torch.full((SAMPLES,), base * ratio)) * torch.exp(-(0.8 + 0.5 * at) * _time(SAMPLES))
    return out


def engine(generator: torch.Generator) -> Tensor:
    """A low tone that speeds up and down, its strength uneven."""
    time = _time(SAMPLES)
    pitch = _between(40, 90, generator) * (1.2 + 0.3 * torch.sin(2 * math.pi * 0.4 * time))
    uneven = 1 + 0.5 * torch.sin(2 * math.pi * _between(3, 9, generator) * time)
    return _harmonics(pitch, 25) * uneven + 0.1 * _white(SAMPLES, generator)


def vacuum_cleaner(generator: torch.Generator) -> Tensor:
    return _harmonics(torch.full((SAMPLES,), _between(150, 300, generator)), 15) + 2 * noise(0.7)(generator) / 10


def clicks(generator: torch.Generator) -> Tensor:
    out = 0.001 * _white(SAMPLES, generator)
    out[torch.randint(SAMPLES, (12,), generator=generator)] = 1.0
    return out


def typing(generator: torch.Generator) -> Tensor:
    """Keys of a keyboard: short bursts of noise, six to ten a second."""
    return _bursts(0.02, 0.1, 0.17, generator, lambda size: _white(size, generator) * torch.exp(-150 * _time(size)))


def knocking(generator: torch.Generator) -> Tensor:
    """Knuckles on a door."""

    def knock(size: int) -> Tensor:
        body = _sine(torch.full((size,), _between(120, 220, generator))) + 0.3 * _white(size, generator)
        return body * torch.exp(-35 * _time(size))

    return _bursts(0.15, 0.25, 0.4, generator, knock)


def rain(generator: torch.Generator) -> Tensor:
    """Pink noise and drops."""
    drops = (torch.rand(SAMPLES, generator=generator) < 0.002) * _white(SAMPLES, generator)
    soft = noise(1.0)(generator)
    return soft / soft.std() + 8 * audio.bandpass_biquad(drops, RATE, 2_500.0)


def wind(generator: torch.Generator) -> Tensor:
    """Brown noise whose strength and pitch wander."""
    gust = 1 + 0.8 * torch.sin(2 * math.pi * _between(0.2, 0.6, generator) * _time(SAMPLES))
    low = audio.bandpass_biquad(_white(SAMPLES, generator), RATE, _between(250, 500, generator), 2.0)
    return gust * (low + noise(2.0)(generator))


def applause(generator: torch.Generator) -> Tensor:
    strength = torch.rand(SAMPLES // 160, generator=generator).pow(6).repeat_interleave(160)
    return strength * _white(SAMPLES, generator)


def barking(generator: torch.Generator) -> Tensor:
    """Short bursts of a falling tone in noise."""

    def bark(size: int) -> Tensor:
        tone = _harmonics(torch.linspace(_between(500, 800, generator), 300, size))
        return (tone + 0.5 * _white(size, generator)) * torch.hann_window(size)

    return _bursts(0.18, 0.35, 0.7, generator, bark)


def mewing(generator: torch.Generator) -> Tensor:
    """A cat: a tone that rises and falls, through a resonance that opens and closes."""

    def mew(size: int) -> Tensor:
        arch = torch.sin(math.pi * torch.linspace(0, 1, size))
        tone = _harmonics(_between(450, 600, generator) * (1 + 0.4 * arch), 12)
        opened = audio.bandpass_biquad(tone, RATE, 1_600.0, 2.0)
        return (1 - arch) * tone * 0.3 + arch * opened

    return _bursts(0.7, 1.0, 1.4, generator, mew)


def birdsong(generator: torch.Generator) -> Tensor:
    """Whistles that rise and fall between 2 and 6 kHz."""

    def chirp(size: int) -> Tensor:
        ends = [_between(2_000, 6_000, generator) for _ in range(2)]
        return _sine(torch.linspace(*ends, size)) * torch.hann_window(size)

    return _bursts(0.1, 0.12, 0.35, generator, chirp)


def crickets(generator: torch.Generator) -> Tensor:
    time = _time(SAMPLES)
    pulses = torch.sin(2 * math.pi * _between(15, 30, generator) * time).clamp(min=0) * (time % 0.6 < 0.35)
    return _sine(torch.full((SAMPLES,), _between(4_000, 5_500, generator))) * pulses


def mooing(generator: torch.Generator) -> Tensor:
    """A cow: a long low tone through two resonances."""

    def moo(size: int) -> Tensor:
        tone = _harmonics(_between(90, 150, generator) * (1 + 0.2 * torch.linspace(0, 1, size)), 20)
        return _through(tone, (300.0, 700.0)) * torch.hann_window(size).sqrt()

    return _bursts(1.3, 1.5, 2.0, generator, moo)


def laughter(generator: torch.Generator) -> Tensor:
    """Ha-ha-ha: breath, then a vowel whose pitch falls, five times a second."""
    pitch = _between(180, 350, generator)

    def ha(size: int) -> Tensor:
        breath, vowel = size // 3, size - size // 3
        voiced = _harmonics(torch.linspace(pitch, 0.8 * pitch, vowel), 20) * torch.hann_window(vowel)
        sound = torch.cat([0.3 * _white(breath, generator), voiced])
        return _through(sound, (800.0, 1_300.0, 2_600.0))

    return _bursts(0.16, 0.19, 0.23, generator, ha)


def coughing(generator: torch.Generator) -> Tensor:
    """A burst of breath, then a hoarse end."""

    def cough(size: int) -> Tensor:
        return _through(_white(size, generator) * torch.exp(-12 * _time(size)), (600.0, 1_500.0))

    return _bursts(0.35, 0.5, 1.2, generator, cough)


def crying(generator: torch.Generator) -> Tensor:
    """A baby: a second of a harsh high tone that falls at its end."""

    def cry(size: int) -> Tensor:
        shape = 1 + 0.3 * torch.sin(math.pi * torch.linspace(0, 1, size))
        return _through(_harmonics(_between(350, 500, generator) * shape, 15), (1_100.0, 3_000.0)) * torch.hann_window(
            size
        )

    return _bursts(0.9, 1.1, 1.3, generator, cry)


def snoring(generator: torch.Generator) -> Tensor:
    """Pulses of 30 to 50 a second in breath, a second long."""

    def snore(size: int) -> Tensor:
        pulses = _harmonics(torch.full((size,), _between(30, 50, generator)), 30)
        return _through(pulses + 0.5 * _white(size, generator), (500.0,)) * torch.hann_window(size)

    return _bursts(1.0, 1.4, 1.8, generator, snore)


NO_VOICE: dict[str, Sound] = {
    **{f"{name} noise": noise(decay) for name, decay in (("white", 0.0), ("pink", 1.0), ("brown", 2.0))},
    **{f"{name} noise": noise(decay) for name, decay in (("blue", -1.0), ("violet", -2.0))},
    "grey noise": grey_noise,
    "hum": hum,
    "tone": tone,
    "DTMF": dtmf,
    "telephone bell": ringing,
    "siren": siren,
    "smoke alarm": smoke_alarm,
    "melody": melody,
    "chords and drum": chords,
    "strings": strings,
    "church bell": bell,
    "engine": engine,
    "vacuum cleaner": vacuum_cleaner,
    "clicks": clicks,
    "typing": typing,
    "knocking": knocking,
    "rain": rain,
    "wind": wind,
    "applause": applause,
    "barking": barking,
    "mewing": mewing,
    "mooing": mooing,
    "birdsong": birdsong,
    "crickets": crickets,
}
NO_WORDS: dict[str, Sound] = {"laughter": laughter, "coughing": coughing, "crying": crying, "snoring": snoring}


def _bursts(
    seconds: float, shortest: float, longest: float, generator: torch.Generator, make: Callable[[int], Tensor]
) -> Tensor:
    """A sound again and again, from `shortest` to `longest` seconds after its last beginning."""
    out, size, at = torch.zeros(SAMPLES), round(seconds * RATE), round(0.1 * RATE)
    while at + size <= SAMPLES:
        out[at : at + size] += make(size) * _between(0.6, 1.0, generator)
        at += round(_between(shortest, longest, generator) * RATE)
    return out


def _through(sound: Tensor, resonances: tuple[float, ...]) -> Tensor:
    """The sum of what each resonance lets pass."""
    return sum(audio.bandpass_biquad(sound, RATE, hertz, 5.0) for hertz in resonances)


def _plucked(pitch: float, size: int, decay: float = 4.0) -> Tensor:
    return _harmonics(torch.full((size,), pitch)) * torch.exp(-decay * _time(size))


def _note(generator: torch.Generator) -> float:
    """Hz of a note of a major scale on A3."""
    return 220.0 * 2 ** (_SCALE[_whole(len(_SCALE), generator)] / 12)


def _harmonics(pitch: Tensor, count: int = 10) -> Tensor:
    """A tone with harmonics of falling strength; its pitch in Hz at each sample."""
    phase = 2 * math.pi * torch.cumsum(pitch.double() / RATE, dim=0)
    highest = float(pitch.max())
    kept = [n for n in range(1, count + 1) if n * highest < RATE / 2]  # what is higher would come back as another tone
    return sum(torch.sin(n * phase) / n for n in kept).float()


def _sine(pitch: Tensor) -> Tensor:
    return _harmonics(pitch, 1)


def _time(size: int) -> Tensor:
    return torch.arange(size) / RATE


def _white(size: int, generator: torch.Generator) -> Tensor:
    return torch.randn(size, generator=generator)


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _whole(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
