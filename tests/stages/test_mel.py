import librosa
import numpy as np
import pytest
import torch

from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import MelConfig
from ser_gpu.stages.mel import LogMel, nnaudio_kernels

# float32 against float64: rounding of a sum of 1,024 products, seen 80 dB under the peak
DECIBELS = 1e-3


def librosa_decibels(waveform, config):
    stft = librosa.stft(waveform.double().numpy(), n_fft=config.n_fft, hop_length=config.hop, pad_mode="constant")
    bands = {"n_mels": config.n_mels, "fmin": config.f_min, "fmax": config.f_max}
    mel = librosa.feature.melspectrogram(S=np.abs(stft) ** 2, sr=16_000, n_fft=config.n_fft, **bands)
    return librosa.power_to_db(mel, ref=np.max, top_db=config.top_db)


WAYS = ("conv", "fft", "view")  # the last one is what "fft" does on a GPU


def log_mel(way, **settings):
    mel = LogMel(MelConfig(backend="conv" if way == "conv" else "fft", **settings), 16_000)
    if way == "view":
        mel.mel_power.forward = mel.mel_power.of_view
    return mel


def check_decibels(waveforms, way, **settings):
    mel = log_mel(way, **settings)
    for ours, waveform in zip(mel.decibels(waveforms), waveforms, strict=True):
        np.testing.assert_allclose(ours[0], librosa_decibels(waveform, mel.config), atol=DECIBELS, rtol=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n_fft", [512, 1024, 2048])
def test_decibels_are_librosas(way, n_fft, voices):
    check_decibels(torch.cat([voices, torch.zeros(1, voices.shape[1])]), way, n_fft=n_fft)


@pytest.mark.parametrize("way", ["fft", "view"])
@pytest.mark.parametrize(("n_fft", "hop"), [(400, 160), (256, 250), (8_192, 77)])
def test_frames_have_any_size_and_distance(way, n_fft, hop, voices):
    tone = torch.sin(0.1 * torch.arange(voices.shape[1]))[None]  # between two bins, beside quieter clips
    check_decibels(torch.cat([0.01 * voices, tone, 0.01 * voices]), way, n_fft=n_fft, hop=hop, n_mels=20)


@pytest.mark.parametrize("way", ["fft", "view"])
@pytest.mark.parametrize("f_max", [440.0, 1_500.0, 7_999.0])
def test_bands_may_end_anywhere(f_max, way, voices):
    check_decibels(voices, way, n_fft=2048, n_mels=20, f_max=f_max)


@pytest.mark.ravdess
@pytest.mark.parametrize("way", WAYS)
def test_decibels_are_librosas_on_real_speech(way, ravdess_paths):
    check_decibels(ClipBank.read(ravdess_paths[::60], 16_000).batch(torch.arange(24))[0], way)


def test_the_way_of_a_gpu_is_one_graph(voices):
    mel = log_mel("view")
    compiled = torch.compile(mel, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(voices), mel(voices))


def test_what_a_microphone_changes_is_taken_off_as_far_as_asked(voices):
    gains = torch.linspace(-20, 20, 64)[:, None]  # dB
    changes = []
    for share in (0.0, 0.5, 1.0):
        mel = LogMel(MelConfig(mean_subtraction=share), 16_000)
        decibels = mel.decibels(voices)
        plain, other = mel.normalised(decibels), mel.normalised(decibels + gains)
        assert torch.equal(mel(voices), plain)
        torch.testing.assert_close(plain.var(dim=(1, 2, 3)), torch.ones(len(voices)), atol=1e-3, rtol=0)
        changes.append((other - plain).abs().mean())
    assert changes[2] < 1e-5 < changes[1] < 0.7 * changes[0]  # the first is rounding


@pytest.fixture(params=WAYS)
def mel(request):
    return log_mel(request.param)


def test_a_clip_alone_equals_the_clip_in_a_batch(mel, voices):
    voices = voices * torch.logspace(-3, 0, 8)[:, None]
    together = mel(voices)
    for i in range(len(voices)):
        # cells near the floor are exact to 1e-3 dB, and a unit is about 20 dB
        torch.testing.assert_close(together[i : i + 1], mel(voices[i : i + 1]), atol=5e-5, rtol=0)


def test_each_clip_has_zero_mean_and_unit_variance_at_any_level(mel, voices):
    spectrogram = mel(voices)
    torch.testing.assert_close(spectrogram.mean(dim=(1, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(spectrogram.std(dim=(1, 2, 3)), torch.ones(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(mel(voices * 0.01), spectrogram, atol=1e-3, rtol=0)


def test_the_floor_is_80_db_below_the_peak(mel, voices):
    decibels = mel.decibels(torch.nn.functional.pad(voices, (0, 8_000)))
    assert decibels.amax(dim=(1, 2, 3)).eq(0).all()
    assert decibels.amin(dim=(1, 2, 3)).eq(-80).all()


def test_autocast_changes_nothing(mel, voices):
    with torch.autocast("cpu", torch.bfloat16):
        assert (voices @ voices.T).dtype == torch.bfloat16, "autocast is at work"
        inside = mel(voices)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, mel(voices))


@pytest.mark.parametrize(("backend", "trainable"), [("conv", False), ("conv", True), ("fft", False)])
def test_gradients_on_digital_silence_are_finite(backend, trainable):
    mel = LogMel(MelConfig(backend=backend, trainable=trainable), 16_000)
    waveform = torch.zeros(2, 16_000, requires_grad=True)
    mel(waveform).square().sum().backward()
    assert waveform.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in mel.parameters())


def test_gradients_reach_the_waveform(mel, voices):
    voices.requires_grad_()
    mel(voices)[:, :, :10].sum().backward()
    assert voices.grad.abs().sum() > 0


def test_what_is_stored_suffices_to_compute_and_no_more():
    assert set(LogMel(MelConfig(), 16_000).state_dict()) == {"mel_power.window", "mel_power.mel_basis"}
    assert LogMel(MelConfig(backend="conv"), 16_000).state_dict() == {}, "4 MB that the configuration rebuilds"
    stored = LogMel(MelConfig(trainable=True), 16_000).state_dict()
    names = {"mel_power.layer.mel_basis", "mel_power.layer.stft.wsin", "mel_power.layer.stft.wcos"}
    assert names <= set(stored)
    assert len(list(LogMel(MelConfig(trainable=True), 16_000).parameters())) == 3


def test_stored_kernels_compute_the_same(voices):
    config = MelConfig()
    kernels = nnaudio_kernels(config, 16_000)
    assert torch.equal(LogMel(config, 16_000, kernels)(voices), LogMel(config, 16_000)(voices))


def test_kernels_of_another_configuration_are_refused():
    with pytest.raises(ValueError, match=r"mel_basis must be \[40, 513\], got \[64, 513\]"):
        LogMel(MelConfig(n_mels=40), 16_000, nnaudio_kernels(MelConfig(), 16_000))


@pytest.mark.parametrize("samples", [1, 400, 800])
def test_clips_shorter_than_half_a_frame_are_read(mel, samples):
    assert mel(torch.randn(1, samples)).isfinite().all()
