import csv
import json
import signal
import subprocess
import sys
import time

import pytest
import torch

import ser_gpu
from ser_gpu import checkpoint, train
from ser_gpu.config import (
    EPOCHS_FOR_NEW_VOICES,
    OPTIMIZERS,
    AudioConfig,
    AugmentConfig,
    CnnConfig,
    ModelConfig,
    TrainConfig,
)
from ser_gpu.data import ravdess
from ser_gpu.data.protocols import Protocol
from ser_gpu.data.waveform import ClipBank
from ser_gpu.trainer import DivergedError, Material, Trainer, use_bfloat16


@pytest.fixture(scope="module")
def material(tiny_ravdess):
    clips = ravdess.scan(tiny_ravdess).clips
    return Material(clips, ClipBank.read([clip.path for clip in clips], 16_000), Protocol().split(clips))


def small_model(**augment):
    return ModelConfig(
        audio=AudioConfig(clip_seconds=1.0), augment=AugmentConfig(**augment), cnn=CnnConfig(width=8, depth=3)
    )


def make_trainer(material, model_config=None, **changes):
    config = TrainConfig(**{"epochs": 2, "batch_size": 64} | changes)
    return Trainer(config, model_config or small_model(), material, bfloat16=False)


def weights(trainer):
    return trainer.ema.module.state_dict()


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def nothing(*_):
    pass


def test_the_same_seed_gives_the_same_weights(material):
    first, second, other = (make_trainer(material, seed=seed, epochs=1) for seed in (0, 0, 1))
    for trainer in (first, second, other):
        trainer.fit(nothing)
    assert_same(weights(first), weights(second))
    assert not torch.equal(first.model.cnn.members[0].classify.weight, other.model.cnn.members[0].classify.weight)


def test_a_training_that_goes_on_from_its_state_ends_with_the_same_weights(material, tmp_path):
    whole = make_trainer(material)
    states = []
    whole.fit(lambda row: torch.save(whole.state(), tmp_path / f"{row['epoch']}.pth") or states.append(row))
    resumed = make_trainer(material)
    resumed.restore(checkpoint.read(tmp_path / "1.pth"))
    resumed.fit(nothing)
    assert_same(weights(whole), weights(resumed))
    assert [row["train_loss"] for row in resumed.history] == [row["train_loss"] for row in states]


def test_the_network_learns(material):
    """Without augmentation, twenty epochs tell eight pure tones apart."""
    trainer = make_trainer(material, small_model(enabled=False), epochs=20, batch_size=16, lr=1e-2, ema_decay=0.5)
    trainer.fit(nothing)
    assert trainer.history[-1]["train_loss"] < 0.75 * trainer.history[0]["train_loss"]
    assert trainer.history[-1]["validation_accuracy"] > 0.8


def test_a_loss_that_is_not_finite_stops_the_training(material):
    trainer = make_trainer(material, lr=1e30)
    with pytest.raises(DivergedError, match=r"the loss of epoch \d, step \d is (nan|inf)"):
        trainer.fit(nothing)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"lr": 1e-4}, "lr is 0.002 there and 0.0001 here"), ({"seed": 3}, "seed is 0 there and 3 here")],
)
def test_a_state_of_other_settings_is_refused(material, change, message):
    state = make_trainer(material).state()
    with pytest.raises(ValueError, match=message):
        make_trainer(material, **change).restore(state)


def test_a_state_of_another_model_or_split_is_refused(material):
    state = make_trainer(material).state()
    with pytest.raises(ValueError, match="enabled is True there and False here"):
        make_trainer(material, small_model(enabled=False)).restore(state)
    with pytest.raises(ValueError, match="manifest_hash"):
        make_trainer(material).restore({**state, "manifest_hash": "0"})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_weight_has_one_optimiser_and_decay_spares_biases_and_norms(material, optimizer):
    trainer = make_trainer(material, optimizer=optimizer)
    groups = [group for each in trainer.optimizers for group in each.param_groups]
    assert {p.ndim for group in groups if group["weight_decay"] for p in group["params"]} == {2, 4}
    assert {p.ndim for group in groups if not group["weight_decay"] for p in group["params"]} == {1}
    moved = [p for group in groups for p in group["params"]]
    assert len(moved) == len({*moved}) == len(list(trainer.model.parameters()))


def test_muon_moves_the_kernels_of_the_blocks_at_their_own_rate(material):
    trainer = make_trainer(material, optimizer="muon", kernel_lr=0.03, lr=0.001)
    adamw, muon = trainer.optimizers
    assert {*muon.param_groups[0]["params"]} == {
        p for member in trainer.model.cnn.members for p in member.blocks.parameters() if p.ndim == 4
    }
    assert (adamw.defaults["lr"], muon.defaults["lr"]) == (0.001, 0.03)


def command(data, out, *more):
    return ["--data", str(data), "--out", str(out), "--epochs", "3", "--device", "cpu", "--batch-size", "64", *more]


@pytest.fixture(scope="module")
def finished(tiny_ravdess, tmp_path_factory):
    """The folder of a whole training by the command."""
    out = tmp_path_factory.mktemp("run")
    assert train.main(command(tiny_ravdess, out)) == 0
    return out


def test_the_command_writes_all_it_promises(finished):
    assert sorted(path.name for path in finished.iterdir() if path.name != ".lock") == [
        "config.json",
        "curves.png",
        "last.pth",
        "metrics.csv",
        "predictions.csv",
        "result.json",
    ]
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    result = json.loads((finished / "result.json").read_text())
    model, provenance = checkpoint.load(finished / "last.pth")
    assert result["manifest_hash"] == provenance.manifest_hash
    assert result["test"]["accuracy"] == provenance.metrics["test"]["accuracy"]
    assert result["temperature"] == pytest.approx(float(model.temperature))
    assert result["environment"]["torch"] == torch.__version__
    assert model(torch.zeros(4, 48_000)).shape == (4, 8)
    assert json.loads((finished / "config.json").read_text())["training"]["epochs"] == 3


def test_predictions_are_those_that_were_scored(finished):
    result = json.loads((finished / "result.json").read_text())
    with (finished / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    for part in ("validation", "test"):
        right = [row["predicted"] == row["emotion"] for row in rows if row["part"] == part]
        assert len(right) == result[part]["clips"]
        assert sum(right) / len(right) == pytest.approx(result[part]["accuracy"])
    assert all(sum(float(row[emotion]) for emotion in ser_gpu.EMOTIONS) == pytest.approx(1, abs=1e-4) for row in rows)


def test_without_the_test_part_it_is_not_scored(tiny_ravdess, tmp_path, capsys):
    arguments = command(tiny_ravdess, tmp_path / "run", "--no-test", "--epochs", "1", "--set", "cnn.width=8")
    assert train.main(arguments) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "test" not in result
    assert result["config"]["model"]["cnn"]["width"] == 8
    assert "test part" not in capsys.readouterr().out


def test_the_command_does_not_overwrite_a_finished_training(finished, tiny_ravdess, capsys):
    assert train.main(command(tiny_ravdess, finished)) == 2
    assert "holds a finished training" in capsys.readouterr().err


def test_killed_and_resumed_it_ends_with_the_same_weights(finished, tiny_ravdess, tmp_path, capsys):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "ser_gpu.train", *command(tiny_ravdess, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (out / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (out / "resume.pth").exists()
    assert not (out / "result.json").exists()
    assert train.main(command(tiny_ravdess, out)) == 2
    assert "--resume goes on with it" in capsys.readouterr().err
    assert train.main(command(tiny_ravdess, out, "--resume", "--lr", "0.1")) == 2
    assert "lr is 0.002 there and 0.1 here" in capsys.readouterr().err
    assert train.main(command(tiny_ravdess, out, "--resume")) == 0
    assert_same(
        ser_gpu.load_model(finished / "last.pth").state_dict(), ser_gpu.load_model(out / "last.pth").state_dict()
    )


def test_ctrl_c_says_how_to_go_on(tiny_ravdess, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train_epoch", interrupt)
    assert train.main(command(tiny_ravdess, tmp_path)) == 130
    printed = capsys.readouterr().err
    assert f"stopped after epoch 0; --resume --out {tmp_path} goes on" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "absent"], "absent: no such folder"),
        (["--protocol", "actors5", "--fold", "9"], "fold of actors5 must be 0 to 4, got 9"),
        (["--test-actors", "31"], "between 1 and 24"),
        (["--device", "quantum"], "--device quantum"),
        (["--lr", "-1"], "lr must be positive"),
        (["--set", "cnn.depht=3"], "no such setting: 'cnn.depht', there are training.protocol"),
        (["--set", "cnn.depth=deep"], "cnn.depth=deep: the value must be a whole number"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, message, tiny_ravdess, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAVDESS_DIR", str(tiny_ravdess))
    assert train.main(arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("arguments", [["--unknown"], ["--epochs", "0"], ["--head", "mean"], ["--protocol", "mine"]])
def test_unknown_flags_and_values_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        train.main(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_help_shows_the_defaults(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    assert f"(default: {TrainConfig().epochs}, or {EPOCHS_FOR_NEW_VOICES} where" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ([], TrainConfig().epochs),
        (["--protocol", "twin-safe"], TrainConfig().epochs),
        (["--protocol", "actors5"], EPOCHS_FOR_NEW_VOICES),
        (["--test-actors", "1"], EPOCHS_FOR_NEW_VOICES),
        (["--protocol", "actors5", "--epochs", "7"], 7),
    ],
)
def test_a_training_for_new_voices_is_shorter(arguments, epochs, tmp_path, monkeypatch):
    configs = []
    monkeypatch.setattr(train, "_train_into", lambda *parts: configs.append(parts[4]) or 0)
    assert train.main([*arguments, "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    assert [config.epochs for config in configs] == [epochs]


def refit(finished, data, out, *more):
    return command(data, out, "--refit", str(finished), *more)


def test_a_refit_learns_from_the_validation_part_too_and_keeps_the_temperature(finished, tiny_ravdess, tmp_path):
    out = tmp_path / "again"
    assert train.main(refit(finished, tiny_ravdess, out)) == 0
    first, again = (json.loads((folder / "result.json").read_text()) for folder in (finished, out))
    assert again["temperature"] == pytest.approx(first["temperature"])
    assert again["manifest_hash"] == first["manifest_hash"]
    assert again["test"]["clips"] == first["test"]["clips"]
    assert "validation" not in again
    with (out / "predictions.csv").open() as file:
        assert {row["part"] for row in csv.DictReader(file)} == {"test"}
    with (out / "metrics.csv").open() as file:
        assert all("validation_loss" not in row for row in csv.DictReader(file))


def test_a_refit_moves_its_weights_by_every_clip_outside_the_test_part(material):
    trainer = make_trainer(material, refit=True)
    learned = {material.clips[row].name for row in trainer.rows.tolist()}
    assert learned == {clip.name for part in ("train", "validation") for clip in material.clips_of(part)}
    assert not learned & {clip.name for clip in material.clips_of("test")}


def test_a_refit_with_other_settings_or_of_nothing_is_refused(finished, tiny_ravdess, tmp_path, capsys):
    assert train.main(refit(finished, tiny_ravdess, tmp_path / "a", "--lr", "0.1")) == 2
    assert "a training with other settings: lr is 0.002 there and 0.1 here" in capsys.readouterr().err
    assert train.main(refit(tmp_path / "nowhere", tiny_ravdess, tmp_path / "b")) == 2
    assert "holds no finished training to repeat" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "said"), [("{", "is not JSON"), ("{}", "is not the result of a training")])
def test_a_refit_of_a_damaged_result_is_one_line(content, said, tiny_ravdess, tmp_path, capsys):
    (tmp_path / "result.json").write_text(content)
    assert train.main(refit(tmp_path, tiny_ravdess, tmp_path / "out")) == 2
    assert capsys.readouterr().err.strip() == f"error: {tmp_path / 'result.json'}: {said}"


@pytest.mark.parametrize(("units", "fast"), [({}, False), ({"amx_bf16": True}, True), ({"avx512_bf16": True}, True)])
def test_bfloat16_is_left_to_processors_that_multiply_in_it(units, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    assert use_bfloat16("auto", torch.device("cpu")) is fast
    assert [use_bfloat16(choice, torch.device("cpu")) for choice in ("on", "off")] == [True, False]
