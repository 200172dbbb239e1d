"""Ctrl-C comes once, and is not lost."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_gpu.cli import interrupts, options

ROOT = Path(__file__).resolve().parents[2]


class _Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_a_destructor_is_not_lost(capsys):
    def command():
        _Interrupted()
        time.sleep(20)

    hook, begun = sys.unraisablehook, time.monotonic()
    assert options.run(command) == options.INTERRUPTED
    assert time.monotonic() - begun < 10
    assert capsys.readouterr().err == "interrupted\n"
    assert sys.unraisablehook is hook


def test_ctrl_c_in_a_destructor_at_the_very_end_spares_what_comes_next():
    assert options.run(lambda: _Interrupted() and options.DONE) == options.DONE
    time.sleep(5 * interrupts.AGAIN_SECONDS)


def test_ctrl_c_while_the_command_ends_is_ignored(capsys):
    def command():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            print("how to go on")

    assert options.run(command) == options.INTERRUPTED
    assert capsys.readouterr() == ("how to go on\n", "interrupted\n")


def test_the_next_command_can_be_interrupted_at_once():
    for _ in range(2):
        assert options.run(lambda: signal.raise_signal(signal.SIGINT) or options.DONE) == options.INTERRUPTED


def test_ctrl_c_a_while_later_ends_what_takes_too_long(monkeypatch):
    monkeypatch.setattr(interrupts, "_ONCE_SECONDS", 0.1)

    def command():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            time.sleep(0.2)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("the second one was lost")

    assert options.run(command) == options.INTERRUPTED


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_ctrl_c_twice_says_how_to_go_on_and_nothing_else(pause, tiny_ravdess, tmp_path):
    arguments = ["--data", str(tiny_ravdess), "--out", str(tmp_path / "run"), "--device", "cpu", "--epochs", "10000"]
    small = ["--batch-size", "64", "--protocol", "speakers", "--set", "cnn.width=2", "audio.clip_seconds=1"]
    command = [sys.executable, "-m", "ser_gpu.train", *arguments, *small]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        while not (tmp_path / "run" / "resume.pth").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    # at the very end Python has no handler, and the second one is what ends it
    assert process.returncode in (options.INTERRUPTED, -signal.SIGINT)
    assert said.count("--resume --out") == 1
    assert said.endswith("\ninterrupted\n")
    assert "Traceback" not in said
