import csv
import hashlib
import itertools
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import ser_gpu
from ser_gpu import checkpoint, crossvalidate, evaluate, predict, train
from ser_gpu.cli import options
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.training import initial
from ser_gpu.training.config import EPOCHS_SPEAKER_INDEPENDENT, Plan, TrainConfig
from tests.conftest import SAMPLE_RATE, error_line
from tests.training.conftest import interrupted

pytestmark = pytest.mark.usefixtures("no_figures")
SMALL = ("--set", "cnn.width=4", "cnn.depth=2", "cnn.members=1", "audio.clip_seconds=1")


def command(data, out, *more):
    options = ["--epochs", "3", "--device", "cpu", "--batch-size", "64", *SMALL]
    return ["--data", str(data), "--out", str(out), *options, *more]


def new_plan(*arguments):
    return train.new_plan(train.parser().parse_args(arguments), torch.device("cpu"))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def result_of(out):
    return json.loads((out / "result.json").read_text())


def trained(data, out, *more):
    """What a training by the command says of itself."""
    assert train.main(command(data, out, *more)) == 0
    return result_of(out)


def scored(capsys, model, data, *more):
    """What `evaluate` says of some recordings."""
    capsys.readouterr()
    assert evaluate.main([str(model), "--data", str(data), "--device", "cpu", "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    assert train.main([*map(str, arguments)]) == 2
    return error_line(capsys.readouterr().err)


def same_weights(out, other):
    first, second = (ser_gpu.load_model(folder / "last.pth").state_dict() for folder in (out, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def finished(tiny_ravdess, tmp_path_factory):
    """The folder of a whole training by the command."""
    out = tmp_path_factory.mktemp("run")
    trained(tiny_ravdess, out)
    return out


def test_the_command_writes_all_it_promises_and_does_not_overwrite_it(finished, tiny_ravdess, capsys):
    written = {path.name for path in finished.iterdir() if path.name != ".lock"}
    assert written == {*["config.json", "curves.png", "last.pth", "metrics.csv", "predictions.csv", "result.json"]}
    assert [row["epoch"] for row in read_csv(finished / "metrics.csv")] == ["1", "2", "3"]
    result = result_of(finished)
    model, provenance = checkpoint.load(finished / "last.pth")
    lists = {"test_speakers": [], "test_corpora": []}
    assert provenance.protocol == {"name": "stratified", "fold": 0, "corpus": "ravdess", **lists}
    assert result["manifest_hash"] == provenance.manifest_hash
    assert result["test"]["accuracy"] == provenance.metrics["test"]["accuracy"]
    assert result["temperature"] == pytest.approx(float(model.temperature))
    assert result["environment"]["torch"] == torch.__version__
    assert model(torch.zeros(4, 16_000, device=model.device)).shape == (4, 8)
    assert json.loads((finished / "config.json").read_text())["training"]["epochs"] == 3
    assert "holds a finished training" in refused(capsys, *command(tiny_ravdess, finished))


def test_predictions_are_those_that_were_scored(finished):
    result = result_of(finished)
    rows = read_csv(finished / "predictions.csv")
    for part in ("validation", "test"):
        right = [row["predicted"] == row["emotion"] for row in rows if row["part"] == part]
        assert len(right) == result[part]["clips"]
        assert sum(right) / len(right) == pytest.approx(result[part]["accuracy"])
    assert all(sum(float(row[emotion]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-4) for row in rows)
    assert (rows[0]["speaker"], rows[0]["gender"]) == (rows[0]["clip"][-2:], "male")


def folders(tiny_ravdess, root, **codes):
    """A folder for each emotion of 24 clips, nobody named."""
    for emotion, code in codes.items():
        (root / emotion).mkdir(parents=True)
        for path in tiny_ravdess.rglob(f"03-01-{code}-*.wav"):
            shutil.copy(path, root / emotion / f"take {path.stem}.wav")
    return root


def test_own_recordings_become_a_model_that_the_other_commands_use(tiny_ravdess, tmp_path, capsys):
    data, out = folders(tiny_ravdess, tmp_path / "own", cheerful="03", bored="04"), tmp_path / "run"
    result = trained(data, out)
    said = capsys.readouterr().err
    assert "a folder per emotion: 48 clips, 2 emotions (bored, cheerful), speakers unknown" in said
    assert "note: the speaker of 48 of 48 clips is unknown: this split cannot be speaker-independent" in said
    assert "note: 3 optimizer steps are few: more --epochs or a smaller --batch-size give more" in said
    assert "note: validation part: " in said
    assert "note: test part: 5 clips give rough scores" in said
    assert "licence" not in said
    assert [*result["test"]["per_emotion"]] == ["bored", "cheerful"]
    assert result["test"]["by"] == {}
    model = str(out / "last.pth")
    assert evaluate.main([model]) == 2
    assert f"last.pth: was trained on {data.resolve()}: name recordings with --data" in capsys.readouterr().err
    assert scored(capsys, model, data)["accuracy"] == result["test"]["accuracy"]
    assert predict.main([str(data / "bored"), "--weights", model, "--json", "--device", "cpu"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 24
    assert all(set(row["probabilities"]) == {"bored", "cheerful"} for row in rows)


def test_what_cannot_be_used_is_left_out_and_counted_and_what_is_no_speech_stays(tiny_ravdess, tmp_path, capsys):
    data, out = folders(tiny_ravdess, tmp_path / "own", cheerful="03", bored="04"), tmp_path / "run"
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE)
    sounds = {"silence": np.zeros(SAMPLE_RATE), "blip": np.sin(np.arange(0.03 * SAMPLE_RATE)), "noise": noise}
    for name, take in itertools.product(sounds, range(10)):
        soundfile.write(data / "bored" / f"{name} {take}.wav", sounds[name] * (1 + take) / 10, SAMPLE_RATE)
    result = trained(data, out)
    said = capsys.readouterr().err
    assert "left out: 20 silent or shorter than 50 ms" in said
    assert "note: no speech is heard in 10 clips; they stay" in said
    clips = [row["clip"] for row in read_csv(out / "predictions.csv")]
    assert not [clip for clip in clips if "silence" in clip or "blip" in clip]
    assert [clip for clip in clips if "noise" in clip]
    assert scored(capsys, out / "last.pth", data)["clips"] == result["test"]["clips"]
    for path in [*data.rglob("take *.wav"), *data.rglob("noise *.wav")]:
        path.unlink()
    assert evaluate.main([str(out / "last.pth"), "--data", str(data), "--part", "all", "--allow-trained"]) == 2
    said = capsys.readouterr().err
    assert "left out: 20 silent" in said
    assert "no clip is left to work with" in said


def test_stretches_of_one_recording_are_trained_on_and_scored_as_if_they_were_files(tiny_ravdess, tmp_path, capsys):
    data = folders(tiny_ravdess, tmp_path / "own", cheerful="03", bored="04")
    sounds = {path: soundfile.read(path)[0] for path in sorted(data.rglob("*.wav"))}
    peak = max(np.abs(sound).max() for sound in sounds.values())
    ends = np.cumsum([len(sound) for sound in sounds.values()]) / SAMPLE_RATE
    soundfile.write(tmp_path / "all.wav", np.concatenate([*sounds.values()]) / peak, SAMPLE_RATE)
    spans = zip([0, *ends[:-1]], ends, sounds, strict=True)
    rows = [f"all.wav,{path.parent.name},{start:.6f},{end:.6f}" for start, end, path in spans]
    (tmp_path / "list.csv").write_text("\n".join(["file,label,start,end", *rows]))
    result = trained(tmp_path / "list.csv", tmp_path / "run")
    assert "the list list.csv: 48 clips, 2 emotions" in capsys.readouterr().err
    assert result["test"]["clips"] == trained(data, tmp_path / "files")["test"]["clips"]
    found = scored(capsys, tmp_path / "run" / "last.pth", tmp_path / "list.csv")
    assert found["accuracy"] == result["test"]["accuracy"]


def manifest(tiny_ravdess, path, column):
    """A CSV of 128 clips, with a column for their speakers or their parts."""
    lines = [f"file,emotion,{column}"]
    for number, clip in enumerate(sorted(tiny_ravdess.rglob("*.wav"))[:128]):
        value = f"Ann-{clip.stem[-2:]}" if column == "speaker" else ("train", "train", "test")[number % 3]
        lines.append(f"{clip},{clip.stem[6:8]},{value}")
    path.write_text("\n".join(lines))
    return path


def test_a_csv_with_speakers_is_split_by_them(tiny_ravdess, tmp_path, capsys):
    data = manifest(tiny_ravdess, tmp_path / "own.csv", "speaker")
    result = trained(data, tmp_path, "--protocol", "speakers", "--fold", "1")
    rows = read_csv(tmp_path / "predictions.csv")
    speakers = {part: {row["speaker"] for row in rows if row["part"] == part} for part in ("validation", "test")}
    assert all(speakers.values())
    assert speakers["test"].isdisjoint(speakers["validation"])
    assert (result["protocol"], result["fold"]) == ("speakers", 1)
    assert evaluate.main([str(tmp_path / "last.pth"), "--data", str(data), "--device", "cpu"]) == 0
    assert f"{result['test']['accuracy']:.3f}" in capsys.readouterr().out


def test_listed_parts_are_used_and_a_missing_one_is_said(tiny_ravdess, tmp_path, capsys):
    data = manifest(tiny_ravdess, tmp_path / "own.csv", "part")
    result = trained(data, tmp_path / "run", "--protocol", "listed")
    said = capsys.readouterr().err
    assert "note: nothing is validated, so the temperature stays 1; --temperature sets it" in said
    assert ("validation" in result, result["test"]["clips"], result["temperature"]) == (False, 42, 1.0)
    assert all("validation_loss" not in row for row in read_csv(tmp_path / "run" / "metrics.csv"))
    # and nothing held out is a training all the same
    data.write_text(data.read_text().replace(",test", ",train"))
    out = tmp_path / "all"
    trained(data, out, "--protocol", "listed")
    written = [line for line in capsys.readouterr().err.splitlines() if line.startswith("written: ")]
    assert written == [f"written: {out}/last.pth, result.json, metrics.csv, config.json, curves.png"]
    model = checkpoint.load_model(out / "last.pth")
    assert model(torch.zeros(1, 16_000, device=model.device)).shape == (1, 8)


@pytest.fixture(scope="module")
def stopped(tiny_ravdess, tmp_path_factory):
    """The folder of a training that was stopped after its first epoch."""
    out = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        interrupted(command(tiny_ravdess, out, "--amp", "off"), patch)
    return out


def test_the_printed_hint_works_as_printed(tiny_ravdess, tmp_path, capsys, monkeypatch):
    """All settings come from the run: the data, the protocol, the network."""
    data, out = manifest(tiny_ravdess, tmp_path / "own.csv", "speaker"), tmp_path / "a run"
    more = ("--test-speakers", "Ann-01", "Ann-02", "--no-test", "--amp", "off")
    interrupted(command(data, out, *more), monkeypatch)
    printed = capsys.readouterr().err
    assert f"stopped after epoch 1; ser-gpu train --resume --out '{out}' goes on" in printed
    assert "Traceback" not in printed
    monkeypatch.chdir(tmp_path)
    assert train.main(["--resume", "--out", str(out)]) == 0
    assert "test part" not in capsys.readouterr().out
    result = result_of(out)
    assert (result["protocol"], result["test_speakers"]) == ("test-speakers", ["Ann-01", "Ann-02"])
    assert result["config"]["model"]["cnn"]["width"] == 4
    assert result["config"]["training"]["epochs"] == 3
    assert "test" not in result


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lr", "0.1"], "training.lr is 0.002 there and 0.1 here"),
        (["--amp", "on"], "bfloat16 is False there and True here"),
        (["--protocol", "actors5"], "training.protocol is 'stratified' there and 'actors5' here"),
        (["--test-speakers", "1"], "training.protocol is 'stratified' there and 'test-speakers' here"),
        (["--set", "cnn.width=8"], "cnn.width is 4 there and 8 here"),
        (["--no-augment"], "augment.enabled is True there and False here"),
        (["--corpus", "ravdess"], "corpus is None there and 'ravdess' here"),
        (["--no-test"], "test is True there and False here"),
        (["--refit", "x"], "training.refit is False there and True here"),
    ],
)
def test_a_flag_that_contradicts_the_run_is_named_before_anything_is_written(flags, message, stopped, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in stopped.iterdir()}
    line = refused(capsys, "--resume", "--out", stopped, *flags)
    assert line == f"error: {stopped}: a training with other settings: {message}; leave the flag out"
    assert {path.name: path.stat().st_mtime_ns for path in stopped.iterdir()} == before


def test_flags_that_say_the_same_are_no_contradiction(stopped, tiny_ravdess, tmp_path, capsys):
    assert "--resume goes on with it" in refused(capsys, *command(tiny_ravdess, stopped))
    out = shutil.copytree(stopped, tmp_path / "run")
    moved = shutil.copytree(tiny_ravdess, tmp_path / "moved")
    same = ("--protocol", "stratified", "--fold", "0", "--amp", "auto", "--seed", "0")
    assert train.main(command(moved, out, *same, "--resume")) == 0


def test_before_the_first_epoch_there_is_a_plan_to_go_on_with(tiny_ravdess, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    interrupted(command(tiny_ravdess, out), monkeypatch, after=0)
    assert "stopped after epoch 0; ser-gpu train --resume --out" in capsys.readouterr().err
    assert train.main(["--resume", "--out", str(out), "--device", "cpu"]) == 0
    assert result_of(out)["config"]["model"]["cnn"]["width"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "absent"], "absent: no such folder"),
        (["--protocol", "actors5", "--fold", "9"], "fold of actors5 must be 0 to 4, got 9"),
        (["--test-actors", "31"], "no such speaker: 31; there are 01, 02"),
        (["--device", "quantum"], "--device quantum"),
        (["--epochs", "0"], "epochs must be positive, got 0"),
        (["--corpora", "mine"], "no such corpus, so name its folder: mine=DIR"),
        (["--corpora", "a=x", "a=y"], "a is named twice"),
        (["--corpora", "a=x", "--data", "y"], "--corpora goes without --data"),
        (["--init", "nothing.pth"], "nothing.pth: no such checkpoint"),
        (["--refit", "nowhere"], "holds no finished training to repeat"),
        (["--data", "sad.csv"], "all clips are sad: a model needs two emotions or more"),
        (["--resume", "--out", "."], "config.json: damaged, or of another version"),
    ],
)
def test_wrong_use_is_one_line_before_anything_is_read(arguments, message, tiny_ravdess, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAVDESS_DIR", str(tiny_ravdess))
    monkeypatch.setattr(options, "read_clips", None)
    (tmp_path / "config.json").write_text('{"training": {}, "model": {}}')
    sad = (f"{path},sad" for path in tiny_ravdess.rglob("*.wav"))
    (tmp_path / "sad.csv").write_text("\n".join(["file,emotion", *sad]))
    line = refused(capsys, *arguments)
    assert message in line
    assert len(line) < 200


@pytest.mark.parametrize("wrong", ["--unknown", "--epochs x", "--head mean", "--protocol mine", "--temperature warm"])
def test_unknown_flags_and_values_exit_with_2(wrong, capsys):
    with pytest.raises(SystemExit) as caught:
        train.main(wrong.split())
    assert caught.value.code == 2
    assert ("between 0.01 and 100, got 'warm'" if "warm" in wrong else "error:") in capsys.readouterr().err


def test_help_shows_the_defaults(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"(default: {TrainConfig().epochs}, or {EPOCHS_SPEAKER_INDEPENDENT} where" in said


@pytest.mark.parametrize(
    ("arguments", "clips", "epochs", "batch_size"),
    [
        ("", 1_152, TrainConfig().epochs, 32),
        ("--protocol twin-safe", 1_152, 120, 32),
        ("--protocol actors5", 1_152, EPOCHS_SPEAKER_INDEPENDENT, 32),
        ("--test-speakers 1", 1_152, 60, 32),
        ("--protocol actors5 --epochs 7", 1_152, 7, 32),
        ("--protocol actors5 --set training.epochs=8", 1_152, 8, 32),
        ("--protocol speakers", 1_000, 60, 32),
        ("--protocol speakers", 256, 60, 32),
        ("", 38, 120, 8),
        ("--protocol speakers", 16, 120, 8),
        ("--protocol speakers", 4, 240, 8),
        ("--protocol speakers --epochs 30", 38, 30, 8),
        ("--batch-size 32", 38, 240, 32),
        ("--set training.batch_size=4 training.epochs=9", 38, 9, 4),
    ],
)
def test_new_speakers_have_fewer_epochs_and_few_clips_more_and_smaller_batches(arguments, clips, epochs, batch_size):
    training = new_plan(*arguments.split()).fitted(clips).training
    assert (training.epochs, training.batch_size) == (epochs, batch_size)


def test_the_settings_of_few_clips_are_kept_by_all_that_goes_on(tiny_ravdess, tmp_path):
    data, out = folders(tiny_ravdess, tmp_path / "own", cheerful="03", bored="04"), tmp_path / "run"
    assert train.main(["--data", str(data), "--out", str(out), "--epochs", "3", "--device", "cpu", *SMALL]) == 0
    result = result_of(out)
    assert (result["config"]["training"]["batch_size"], result["config"]["training"]["epochs"]) == (8, 3)
    again = tmp_path / "again"
    assert train.main(["--refit", str(out), "--out", str(again), "--device", "cpu"]) == 0
    assert result_of(again)["config"]["training"]["batch_size"] == 8


@pytest.mark.parametrize(("units", "fast"), [({}, False), ({"amx_bf16": True}, True), ({"avx512_bf16": True}, True)])
def test_bfloat16_is_left_to_processors_that_multiply_in_it(units, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    plans = (new_plan("--amp", choice) for choice in ("auto", "on", "off"))
    assert [plan.bfloat16 for plan in plans] == [fast, True, False]


def test_the_folder_is_named_after_protocol_fold_and_seed(finished):
    for asked, out in (
        (["--protocol", "twin-safe", "--fold", "2", "--seed", "1"], "runs/grouped-fold2-seed1"),
        (["--refit", str(finished), "--seed", "1"], "runs/stratified-fold0-seed1-refit"),
    ):
        assert train.default_out(train.parser().parse_args(asked)) == out


def test_a_refit_trains_on_the_validation_part_too_and_keeps_the_temperature(finished, tiny_ravdess, tmp_path, capsys):
    first, again = result_of(finished), trained(tiny_ravdess, tmp_path / "again", "--refit", str(finished))
    assert again["temperature"] == pytest.approx(first["temperature"])
    assert again["manifest_hash"] == first["manifest_hash"]
    assert again["test"]["clips"] == first["test"]["clips"]
    assert "validation" not in again
    assert {row["part"] for row in read_csv(tmp_path / "again" / "predictions.csv")} == {"test"}
    assert all("validation_loss" not in row for row in read_csv(tmp_path / "again" / "metrics.csv"))
    seed = trained(tiny_ravdess, tmp_path / "seed", "--refit", str(finished), "--seed", "7", "--no-test")
    assert (seed["seed"], "test" in seed) == (7, False), "it may have another seed"
    said = refused(capsys, *command(tiny_ravdess, tmp_path / "a", "--refit", str(finished), "--lr", "0.1"))
    assert "a training with other settings: training.lr is 0.002 there and 0.1 here" in said
    alone = ["--refit", str(finished), "--out", str(tmp_path / "alone"), "--device", "cpu"]
    assert train.main(alone) == 0, "data and settings are those of the first training"
    assert same_weights(tmp_path / "again", tmp_path / "alone")


def test_a_refit_of_a_damaged_result_is_one_line(stopped, tmp_path, capsys):
    first = shutil.copytree(stopped, tmp_path / "first")
    assert "holds no finished training to repeat" in refused(capsys, "--refit", first)
    (first / "result.json").write_text("{")
    assert refused(capsys, "--refit", first) == f"error: {first / 'result.json'}: is not JSON"


def corpora_of(tiny_ravdess, root):
    """Two corpora, one of them without happy clips."""
    one = folders(tiny_ravdess, root / "one", happy="03", sad="04", angry="05")
    return ["--corpora", f"one={one}", f"two={folders(tiny_ravdess, root / 'two', sad='04', angry='05')}"]


def test_a_corpus_is_held_out_and_scored_among_its_own_emotions(tiny_ravdess, tmp_path, capsys):
    several, out = corpora_of(tiny_ravdess, tmp_path / "data"), tmp_path / "many"
    more = ["--epochs", "1", "--test-corpora", "two", "--temperature", "1.5"]
    assert train.main([*several, *command("", out, *more)[2:]]) == 0
    result = result_of(out)
    assert (result["protocol"], result["test_corpora"], result["temperature"]) == ("test-corpora", ["two"], 1.5)
    assert result["test"]["clips"] == 48
    common = result["test"]["common_emotions"]
    assert (common["labels"], common["chance"]) == (["sad", "angry"], 0.5)
    assert common["accuracy"] >= result["test"]["accuracy"]
    plan = new_plan("--corpora", "TESS", "SAVEE", "--test-corpora", "SAVEE")
    assert plan.test_corpora == ("savee",), "as its clips name it"


def test_weights_have_not_learnt_from_a_corpus_that_was_held_out(tiny_ravdess, tmp_path):
    several = corpora_of(tiny_ravdess, tmp_path / "data")[:2]
    more = ["--epochs", "1", "--test-corpora", "RAVDESS", "--temperature", "1"]
    assert train.main([*several, f"RAVDESS={tiny_ravdess}", *command("", tmp_path, *more)[2:]]) == 0
    assert initial.origin(tmp_path / "last.pth") == {"init_corpora": ("one",), "init_licence": None}


def test_a_training_on_several_corpora_and_one_that_begins_with_its_weights(tiny_ravdess, tmp_path, capsys):
    several, out = corpora_of(tiny_ravdess, tmp_path / "data"), tmp_path / "many"
    arguments = [*several, *command("", out, "--epochs", "2")[2:], "--corpus", "own"]
    assert train.main(arguments[:-2]) == 0
    assert "2 corpora (one, two): 120 clips" in capsys.readouterr().err
    rows = read_csv(out / "metrics.csv")
    assert {"validation_uar_one", "validation_uar_two"} <= rows[0].keys()
    result = result_of(out)
    assert [*result["test"]["by"]["corpus"]] == ["one", "two"]
    assert train.main(arguments) == 2
    capsys.readouterr()
    finetuned = tmp_path / "fine"
    begin = command(tiny_ravdess, finetuned, "--epochs", "1", "--init", str(out / "last.pth"))
    assert train.main(begin) == 0
    hashed = initial.sha256(out / "last.pth")
    _, provenance = checkpoint.load(finetuned / "last.pth")
    assert provenance.training["init_sha256"] == hashed
    assert provenance.protocol["corpus"] == "one, ravdess, two"
    assert provenance.licence == "CC BY-NC-SA 4.0"
    assert result_of(finetuned)["init_sha256"] == hashed
    again = command(tiny_ravdess, tmp_path / "wide", "--init", out / "last.pth", "--set", "cnn.width=8")
    assert "cnn.width is 4 there and 8 here" in refused(capsys, *again)
    again = ["--refit", str(finetuned), "--device", "cpu", "--out"]
    assert train.main([*again, str(tmp_path / "again")]) == 0
    assert result_of(tmp_path / "again")["init_sha256"] == hashed
    assert "init_sha256 is" in refused(capsys, *again, tmp_path / "c", "--init", finetuned / "last.pth")
    (out / "last.pth").write_bytes((finetuned / "last.pth").read_bytes())
    assert "last.pth: has changed since the training was planned" in refused(capsys, *again, tmp_path / "d")


def test_the_last_layer_alone_is_fitted(tiny_ravdess, tmp_path, capsys):
    init = OLDER / "last.pth"
    assert new_plan("--init", str(init)).model == checkpoint.load_model(init, "cpu").config
    for own in (tiny_ravdess, folders(tiny_ravdess, tmp_path / "own", cheerful="03", bored="04")):
        out = tmp_path / f"of-{own.name}"
        result = trained(own, out, *LIKE_OLDER, "--init", str(init), "--head-only")
        before, after = (checkpoint.load_model(path, "cpu") for path in (init, out / "last.pth"))
        then, now = before.cnn.state_dict(), after.cnn.state_dict()
        changed = {name for name in now if not torch.equal(then[name], now[name])}
        assert changed == {
            f"members.{n}.classify.{name}" for n in range(len(after.cnn.members)) for name in ("weight", "bias")
        }
        assert not (out / "metrics.csv").exists()
        assert "steps are few" not in capsys.readouterr().err
    assert result["config"]["training"]["head_only"] is True
    assert scored(capsys, out / "last.pth", own, "--part", "train", "--allow-trained")["uar"] > 0.6
    where = ["--data", tiny_ravdess, "--out", tmp_path / "none", "--device", "cpu"]
    assert "--head-only needs the features of --init" in refused(capsys, *where, "--head-only")


def test_what_learnt_from_non_commercial_weights_is_so_in_every_generation(tiny_ravdess, tmp_path, capsys):
    parent, data = tmp_path / "parent.pth", folders(tiny_ravdess, tmp_path / "own", cheerful="03", bored="04")
    model, provenance = checkpoint.load(OLDER / "last.pth", "cpu")
    checkpoint.save(parent, model, replace(provenance, protocol={"name": "stratified"}, licence="CC BY-NC 4.0"))
    for child in ("child", "grandchild"):
        trained(data, tmp_path / child, *LIKE_OLDER, "--init", str(parent))
        parent = tmp_path / child / "last.pth"
        assert "CC BY-NC 4.0" in checkpoint.load(parent, "cpu")[1].licence
        assert "note: licence of what these weights learnt from: CC BY-NC 4.0" in capsys.readouterr().err


OLDER = Path(__file__).parent / "training" / "of_7ee649e"
OF_OLDER = "cnn.width=2 cnn.depth=1 mel.n_mels=8 mel.n_fft=256 mel.hop=128 audio.clip_seconds=0.5"
LIKE_OLDER = ["--epochs", "1", "--amp", "off", "--set", *OF_OLDER.split()]


def test_what_the_code_of_7ee649e_wrote_is_read(tiny_ravdess, tmp_path, capsys):
    """Its checkpoint, result and plan: loaded, scored, begun with, repeated, and in a table with a new training."""
    older = shutil.copytree(OLDER, tmp_path / "older")  # evaluate writes beside the checkpoint
    last, plan, result = older / "last.pth", Plan.read(older), result_of(older)
    model, provenance = checkpoint.load(last, "cpu")
    assert model.config == plan.model
    assert provenance.training | {"head_only": False} == asdict(plan.training) | {"init_sha256": None}
    assert provenance.manifest_hash == result["manifest_hash"]
    assert scored(capsys, last, tiny_ravdess)["accuracy"] == result["test"]["accuracy"]
    begun = trained(tiny_ravdess, tmp_path / "init", *LIKE_OLDER, "--init", str(last))
    of_ravdess = {"init_corpora": ("ravdess",), "init_licence": "CC BY-NC-SA 4.0"}
    assert initial.origin(last) == initial.origin(checkpoint.weights_file("ser_ravdess")) == of_ravdess
    assert begun["init_sha256"] == hashlib.sha256(last.read_bytes()).hexdigest()
    again = trained(tiny_ravdess, tmp_path / "refit", *LIKE_OLDER, "--refit", str(older))
    assert again["temperature"] == pytest.approx(result["temperature"])
    other = trained(tiny_ravdess, tmp_path / "other", *LIKE_OLDER, "--fold", "1")
    assert crossvalidate.table("both", "stratified", [result, other], planned=2)["runs"] == 2
