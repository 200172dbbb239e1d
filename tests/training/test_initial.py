import pytest
import torch

from ser_gpu import checkpoint
from ser_gpu.checkpoint import Provenance
from ser_gpu.config import AudioConfig, CnnConfig, MelConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.training import initial
from tests.training.conftest import make_trainer, small_model


def model_of(labels, head="gap", seconds=1.0, mels=64, **cnn):
    cnn = CnnConfig(**{"width": 8, "depth": 3, "head": head} | cnn)
    return SpeechEmotionModel(
        ModelConfig(AudioConfig(clip_seconds=seconds), mel=MelConfig(n_mels=mels), cnn=cnn), labels
    )


def test_the_trunk_is_taken_and_the_rows_of_the_labels_that_agree():
    ours, theirs = model_of(("sad", "bored", "happy")), model_of(("happy", "neutral", "sad"))
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    assert initial.take_weights(ours, theirs, "a.pth") == ("sad", "happy")
    source = theirs.state_dict()
    for name, value in ours.state_dict().items():
        if ".classify." in name:
            assert torch.equal(value[[0, 2]], source[name][[2, 0]])
            assert torch.equal(value[1], before[name][1])
        elif name != "temperature":
            assert torch.equal(value, source[name]), name


def test_as_many_labels_as_channels_do_not_confuse_the_head():
    labels = tuple(f"label {i}" for i in range(8))  # the first block has 8 channels, too
    ours, theirs = model_of(labels), model_of(tuple(reversed(labels)))
    initial.take_weights(ours, theirs, "a.pth")
    name = "cnn.members.0.blocks.0.conv1.weight"
    assert torch.equal(ours.state_dict()[name], theirs.state_dict()[name])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"width": 4}, "a.pth: cnn.width is 4 there and 8 here"),
        ({"members": 1}, "cnn.members is 1 there and 2 here"),
        ({"head": "flatten"}, "cnn.head is 'flatten' there and 'gap' here"),
        ({"mels": 32}, "mel.n_mels is 32 there and 64 here"),
    ],
)
def test_another_network_is_refused(other, said):
    with pytest.raises(ValueError, match=said) as caught:
        initial.take_weights(model_of(("a", "b")), model_of(("a", "b"), **other), "a.pth")
    assert "\n" not in str(caught.value)


def test_a_flat_head_of_another_window_is_refused():
    ours, theirs = (model_of(("a", "b"), head="flatten", seconds=seconds) for seconds in (1.0, 2.0))
    with pytest.raises(ValueError, match="its network has members"):
        initial.take_weights(ours, theirs, "a.pth")


def test_a_training_begins_with_them(dataset, tmp_path):
    torch.manual_seed(7)
    theirs = SpeechEmotionModel(small_model())
    checkpoint.save(tmp_path / "a.pth", theirs, Provenance({"name": "stratified"}, "", 0))
    trainer = make_trainer(dataset)
    assert not torch.equal(*(next(m.cnn.parameters()) for m in (trainer.model, theirs)))
    trainer = type(trainer)(trainer.config, small_model(), dataset, bfloat16=False, init=tmp_path / "a.pth")
    for model in (trainer.model, trainer.ema.module):
        own = model.cnn.state_dict()
        assert all(torch.equal(own[name], value) for name, value in theirs.cnn.state_dict().items())
