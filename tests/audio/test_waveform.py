import itertools
import math

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers, just, lists, sampled_from

from ser_gpu.audio import reader, samples
from ser_gpu.audio.waveform import level, load, recording, resample, segments
from ser_gpu.errors import AudioError
from tests.conftest import SAMPLE_RATE


@given(blocks=lists(lists(integers(0, 9), max_size=9), max_size=9), size=integers(1, 12) | just(math.inf))
def test_regrouping_keeps_every_sample_in_order(blocks, size):
    pieces = list(samples.regroup(iter([np.array(block) for block in blocks]), size))
    assert [sample for piece in pieces for sample in piece.tolist()] == list(itertools.chain(*blocks))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


def heard(audio, rate):
    """Samples in memory, whole."""
    return next(recording(audio, rate, SAMPLE_RATE, math.inf)[1])


def tone(rate, hertz=440.0, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def test_load_mixes_channels_and_sets_the_level(tmp_path):
    left, right = tone(SAMPLE_RATE), 0.5 * tone(SAMPLE_RATE, 1000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE, subtype="FLOAT")
    mixed = left + right
    np.testing.assert_allclose(load(tmp_path / "a.wav", SAMPLE_RATE), mixed / np.abs(mixed).max(), atol=1e-6)


def test_channels_that_cancel_are_the_louder_one():
    voice = tone(SAMPLE_RATE)
    expected = heard(voice, SAMPLE_RATE)
    for channels in ([voice, -voice], [0.5 * voice, -voice], [voice + 0.1, 0.3 - 0.9 * voice]):
        found = heard(np.stack(channels), SAMPLE_RATE)
        assert min((found - expected).abs().max(), (found + expected).abs().max()) < 1e-4, "its sign is not heard"
    quiet_rest = np.stack([voice, *np.zeros((7, len(voice)), np.float32)])
    torch.testing.assert_close(heard(quiet_rest, SAMPLE_RATE), expected, atol=1e-6, rtol=0)


def test_level_takes_the_offset_out_and_keeps_the_shape():
    wave = torch.from_numpy(tone(SAMPLE_RATE))
    for changed in (wave, 0.01 * wave + 0.2, -3e4 + 1e4 * wave, 1e29 * wave):
        levelled = level(changed)
        assert levelled.abs().max() == 1
        assert abs(levelled.mean()) < 1e-6
        torch.testing.assert_close(levelled, level(wave), atol=2e-5, rtol=0)
    assert not level(torch.full((100,), 0.7)).any()
    assert not level(torch.zeros(100)).any()


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 44_101, 48_000, 192_000])
def test_blocks_and_segments_hold_the_samples_of_the_whole(tmp_path, rate, monkeypatch):
    noise = np.random.default_rng(0).normal(size=(2 * rate + 17, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, rate, subtype="FLOAT")
    expected = heard(noise, rate)
    assert torch.equal(load(tmp_path / "a.wav", SAMPLE_RATE), expected)
    monkeypatch.setattr(reader, "_BLOCK_VALUES", 2 * 3_001)
    assert torch.equal(load(tmp_path / "a.wav", SAMPLE_RATE), expected), "how it is cut changes no bit"
    pieces = list(segments(tmp_path / "a.wav", SAMPLE_RATE, seconds=0.7))
    assert [len(piece) for piece in pieces[:2]] == [11_200] * 2
    assert sum(map(len, pieces)) == len(expected)
    for piece, part in zip(pieces, expected.split(11_200), strict=True):
        # the level of a piece is set from samples of which the whole's level has rounded each
        torch.testing.assert_close(piece, level(part), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000, 192_000, 767_999, 768_000])
def test_resampling_keeps_a_tone(rate):
    low = resample(torch.from_numpy(tone(rate)), rate, SAMPLE_RATE)
    expected = tone(SAMPLE_RATE)
    assert abs(len(low) - len(expected)) <= 1
    middle = slice(1_000, 6_000)
    # far from the ends, where the filter reaches into silence: the ripple is 1e-8, what is left is float32
    np.testing.assert_allclose(low[middle], expected[middle], atol=1e-4)


def test_resampling_keeps_what_the_lower_rate_can_hold_and_removes_the_rest():
    high = resample(torch.from_numpy(tone(48_000, hertz=7_200)), 48_000, SAMPLE_RATE)
    assert 0.999 < high[500:-500].abs().max() < 1.001
    assert resample(torch.from_numpy(tone(48_000, hertz=8_100)), 48_000, SAMPLE_RATE)[500:-500].abs().max() < 1e-4


@settings(deadline=None)
@given(
    size=integers(1, 50),
    from_rate=sampled_from([1_000, 7_999, 16_000, 44_101, 48_000, 768_000]),
    to_rate=sampled_from([1_000, 16_000, 22_050, 768_000]),
)
def test_a_few_samples_have_their_length_at_any_ratio(size, from_rate, to_rate):
    out = resample(torch.full((size,), 0.5), from_rate, to_rate)
    assert len(out) == math.ceil(size * to_rate / from_rate)
    assert out.isfinite().all()


def test_resampling_keeps_leading_dimensions():
    audio = torch.randn(2, 3, 4_800)
    out = resample(audio, 48_000, SAMPLE_RATE)
    assert out.shape == (2, 3, 1_600)
    assert torch.equal(out[1, 2], resample(audio[1, 2], 48_000, SAMPLE_RATE))
    assert torch.equal(resample(audio, 16_000, 16_000), audio)
    assert resample(torch.zeros(0), 48_000, 16_000).shape == (0,)
    assert resample(torch.zeros(0, 3), 48_000, 16_000).shape == (0, 1)


def test_a_long_recording_at_an_odd_rate_keeps_its_length():
    assert len(resample(torch.zeros(44_101 * 60 + 7), 44_101, SAMPLE_RATE)) == 60 * SAMPLE_RATE + 3


def test_int16_and_float_are_taken_alike():
    whole = torch.tensor([0, 16_384, 16_384, -32_768], dtype=torch.int16)
    expected = torch.tensor([0.0, 0.5, 0.5, -1.0])
    assert torch.equal(heard(whole, 16_000), expected)
    assert torch.equal(heard(expected.double(), 16_000), expected)


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (torch.zeros(2, 3, 4), 16_000, "expected"),
        (torch.zeros(0), 16_000, "no samples"),
        (torch.tensor([0.0, float("nan")]), 16_000, "not finite"),
        (torch.tensor([0.0, float("inf")]), 16_000, "not finite"),
        (torch.tensor([0.0, 1e300], dtype=torch.float64), 16_000, "not finite or beyond"),
        (torch.zeros(100, dtype=torch.bool), 16_000, "integers or floating point"),
        (torch.zeros(100), 0, "the sample rate must be between"),
    ],
)
def test_what_is_wrong_with_samples_is_named(audio, rate, message):
    with pytest.raises(AudioError, match=f"audio: .*{message}"):
        heard(audio, rate)


def broken_files(folder):
    (folder / "text.wav").write_text("these are words")
    (folder / "empty.wav").touch()
    soundfile.write(folder / "header.wav", np.zeros(0, np.float32), SAMPLE_RATE)
    soundfile.write(folder / "nan.wav", np.full(8_000, np.nan, np.float32), SAMPLE_RATE, subtype="FLOAT")
    (folder / "folder.wav").mkdir()
    return ["text.wav", "empty.wav", "header.wav", "nan.wav", "folder.wav", "missing.wav"]


def test_load_names_the_file_in_one_line(tmp_path):
    for name in broken_files(tmp_path):
        with pytest.raises(AudioError) as caught:
            load(tmp_path / name, SAMPLE_RATE)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
