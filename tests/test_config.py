import json

import pytest

from ser_gpu.config import AudioConfig, AugmentConfig, CnnConfig, MelConfig, ModelConfig, TrimConfig
from ser_gpu.training.config import TrainConfig, with_settings


def test_a_configuration_survives_json_and_cannot_be_changed():
    config = ModelConfig(cnn=CnnConfig(head="flatten", width=16), mel=MelConfig(n_mels=80))
    assert ModelConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert (config.audio.clip_samples, config.frames) == (48_000, 188)
    with pytest.raises(AttributeError):
        config.mel.n_fft = 512


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
        (lambda: TrainConfig(epochs=0), "epochs must be positive"),
        (lambda: TrainConfig(seed=2**32), "seed must be below"),
        (lambda: TrainConfig(warmup=0.0), "warmup must be between 0 and 1"),
        (lambda: TrainConfig(optimizer="sgd"), "optimizer must be one of adamw, muon"),
        (lambda: TrainConfig(lr=float("nan")), "lr must be positive"),
        (lambda: TrainConfig.from_dict({"depth": 3}), "no such setting: training.depth"),
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


def test_an_older_file_fills_the_window_with_silence():
    parts = ModelConfig(trim=TrimConfig(hop=256, fill="repeat")).as_dict()
    del parts["trim"]["fill"]
    assert ModelConfig.from_dict(parts) == ModelConfig(trim=TrimConfig(hop=256))


def test_settings_change_single_values():
    settings = ["cnn.width=48", "augment.enabled=false", "mel.f_max=7600", "training.lr=1e-3", "training.fold=2"]
    training, model = with_settings(TrainConfig(), ModelConfig(), settings)
    assert (model.cnn.width, model.augment.enabled, model.mel.f_max) == (48, False, 7600.0)
    assert (training.lr, training.fold, training.epochs) == (1e-3, 2, TrainConfig().epochs)
    _, model = with_settings(training, model, ["augment.min_speed=1.3", "augment.max_speed=1.4"])
    assert model.augment.min_speed == 1.3, "which is allowed once both are set"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("cnn.depht=3", "no such setting: 'cnn.depht'; cnn has depth, "),
        ("depth=3", "no such setting: 'depth'; a setting is PART.NAME, with PART one of training, audio, "),
        ("augment.nose_probability=1", "augment has noise_probability"),
        ("cnn.depth=deep", "cnn.depth=deep: the value must be a whole number"),
        ("augment.enabled=yes", "the value must be true or false"),
        ("training.lr=fast", "the value must be a number"),
        ("cnn.width", "cnn.width: the value must be a whole number"),
    ],
)
def test_a_wrong_setting_is_one_short_line(setting, message):
    with pytest.raises(ValueError, match=r"no such setting|the value must be") as caught:
        with_settings(TrainConfig(), ModelConfig(), [setting])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200
