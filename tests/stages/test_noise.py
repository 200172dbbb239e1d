import numpy as np
import pytest
import torch

from ser_gpu.stages.channel import AddNoise, coloured_noise


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 40.0])
def test_the_ratio_is_what_was_asked(snr_db, voices):
    noisy = AddNoise(snr_db, snr_db, 0.0, 2.0, 1.0, 16_000)(voices[:, None]).samples.squeeze(1)
    measured = 10 * torch.log10(voices.square().mean(1) / (noisy - voices).square().mean(1))
    torch.testing.assert_close(measured, torch.full((8,), snr_db), atol=0.02, rtol=0)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_the_spectrum_falls_as_asked(decay):
    noise = coloured_noise(torch.full((64,), decay), 2**15)
    power = torch.fft.rfft(noise).abs().square().mean(0)[8:8_000].numpy()
    slope = np.polyfit(np.log(np.arange(8, 8_000)), np.log(power), 1)[0]
    assert abs(slope + decay) < 0.05


def test_silence_stays_silent():
    assert not AddNoise(5, 40, 0, 1, 1.0, 16_000)(torch.zeros(2, 1, 4_000)).samples.any()
