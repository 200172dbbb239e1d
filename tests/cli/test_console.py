import io

import pytest
from rich.console import Console

from ser_gpu.cli import console
from tests.conftest import ran

SCORES = {"accuracy": 0.5, "uar": 0.5, "macro_f1": 0.5}


def report(**by):
    return {
        "clips": 4,
        **SCORES,
        "chance": 0.5,
        "most_frequent": {"emotion": "calm", "accuracy": 0.625},
        "interval95": {name: [0.25, 0.75] for name in SCORES},
        "ece": 0.1,
        "ece_before_temperature": 0.2,
        "log_loss": 0.7,
        "per_emotion": {
            name: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "clips": 2, "recall_by": recall}
            for name, recall in (("calm", {}), ("[red]", {"intensity": {"low": 0.125}} if by else {}))
        },
        "confusion": [[1, 1], [1, 1]],
        "most_confused": [{"acted": "calm", "predicted": "[red]", "share": 0.5}],
        "by": by,
    }


@pytest.fixture
def shown(monkeypatch):
    """What the terminal of an encoding shows."""

    def show(draw, encoding="utf-8"):
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
        settings = {"highlight": False, "soft_wrap": True, "markup": False, "emoji": False, "width": 200}
        monkeypatch.setattr(console, "out", Console(file=file, **settings))
        draw()
        file.flush()
        return file.buffer.getvalue().decode(encoding)

    return show


def test_a_report_shows_what_is_known(shown):
    printed = shown(lambda: console.show_report("title", report(), ["calm", "[red]"]))
    assert "[red]" in printed, "no markup"
    assert "+-" in shown(lambda: console.show_report("title", report(), ["calm", "[red]"]), encoding="ascii")
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in printed.splitlines() if "│" in line]
    assert ["chance: accuracy, UAR", "0.500"] in rows
    assert ["most frequent emotion (calm): accuracy", "0.625"] in rows
    assert "intensity" not in printed
    two = {"a": {"clips": 1, **SCORES}, "b": {"clips": 3, **SCORES}}
    printed = shown(
        lambda: console.show_report("title", report(intensity={"low": two["a"]}, gender=two), ["calm", "x"])
    )
    for said in ("By gender", "By intensity", "recall, low", "0.125"):
        assert said in printed


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "█" * 15), ("ascii", "#" * 15), ("latin-1", "#" * 15)])
def test_bars_are_of_what_the_encoding_has(encoding, bar, shown):
    said = {"emotion": "sad", "confidence": 0.5, "probabilities": {"sad": 0.5, "calm": 0.0}}
    draw = lambda: console.show_prediction("a [b] :smile:.wav", said, 0.0)  # noqa: E731
    first, second, third = shown(draw, encoding).splitlines()
    assert first == "a [b] :smile:.wav: sad 50.0 %"
    assert bar in second
    assert "█" not in third
    assert "#" not in third


def test_a_crossvalidation_shows_every_training_and_what_it_held_out(shown):
    row = {"clips": 10, **SCORES, "ece": 0.1}
    summary = {metric: {"mean": 0.5, "sd_seeds": None, "sd_folds": 0.125} for metric in (*SCORES, "ece")}
    table = {"name": "n", "protocol": "loso", "runs": 1, "planned": 2, "rows": [{"fold": 0, "seed": 0, "test": row}]}
    pooled = {"all answers": report()}
    printed = shown(lambda: console.show_crossvalidation({**table, "summary": {"test": summary}, "pooled": pooled}))
    assert "n: loso, test part, 1 of 2 trainings" in printed
    assert "all answers: 4 clips, accuracy 0.500, UAR 0.500 (95 % 0.250 to 0.750)" in printed
    printed = shown(lambda: console.show_crossvalidation({**table, "summary": {}}))
    assert printed == "n: loso, 1 of 2 trainings, which held nothing out\n"


def test_progress_in_a_file_is_one_whole_line(capsys):
    with console.progress("status") as progress:
        progress.add_task("Training", total=2, completed=2, status=300 * "x")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Training ")
    assert line.endswith(" " + 300 * "x")


def test_a_notebook_is_not_told_to_install_widgets():
    script = """
import builtins
builtins.get_ipython = type("ZMQInteractiveShell", (), {})
from ser_gpu.cli import console
assert console.Console().is_jupyter, "rich believes it"
with console.progress() as progress:
    progress.add_task("Reading", total=2, completed=2)
console.err.print("done")
"""
    done = ran("-W", "error", "-c", script)
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["Reading", "done"]
    assert done.stdout == ""


def test_json_is_ascii(capsys):
    console.print_json({"file": "größe \udcff.wav"}, indent=None)
    assert capsys.readouterr().out == '{"file": "gr\\u00f6\\u00dfe \\udcff.wav"}\n'
