import pickle
from pathlib import Path

import pytest
import torch

import ser_gpu
from ser_gpu import checkpoint
from ser_gpu.checkpoint import CheckpointError, Provenance
from ser_gpu.config import CnnConfig, MelConfig, ModelConfig
from ser_gpu.data.protocols import Protocol
from ser_gpu.model import SpeechEmotionModel


@pytest.fixture
def saved(tmp_path):
    config = ModelConfig(mel=MelConfig(n_mels=40), cnn=CnnConfig(width=8, depth=3, head="flatten"))
    model = SpeechEmotionModel(config).eval()
    model.temperature.fill_(1.7)
    provenance = Provenance(Protocol("actors5", 2), "ab12", 7, {"test": {"uar": 0.5}}, {"epochs": 3})
    path = tmp_path / "model.pth"
    checkpoint.save(path, model, provenance)
    return path, model, provenance


def test_a_model_comes_back_as_it_was(saved, voices):
    path, model, provenance = saved
    loaded, where_from = checkpoint.load(path)
    assert where_from == provenance
    assert loaded.config == model.config
    assert loaded.labels == ser_gpu.EMOTIONS
    assert not loaded.training
    assert loaded.predict(voices[0]) == model.predict(voices[0])
    assert torch.equal(ser_gpu.load_model(path)(voices), model(voices))


def test_the_file_is_plain_data_with_the_front_end_in_it(saved):
    content = torch.load(saved[0], weights_only=True)
    assert content["format_version"] == 1
    assert content["labels"] == list(ser_gpu.EMOTIONS)
    assert content["temperature"] == pytest.approx(1.7)
    others = {name for name in content["state_dict"] if not name.startswith("cnn.")}
    assert others == {"mel.mel_power.window", "mel.mel_power.mel_basis"}


def test_the_same_model_gives_the_same_bytes(saved):
    path, model, provenance = saved
    checkpoint.save(path.with_name("other.pth"), model, provenance)
    assert path.with_name("other.pth").read_bytes() == path.read_bytes()


def test_an_interrupted_write_leaves_the_old_file(saved, monkeypatch):
    path, model, provenance = saved
    before = path.read_bytes()

    def broken_write(temporary, content):
        with temporary.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", broken_write)
    with pytest.raises(OSError, match=r"model\.pth: cannot be written: no space left on device"):
        checkpoint.save(path, model, provenance)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.pth"]


class Harmful:
    def __reduce__(self):
        return Path.touch, (Path("harm-done"),)


def with_a_wrong_header(path):
    """Turn over the compression method in the last entry of the archive's directory."""
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 10] ^= 0xFF
    path.write_bytes(content)


def flipped(path):
    """Turn over one byte in the middle of the largest tensor."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def rewritten(path, **changes):
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save({k: v for k, v in content.items() if v is not None}, path)


def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Harmful()}, tmp_path / "harm.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful()))
    for name in ("harm.pth", "plain.pth"):
        with pytest.raises(CheckpointError, match=name):
            checkpoint.load(tmp_path / name)
    assert not Path("harm-done").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such checkpoint"),
        (lambda path: path.write_bytes(b""), "not a whole checkpoint"),
        (lambda path: path.write_text("words"), "not a whole checkpoint"),
        (lambda path: path.write_bytes(path.read_bytes()[:5_000]), "not a whole checkpoint"),
        (with_a_wrong_header, "not a whole checkpoint"),
        (flipped, "damaged, the checksum"),
        (lambda path: torch.save([1, 2], path), "not a ser_gpu checkpoint"),
        (lambda path: torch.save({"weights": 1}, path), "checkpoint format None"),
        (lambda path: rewritten(path, format_version=99), "checkpoint format 99"),
        (lambda path: rewritten(path, labels=None), "it has no 'labels'"),
        (lambda path: rewritten(path, labels=["happy", "sad"]), "does not fit"),
        (lambda path: rewritten(path, config={}), "does not fit"),
    ],
)
def test_unreadable_checkpoints_are_named_in_one_line(saved, spoil, message):
    path = saved[0]
    spoil(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
