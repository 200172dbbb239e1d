"""python -m experiments.card: the table of the cross-validations, from its JSON, between the markers of the READMEs."""

import json
import sys
from pathlib import Path

from ser_gpu import command_line
from ser_gpu.atomic import replacing
from ser_gpu.results.tables import markdown

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "weights" / "crossvalidation"
PAGES = ROOT / "README.md", ROOT / "weights" / "README.md"
BEGIN, END = "<!-- cross-validations: begin -->", "<!-- cross-validations: end -->"
HELD_OUT = {
    "stratified": "a tenth of the clips; every speaker is in training",
    "twin-safe": "a tenth of the clips and their repetitions",
    "actors5": "five actors (one fold: four)",
    "actors6": "four actors",
}
COMMAND = """\
python -m ser_gpu.crossvalidate --protocol PROTOCOL --runs weights/crossvalidation \\
  --table weights/crossvalidation/PROTOCOL.json"""


def main() -> int:
    """Write the tables anew."""
    return command_line.run(_write)


def _write() -> int:
    for page in PAGES:
        with replacing(page) as temporary:
            temporary.write_text(updated(page), encoding="utf-8")
    return command_line.DONE


def updated(page: Path) -> str:
    """A page with what stands between its markers replaced."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{section()}\n\n{END}{after}"


def section() -> str:
    """The table and how it was made, as Markdown."""
    rows = [row for protocol in HELD_OUT for row in _rows(protocol)]
    return (
        f"{markdown(rows)}\n\n"
        "Means over folds and seeds; ± is the standard deviation over folds, of their means over seeds. Intervals\n"
        "(95 %) resample actors. Calibration error: 15 bins, after the temperature, mean over trainings. Printed by\n"
        f"this, which trains what is missing:\n\n```\n{COMMAND}\n```"
    )


def _rows(protocol: str) -> list[dict[str, str]]:
    path = TABLES / f"{protocol}.json"
    first = {"protocol": f"`{protocol}`", "tested on": HELD_OUT[protocol]}
    if not path.exists():
        empty = dict.fromkeys(("accuracy", "UAR", "macro F1", "interval of the UAR", "calibration error"), "")
        return [first | {"trainings": "not measured"} | empty]
    table = json.loads(path.read_text(encoding="utf-8"))
    seeds = len({row["seed"] for row in table["rows"]})
    folds = len({row["fold"] for row in table["rows"]})
    scores = table["summary"]["test"]
    rows = [
        first
        | {"trainings": f"{table['runs']}: folds {folds}, seeds {seeds}"}
        | {label: _with_spread(scores[key]) for label, key in _HEADLINE.items()}
        | {"interval of the UAR": _interval(table["pooled"]["all answers"])}
        | {"calibration error": f"{scores['calibration_error']['mean']:.3f}"}
    ]
    if together := table["pooled"].get("seeds together"):
        rows.append(
            {
                "protocol": "",
                "tested on": "the same, a fold's seeds as one model",
                "trainings": f"{folds}: folds {folds}",
            }
            | {label: f"{together[key]:.3f}" for label, key in _HEADLINE.items()}
            | {"interval of the UAR": _interval(together)}
            | {"calibration error": f"{together['calibration_error']:.3f}"}
        )
    return rows


_HEADLINE = {"accuracy": "accuracy", "UAR": "uar", "macro F1": "macro_f1"}


def _with_spread(score: dict[str, float | None]) -> str:
    spread = score["sd_folds"]
    return f"{score['mean']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _interval(report: dict) -> str:
    return "{:.3f} to {:.3f}".format(*report["interval95"]["uar"])


if __name__ == "__main__":
    sys.exit(main())
