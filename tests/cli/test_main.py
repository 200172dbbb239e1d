import subprocess
import sys
from importlib.util import find_spec

import pytest

from ser_gpu import __version__
from ser_gpu.cli import main


def test_help_lists_every_command_with_a_line(capsys):
    for arguments in ([], ["--help"], ["-h"]):
        assert main.main(arguments) == 0
        printed = capsys.readouterr().out
        assert all(f"  {name}" in printed and what in printed for name, what in main.COMMANDS.items())


def test_the_version_is_the_packages(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ser-gpu {__version__}\n"


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_its_own_help(name, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main([name, "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert f"usage: ser-gpu {name}" in printed
    headings = [line for line in printed.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert len(headings) >= 3 or printed.count("\n  --") <= 8, "many options are shown in groups"
    assert find_spec(f"ser_gpu.{name}.__main__" if name == "timeline" else f"ser_gpu.{name}"), "for python -m"


def test_ctrl_c_while_a_command_is_loaded_is_one_line(capsys, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "import_module", interrupted)
    assert main.main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_unknown_command_is_one_line(capsys):
    assert main.main(["trian"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no such command: 'trian'; there are predict, ")
    assert line.endswith("; did you mean train?")
    assert main.main(["xyzzy"]) == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("name", main.COMMANDS)
@pytest.mark.parametrize(("arguments", "after"), [([""], "{}"), (["--out", "x", ""], "x"), (["--out="], "--out=")])
def test_an_empty_argument_is_not_the_default(name, arguments, after, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main([name, *arguments])
    assert ended.value.code == 2
    after = after.format(f"ser-gpu {name}")
    assert capsys.readouterr().err.endswith(f": error: an argument is empty, after {after}\n")


def test_a_library_that_is_not_installed_is_named(capsys, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name="scipy.stats")

    monkeypatch.setattr(main, "import_module", missing)
    assert main.main(["evaluate", "model.pth"]) == 2
    assert capsys.readouterr().err == "error: scipy is not installed: pip install 'ser_gpu[train]'\n"


def test_arguments_and_exit_code_are_the_commands(tmp_path, capsys):
    assert main.main(["predict", str(tmp_path)]) == 2
    assert "no audio file in this folder" in capsys.readouterr().err


def test_listing_the_commands_loads_none_of_them():
    script = "import sys; from ser_gpu.cli.main import main; main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
