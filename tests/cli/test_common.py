import shutil
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError

import pytest
import torch

from ser_gpu.cli import options
from ser_gpu.errors import InputError


def test_a_device_is_found_or_named(monkeypatch):
    assert options.device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert options.device(None) == torch.device("cpu")
    for name, why in (
        ("quantum", "no such device"),
        ("mps", "mps is not available here"),
        ("meta", "meta is not available here"),
        ("cpu:x", "no such device"),
    ):
        with pytest.raises(ValueError, match=f"--device {name}: {why}") as caught:
            options.device(name)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_a_count_is_above_zero(text):
    with pytest.raises(ArgumentTypeError, match="whole number above zero"):
        options.positive_int(text)


def raises(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("lr must be positive,\ngot -1"), 2, "error: lr must be positive,\\ngot -1\n"),
        (OSError(13, "Permission denied", "a.wav"), 2, "error: [Errno 13] Permission denied: 'a.wav'\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ModuleNotFoundError(name="sklearn"), 2, "error: sklearn is not installed: pip install 'ser_gpu[train]'\n"),
        (
            torch.OutOfMemoryError("a page of text"),
            2,
            "error: the device has too little memory for this; a smaller --batch-size, or --device cpu, takes less\n",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(error, code, said, capsys):
    assert options.run(raises(error)) == code
    assert capsys.readouterr().err == said


def test_what_decoders_write_is_hidden_and_what_we_write_is_not():
    script = """
import os, sys
from ser_gpu.cli import console
from ser_gpu.cli import options
with options.quiet_decoders():
    os.write(2, b"doubts of a decoder\\n")
    print("ours", file=sys.stderr)
    console.err.print("rich")
os.write(2, b"after\\n")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["ours", "rich", "after"]


def test_a_closed_stderr_is_no_error():
    script = "from ser_gpu.cli import options\nwith options.quiet_decoders(): print('done')"
    done = subprocess.run(["sh", "-c", f'{sys.executable} -c "{script}" 2>&-'], stdout=subprocess.PIPE, text=True)
    assert done.stdout == "done\n"


def test_stderr_that_is_captured_is_left_alone(capsys):
    with options.quiet_decoders():
        print("ours", file=sys.stderr)
    assert capsys.readouterr().err == "ours\n"


def test_what_was_found_is_said(tiny_ravdess, tmp_path, capsys):
    data = shutil.copytree(tiny_ravdess, tmp_path / "data")
    (data / "notes.mp3").touch()
    clips = options.find_clips(str(data))
    found, left_out, notice = capsys.readouterr().err.splitlines()
    assert len(clips) == 192
    assert found == "RAVDESS speech: 192 clips, 6 speakers, 8 emotions"
    assert left_out == "left out: 1 foreign"
    assert notice.startswith("note: 192 of the 1,440 RAVDESS speech clips found")


def test_test_speakers_have_an_old_name():
    parser = ArgumentParser()
    options.add_protocol_options(parser, "")
    assert parser.parse_args(["--test-actors", "3", "Ann"]).test_speakers == ["3", "Ann"]
