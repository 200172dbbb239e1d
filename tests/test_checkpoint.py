import pickle
import random
import zipfile
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import booleans, data, floats, integers, lists, none, sampled_from, text

import ser_gpu
from ser_gpu import checkpoint, predict
from ser_gpu.checkpoint import CheckpointError, Provenance
from ser_gpu.config import CnnConfig, MelConfig, ModelConfig
from ser_gpu.model import SpeechEmotionModel
from tests.conftest import ROOT


@pytest.fixture
def saved(tmp_path):
    config = ModelConfig(mel=MelConfig(n_mels=40), cnn=CnnConfig(width=8, depth=3, head="flatten"))
    model = SpeechEmotionModel(config).eval()
    model.temperature.fill_(1.7)
    provenance = Provenance({"name": "speakers", "fold": 2}, "ab12", 7, {"test": {"uar": 0.5}}, {"epochs": 3})
    path = tmp_path / "model.pth"
    checkpoint.save(path, model, provenance)
    return path, model, provenance


def test_a_model_comes_back_as_it_was(saved, voices):
    path, model, provenance = saved
    loaded, where_from = checkpoint.load(path, "cpu")
    assert where_from == provenance
    assert loaded.config == model.config
    assert loaded.labels == ser_gpu.EMOTIONS
    assert not loaded.training
    assert loaded.predict(voices[0]) == model.predict(voices[0])
    assert torch.equal(ser_gpu.load_model(path, "cpu")(voices), model(voices))
    checkpoint.save(path.with_name("other.pth"), model, provenance)
    assert path.with_name("other.pth").read_bytes() == path.read_bytes(), "the same model gives the same bytes"


def test_the_file_is_plain_data_with_the_front_end_in_it(saved):
    content = torch.load(saved[0], weights_only=True)
    assert content["format_version"] == 2
    assert content["labels"] == list(ser_gpu.EMOTIONS)
    assert content["state_dict"]["temperature"] == pytest.approx(1.7)
    others = {name for name in content["state_dict"] if not name.startswith("cnn.")}
    assert others == {"mel.mel_power.window", "mel.mel_power.mel_basis", "temperature"}


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


def flipped(path, at=None):
    """Turn over one byte, that in the middle of the largest tensor."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 0xFF
    path.write_bytes(content)


def with_a_wrong_header(path):
    """Turn over the compression method in the last entry of the archive's directory."""
    flipped(path, path.read_bytes().rindex(b"PK\x01\x02") + 10)


def rewritten(path, **changes):
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save({k: v for k, v in content.items() if v is not None}, path)


def with_config(path, part, **changes):
    config = torch.load(path, weights_only=True)["config"]
    rewritten(path, config={**config, part: {**config[part], **changes}})


def with_weight(path, change, name="cnn.members.0.stem.0.weight"):
    """Change the first kernel of the network, or another tensor."""
    weights = torch.load(path, weights_only=True)["state_dict"]
    rewritten(path, state_dict={**weights, name: change(weights[name])})


def with_temperature(path, value):
    with_weight(path, lambda _: torch.tensor(value), "temperature")


NO_LABELS = "the labels must be a list of two names or more, each once"


def compressed(path):
    """The start of a zip bomb: an entry that is small in the file and large outside of it."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/bomb", bytes(50_000_000))


def overlapping(path):
    """A bomb without compression: many names for the bytes of one entry."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist.extend(archive.filelist * 50)
        archive._didModify = True


def test_any_flipped_byte_is_refused_or_does_no_harm(saved):
    """Not every byte of an archive means something; the content is what it was, or there is none."""
    path, generator, read = saved[0], random.Random(0), 0
    whole, expected = path.read_bytes(), checkpoint.read(path)["state_dict"]
    for _ in range(300):
        content = bytearray(whole)
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
        with suppress(CheckpointError):
            weights = checkpoint.read(path)["state_dict"]
            assert all(torch.equal(weights[name], expected[name]) for name in expected)
            read += 1
    assert read < 50


def test_a_hostile_pickle_with_right_checksums_is_refused_in_one_line(saved):
    path = saved[0]
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    name, generator, messages = next(name for name in entries if name.endswith("data.pkl")), random.Random(0), []
    for _ in range(200):
        program = bytearray(entries[name])
        for _ in range(generator.randint(1, 8)):
            program[generator.randrange(len(program))] = generator.randrange(256)
        with zipfile.ZipFile(path, "w") as archive:
            for entry, content in {**entries, name: bytes(program)}.items():
                archive.writestr(entry, content)
        try:
            checkpoint.load(path)
        except CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert not any("\n" in message for message in messages)


@given(part=sampled_from([field.name for field in fields(ModelConfig)]), data=data())
def test_a_configuration_of_any_values_is_taken_or_refused(part, data):
    parts = ModelConfig().as_dict()
    name = data.draw(sampled_from(sorted(parts[part])))
    parts[part][name] = data.draw(none() | booleans() | integers() | floats() | text() | lists(integers()))
    with suppress(ValueError):
        ModelConfig.from_dict(parts)


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
        (with_a_wrong_header, "refused, not an archive as torch.save writes it"),
        (flipped, "damaged, the checksum"),
        (lambda path: torch.save([1, 2], path), "not a ser_gpu checkpoint"),
        (lambda path: torch.save({"weights": 1}, path), "checkpoint format None, this version of ser_gpu reads 1 to 2"),
        (lambda path: torch.save({}, path), "checkpoint format None"),
        (lambda path: torch.save({"weight": torch.ones(2)}, path), "is a state dict, not a checkpoint; write it with"),
        (lambda path: rewritten(path, format_version=True), "checkpoint format True"),
        (lambda path: rewritten(path, format_version=1), "not a ser_gpu checkpoint, it has no 'views'"),
        (lambda path: rewritten(path, format_version=99), "checkpoint format 99"),
        (lambda path: rewritten(path, format_version=torch.zeros(3)), "checkpoint format tensor"),
        (lambda path: rewritten(path, labels=None), "it has no 'labels'"),
        (lambda path: rewritten(path, labels=["happy", "sad"]), r"weight must be \[2, (\d+)\], it is \[8, \1\]"),
        *(
            (lambda path, labels=labels: rewritten(path, labels=labels), NO_LABELS)
            for labels in (["a"] * 8, [*range(8)])
        ),
        (lambda path: with_temperature(path, 0.0), "the temperature must be a positive number"),
        (lambda path: with_temperature(path, float("nan")), "temperature is not finite"),
        (lambda path: rewritten(path, provenance="stratified"), "does not fit"),
        (lambda path: rewritten(path, state_dict=[1, 2]), "does not fit"),
        (lambda path: with_weight(path, lambda weight: weight[:2]), r"must be \[4, 1, 5, 5\], it is \[2, 1, 5, 5\]"),
        (lambda path: with_weight(path, lambda weight: weight * torch.nan), "is not finite"),
        (lambda path: with_weight(path, lambda weight: weight[:1].clone().expand(4, 1, 5, 5)), "is no plain tensor"),
        (lambda path: with_weight(path, lambda weight: weight.tolist()), "is no plain tensor"),
        (lambda path: with_config(path, "cnn", width=2**20), "CnnConfig.width must be at most 1,024"),
        (lambda path: with_config(path, "cnn", members=10**9), "CnnConfig.members must be at most 64"),
        (lambda path: with_config(path, "cnn", width=1_024), r"must be \[512, 1, 5, 5\], it is \[4, 1, 5, 5\]"),
        (lambda path: with_config(path, "audio", clip_seconds=1e12), "AudioConfig.clip_seconds must be at most 60"),
        (lambda path: with_config(path, "mel", n_fft=2**30), "MelConfig.n_fft must be at most 16,384"),
        (lambda path: with_config(path, "mel", hop=None), "does not fit"),
        (compressed, "refused, not an archive as torch.save writes it"),
        (overlapping, "refused, not an archive as torch.save writes it"),
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


@pytest.fixture
def of_version_1(saved, tmp_path):
    """The same model as the first format had it."""
    content = torch.load(saved[0], weights_only=True)
    config, state = content["config"], dict(content["state_dict"])
    del config["cnn"]["network"], config["augment"]["chain"]
    config["cnn"] |= {"sees": "wide", "band_stride": 2, "pool_first": True}
    config["views"] = config.pop("tta")
    old = {
        "format_version": 1,
        "config": config,
        "labels": content["labels"],
        "temperature": float(state.pop("temperature")),
        "state_dict": {name.replace("mel.mel", "mels.0.mel"): value for name, value in state.items()},
        **content["provenance"],
    }
    path = tmp_path / "old.pth"
    torch.save(old, path)
    return path, old


def test_a_file_of_the_first_format_gives_the_same_model(saved, of_version_1, voices):
    _, model, provenance = saved
    loaded, where_from = checkpoint.load(of_version_1[0], "cpu")
    assert where_from == provenance
    assert loaded.config == model.config
    assert torch.equal(loaded(voices), model(voices))
    assert loaded.temperature == model.temperature


@pytest.mark.parametrize(("name", "value"), [("sees", "wide,narrow"), ("band_stride", 1), ("pool_first", False)])
def test_a_setting_that_no_longer_exists_is_named(of_version_1, name, value):
    path, old = of_version_1
    old["config"]["cnn"][name] = value
    torch.save(old, path)
    with pytest.raises(CheckpointError, match=f"cnn.{name} is no longer supported with another value than"):
        checkpoint.load(path)


def test_shipped_weights_are_the_default_and_found_by_name_and_own_files_come_first(tmp_path, monkeypatch, capsys):
    assert ser_gpu.load_model(device="cpu").labels == ser_gpu.EMOTIONS
    assert checkpoint.weights_file().name == "ser_voices.pth"
    assert ser_gpu.load_model().device.type == checkpoint.default_device().type
    monkeypatch.chdir(tmp_path)
    shipped = ROOT / "weights" / "ser_ravdess.pth"
    assert checkpoint.weights_file("ser_ravdess") == shipped
    assert ser_gpu.load_model("ser_ravdess", "cpu").network_hash == ser_gpu.load_model(shipped, "cpu").network_hash
    own = tmp_path / "ser_ravdess"
    own.write_bytes(b"")
    assert checkpoint.weights_file("ser_ravdess") == Path("ser_ravdess")
    for name in ("ser_gpu", "weights/ser_ravdess", "../weights/ser_ravdess"):
        assert checkpoint.weights_file(name) == Path(name)
    assert predict.main(["x.wav", "--weights", "ser_raydess"]) == 2
    assert "ser_raydess: no such checkpoint; shipped are " in capsys.readouterr().err
