"""No command writes over what it reads, and where it would write is tried before any work."""

import pytest

from ser_gpu import checkpoint
from ser_gpu.cli import main
from ser_gpu.exports import page

LIST = "file,emotion\na.wav,happy\n"
CROSSVALIDATE, RESULT = "crossvalidate --folds 0 --protocol stratified", "runs/loso/fold0-seed0/result.json"


@pytest.fixture
def fails_early(tmp_path, monkeypatch, capsys):
    """Runs a command where no model can be loaded; its one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "load", lambda *_: pytest.fail("work before the outputs were tried"))

    def run(arguments):
        assert main.main(arguments.split()) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.mark.parametrize(
    ("read", "arguments", "option"),
    [
        ("a.onnx", "export a.onnx ./a.onnx", "FILE"),
        ("hub/config.json", "export hub/config.json --hub hub", "--hub"),
        ("a.evaluation.json", "evaluate a.pth --data a.evaluation.json", "--out"),
        ("out/v1.2.confusion.png", "evaluate v1.2 --data out/v1.2.confusion.png --out out", "--out"),
        ("run/metrics.csv", "train --data run/metrics.csv --out run", "--out"),
        ("list.csv", f"{CROSSVALIDATE} --data list.csv --table ./list.csv", "--table"),
        ("v1.2.predictions.csv.gz", f"{CROSSVALIDATE} --data v1.2.predictions.csv.gz --table v1.2", "--table"),
        (RESULT, f"crossvalidate --folds 0 --protocol loso --table {RESULT}", "--table"),
        ("site/model.json", "app --weights site/model.json --out site", "--out"),
        ("talk.voice", "enrol talk.voice --out ./talk.voice", "--out"),  # a recording of any name
        ("list.voice", "enrol --list list.voice --out list.voice", "--out"),
        ("out/a.parquet", "score out/*.parquet --out out", "--out"),
    ],
)
def test_no_command_writes_over_what_it_reads(read, arguments, option, fails_early, tmp_path, monkeypatch):
    path = tmp_path / read
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LIST)
    if arguments.startswith("score"):
        pytest.importorskip("ray")
        from pyarrow import parquet, table

        parquet.write_table(table({"path": ["a.wav"]}), path)
    before = path.read_bytes()
    line = fails_early(arguments)
    assert line.startswith(f"error: {option} ")
    assert line.endswith(": is read by this command, and would be written over")
    assert path.read_bytes() == before
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path], "nothing else is written"


def test_the_page_is_not_written_over_its_own_source(fails_early):
    assert f"--out {page.page_folder()}/" in fails_early(f"app --out {page.page_folder()}")


@pytest.mark.parametrize(
    "arguments",
    [
        "export a.pth /proc/a.onnx",
        "export a.pth --hub /proc/hub",
        "evaluate a.pth --out /proc/a",
        "train --data list.csv --out /proc/a",
        f"{CROSSVALIDATE} --table /proc/a.json",
        f"{CROSSVALIDATE} --runs /proc/a",
        "app --out /proc/a",
        "enrol a.wav --out /proc/a.voice",
        "score list.csv --out /proc/a",
    ],
)
def test_where_a_command_would_write_is_tried_before_any_work(arguments, fails_early, tmp_path):
    (tmp_path / "list.csv").write_text(LIST)
    if arguments.startswith("score"):
        pytest.importorskip("ray")
    assert ": cannot be written: " in fails_early(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]
