"""python -m experiments.ablate: train variants of the recipe and compare them on validation parts, or on corpora."""

import argparse
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from experiments.study import on_new_corpora
from ser_gpu import crossvalidate
from ser_gpu.cli import console, options
from ser_gpu.crossvalidate import Run, add_run_options, hold_to_one_setting, protocol_and_folds, train_all
from ser_gpu.errors import InputError
from ser_gpu.evaluation import predictions
from ser_gpu.files import write_json

SCORES = {
    "validation": crossvalidate.METRICS,
    "test": ("uar", "log_loss", "confidence_above_accuracy", "temperature", "by_corpus"),
}
_SHOWN = {
    "validation": {"ece": "ECE"},
    "test": {"log_loss": "log loss", "confidence_above_accuracy": "confidence above accuracy"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train what is missing, and print the table."""
    args, train_arguments = _parser().parse_known_args(arguments)
    return options.run(lambda: _ablate(args, train_arguments))


def _ablate(args: argparse.Namespace, train_arguments: list[str]) -> int:
    variants = read_variants(Path(args.variants))
    recipe = next(iter(variants))
    chosen = list(dict.fromkeys([recipe, *(args.only or variants)]))
    if unknown := [name for name in chosen if name not in variants]:
        raise InputError(f"no such variant: {', '.join(unknown)}; {args.variants} has {', '.join(variants)}")
    folder = Path(args.runs) / "ablation"
    protocol, folds = protocol_and_folds(args, train_arguments)
    if args.score == "test" and protocol != "test-corpora":
        raise InputError("--score test goes with --test-corpora alone: no other test part may be chosen on")
    own = {name: _own(variants[name], args.score) for name in chosen}
    runs = {
        name: [
            Run(protocol, fold, seed, folder / _slug(name) / f"fold{fold}-seed{seed}", own[name])
            for seed in args.seeds
            for fold in folds
        ]
        for name in chosen
    }
    every = [run for each in runs.values() for run in each]
    hold_to_one_setting(every, train_arguments)
    train_all(every, train_arguments, args.jobs)
    results = {name: [_result(run, args.score) for run in each if run.finished] for name, each in runs.items()}
    table = compare(protocol, {name: variants[name] for name in chosen}, results, args.score)
    path = Path(args.table or folder / "table.json")
    write_json(path, table)
    if args.json:
        console.print_json(table)
    else:
        show(table, args.score)
        console.err.print(f"written: {path}")
    return options.SOME_FAILED if not all(run.finished for run in every) else options.DONE


def read_variants(path: Path) -> dict[str, list[str]]:
    """The variants of a file: a name, and the settings in which it differs from the recipe, which comes first.

    Raises:
        ValueError: a file that is missing or not of this form.
    """
    try:
        variants = tomllib.loads(path.read_text(encoding="utf-8"))["variants"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no table of variants ({error})") from None
    if not variants or any(not isinstance(settings, list) for settings in variants.values()):
        raise InputError(f'{path}: each variant must be a list of settings, such as ["cnn.width=48"]')
    return variants


def _result(run: Run, score: str) -> dict:
    """What a training says of itself; for `test`, with its scores on each corpus that was held out."""
    if score == "validation":
        return run.result()
    answers = predictions.read(run.out / "predictions.csv")
    corpus_of = np.array([clip.corpus for clip in answers.clips])
    rows_of = {corpus: corpus_of == corpus for corpus in np.unique(corpus_of).tolist()}
    logits = answers.logits * run.result()["temperature"]  # what is stored are probabilities
    _, scores = on_new_corpora({name: (logits[rows], answers.truth[rows]) for name, rows in rows_of.items()})
    by_corpus = {name: {key: own[key] for key in SCORES["test"][:-1]} for name, own in scores.items()}
    return run.result() | {"test": {**_mean(list(by_corpus.values())), "by_corpus": by_corpus}}


def compare(
    protocol: str, variants: dict[str, list[str]], results: dict[str, Sequence[dict]], score: str = "validation"
) -> dict:
    """Scores of each variant, and its difference in UAR from the first one, fold by fold and seed by seed.

    Scores of another part are left out.

    Args:
        protocol: its name.
        variants: name -> settings in which it differs; the first one is the recipe.
        results: name -> what `ser-gpu train` wrote at the end of each training.
        score: the part that is compared, "validation" or "test", which has scores by corpus.

    Raises:
        ValueError: no training of the recipe came to its end.
    """
    recipe = next(iter(variants))
    if not results[recipe]:
        raise InputError(f"no training of {recipe!r} came to its end, so there is nothing to compare with")
    reference = {_place(result): result[score]["uar"] for result in results[recipe]}
    first = results[recipe][0]
    return {
        "protocol": protocol,
        "config": first["config"],
        "environment": first["environment"],
        "variants": [
            {"name": name, "settings": settings, **_against(reference, results[name], score)}
            for name, settings in variants.items()
            if results[name]
        ],
    }


def _against(reference: dict[tuple, float], results: Sequence[dict], score: str) -> dict:
    rows = [crossvalidate.row(result, ("validation",) if score == "validation" else ()) for result in results]
    if score == "test":
        rows = [row | {"test": result["test"]} for row, result in zip(rows, results, strict=True)]
    paired = [row[score]["uar"] - reference[_place(row)] for row in rows if _place(row) in reference]
    several = len(paired) > 1
    return {
        "runs": len(rows),
        "parameters": rows[0]["parameters"],
        "seconds": fmean(row["seconds"] for row in rows),
        score: _mean([{name: row[score][name] for name in SCORES[score]} for row in rows]),
        "difference": fmean(paired) if paired else None,
        "standard_error": stdev(paired) / len(paired) ** 0.5 if several else None,
        "rows": [{key: value for key, value in row.items() if key not in ("config", "environment")} for row in rows],
    }


def _mean(scores: Sequence[dict]) -> dict:
    return {
        name: _mean([each[name] for each in scores])
        if isinstance(value, dict)
        else fmean(each[name] for each in scores)
        for name, value in scores[0].items()
    }


def _place(row: dict) -> tuple[int, int]:
    return row["fold"], row["seed"]


def show(table: dict, score: str = "validation") -> None:
    """The table in the terminal: UAR of every variant, its difference from the recipe in points, and other scores."""
    columns = ("variant", "runs", "parameters", "UAR", "difference", "standard error", *_SHOWN[score].values())
    shown = console.table(f"Ablation: {table['protocol']}, {score} parts", columns)
    for row in table["variants"]:
        gap = "" if row["difference"] is None else f"{100 * row['difference']:+.1f}"
        error = "" if row["standard_error"] is None else f"{100 * row['standard_error']:.1f}"
        lines = [(row["name"], str(row["runs"]), f"{row['parameters']:,}", gap, error, row[score])]
        lines += [(f"  {name}", "", "", "", "", own) for name, own in row[score].get("by_corpus", {}).items()]
        for name, runs, parameters, gap, error, scores in lines:
            more = (f"{scores[each]:.3f}" for each in _SHOWN[score])
            shown.add_row(name, runs, parameters, f"{scores['uar']:.3f}", gap, error, *more)
    if score == "test":
        del shown.columns[2]  # there is no room for it
        shown.columns[0].no_wrap = True  # names are not cut
    console.out.print(shown)


def _own(settings: list[str], score: str) -> tuple[str, ...]:
    no_test = ("--no-test",) if score == "validation" else ()
    return (*no_test, *(("--set", *settings) if settings else ()))


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ablate",
        description="Train each variant of the recipe on the same folds and seeds and compare their validation parts; "
        "no test part is scored, unless --score says so. Started again, it goes on where it stopped. Arguments that "
        "are not named here go to ser-gpu train, such as --epochs or --device.",
    )
    add_run_options(parser, protocol="search")
    default = Path(__file__).resolve().parent / "ablation.toml"
    parser.add_argument("--variants", default=str(default), help="(default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants and the recipe (default: all)")
    scored = "compare on this part; test goes with --test-corpora alone, whose corpora are then the validation corpora "
    scored += "of the study, so no figure of it is a test of the chosen variant (default: %(default)s)"
    parser.add_argument("--score", choices=SCORES, default="validation", help=scored)
    return parser


if __name__ == "__main__":
    sys.exit(main())
