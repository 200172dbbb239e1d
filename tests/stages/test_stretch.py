import math

import numpy as np
import pytest
import torch
import torchaudio

from ser_gpu.config import AugmentConfig
from ser_gpu.stages.batched import choose
from ser_gpu.stages.stretch import Warp, change_pitch_and_tempo, change_speed, phase_vocoder

RATE = 16_000
STILL = {f"{name}_probability": 0.0 for name in ("speed", "pitch", "stretch", "shift")}
SEMITONES = [-2.0, -0.7, 0.3, 2.0]
TEMPI = [0.87, 0.95, 1.04, 1.15]
MIDDLE = slice(16_000, 32_000)


def tones(hertz, count, seconds=3.0):
    time = torch.arange(round(RATE * seconds), dtype=torch.float64) / RATE
    return torch.sin(2 * math.pi * hertz * time).float().repeat(count, 1)


def pitch_of(waveform):
    """Frequency in Hz of the strongest peak, by a parabola through its logarithm."""
    samples = waveform[MIDDLE].double().numpy()
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    peak = spectrum.argmax()
    left, top, right = np.log(spectrum[peak - 1 : peak + 2])
    return (peak + 0.5 * (left - right) / (left - 2 * top + right)) * RATE / (8 * len(samples))


def cents(measured, expected):
    return 1200 * math.log2(measured / expected)


def stretch(waveform, tempo):
    return change_pitch_and_tempo(waveform, torch.ones_like(tempo), tempo, longest=1 / 0.87)


@pytest.mark.parametrize("hertz", [150.0, 440.0, 1_000.0, 3_000.0])
def test_pitch_and_tempo_change_apart_and_the_length_never(hertz):
    pitch = 2 ** (torch.tensor(SEMITONES) / 12)
    shifted = change_pitch_and_tempo(tones(hertz, 4), pitch, torch.ones(4), longest=2 ** (2 / 12))
    stretched = stretch(tones(hertz, 4), torch.tensor(TEMPI))
    assert shifted.shape == stretched.shape == (4, 48_000)
    for waveform, factor in zip([*shifted, *stretched], [*pitch.tolist(), 1, 1, 1, 1], strict=True):
        assert abs(cents(pitch_of(waveform), hertz * factor)) < 1


@pytest.mark.parametrize(("transform", "tolerance"), [(change_speed, 1), (stretch, 256 + 0.15 * 512 + 1)])
def test_tempo_moves_clicks_towards_or_from_the_centre(transform, tolerance):
    """To the sample by resampling.

    The vocoder moves whole frames: their phase is up to a hop (256) old, and a click keeps its place in its frame, up
    to half a frame (512) from the centre, where it should move by 15 % of that; a sample is rounding.
    """
    clicks = torch.zeros(4, 48_000)
    clicks[:, [16_000, 32_000]] = 1.0
    faster = transform(clicks, torch.tensor(TEMPI))
    for waveform, tempo in zip(faster, TEMPI, strict=True):
        for half, sign in ((waveform[:24_000], -1), (waveform[24_000:], 1)):
            at = int(half.abs().argmax()) + (24_000 if sign > 0 else 0)
            assert abs(at - (24_000 + sign * 8_000 / tempo)) <= tolerance


@pytest.mark.parametrize("hertz", [150.0, 1_000.0])
def test_speed_equals_the_sampled_tone(hertz):
    fast = change_speed(tones(hertz, 4), torch.tensor(TEMPI))
    time = (torch.arange(48_000, dtype=torch.float64) - 24_000) / RATE
    for waveform, tempo in zip(fast, TEMPI, strict=True):
        expected = torch.sin(2 * math.pi * hertz * (time * tempo + 1.5))
        # a cubic at four times the rate: error (pi f / 2 fs)^4 / 24, and the ringing of the band limit
        torch.testing.assert_close(waveform[MIDDLE].double(), expected[MIDDLE], atol=4e-3, rtol=0)


@pytest.mark.parametrize("shift", [-4_000.0, 1_234.0])
def test_a_shift_moves_the_clip_and_zeros_come_in(shift, voices):
    moved = change_speed(voices, torch.ones(8), torch.full((8,), shift))
    start, end = max(0, int(shift)), voices.shape[1] + min(0, int(shift))
    expected = torch.zeros_like(voices)
    expected[:, start:end] = voices[:, start - int(shift) : end - int(shift)]
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)  # through an FFT and back


def test_pitch_and_tempo_together_are_one_operation():
    """A tone is raised by both factors' product, and clicks move by the tempo's alone."""
    speed, pitch, stretch = 1.1, 2 ** (-1.5 / 12), 0.9
    factors = torch.full((2,), speed * pitch), torch.full((2,), speed * stretch)
    tone = change_pitch_and_tempo(tones(440, 2), *factors, longest=pitch / stretch)
    assert abs(cents(pitch_of(tone[0]), 440 * speed * pitch)) < 1
    clicks = torch.zeros(2, 48_000)
    clicks[:, 32_000] = 1.0
    moved = change_pitch_and_tempo(clicks, *factors, longest=pitch / stretch)[0]
    expected = 24_000 + 8_000 / (speed * stretch)
    assert abs(int(moved.abs().argmax()) - expected) < 256 + 512 * 0.15 + 1  # as of the vocoder above


def test_a_raised_pitch_does_not_alias():
    tone = tones(7_500, 1) * torch.hann_window(48_000)
    assert change_speed(tone, torch.tensor([1.15])).abs().max() < 1e-3


@pytest.mark.parametrize("rate", [0.8, 0.93, 1.0, 1.21])
def test_vocoder_is_torchaudios(rate, voices):
    window = torch.hann_window(1024, dtype=torch.float64)
    # noise, since an empty cell has no phase: the sign of its zero, which the FFT's library decides, would be one
    heard = voices.double() + 1e-5 * torch.randn(voices.shape, dtype=torch.float64)
    spectrogram = torch.stft(heard, 1024, 256, window=window, return_complex=True)
    # bin k advances by k quarter turns a hop; whole turns left in would cost torchaudio two digits
    advance = (torch.arange(513, dtype=torch.float64) % 4 * math.pi / 2)[:, None]
    theirs = torchaudio.functional.phase_vocoder(spectrogram, rate, advance)
    ours = phase_vocoder(spectrogram, torch.full((8,), rate, dtype=torch.float64), theirs.shape[-1])
    assert (ours - theirs).abs().max() < 1e-10  # of magnitudes up to 90


def test_clips_do_not_depend_on_their_batch(voices):
    factors = torch.linspace(0.9, 1.1, 8)
    together = change_pitch_and_tempo(voices, factors, factors.flip(0), longest=1.3)
    fast = change_speed(voices, factors)
    for i in range(8):
        one = slice(i, i + 1)
        alone = change_pitch_and_tempo(voices[one], factors[one], factors.flip(0)[one], longest=1.3)
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(fast[one], change_speed(voices[one], factors[one]), atol=1e-5, rtol=0)


def warp(**settings):
    return Warp(AugmentConfig(warp="waveform", **STILL | settings), RATE)


@pytest.mark.parametrize("what", ["pitch_probability", "stretch_probability"])
def test_transforms_keep_the_length_and_change_what_they_choose(what, voices):
    batch = voices[:, None]
    before = batch.clone()
    changed = warp(**{what: 0.5})(batch).samples
    assert changed.shape == batch.shape
    assert torch.equal(batch, before)
    assert (changed != batch).any(dim=2).sum() == 4, "half of eight clips"
    for still in (warp(**{what: 0.0}), warp(**{what: 1.0}).eval()):
        assert torch.equal(still(batch).samples, batch)


@pytest.mark.parametrize("what", list(STILL))
def test_frozen_parameters_repeat_the_same_change(what, voices):
    transform = warp(**{what: 1.0})
    first = transform(voices[:, None]).samples
    transform.freeze_parameters()
    assert torch.equal(transform(voices[:, None]).samples, first)
    transform.unfreeze_parameters()
    assert not torch.equal(transform(voices[:, None]).samples, first)


def test_warp_keeps_each_probability():
    probabilities = {"speed": 0.8, "pitch": 0.25, "stretch": 0.4, "shift": 0.6}
    drawn = warp(**{f"{name}_probability": value for name, value in probabilities.items()}).draw(torch.empty(20_000, 1))
    pitched, stretched = drawn["pitch"] != 1, drawn["stretch"] != 1
    assert len(pitched) == 20_000 * (1 - 0.75 * 0.6), "as many as are pitched or stretched pass the vocoder"
    shares = [each.sum().item() / 20_000 for each in (pitched, stretched, pitched & stretched)]
    shares += [(drawn["speed"] != 1).float().mean().item(), (drawn["shift"] != 0).float().mean().item()]
    # five standard deviations of a share of 20,000 draws are under 0.018
    assert shares == pytest.approx([0.25, 0.4, 0.1, 0.8, 0.6], abs=0.018)


@pytest.mark.parametrize(("probability", "batch"), [(0.3, 1), (0.25, 2), (0.5, 3), (1.0, 4)])
def test_as_many_clips_are_used_as_the_probability_says(probability, batch):
    draws = [choose(probability, batch, torch.device("cpu")) for _ in range(2_000)]
    assert {len(chosen) for chosen, _ in draws} == {math.ceil(probability * batch)}
    used = torch.stack([used.sum() for _, used in draws]).float().mean()
    assert used == pytest.approx(probability * batch, abs=0.056)  # five standard deviations of a coin, 2,000 times
    positions = torch.stack([chosen[0] for chosen, _ in draws]).bincount(minlength=batch)
    assert positions.min() > 2_000 / batch * 0.8, "each clip in turn"
