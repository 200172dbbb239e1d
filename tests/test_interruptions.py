"""Nothing is lost: a training that is killed, or that finds the disk full, the folder forbidden or the data gone."""

import json
import resource
import shutil
import signal
import subprocess
import time
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ser_gpu import corpora, train
from ser_gpu.audio import clip_bank
from ser_gpu.files import only_one
from ser_gpu.training.loop import Trainer
from tests.conftest import error_line, started
from tests.training.conftest import interrupted

pytestmark = pytest.mark.usefixtures("no_figures")
BY_SPEAKERS = ("--protocol", "speakers")  # without scikit-learn, which a process takes two seconds to load


def command(data, out, *more):
    return [
        *("--data", str(data), "--out", str(out), "--device", "cpu", "--epochs", "3", "--batch-size", "64"),
        *("--set", "cnn.width=2", "audio.clip_seconds=1", *more),
    ]


def test_killed_at_random_moments_it_ends_with_the_same_weights(tiny_ravdess, tmp_path):
    script = """
import json, sys
from pathlib import Path
from tests.long import kills
print(json.dumps(kills.kill(Path(sys.argv[1]), Path(sys.argv[2]), count=2, seed=0)))
"""
    once = shutil.ignore_patterns("*-02-??.wav")  # without repetitions: what counts is when it is killed
    data = shutil.copytree(tiny_ravdess, tmp_path / "data", ignore=once)
    with started("-c", script, data, tmp_path, seconds=600) as process:
        outcome = json.loads(process.communicate()[0])
    assert outcome["kills"] == 2
    assert outcome["kills_while_writing"] >= 1
    assert outcome["same_weights"]
    assert outcome["same_predictions"]


def test_ctrl_c_twice_says_how_to_go_on_and_nothing_else(tiny_ravdess, tmp_path):
    arguments = [*command(tiny_ravdess, tmp_path / "run"), *BY_SPEAKERS, "--epochs", "10000"]
    with started("-m", "ser_gpu.train", *arguments, stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "run" / "resume.pth").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130
    assert said.count("--resume --out") == 1
    assert said.endswith("\ninterrupted\n")
    assert "Traceback" not in said


def test_a_full_disk_is_one_line_and_leaves_the_last_state(tiny_ravdess, tmp_path, capsys, monkeypatch):
    """A limit on the size of files stands for the full disk: the same refusal of the system, for one process."""
    out, epoch, limit = tmp_path / "run", Trainer.train_steps, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_after_two(trainer, *rest):
        if len(trainer.history) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limit[1]))
        return epoch(trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_steps", fill_after_two)
        try:
            assert train.main([*command(tiny_ravdess, out), *BY_SPEAKERS]) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert error_line(capsys.readouterr().err) == f"error: {out}/resume.pth: cannot be written: file too large"
    state = torch.load(out / "resume.pth", weights_only=True)
    assert len(state["history"]) == 2
    assert train.main([*command(tiny_ravdess, out), *BY_SPEAKERS, "--resume"]) == 0


@pytest.mark.parametrize("under", ["a file", "a forbidden folder"])
def test_an_out_that_cannot_be_written_is_said_before_the_training(under, tiny_ravdess, tmp_path, capsys, monkeypatch):
    place = tmp_path / "place"
    if under == "a file":
        place.touch()
    else:
        place.mkdir()
        monkeypatch.setattr(Path, "mkdir", _forbidden)
    monkeypatch.setattr(Trainer, "fit", lambda *_: pytest.fail("the training began"))
    assert train.main(command(tiny_ravdess, place / "run")) == 2
    assert str(place) in error_line(capsys.readouterr().err)


def _forbidden(path, *_, **__):
    raise PermissionError(13, "Permission denied", str(path))


def test_two_trainings_do_not_write_to_one_folder(tiny_ravdess, tmp_path, capsys):
    script = f"""
import sys
from pathlib import Path
from ser_gpu.files import only_one
with only_one(Path({str(tmp_path)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with started("-c", script) as holder:
        assert holder.stdout.readline() == "held\n"
        assert train.main(command(tiny_ravdess, tmp_path)) == 2
        assert error_line(capsys.readouterr().err).startswith(f"error: {tmp_path}: another process writes there")
        holder.kill()
    with only_one(tmp_path):
        pass  # a process that was killed holds nothing


@pytest.fixture(scope="module")
def stopped(tiny_ravdess, tmp_path_factory):
    """The recordings and the folder of a training that was stopped after its first epoch."""
    data, out = (
        shutil.copytree(tiny_ravdess, tmp_path_factory.mktemp("data") / "ravdess"),
        tmp_path_factory.mktemp("out"),
    )
    with pytest.MonkeyPatch.context() as patch:
        interrupted(command(data, out), patch)
    return data, out


def damaged(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("is_spoilt", "spoil", "message"),
    [
        ("clip", Path.unlink, "the resume file is of another training: the part of clip.{path.stem} is "),
        ("clip", lambda path: path.write_bytes(b"damaged"), "{path}: is text, not audio"),
        ("clip", lambda path: soundfile.write(path, np.zeros(0), 16_000), "{path}: holds no samples"),
        ("state", damaged, "damaged, the checksum"),
    ],
    ids=["deleted", "corrupted", "emptied", "state"],
)
def test_what_is_spoilt_before_the_training_goes_on_is_one_line(is_spoilt, spoil, message, stopped, capsys):
    data, out = stopped
    path = min(data.rglob("*.wav")) if is_spoilt == "clip" else out / "resume.pth"
    whole = path.read_bytes()
    spoil(path)
    before = (out / "resume.pth").read_bytes()
    assert train.main([*command(data, out), "--resume"]) == 2
    assert message.format(path=path) in error_line(capsys.readouterr().err)
    assert (out / "resume.pth").read_bytes() == before
    path.write_bytes(whole)


def test_clips_that_go_while_it_trains_are_not_missed(tiny_ravdess, tmp_path, monkeypatch):
    """All clips are in memory before the first step."""
    data, epoch = shutil.copytree(tiny_ravdess, tmp_path / "data"), Trainer.train_steps

    def delete_first(trainer, *rest):
        shutil.rmtree(data, ignore_errors=True)
        return epoch(trainer, *rest)

    monkeypatch.setattr(Trainer, "train_steps", delete_first)
    assert train.main([*command(data, tmp_path / "run"), "--epochs", "1"]) == 0


def test_any_number_of_reading_threads_gives_the_same_bank(tiny_ravdess, monkeypatch):
    paths = [clip.path for clip in corpora.load(tiny_ravdess).clips[:48]]
    banks = []
    for threads in (1, 2, 16):
        pool = lambda threads=threads: futures.ThreadPoolExecutor(threads)  # noqa: E731
        monkeypatch.setattr(clip_bank, "ThreadPoolExecutor", pool)
        banks.append(clip_bank.ClipBank.read(paths, 16_000))
    assert all(torch.equal(bank.samples, banks[0].samples) for bank in banks)
