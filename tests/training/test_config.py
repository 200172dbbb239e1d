import pytest

from ser_gpu.config import ModelConfig
from ser_gpu.training.config import TrainConfig, with_settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be positive"),
        ({"seed": 2**32}, "seed must be below"),
        ({"warmup": 0.0}, "warmup must be between 0 and 1"),
        ({"optimizer": "sgd"}, "optimizer must be one of adamw, muon"),
        ({"lr": float("nan")}, "lr must be positive"),
    ],
)
def test_a_wrong_value_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**wrong)


def test_settings_change_single_values():
    settings = ["cnn.width=48", "augment.enabled=false", "mel.f_max=7600", "training.lr=1e-3", "training.fold=2"]
    training, model = with_settings(TrainConfig(), ModelConfig(), settings)
    assert (model.cnn.width, model.augment.enabled, model.mel.f_max) == (48, False, 7600.0)
    assert (training.lr, training.fold, training.epochs) == (1e-3, 2, TrainConfig().epochs)


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
