from importlib.util import find_spec
from unittest.mock import Mock

import pytest

from ser_gpu import __version__
from ser_gpu.cli import main


def test_help_lists_every_command_with_a_line(capsys):
    for arguments in ([], ["--help"], ["-h"]):
        assert main.main(arguments) == 0
        printed = capsys.readouterr().out
        assert all(f"  {name}" in printed and what in printed for name, what in main.COMMANDS.items())
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


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ModuleNotFoundError(name="scipy.stats"), 2, "error: scipy is not installed: pip install 'ser_gpu[train]'\n"),
    ],
)
def test_what_stops_a_command_from_being_loaded_is_one_line(error, code, said, capsys, monkeypatch):
    monkeypatch.setattr(main, "import_module", Mock(side_effect=error))
    assert main.main(["train"]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("name", main.COMMANDS)
@pytest.mark.parametrize(("arguments", "after"), [([""], "{}"), (["--out", "x", ""], "x"), (["--out="], "--out=")])
def test_an_empty_argument_is_not_the_default(name, arguments, after, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main([name, *arguments])
    assert ended.value.code == 2
    after = after.format(f"ser-gpu {name}")
    assert capsys.readouterr().err.endswith(f": error: an argument is empty, after {after}\n")


def test_an_unknown_command_is_one_line_and_arguments_are_those_of_a_known_one(tmp_path, capsys):
    assert main.main(["trian"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no such command: 'trian'; there are predict, ")
    assert line.endswith("; did you mean train?")
    assert main.main(["xyzzy"]) == 2
    assert "did you mean" not in capsys.readouterr().err
    assert main.main(["predict", str(tmp_path)]) == 2
    assert "no audio file in this folder" in capsys.readouterr().err
