"""What the terminal shows: progress on stderr, tables and bars on stdout."""

import json
from collections.abc import Iterable, Mapping, Sequence

from rich import progress as bars
from rich.bar import Bar
from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

from ser_gpu.errors import printable


class _Console(Console):
    @property
    def size(self) -> ConsoleDimensions:  # rich cuts the lines of a file and of a pipe, too
        return super().size if self.is_terminal else ConsoleDimensions(1_000, 25)


# not for Jupyter, where rich warns if ipywidgets is not installed
_PLAIN = {"highlight": False, "soft_wrap": True, "markup": False, "emoji": False, "force_jupyter": False}
out, err = _Console(**_PLAIN), _Console(stderr=True, **_PLAIN)

_BAR_WIDTH = 30
_BLOCKS = "█▉▊▋▌▍▎▏"
_SCORES = (("accuracy", "accuracy"), ("uar", "UAR"), ("macro_f1", "macro F1"))


def progress(*fields: str) -> bars.Progress:
    """A progress bar on stderr with the time left, followed by these `fields` of the task."""
    columns = bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn()
    shown = (f"{{task.fields[{name}]}}" for name in fields)
    return bars.Progress("{task.description}", *columns, *shown, console=err)


class DownloadBar:
    """A progress bar in bytes with the interface of pooch, which sets `total` and calls the methods."""

    total = 0

    def __init__(self, description: str):
        self._progress = bars.Progress(*bars.Progress.get_default_columns(), bars.DownloadColumn(), console=err)
        self._task = self._progress.add_task(description, total=None)
        self.close = self._progress.stop

    def update(self, size: int) -> None:
        self._progress.start()
        self._progress.update(self._task, total=self.total or None, advance=size)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)


def be_quiet() -> None:
    """Show nothing but errors, where another process shows the rest."""
    out.quiet = err.quiet = True


def say(line: str) -> None:
    """Print one line on stderr; special characters are escaped."""
    err.print(printable(line))


def note(*lines: str | None) -> None:
    """Print each line but None on stderr, as a note."""
    for line in filter(None, lines):
        say(f"note: {line}")


def print_json(content: object, indent: int | None = 2) -> None:
    """Print JSON on stdout, in ASCII, which every encoding has."""
    print(json.dumps(content, indent=indent), flush=True)


def show_prediction(name: str, said: Mapping, least: float) -> None:
    """One line with the emotion and its confidence, or with the likeliest one below `least`; then bars."""
    likeliest, confidence = said.get("likeliest"), said["confidence"]
    sure = f"{100 * confidence:.1f} %"
    sure = sure if likeliest is None else f"({likeliest} {sure}, below {100 * least:g} %)"
    out.print(Text.assemble(f"{printable(name)}: ", (said["emotion"], "bold"), f" {sure}"))
    grid = Table.grid(padding=(0, 1))
    for settings in ({"width": 2}, {"min_width": 9}, {"width": _BAR_WIDTH}, {"justify": "right"}):
        grid.add_column(**settings)
    for label, share in said["probabilities"].items():
        grid.add_row("", label, _bar(share), f"{100 * share:.1f} %")
    out.print(grid)


def _bar(share: float) -> Bar | Text:
    try:
        _BLOCKS.encode(out.encoding)
    except (UnicodeEncodeError, LookupError):
        return Text("#" * round(share * _BAR_WIDTH), style="cyan")
    return Bar(1.0, 0.0, share, width=_BAR_WIDTH, color="cyan")


def show_report(title: str, report: dict, emotions: Sequence[str]) -> None:
    """The tables of an evaluation: headline, per emotion, confusion, and by group of clips."""
    interval = {name: f"{low:.3f} to {high:.3f}" for name, (low, high) in report["interval95"].items()}
    others = (("ece", "ECE"), ("ece_before_temperature", "  before temperature"), ("log_loss", "log loss"))
    rows = [(label, f"{report[name]:.3f}", interval.get(name, "")) for name, label in _SCORES + others]
    most = report["most_frequent"]
    rows.append(("chance: accuracy, UAR", f"{report['chance']:.3f}", ""))
    rows.append((f"most frequent emotion ({most['emotion']}): accuracy", f"{most['accuracy']:.3f}", ""))
    out.print(table(f"{title}, {report['clips']} clips", ("", "value", "95 % interval"), rows))

    intensities = report["by"].get("intensity", {})
    rows = []
    for emotion, row in report["per_emotion"].items():
        spoken = row["recall_by"].get("intensity", {})
        scores = [f"{row[name]:.3f}" for name in ("precision", "recall", "f1")]
        scores += [f"{spoken[each]:.3f}" if each in spoken else "" for each in intensities]
        rows.append((emotion, str(row["clips"]), *scores))
    columns = ("emotion", "clips", "precision", "recall", "F1", *(f"recall, {each}" for each in intensities))
    out.print(table("Per emotion", columns, rows))

    counts = zip(emotions, report["confusion"], strict=True)
    rows = [(emotion, *("." if count == 0 else str(count) for count in row)) for emotion, row in counts]
    out.print(table("Confusion (rows acted, columns predicted)", ("", *(name[:5] for name in emotions)), rows))
    for pair in report["most_confused"]:
        out.print(f"{100 * pair['share']:.0f} % of {pair['acted']} was heard as {pair['predicted']}")

    for facet, values in report["by"].items():
        rows = [(label, *(f"{scores[name]:.3f}" for scores in values.values())) for name, label in _SCORES]
        rows.insert(0, ("clips", *(str(scores["clips"]) for scores in values.values())))
        out.print(table(f"By {facet}", ("", *values), rows))


def show_crossvalidation(crossvalidation: dict) -> None:
    """Every run of a cross-validation, then the means: of the test part where it was scored, else of validation."""
    name = f"{crossvalidation['name']}: {crossvalidation['protocol']}"
    counts = f"{crossvalidation['runs']} of {crossvalidation['planned']} trainings"
    if not crossvalidation["summary"]:
        out.print(f"{name}, {counts}, which held nothing out")
        return
    part = "test" if "test" in crossvalidation["summary"] else "validation"
    summary = crossvalidation["summary"][part]
    every = ((row["fold"], row["seed"], row[part]) for row in crossvalidation["rows"])
    rows = [(*map(str, (*run, its["clips"])), *(f"{its[name]:.3f}" for name in summary)) for *run, its in every]
    columns = ("fold", "seed", "clips", "accuracy", "UAR", "macro F1", "ECE")
    shown = table(f"{name}, {part} part, {counts}", columns, rows)
    shown.add_section()
    for label, key in (("mean", "mean"), ("sd over seeds", "sd_seeds"), ("sd over folds", "sd_folds")):
        shown.add_row(label, "", "", *("" if each[key] is None else f"{each[key]:.3f}" for each in summary.values()))
    every = crossvalidation["pooled"]["all answers"]
    chance, most = f"{every['chance']:.3f}", f"{every['most_frequent']['accuracy']:.3f}"
    shown.add_section()
    shown.add_row("chance", "", "", chance, chance)
    shown.add_row("most frequent emotion", "", "", most, chance)
    out.print(shown)
    for label, report in crossvalidation["pooled"].items():
        low, high = report["interval95"]["uar"]
        said = f"{report['clips']} clips, accuracy {report['accuracy']:.3f}, UAR {report['uar']:.3f} "
        said += f"(95 % {low:.3f} to {high:.3f}), macro F1 {report['macro_f1']:.3f}, ECE {report['ece']:.3f}"
        out.print(f"{label}: {said}")


def table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]] = ()) -> Table:
    """A table, its first column aligned left and the others right."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="")
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made
