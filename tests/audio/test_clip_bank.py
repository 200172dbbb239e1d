import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis.strategies import booleans, integers, lists, none

from ser_gpu.audio.clip_bank import INT16_SCALE, ClipBank
from ser_gpu.audio.samples import load
from ser_gpu.errors import AudioError
from tests.conftest import SAMPLE_RATE, synthetic_voice


def ramps(lengths: list[int]) -> list[torch.Tensor]:
    """Clips of which each sample tells the clip and the place."""
    return [1_000 * number + torch.arange(1, length + 1, dtype=torch.int16) for number, length in enumerate(lengths)]


@pytest.fixture
def paths(tmp_path):
    generator = np.random.default_rng(0)
    for number, seconds in enumerate([0.3, 0.1, 0.2, 0.25]):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * generator.normal(size=round(48_000 * seconds)), 48_000)
    return sorted(tmp_path.iterdir())


def test_a_bank_gives_each_clip_back(paths):
    seen = []
    bank = ClipBank.read(paths, SAMPLE_RATE, on_clip=lambda: seen.append(1))
    assert len(bank) == len(seen) == 4
    assert bank.samples.dtype == torch.int16
    waveforms, lengths = bank.batch(torch.tensor([3, 1, 3]))
    for row, clip in enumerate([3, 1, 3]):
        expected = load(paths[clip], SAMPLE_RATE)
        assert lengths[row] == len(expected)
        # half a step of 16 bit; a whole one at the peak, since the largest int16 is 32,767
        torch.testing.assert_close(waveforms[row, : lengths[row]], expected, atol=1 / 32_768 + 1e-9, rtol=0)
        assert not waveforms[row, lengths[row] :].any()
        assert torch.equal(bank.waveform(clip), waveforms[row, : lengths[row]])


def test_clips_in_memory_are_the_clips_of_files(paths):
    of_files = ClipBank.read(paths, SAMPLE_RATE)
    for clips in ([load(path, SAMPLE_RATE) for path in paths], map(of_files.waveform, range(4))):
        bank = ClipBank.from_waveforms([*clips], SAMPLE_RATE)
        assert torch.equal(bank.samples, of_files.samples)
        assert torch.equal(bank.offsets, of_files.offsets)
    none = torch.zeros(0, dtype=torch.int64)
    assert bank.batch(none)[0].shape == (0, bank.longest)
    assert ClipBank.read([], SAMPLE_RATE).batch(none)[0].shape == (0, 0)


@given(lengths=lists(integers(1, 30), min_size=1, max_size=8), most=integers(1, 40) | none(), random=booleans())
def test_a_batch_is_clips_behind_which_are_zeros_or_stretches_of_them(lengths, most, random):
    clips = ramps(lengths)
    bank = ClipBank.from_waveforms(clips, SAMPLE_RATE)
    index = torch.randint(len(clips), (6,))
    waveforms, given = bank.batch(index, most, random)
    size = min(most or 40, max(lengths))
    assert waveforms.shape == (6, size)
    assert waveforms.dtype == torch.float32
    for row, length, clip in zip(waveforms * INT16_SCALE, given, index, strict=True):
        expected = clips[clip]
        assert length == min(len(expected), size)
        assert not row[length:].any()
        start = int(row[0] - expected[0])
        assert torch.equal(row[:length], expected[start : start + length].float())
        if not random:
            assert start == (len(expected) - int(length)) // 2


def test_random_stretches_reach_every_place():
    bank = ClipBank.from_waveforms(ramps([5, 3]), SAMPLE_RATE)
    waveforms, lengths = bank.batch(torch.tensor([0] * 200 + [1] * 200), most=4, random=True)
    assert set((waveforms[:200, 0] * INT16_SCALE).int().tolist()) == {1, 2}
    assert set((waveforms[200:, 0] * INT16_SCALE).int().tolist()) == {1_001}, "a shorter clip is whole"
    assert lengths.tolist() == [4] * 200 + [3] * 200


def test_one_long_clip_costs_its_own_length_alone():
    """Eleven minutes among 120 clips of three seconds; padded to it, each would be 21 MB, and all of them 2.6 GB."""
    clips = [torch.ones(48_000, dtype=torch.int16)] * 60
    bank = ClipBank.from_waveforms([*clips, torch.ones(660 * 16_000, dtype=torch.int16), *clips], SAMPLE_RATE)
    megabytes = bank.samples.numel() * bank.samples.element_size() / 1e6
    assert megabytes < 60, "11.5 of the short ones, and twice the long one"
    waveforms, lengths = bank.batch(torch.arange(32) + 50, most=96_000)
    assert waveforms.shape == (32, 96_000)
    assert lengths.tolist() == [48_000] * 10 + [96_000] + [48_000] * 21


def test_a_bad_clip_is_named_and_the_rest_is_not_waited_for(paths, tmp_path):
    seen = []
    (tmp_path / "bad.wav").write_text("these are words")
    with pytest.raises(AudioError, match=r"bad\.wav: is text, not audio"):
        ClipBank.read([tmp_path / "bad.wav", *paths * 200], SAMPLE_RATE, on_clip=lambda: seen.append(1))
    assert len(seen) < 400


def test_silent_and_very_short_clips_are_not_usable():
    sound = torch.ones(800)
    bank = ClipBank.from_waveforms([sound, torch.zeros(16_000), sound[:799], sound[:0], sound / 32_768], SAMPLE_RATE)
    assert bank.usable().tolist() == [True, False, False, False, True]


def test_stretches_are_what_lies_between_their_times():
    sounds = ramps([16_000, 400])
    bank = ClipBank.from_waveforms(sounds, SAMPLE_RATE)
    spans = [(0.5, 0.75), (0.0, 0.1), (0.0, float("inf")), (0.9, 5.0), (2.0, 3.0)]
    part = bank.part(torch.tensor([0, 1, 1, 0, 0]), torch.tensor(spans, dtype=torch.float64))
    first, second = bank.waveform(0), bank.waveform(1)
    own = [first[8_000:12_000], second, second, first[14_400:], torch.zeros(0)]
    assert all(torch.equal(part.waveform(row), sound) for row, sound in enumerate(own))
    assert part.longest == 4_000
    waveforms, lengths = part.batch(torch.tensor([1, 4, 0]))
    assert (lengths.tolist(), waveforms.shape) == ([400, 0, 4_000], (3, 4_000))
    assert not waveforms[0, 400:].any()
    again = part.part(torch.tensor([3, 0]))
    assert torch.equal(again.waveform(1), own[0])
    assert torch.equal(again.batch(torch.tensor([0]))[0][0, :1_600], own[3])


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_clips_in_which_nobody_speaks_are_counted(rate):
    voice = synthetic_voice(3, 1, 0, sample_rate=rate)
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    bank = ClipBank.from_waveforms([torch.from_numpy(sound) for sound in (noise, voice, noise[:rate])], rate)
    assert (bank.without_speech(), bank.part(torch.tensor([1])).without_speech()) == (2, 0)
