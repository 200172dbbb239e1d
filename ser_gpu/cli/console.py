"""What the terminal shows: progress on stderr, tables and bars on stdout."""

import json
from collections.abc import Iterable, Mapping, Sequence

from rich.bar import Bar
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from ser_gpu.errors import printable

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

_BAR_WIDTH = 30
_BLOCKS = "█▉▊▋▌▍▎▏"
_SCORES = (("accuracy", "accuracy"), ("uar", "UAR"), ("macro_f1", "macro F1"))


def progress(*fields: str) -> Progress:
    """A progress bar on stderr with the time left, and `fields` of the task behind it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *(TextColumn("{task.fields[" + name + "]}", markup=False) for name in fields),
        console=err,
    )


class DownloadBar:
    """A rich progress bar in the form that pooch drives: `total`, `update`, `reset`, `close`."""

    def __init__(self, description: str):
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), DownloadColumn())
        self._progress = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=err)
        self._task = self._progress.add_task(description, total=None)
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        """Bytes to come; setting it starts the bar."""
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self._total = size
        self._progress.start()
        self._progress.update(self._task, total=size or None)

    def update(self, size: int) -> None:
        """`size` more bytes came."""
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        """Back to zero, which pooch does before it fills the bar at the end."""
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._progress.stop()


def be_quiet() -> None:
    """Show nothing but errors: another process speaks for this one."""
    out.quiet = err.quiet = True


def print_json(content: object, indent: int | None = 2) -> None:
    """JSON on stdout, in ASCII, which every encoding has."""
    print(json.dumps(content, indent=indent), flush=True)


def show_prediction(name: str, emotion: str, confidence: float, probabilities: Mapping[str, float]) -> None:
    """One line with the answer and its probability, then the emotions that are given, as bars."""
    out.print(Text.assemble(f"{printable(name)}: ", (emotion, "bold"), f" {confidence:.1%}"))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2)
    grid.add_column(min_width=9)
    grid.add_column(width=_BAR_WIDTH)
    grid.add_column(justify="right")
    for label, share in probabilities.items():
        grid.add_row("", label, _bar(share), f"{share:.1%}")
    out.print(grid)


def _bar(share: float) -> Bar | Text:
    """A bar of blocks, or of # where the terminal's encoding has no blocks."""
    try:
        _BLOCKS.encode(out.encoding)
    except (UnicodeEncodeError, LookupError):
        return Text("#" * round(share * _BAR_WIDTH), style="cyan")
    return Bar(1.0, 0.0, share, width=_BAR_WIDTH, color="cyan")


def show_report(title: str, report: dict, emotions: Sequence[str]) -> None:
    """The tables of an evaluation: headline, per emotion, confusion, and what is known of the clips side by side."""
    headline = table(f"{title}, {report['clips']} clips", ("", "value", "95 % interval"))
    for name, label in _SCORES:
        low, high = report["interval95"][name]
        headline.add_row(label, f"{report[name]:.3f}", f"{low:.3f} to {high:.3f}")
    headline.add_row("ECE", f"{report['ece']:.3f}", "")
    headline.add_row("  before temperature", f"{report['ece_before_temperature']:.3f}", "")
    headline.add_row("log loss", f"{report['log_loss']:.3f}", "")
    out.print(headline)

    intensities = report["by"].get("intensity", {})
    columns = ("emotion", "clips", "precision", "recall", "F1", *(f"recall, {each}" for each in intensities))
    emotion_table = table("Per emotion", columns)
    for emotion, row in report["per_emotion"].items():
        spoken = row["recall_by"].get("intensity", {})
        scores = [f"{row[name]:.3f}" for name in ("precision", "recall", "f1")]
        scores += [f"{spoken[each]:.3f}" if each in spoken else "" for each in intensities]
        emotion_table.add_row(emotion, str(row["clips"]), *scores)
    out.print(emotion_table)

    confusion = table("Confusion (rows acted, columns predicted)", ("", *(name[:5] for name in emotions)))
    for emotion, row in zip(emotions, report["confusion"], strict=True):
        confusion.add_row(emotion, *("." if count == 0 else str(count) for count in row))
    out.print(confusion)
    for pair in report["most_confused"]:
        out.print(f"{pair['share']:.0%} of {pair['acted']} was heard as {pair['predicted']}")

    for facet, values in report["by"].items():
        facet_table = table(f"By {facet}", ("", *values))
        facet_table.add_row("clips", *(str(scores["clips"]) for scores in values.values()))
        for name, label in _SCORES:
            facet_table.add_row(label, *(f"{scores[name]:.3f}" for scores in values.values()))
        out.print(facet_table)


def show_crossvalidation(crossvalidation: dict) -> None:
    """Every run of a cross-validation, then the means; the test part where it was scored, else validation."""
    name = f"{crossvalidation['name']}: {crossvalidation['protocol']}"
    counts = f"{crossvalidation['runs']} of {crossvalidation['planned']} trainings"
    if not crossvalidation["summary"]:
        out.print(f"{name}, {counts}, which held nothing out")
        return
    part = "test" if "test" in crossvalidation["summary"] else "validation"
    summary = crossvalidation["summary"][part]
    title = f"{name}, {part} part, {counts}"
    shown = table(title, ("fold", "seed", "clips", "accuracy", "UAR", "macro F1", "ECE"))
    for row in crossvalidation["rows"]:
        values = (f"{row[part][metric]:.3f}" for metric in summary)
        shown.add_row(str(row["fold"]), str(row["seed"]), str(row[part]["clips"]), *values)
    shown.add_section()
    for label, key in (("mean", "mean"), ("sd over seeds", "sd_seeds"), ("sd over folds", "sd_folds")):
        shown.add_row(label, "", "", *("" if each[key] is None else f"{each[key]:.3f}" for each in summary.values()))
    out.print(shown)
    for label, report in crossvalidation["pooled"].items():
        low, high = report["interval95"]["uar"]
        out.print(
            f"{label}: {report['clips']} clips, accuracy {report['accuracy']:.3f}, UAR {report['uar']:.3f} "
            f"(95 % {low:.3f} to {high:.3f}), macro F1 {report['macro_f1']:.3f}, ECE {report['ece']:.3f}"
        )


def table(title: str, columns: Iterable[str]) -> Table:
    """An empty table, its first column to the left and the others to the right."""
    empty = Table(title=title, title_justify="left", title_style="bold", header_style="")
    for i, column in enumerate(columns):
        empty.add_column(column, justify="left" if i == 0 else "right")
    return empty
