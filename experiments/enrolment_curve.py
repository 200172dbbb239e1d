"""python -m experiments.enrolment_curve TABLE: draw what enrolled clips give, by their number."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.figures.style import BLUE, GREEN, GREY, ORANGE, styled
from experiments.page_tables import read
from experiments.study import RESULTS
from ser_gpu.cli import console, options
from ser_gpu.errors import InputError
from ser_gpu.evaluation import figures

KINDS = {
    "unlabelled": ("any clips", BLUE, "o"),
    "labelled": ("of all emotions, with labels", GREEN, "s"),
    "neutral": ("neutral", ORANGE, "^"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(prog="python -m experiments.enrolment_curve", description=__doc__.splitlines()[0])
    parser.add_argument("table", help="to which experiments.enrolment added its scores")
    parser.add_argument("--out", default=str(RESULTS / "enrolment.png"), help="(default: %(default)s)")
    args = parser.parse_args(arguments)
    return options.run(lambda: _draw(Path(args.table), args.out))


def _draw(table: Path, out: str) -> int:
    found = read(table).get("enrolment", {})
    if not found:
        raise InputError(f"{table}: holds no scores with enrolled clips")
    figures.save(figure(found.get("seeds together") or found["all answers"]), out, dpi=120)
    console.err.print(f"written: {out}")
    return options.DONE


@styled()
def figure(rows: Sequence[dict]) -> Figure:
    """A line a kind of clips: points above the same clips without a voice, with the standard deviation over draws.

    Not the UAR itself: the more clips are enrolled, the fewer are left to score.

    Args:
        rows: as `experiments.enrolment.table` gives them.
    """
    drawn = Figure(figsize=(8.4, 3.6))
    axes = drawn.subplots()
    axes.axhline(0.0, color=GREY, linestyle="--", linewidth=1)
    for kind, (label, colour, marker) in KINDS.items():
        own = sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["count"])
        if own:
            spread = [100 * (row["uar"]["sd"] or 0.0) for row in own]
            counts = [row["count"] for row in own]
            axes.errorbar(
                counts, [_gain(row) for row in own], spread, None, color=colour, marker=marker, capsize=3, label=label
            )
    for row in rows:
        if row["kind"] == "all":
            axes.axhline(_gain(row), color=BLUE, linestyle=":", linewidth=1, label="all, the scored ones too")
    counts = sorted({row["count"] for row in rows if row["count"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set(
        xlabel="enrolled clips of the speaker",
        ylabel="UAR, points above no enrolment\n(mean and standard deviation of draws)",
    )
    axes.grid()
    drawn.legend(title="enrolled clips", loc="outside right center")
    return drawn


def _gain(row: dict) -> float:
    return 100 * (row["uar"]["mean"] - row["without"]["uar"])


if __name__ == "__main__":
    sys.exit(main())
