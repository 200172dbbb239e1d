import json
import shutil

import pytest
from PIL import Image

from ser_gpu import checkpoint, corpora, evaluate
from ser_gpu.checkpoint import Provenance
from ser_gpu.config import CnnConfig, ModelConfig
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.corpora.splits import Protocol
from ser_gpu.model import SpeechEmotionModel


def save(path, corpus, manifest_hash="", labels=EMOTIONS):
    protocol = {**Protocol().as_dict(), "corpus": corpus}
    config = ModelConfig(cnn=CnnConfig(width=4, depth=2, members=1))
    checkpoint.save(path, SpeechEmotionModel(config, labels), Provenance(protocol, manifest_hash, seed=0))
    return path


@pytest.fixture
def trained(tiny_ravdess, tmp_path):
    """A checkpoint that claims the stratified split of the tiny tree."""
    split = Protocol().split(corpora.load(tiny_ravdess).clips)
    return save(tmp_path / "model.pth", "ravdess", split.manifest_hash)


def run(path, data, *more):
    return evaluate.main([str(path), "--data", str(data), "--device", "cpu", *more])


def printed(capsys):
    return json.loads(capsys.readouterr().out)


def test_it_prints_tables_and_writes_json_and_figure(trained, tiny_ravdess, capsys):
    assert run(trained, tiny_ravdess) == 0
    shown = capsys.readouterr().out
    for word in ("accuracy", "UAR", "macro F1", "precision", "surprised", "Confusion", "male", "female"):
        assert word in shown
    result = json.loads(trained.with_name("model.evaluation.json").read_text())
    assert result["clips"] == 20
    assert result["part"] == "test"
    assert sum(map(sum, result["confusion"])) == 20
    with Image.open(trained.with_name("model.confusion.png")) as image:
        assert min(image.size) > 400


def test_json_goes_to_stdout_alone_and_the_figures_are_those_of_the_model(trained, tiny_ravdess, tmp_path, capsys):
    """Accuracy by the command equals the share of single predictions that are right."""
    assert run(trained, tiny_ravdess, "--json", "--out", str(tmp_path / "elsewhere")) == 0
    found = printed(capsys)
    assert found == json.loads((tmp_path / "elsewhere" / "model.evaluation.json").read_text())
    clips = corpora.load(tiny_ravdess).clips
    test = set(Protocol().split(clips).ids("test"))
    model = checkpoint.load_model(trained)
    right = [model.predict(clip.path).emotion == clip.emotion for clip in clips if clip.id in test]
    assert found["accuracy"] == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize(
    "more", [["--part", "train"], ["--part", "validation"], ["--part", "all"], ["--test-actors", "1"], ["--fold", "1"]]
)
def test_it_refuses_clips_that_the_model_was_trained_on(more, trained, tiny_ravdess, capsys):
    assert run(trained, tiny_ravdess, *more) == 2
    said = capsys.readouterr()
    assert "in its training or validation" in said.err
    assert said.out == ""
    assert not trained.with_name("model.evaluation.json").exists()
    assert run(trained, tiny_ravdess, *more, "--allow-trained") == 0


def test_it_refuses_another_set_of_clips(trained, tiny_ravdess, tmp_path, capsys):
    smaller = tmp_path / "smaller"
    shutil.copytree(tiny_ravdess, smaller)
    shutil.rmtree(smaller / "Actor_06")
    assert run(trained, smaller) == 2
    assert "trained on another set of clips" in capsys.readouterr().err


def test_of_a_corpus_that_it_was_not_trained_on_all_clips_are_scored(tiny_ravdess, tmp_path, capsys):
    elsewhere = save(tmp_path / "model.pth", "tess, savee")
    assert run(elsewhere, tiny_ravdess, "--json") == 0
    result = printed(capsys)
    assert (result["part"], result["clips"]) == ("all", 192)
    assert run(elsewhere, tiny_ravdess, "--json", "--protocol", "actors5") == 0
    assert printed(capsys)["part"] == "test"


def test_emotions_that_the_model_does_not_know_are_left_out_and_counted(tiny_ravdess, tmp_path, capsys):
    elsewhere = save(tmp_path / "model.pth", "tess", labels=("sad", "angry"))
    assert run(elsewhere, tiny_ravdess, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["clips"] == 48
    assert "left out: 144 clips of emotions unknown to the model (calm, disgust, fearful, happy, neutral, ...)" in err
    assert run(save(tmp_path / "model.pth", "tess", labels=("bored", "amused")), tiny_ravdess) == 2
    assert "no clip to score in the all part: the model knows bored, amused" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"words", None])
def test_an_unreadable_checkpoint_is_one_line(content, tiny_ravdess, tmp_path, capsys):
    path = tmp_path / "bad.pth"
    if content is not None:
        path.write_bytes(content)
    assert run(path, tiny_ravdess) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "bad.pth" in said
