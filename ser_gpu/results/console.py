"""What the terminal shows: progress on stderr, tables and bars on stdout."""

from collections.abc import Iterable, Sequence

from rich.bar import Bar
from rich.console import Console
from rich.markup import escape
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

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def progress(*fields: str) -> Progress:
    """A progress bar on stderr with the time left, and `fields` of the task behind it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *(TextColumn("{task.fields[" + name + "]}") for name in fields),
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


def show_prediction(name: str, probabilities: dict[str, float], top: int) -> None:
    """One line with the likeliest emotion and its probability, then the `top` emotions as bars."""
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    emotion, confidence = ranked[0]
    out.print(f"{escape(name)}: [bold]{emotion}[/bold] {confidence:.1%}")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2)
    grid.add_column(min_width=9)
    grid.add_column(width=30)
    grid.add_column(justify="right")
    for emotion, share in ranked[:top]:
        grid.add_row("", emotion, Bar(1.0, 0.0, share, width=30, color="cyan"), f"{share:.1%}")
    out.print(grid)


def show_report(title: str, report: dict, emotions: Sequence[str]) -> None:
    """The tables of an evaluation: headline, per emotion, confusion, and the sexes side by side."""
    interval = report["interval95"]
    headline = _table(f"{title}, {report['clips']} clips", ("", "value", "95 % interval"))
    for name, label in (("accuracy", "accuracy"), ("uar", "UAR"), ("macro_f1", "macro F1")):
        low, high = interval[name]
        headline.add_row(label, f"{report[name]:.3f}", f"{low:.3f} to {high:.3f}")
    headline.add_row("calibration error", f"{report['calibration_error']:.3f}", "")
    headline.add_row("  before temperature", f"{report['calibration_error_before_temperature']:.3f}", "")
    headline.add_row("log loss", f"{report['log_loss']:.3f}", "")
    out.print(headline)

    columns = ("emotion", "clips", "precision", "recall", "F1", "recall, normal", "recall, strong")
    emotion_table = _table("Per emotion", columns)
    for emotion, row in report["per_emotion"].items():
        scores = (f"{row[name]:.3f}" for name in ("precision", "recall", "f1"))
        by_intensity = row["recall_by_intensity"]
        spoken = (f"{by_intensity[name]:.3f}" if name in by_intensity else "" for name in ("normal", "strong"))
        emotion_table.add_row(emotion, str(row["clips"]), *scores, *spoken)
    out.print(emotion_table)

    confusion = _table("Confusion (rows acted, columns predicted)", ("", *(name[:5] for name in emotions)))
    for emotion, row in zip(emotions, report["confusion"], strict=True):
        confusion.add_row(emotion, *("." if count == 0 else str(count) for count in row))
    out.print(confusion)
    for pair in report["most_confused"]:
        out.print(f"{pair['share']:.0%} of {pair['acted']} was heard as {pair['predicted']}")

    sexes = report["by_sex"]
    sex_table = _table("Pitch bias: the same scores by sex of the actor", ("", *sexes))
    for name, label in (("clips", "clips"), ("accuracy", "accuracy"), ("uar", "UAR"), ("macro_f1", "macro F1")):
        values = (scores[name] for scores in sexes.values())
        sex_table.add_row(label, *(str(v) if isinstance(v, int) else f"{v:.3f}" for v in values))
    out.print(sex_table)


def show_crossvalidation(table: dict) -> None:
    """Every run of a cross-validation, then the means; the test part where it was scored, else validation."""
    part = "test" if "test" in table["summary"] else "validation"
    summary = table["summary"][part]
    title = f"{table['name']}: {table['protocol']}, {part} part, {table['runs']} of {table['planned']} trainings"
    shown = _table(title, ("fold", "seed", "clips", "accuracy", "UAR", "macro F1", "calibration error"))
    for row in table["rows"]:
        values = (f"{row[part][metric]:.3f}" for metric in summary)
        shown.add_row(str(row["fold"]), str(row["seed"]), str(row[part]["clips"]), *values)
    shown.add_section()
    for label, key in (("mean", "mean"), ("sd over seeds", "sd_seeds"), ("sd over folds", "sd_folds")):
        shown.add_row(label, "", "", *("" if each[key] is None else f"{each[key]:.3f}" for each in summary.values()))
    out.print(shown)
    for label, report in table["pooled"].items():
        low, high = report["interval95"]["uar"]
        error = report["calibration_error"]
        out.print(
            f"{label}: {report['clips']} clips, accuracy {report['accuracy']:.3f}, UAR {report['uar']:.3f} "
            f"(95 % {low:.3f} to {high:.3f}), macro F1 {report['macro_f1']:.3f}, calibration error {error:.3f}"
        )


def show_ablation(table: dict) -> None:
    """Every variant with its validation UAR and the difference from the recipe, in points."""
    columns = ("variant", "runs", "parameters", "UAR", "difference", "standard error", "calibration error")
    shown = _table(f"Ablation: {table['protocol']}, validation parts", columns)
    for row in table["variants"]:
        gap = "" if row["difference"] is None else f"{100 * row['difference']:+.1f}"
        error = "" if row["standard_error"] is None else f"{100 * row['standard_error']:.1f}"
        scores = row["validation"]
        cells = (f"{row['parameters']:,}", f"{scores['uar']:.3f}", gap, error, f"{scores['calibration_error']:.3f}")
        shown.add_row(row["name"], str(row["runs"]), *cells)
    out.print(shown)


def show_robustness(result: dict) -> None:
    """UAR and the share without speech, by condition, a column a model."""
    models = result["models"]
    columns = ("condition", *(f"{model['name']}: UAR" for model in models), "no speech found")
    shown = _table("The voice of a stranger", columns)
    for condition in models[0]["conditions"]:
        rows = [model["conditions"][condition] for model in models]
        silent = ", ".join(f"{row['no_speech']:.1%}" for row in rows)
        shown.add_row(condition, *(f"{row['uar']:.3f}" for row in rows), silent)
    out.print(shown)


def show_pitch_counterfactual(result: dict) -> None:
    """Accuracy and UAR of each sex by semitones."""
    shifts = result["shifts"]
    sexes = list(shifts[0]["by_sex"])
    columns = ("semitones", *(f"{sex}: {score}" for sex in sexes for score in ("accuracy", "UAR")))
    shown = _table("The same clips with another pitch", columns)
    for row in shifts:
        scores = (row["by_sex"][sex][name] for sex in sexes for name in ("accuracy", "uar"))
        shown.add_row(f"{row['semitones']:+d}", *(f"{score:.3f}" for score in scores))
    out.print(shown)


def show_pitch_bias(result: dict) -> None:
    """Men's and women's voices, and thirds of the pitch."""
    sexes = _table("By sex of the actor", ("", "actors", "answers", "accuracy", "UAR", "95 % interval", "listeners"))
    for sex in ("male", "female"):
        row = result["by_sex"][sex]
        low, high = row["interval95"]["uar"]
        scores = (f"{row['accuracy']:.3f}", f"{row['uar']:.3f}", f"{low:.3f} to {high:.3f}")
        sexes.add_row(sex, str(row["actors"]), str(row["answers"]), *scores, f"{result['listeners'][sex]:.3f}")
    out.print(sexes)
    difference, chance = result["by_sex"]["uar_difference"], result["by_sex"]["p_value"]
    out.print(f"women's UAR less men's: {difference:+.3f}; chance makes as large a difference with p = {chance:.2g}")
    thirds = _table("By thirds of the pitch", ("voices", "third", "median pitch (Hz)", "answers", "accuracy", "UAR"))
    for name, rows in result["by_pitch"].items():
        for row in rows:
            scores = (f"{row['accuracy']:.3f}", f"{row['uar']:.3f}")
            thirds.add_row(name, row["third"], f"{row['median_hz']:.0f}", str(row["answers"]), *scores)
    out.print(thirds)


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    return table
