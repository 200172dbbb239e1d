import json

import pytest
from PIL import Image

from ser_gpu import checkpoint, corpora, evaluate
from ser_gpu.corpora.splits import Protocol
from tests.conftest import saved_model


def save(path, corpus, **others):
    saved_model(path, protocol={**Protocol().as_dict(), "corpus": corpus}, **others)
    return path


@pytest.fixture
def trained(tiny_ravdess, tmp_path):
    """A checkpoint that claims the stratified split of the tiny tree."""
    split = Protocol().split(corpora.load(tiny_ravdess).clips)
    return save(tmp_path / "model.pth", "ravdess", manifest_hash=split.manifest_hash)


@pytest.fixture
def run(tiny_ravdess, capsys):
    """Run a command, and give its exit code and what it printed to stdout and stderr."""
    of = lambda data: ["--data", str(data or tiny_ravdess), "--device", "cpu"]  # noqa: E731
    return lambda path, *more, data=None: (evaluate.main([str(path), *of(data), *more]), *capsys.readouterr())


def test_it_prints_tables_and_writes_json_and_figure(trained, run):
    code, shown, _ = run(trained)
    assert code == 0
    for word in ("accuracy", "UAR", "macro F1", "precision", "surprised", "Confusion", "male", "female"):
        assert word in shown
    result = json.loads(trained.with_name("model.evaluation.json").read_text())
    assert (result["clips"], result["part"], sum(map(sum, result["confusion"]))) == (20, "test", 20)
    with Image.open(trained.with_name("model.confusion.png")) as image:
        assert min(image.size) > 400


def test_json_goes_to_stdout_alone_and_the_figures_are_those_of_the_model(trained, run, tiny_ravdess, tmp_path):
    """Accuracy by the command equals the share of single predictions that are right."""
    code, out, _ = run(trained, "--json", "--out", str(tmp_path / "elsewhere"))
    found = json.loads(out)
    assert code == 0
    assert found == json.loads((tmp_path / "elsewhere" / "model.evaluation.json").read_text())
    clips = corpora.load(tiny_ravdess).clips
    test = set(Protocol().split(clips).ids("test"))
    model = checkpoint.load_model(trained)
    right = [model.predict(clip.path).emotion == clip.emotion for clip in clips if clip.id in test]
    assert found["accuracy"] == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize(
    "more", [["--part", "train"], ["--part", "validation"], ["--part", "all"], ["--test-actors", "1"], ["--fold", "1"]]
)
def test_it_refuses_clips_that_the_model_was_trained_on(more, trained, run):
    code, out, err = run(trained, *more)
    assert (code, out) == (2, "")
    assert "in its training or validation" in err
    assert not trained.with_name("model.evaluation.json").exists()
    assert run(trained, *more, "--allow-trained")[0] == 0


def test_it_refuses_another_set_of_clips(trained, run, tiny_ravdess):
    code, _, err = run(trained, data=tiny_ravdess / "Actor_01")
    assert code == 2
    assert "trained on another set of clips" in err


def test_of_a_corpus_that_it_was_not_trained_on_all_clips_are_scored(run, tmp_path):
    elsewhere = save(tmp_path / "model.pth", "tess, savee")
    for more, part, clips in (([], "all", 192), (["--protocol", "actors5"], "test", 64)):
        code, out, _ = run(elsewhere, "--json", *more)
        result = json.loads(out)
        assert (code, result["part"], result["clips"]) == (0, part, clips)


def test_emotions_that_the_model_does_not_know_are_left_out_and_counted(run, tmp_path):
    code, out, err = run(save(tmp_path / "model.pth", "tess", labels=("sad", "angry")), "--json")
    assert (code, json.loads(out)["clips"]) == (0, 48)
    assert "left out: 144 clips of emotions unknown to the model (calm, disgust, fearful, happy, neutral, ...)" in err
    code, _, err = run(save(tmp_path / "model.pth", "tess", labels=("bored", "amused")))
    assert code == 2
    assert "no clip to score in the all part: the model knows bored, amused" in err
    code, _, err = run(save(tmp_path / "model.pth", "own", labels=("bored", "amused")))
    assert (code, "--allow-trained" in err) == (2, False), "which would not help"
    assert "no clip to score in the test part: the model knows bored, amused" in err


@pytest.mark.parametrize(
    ("corpus", "named"),
    [("own", "own"), ("tess, savee", "savee, tess"), ("ased, own, ravdess", "ased, own, ravdess")],
)
def test_the_own_recordings_of_a_model_are_asked_for_and_nothing_is_downloaded(corpus, named, tmp_path, capsys):
    path = save(tmp_path / "model.pth", corpus)
    (tmp_path / "config.json").write_text("[]")  # of something else
    assert evaluate.main([str(path)]) == 2
    said = capsys.readouterr().err
    assert said == f"error: {path}: was trained on {named}: name recordings with --data or --corpora\n"


def test_scores_are_shown_though_they_cannot_be_written(trained, run, monkeypatch):
    """The disk may be full after the work."""
    monkeypatch.setattr(evaluate, "write_json", lambda path, _: (_ for _ in ()).throw(OSError(f"{path}: disk full")))
    code, out, err = run(trained)
    assert (code, "macro F1" in out) == (2, True)
    assert "model.evaluation.json: disk full" in err
