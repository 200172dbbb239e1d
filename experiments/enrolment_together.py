"""python -m experiments.enrolment_together FOLDERS: trainings of several recipes as one model.

Each folder is that of a cross-validation that `experiments.enrolment` scored, such as runs/actors5-refit. Of each fold
the probabilities of all its trainings are averaged. Nothing is trained or answered here.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from experiments import enrolment, study
from ser_gpu import checkpoint
from ser_gpu.cli import console, options
from ser_gpu.errors import InputError
from ser_gpu.evaluation.report import environment

SETTINGS = (("none", 0), ("unlabelled", 8), ("labelled", 8), ("neutral", 4), ("all", 0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, average, score, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    gender_of = {clip.speaker: clip.gender for clip in study.clips_of(args)}
    trainings = {folder: of_folds(Path(folder)) for folder in args.folders}
    groups = [[folder] for folder in args.folders] + ([args.folders] if len(args.folders) > 1 else [])
    rows = [
        {"recipes": [Path(folder).name for folder in group], **scores([trainings[each] for each in group], gender_of)}
        for group in groups
    ]
    result = {"environment": environment(torch.device("cpu")), "rows": rows}
    study.publish(args, result, show)
    return options.DONE


def of_folds(folder: Path) -> dict[str, list[dict]]:
    """The stored answers of the trainings of each fold.

    Raises:
        ValueError: there are none.
    """
    found: dict[str, list[dict]] = {}
    for path in sorted(folder.glob(f"fold*-seed*/{enrolment.FILE}")):
        found.setdefault(path.parent.name.split("-")[0], []).append(checkpoint.read(path)["answers"])
    if not found:
        raise InputError(f"{folder}: holds no training that experiments.enrolment scored")
    return found


def scores(recipes: Sequence[Mapping[str, list[dict]]], gender_of: Mapping[str | None, str | None]) -> dict:
    """Of the mean of all trainings of each fold: the table of enrolment, and men's UAR minus women's.

    Raises:
        ValueError: recipes with other folds.
    """
    folds = recipes[0].keys()
    if any(recipe.keys() != folds for recipe in recipes):
        raise InputError("cross-validations with other folds")
    together = [enrolment.together([each for recipe in recipes for each in recipe[fold]]) for fold in folds]
    men, women = (
        enrolment.table([part for each in together for part in _of_speakers(each, gender_of, gender)])
        for gender in ("male", "female")
    )
    rows = enrolment.table(together)
    for row, of_men, of_women in zip(rows, men, women, strict=True):
        row["men_less_women"] = of_men["uar"]["mean"] - of_women["uar"]["mean"]
    return {"trainings_of_a_fold": sum(len(recipe[next(iter(folds))]) for recipe in recipes), "enrolment": rows}


def _of_speakers(content: dict, gender_of: Mapping[str | None, str | None], gender: str) -> Iterator[dict]:
    """The answers to the clips of one gender, if there are any."""
    is_of = torch.tensor([gender_of.get(speaker) == gender for speaker in content["speakers"]])
    entries = []
    for entry in content["entries"]:
        kept = is_of[entry["rows"]]
        entries.append({**entry, "rows": entry["rows"][kept], "probabilities": entry["probabilities"][kept]})
    if is_of.any():
        yield {**content, "entries": entries}


def show(result: dict) -> None:
    """A line for each recipe and setting."""
    shown = console.table("Trainings as one model", ("recipes", "enrolled", "clips", "UAR", "ECE", "men less women"))
    for row in result["rows"]:
        for each in row["enrolment"]:
            if (each["kind"], each["count"]) in SETTINGS:
                cells = (f"{each['uar']['mean']:.3f}", f"{each['ece']['mean']:.3f}", f"{each['men_less_women']:+.3f}")
                shown.add_row(" + ".join(row["recipes"]), each["kind"], str(each["count"]), *cells)
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.enrolment_together", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of ser-gpu crossvalidate")
    options.add_data_options(parser)
    study.add_output_options(parser, "enrolment-together")
    return parser


if __name__ == "__main__":
    sys.exit(main())
