import io
import json
import os
import shutil
import signal
import sys
from argparse import ArgumentTypeError
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ser_gpu import checkpoint, train
from ser_gpu.cli import options
from ser_gpu.errors import InputError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.stretch import change_speed
from tests.conftest import ran

NO_FLOAT64 = "Cannot convert a MPS Tensor to float64 dtype.\nMore lines."


def test_a_device_is_found_or_named(monkeypatch):
    assert options.device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert options.device(None) == torch.device("cpu")
    for name in ("quantum", "mps", "meta", "cpu:x"):
        with pytest.raises(InputError, match=f"--device {name}: not available here; cpu always is.{{,100}}$"):
            options.device(name)


class _NoFloat64(TorchDispatchMode):
    """What an Apple GPU does, for tensors that are not on the CPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor) and each.device.type != "cpu" and each.dtype == torch.float64:
                raise TypeError(NO_FLOAT64)
        return result


def test_an_answer_asks_no_float64_of_the_device():
    model, pretended = SpeechEmotionModel().eval(), FakeTensorMode(allow_non_fake_inputs=True)
    with pretended, _NoFloat64():
        tensors = (*model.named_parameters(), *model.named_buffers())
        state = {name: pretended.from_tensor(tensor.detach()).to("cuda") for name, tensor in tensors}
        waveform, speed = torch.zeros(2, 50_000, device="cuda"), torch.ones(2, device="cuda")
        assert torch.func.functional_call(model, state, (waveform,)).shape == (2, 8)
        with pytest.raises(TypeError, match="float64"):  # augmentation does, so that the pretended device is seen
            change_speed(waveform, speed)


def test_what_an_apple_gpu_lacks_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(options, "device", torch.device)
    model = SimpleNamespace(window_samples=800, answer=Mock(side_effect=TypeError(NO_FLOAT64)))
    monkeypatch.setattr(checkpoint, "load_model", lambda weights, device: model)
    said = r"^--device mps: cannot run this model here \(Cannot convert a .* dtype\); cpu"
    with pytest.raises(InputError, match=said):
        options.model(None, "mps")
    assert options.model(None, "cpu") is model
    assert train.main(["--device", "mps"]) == 2
    assert capsys.readouterr().err.startswith("error: --device mps: augmentation computes in float64")


@pytest.mark.parametrize(
    ("number", "text", "rule"),
    [
        *((options.positive_int, text, "a whole number, 1 or more") for text in ("0", "-1", "1.5", "many", "")),
        (options.number(0.0, 1.0), "1.5", "between 0 and 1, got '1.5'"),
        (options.number(0.0, 1.0), "much", "between 0 and 1, got 'much'"),
        (options.number(0.0), "-1", "0 or more, got '-1'"),
        (options.number(0.0), "nan", "0 or more"),
        (options.number(0.0), "inf", "0 or more"),
    ],
)
def test_a_number_is_in_its_range(number, text, rule):
    assert number("1") == 1
    with pytest.raises(ArgumentTypeError, match=f"must be {rule}"):
        number(text)


TOO_LITTLE = "the device has too little memory for this; in training a smaller --batch-size"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("lr must be positive,\ngot -1"), 2, "error: lr must be positive,\\ngot -1\n"),
        (OSError(13, "Permission denied", "a.wav"), 2, "error: [Errno 13] Permission denied: 'a.wav'\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ModuleNotFoundError(name="sklearn"), 2, "error: sklearn is not installed: pip install 'ser_gpu[train]'\n"),
        (torch.OutOfMemoryError("a page of text"), 2, f"error: {TOO_LITTLE}, else --device cpu\n"),
    ],
)
def test_an_error_is_one_line_and_a_code_in_any_thread(error, code, said, capsys):
    assert options.run(Mock(side_effect=error)) == code
    assert capsys.readouterr().err == said
    with ThreadPoolExecutor() as pool:
        assert pool.submit(options.run, Mock(side_effect=error)).result() == code


@pytest.mark.parametrize(
    "bug",
    [
        lambda: list(zip("a", "ab", strict=True)),
        lambda: json.loads("{"),
        lambda: b"\xff".decode(),
        lambda: import_module("ser_gpu.no_such_module"),
        lambda: {}["key"],
        lambda: torch.zeros(2) @ torch.zeros(3),
    ],
)
def test_a_bug_of_ours_keeps_its_traceback(bug):
    with pytest.raises((ValueError, KeyError, RuntimeError, ImportError)):
        options.run(bug)


def test_ctrl_c_while_the_command_ends_changes_nothing(capsys):
    def command():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            options.ignore_ctrl_c()
            signal.raise_signal(signal.SIGINT)
            print("how to go on")
            raise

    assert options.run(command) == options.INTERRUPTED
    assert capsys.readouterr() == ("how to go on\n", "interrupted\n")


def test_the_host_of_a_command_can_be_interrupted_at_once():
    for _ in range(2):
        assert options.run(lambda: signal.raise_signal(signal.SIGINT)) == options.INTERRUPTED
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_decoders_write_is_hidden_and_what_we_write_is_not(capsys):
    script = """
import os, sys
from ser_gpu.cli import console, options
with options.quiet_decoders():
    os.write(2, b"doubts of a decoder\\n")
    print("ours", file=sys.stderr)
    console.err.print("rich")
os.write(2, b"after\\n")
os.close(2)
sys.stderr = sys.__stderr__ = None
with options.quiet_decoders():
    print("there is no stderr")
"""
    done = ran("-c", script)
    assert done.stderr.splitlines() == ["ours", "rich", "after"]
    assert done.stdout == "there is no stderr\n"
    with options.quiet_decoders():  # stderr that is captured is left alone
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


@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_what_is_read_is_not_written_over_by_any_name(link, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recording, out = tmp_path / "a.wav", tmp_path / "b.wav"
    recording.touch()
    if link:
        getattr(out, link)(recording)
    else:
        out = Path("./../", tmp_path.name, "a.wav")
    with pytest.raises(InputError, match=r"^--out .*[ab]\.wav: is read by this command"):
        options.require_free({"--plot": None, "--out": out}, ["c.wav", None, "a.wav"])
    options.require_free({"--out": out}, ["c.wav", None])
    recording.unlink()  # not there, or a broken link
    if link != "hardlink_to":
        with pytest.raises(InputError, match="is read by this command"):
            options.require_free({"--out": [Path("c.json"), out]}, ["a.wav"])


@pytest.mark.parametrize(("platform", "is_one"), [("darwin", True), ("win32", True), ("linux", False)])
def test_two_cases_of_a_name_are_one_file_where_they_are(platform, is_one, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    outputs = {"--out": [tmp_path / "a.csv", tmp_path / "A.csv"]}
    if is_one:
        with pytest.raises(InputError, match="two inputs have the same name"):
            options.require_free(outputs, [])
    else:
        options.require_free(outputs, [])


def test_what_is_standard_input_is_not_written_over(tmp_path):
    (tmp_path / "a.wav").touch()
    script = "import sys; from pathlib import Path; from ser_gpu.cli.options import require_free; "
    script += "require_free({'--out': Path(sys.argv[1])}, ['-'])"
    with (tmp_path / "a.wav").open() as stdin:
        assert "--out" in ran("-c", script, tmp_path / "a.wav", stdin=stdin).stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"--out": "new/x", "--plot": "./new/x"}, "--plot new/x: would be written over by --out"),
        ({"--out": "folder"}, "--out folder: is a folder"),
        ({"--out": "pipe"}, "--out pipe: is no regular file"),
        ({"--out": "file/x"}, "--out file/x: cannot be written: not a directory"),
        ({"--out": "/proc/x.json"}, "--out /proc/x.json: cannot be written: "),  # also for root
        ({"--out": "x" * 300}, f"--out {'x' * 300}: cannot be written: file name too long"),
    ],
)
def test_what_cannot_be_written_is_said_before_any_work(outputs, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    os.mkfifo("pipe")
    with pytest.raises(InputError) as caught:
        options.require_free({option: Path(path) for option, path in outputs.items()}, [])
    assert str(caught.value).startswith(said)
    options.require_free({"--out": [Path("file"), Path("new/folder/x")], "--plot": Path("folder/x")}, [])
    assert sorted(map(str, Path().iterdir())) == ["file", "folder", "pipe"], "nothing is left behind"


@pytest.fixture
def four(tmp_path, monkeypatch):
    """A folder with recordings, where the tests stand."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b[1].wav", "x[1]/c.wav", "x[1]/deep/d.flac", "é /e.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["*.wav"], ["a.wav", "b[1].wav"]),
        (["**/*.flac"], ["x[1]/deep/d.flac"]),
        (["./?.wav", "a.wav"], ["a.wav", "a.wav"]),
        (["b[1].wav", "x[1]/*.wav", "[ab].wav"], ["b[1].wav", "x[1]/c.wav", "a.wav"]),
        (["x*"], ["x[1]/c.wav", "x[1]/deep/d.flac"]),
        (["*.mp3", "-", "c[1].wav", "", "x" * 300], ["*.mp3", "-", "c[1].wav", *["a.wav", "b[1].wav"]]),
    ],
)
def test_patterns_that_no_shell_expanded(names, found, four):
    paths = options.recordings(names).paths
    assert [str(path) for path in paths[: len(found)]] == found
    assert [path.name for path in options.recordings([str(four / "*.wav")]).paths] == ["a.wav", "b[1].wav"]


@pytest.mark.parametrize(
    "content",
    [
        "a.wav\n\né /e.wav\r\nx[1]\n".encode(),
        "\ufeffa.wav\r\né /e.wav\r\nx[1]".encode(),
        "\ufeffa.wav\r\né /e.wav\r\nx[1]\r\n".encode("utf-16-le"),
        "a.wav\0é /e.wav\0x[1]\0".encode(),
        " a.wav \r\né \\e.wav\t\nx[1] \n".encode(),
    ],
    ids=["lines", "marked", "PowerShell", "find -print0", "spaces and backslashes"],
)
def test_a_list_is_relative_to_its_folder_or_standard_input(content, four, monkeypatch):
    names = ["a.wav", "é /e.wav", "x[1]/c.wav", "x[1]/deep/d.flac"]
    Path("list").write_bytes(content)
    assert options.recordings(["b[1].wav"], "list").paths == tuple(map(Path, ["b[1].wav", *names]))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert options.recordings([], "-").paths == tuple(map(Path, names))
    monkeypatch.chdir("x[1]")
    assert options.recordings([], "../list").paths == tuple(Path("..", name) for name in names)
    many = [os.fsencode(four) + b"/\xff%d.wav" % i for i in range(5_000)]  # of any bytes
    Path("list").write_bytes(b"\n".join(many))
    assert [os.fsencode(path) for path in options.recordings([], "list").paths] == many


@pytest.mark.parametrize(
    ("list_file", "said"),
    [
        (None, "name recordings, or a list of them with --list"),
        ("absent", "--list absent: cannot be read: no such file or directory"),
        ("x[1]", "--list x[1]: cannot be read: is a directory"),
        ("a.wav", "--list a.wav: names no recording"),
        ("sound", "--list sound: is no list of names"),
        ("-", "--list -: names no recording"),
    ],
)
def test_a_list_without_recordings_is_one_line(list_file, said, four, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    Path("sound").write_bytes(b"RIFF\x04\0\0\0WAVE/\0")
    with pytest.raises(InputError) as caught:
        options.recordings([], list_file)
    assert str(caught.value) == said
