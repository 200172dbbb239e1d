import json
from dataclasses import replace

import pytest

from ser_gpu.config import AudioConfig, AugmentConfig, CnnConfig, MelConfig, ModelConfig, TrimConfig


def test_a_configuration_survives_json():
    config = ModelConfig(cnn=CnnConfig(head="flatten", width=16), mel=MelConfig(n_mels=80))
    assert ModelConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_what_follows_from_the_configuration():
    assert ModelConfig().audio.clip_samples == 48_000
    assert ModelConfig().frames == 188


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AudioConfig(sample_rate=0), "AudioConfig.sample_rate must be positive, got 0"),
        (lambda: TrimConfig(hop=500), "TrimConfig.hop must be a divisor"),
        (lambda: TrimConfig(frame_length=2047, hop=23), "frame_length must be even"),
        (lambda: AugmentConfig(noise_probability=1.5), "noise_probability must be between 0 and 1, got 1.5"),
        (lambda: AugmentConfig(min_speed=2.0), "min_speed must be at most max_speed"),
        (lambda: MelConfig(backend="gpu"), "backend must be auto, conv or fft, got 'gpu'"),
        (lambda: MelConfig(backend="fft", trainable=True), "backend must be conv or auto when trainable"),
        (lambda: MelConfig(f_min=9_000.0), "f_min must be between 0 and f_max"),
        (lambda: CnnConfig(head="mean"), "head must be one of gap, flatten"),
        (lambda: ModelConfig(audio=AudioConfig(sample_rate=8_000)), "f_max must be at most half"),
        (lambda: ModelConfig(audio=AudioConfig(clip_seconds=0.01)), "clip_seconds must hold one FFT"),
    ],
)
def test_wrong_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_configuration_of_another_version_is_refused():
    parts = ModelConfig().as_dict()
    without_depth = {name: value for name, value in parts["cnn"].items() if name != "depth"}
    for other, difference in (
        ({name: parts[name] for name in ("audio", "cnn")}, "configuration parts differ in augment, mel, trim, tta"),
        ({**parts, "cnn": {**parts["cnn"], "attention": True}}, "values of cnn differ in attention"),
        ({**parts, "cnn": without_depth}, "values of cnn differ in depth"),
        ({**parts, "cnn": None}, "values of cnn differ in block_dropout, "),
    ):
        with pytest.raises(ValueError, match=f"does not fit this version of ser_gpu: {difference}"):
            ModelConfig.from_dict(other)


def test_configurations_cannot_be_changed():
    with pytest.raises(AttributeError):
        ModelConfig().mel.n_fft = 512
    assert replace(MelConfig(), n_fft=512).n_fft == 512
