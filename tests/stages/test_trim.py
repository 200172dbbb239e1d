import librosa
import pytest
import torch

from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import TrimConfig
from ser_gpu.stages.trim import TrimSilence

WINDOW = 48_000
LENGTHS = torch.arange(9_000, 9_000 + 8 * 611, 611)


@pytest.fixture(params=[TrimConfig(), TrimConfig(top_db=20, frame_length=512, hop=128)], ids=["30dB", "20dB"])
def trim(request):
    return TrimSilence(request.param, WINDOW)


def librosa_bounds(waveform, config):
    frames = {"frame_length": config.frame_length, "hop_length": config.hop}
    return tuple(librosa.effects.trim(waveform.numpy(), top_db=config.top_db, **frames)[1])


def test_bounds_are_librosas_on_synthetic_clips(trim, voices):
    start, end = trim.bounds(voices)
    assert [*zip(start.tolist(), end.tolist(), strict=True)] == [librosa_bounds(v, trim.config) for v in voices]
    assert (start > 0).all()
    assert (end < voices.shape[1]).all()


@pytest.fixture(scope="module")
def real_clips(ravdess_paths):
    return ClipBank.read(ravdess_paths[::4], 16_000)


@pytest.mark.ravdess
def test_bounds_are_librosas_on_real_clips(trim, real_clips):
    for rows in torch.arange(len(real_clips)).split(96):
        waveforms, lengths = real_clips.batch(rows)
        start, end = trim.bounds(waveforms, lengths)
        for i in range(len(rows)):
            assert (int(start[i]), int(end[i])) == librosa_bounds(waveforms[i, : lengths[i]], trim.config)


def test_the_padding_of_a_batch_changes_nothing(trim, voices):
    padded = voices.masked_fill(torch.arange(voices.shape[1]) >= LENGTHS[:, None], 0.0)
    together = trim(padded, LENGTHS)
    for i, length in enumerate(LENGTHS):
        assert torch.equal(together[i], trim(voices[i : i + 1, :length])[0])


def test_a_silent_clip_stays_whole(trim):
    start, end = trim.bounds(torch.zeros(2, 7_000), torch.tensor([7_000, 5_000]))
    assert start.tolist() == [0, 0]
    assert end.tolist() == [7_000, 5_000]


def test_short_speech_is_centred_and_long_speech_loses_both_ends():
    trim = TrimSilence(TrimConfig(), 1_000)
    short, long = torch.ones(1, 400), torch.arange(1.0, 5_001.0)[None]
    assert torch.equal(trim(short)[0], torch.cat([torch.zeros(300), torch.ones(400), torch.zeros(300)]))
    start, end = (int(bound) for bound in trim.bounds(long))
    assert trim(long)[0, 0] == long[0, start + (end - start - 1_000) // 2]
    assert trim(long)[0, -1] == trim(long)[0, 0] + 999


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
def test_a_window_has_the_samples_between_its_bounds(exported, dtype, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: exported)
    noise = (1_000 * torch.randn(6, 60_000)).to(dtype)
    start = torch.tensor([0, 59_999, 100, 3, 11_999, 30_000])
    end = torch.tensor([60_000, 60_000, 48_101, 48_003, 60_000, 30_001])
    windows = TrimSilence(TrimConfig(), WINDOW).window(noise, start, end)
    assert windows.dtype == dtype
    for row, window, first, last in zip(noise, windows, start.tolist(), end.tolist(), strict=True):
        kept = row[first + max(0, last - first - WINDOW) // 2 :][: min(WINDOW, last - first)]
        before = (WINDOW - len(kept)) // 2
        expected = torch.nn.functional.pad(kept, (before, WINDOW - len(kept) - before))
        assert torch.equal(window, expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_short_clip_is_repeated_and_a_long_one_is_not(compiled, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiled)
    trim = TrimSilence(TrimConfig(fill="repeat"), 10)
    clip = torch.arange(8)[None].repeat(3, 1)
    windows = trim.window(clip, torch.tensor([1, 0, 3]), torch.tensor([4, 8, 4]))
    assert windows.tolist() == [[1, 2, 3, 1, 2, 3, 1, 2, 3, 1], [7, 0, 1, 2, 3, 4, 5, 6, 7, 0], [3] * 10]
    trim.clip_samples = 4
    assert trim.window(clip[:1], torch.tensor([0]), torch.tensor([8])).tolist() == [[2, 3, 4, 5]]


def test_the_input_is_not_changed(trim, voices):
    before = voices.clone()
    trim(voices, torch.full((8,), 10_000))
    assert torch.equal(voices, before)
