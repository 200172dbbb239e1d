import itertools
import math

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis.strategies import integers, just, lists

from ser_gpu.data import audio_file, ravdess, waveform
from ser_gpu.data.audio_file import AudioError
from ser_gpu.data.waveform import ClipBank, level, load, resample, segments, to_mono
from tests.conftest import SAMPLE_RATE


@given(blocks=lists(lists(integers(0, 9), max_size=9), max_size=9), size=integers(1, 12) | just(math.inf))
def test_regrouping_keeps_every_sample_in_order(blocks, size):
    pieces = list(waveform._regroup(iter([torch.tensor(block) for block in blocks]), size))
    assert [sample for piece in pieces for sample in piece.tolist()] == list(itertools.chain(*blocks))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


def tone(rate, hertz=440.0, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def test_load_mixes_channels_and_sets_the_level(tmp_path):
    left, right = tone(SAMPLE_RATE), 0.5 * tone(SAMPLE_RATE, 1000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE, subtype="FLOAT")
    mixed = left + right
    np.testing.assert_allclose(load(tmp_path / "a.wav", SAMPLE_RATE), mixed / np.abs(mixed).max(), atol=1e-6)


def test_level_takes_the_offset_out_and_keeps_the_shape():
    wave = torch.from_numpy(tone(SAMPLE_RATE))
    for changed in (wave, 0.01 * wave + 0.2, -3e4 + 1e4 * wave, 1e29 * wave):
        levelled = level(changed)
        assert levelled.abs().max() == 1
        assert abs(levelled.mean()) < 1e-6
        torch.testing.assert_close(levelled, level(wave), atol=2e-5, rtol=0)
    assert not level(torch.full((100,), 0.7)).any()
    assert not level(torch.zeros(100)).any()


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_blocks_and_segments_hold_the_samples_of_the_whole(tmp_path, rate, monkeypatch):
    noise = np.random.default_rng(0).normal(size=(3 * rate + 17, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, rate, subtype="FLOAT")
    whole = load(tmp_path / "a.wav", SAMPLE_RATE)
    expected = to_mono(torch.from_numpy(noise.T), rate, SAMPLE_RATE)
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=0)
    monkeypatch.setattr(audio_file, "_BLOCK_VALUES", 2 * 3_001)
    torch.testing.assert_close(load(tmp_path / "a.wav", SAMPLE_RATE), expected, atol=1e-5, rtol=0)
    pieces = list(segments(tmp_path / "a.wav", SAMPLE_RATE, seconds=1.0))
    assert [len(piece) for piece in pieces[:3]] == [SAMPLE_RATE] * 3
    assert sum(map(len, pieces)) == len(expected)
    for piece, part in zip(pieces, expected.split(SAMPLE_RATE), strict=True):
        torch.testing.assert_close(piece, level(part), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000, 192_000])
def test_resampling_keeps_a_tone(rate):
    low = resample(torch.from_numpy(tone(rate)), rate, SAMPLE_RATE)
    expected = tone(SAMPLE_RATE)
    assert abs(len(low) - len(expected)) <= 2
    middle = slice(1_000, 6_000)
    # 44,101 Hz is read as 44,100 Hz: 2e-5 of the phase of 165 periods
    np.testing.assert_allclose(low[middle], expected[middle], atol=0.03 if rate == 44_101 else 1e-3)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    assert resample(torch.from_numpy(tone(48_000, hertz=9_000)), 48_000, SAMPLE_RATE)[500:-500].abs().max() < 1e-3


def test_to_mono_takes_int16_and_float_alike():
    whole = torch.tensor([0, 16_384, 16_384, -32_768], dtype=torch.int16)
    expected = torch.tensor([0.0, 0.5, 0.5, -1.0])
    assert torch.equal(to_mono(whole, 16_000, 16_000), expected)
    assert torch.equal(to_mono(expected.double(), 16_000, 16_000), expected)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(2, 3, 4), "expected"),
        (torch.zeros(48_000, 2), "expected"),
        (torch.zeros(0), "no samples"),
        (torch.tensor([0.0, float("nan")]), "not finite"),
        (torch.tensor([0.0, float("inf")]), "not finite"),
        (torch.zeros(100, dtype=torch.int64), "floating point or int16"),
    ],
)
def test_to_mono_names_what_is_wrong(audio, message):
    with pytest.raises(AudioError, match=message):
        to_mono(audio, 16_000, 16_000)


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


def test_a_bank_gives_each_clip_back(tiny_ravdess):
    clips = ravdess.scan(tiny_ravdess).clips[:20]
    seen = []
    bank = ClipBank.read([clip.path for clip in clips], SAMPLE_RATE, on_clip=lambda: seen.append(1))
    assert len(bank) == len(seen) == 20
    assert bank.waveforms.dtype == torch.int16
    waveforms, lengths = bank.batch(torch.tensor([3, 17, 3]))
    for row, clip in enumerate([clips[3], clips[17], clips[3]]):
        expected = load(clip.path, SAMPLE_RATE)
        assert lengths[row] == len(expected)
        # half a step of 16 bit; a whole one at the peak, since the largest int16 is 32,767
        torch.testing.assert_close(waveforms[row, : lengths[row]], expected, atol=1 / 32_768 + 1e-9, rtol=0)
        assert not waveforms[row, lengths[row] :].any()
