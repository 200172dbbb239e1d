"""python -m experiments.ablate: train variants of the recipe and compare them on validation parts."""

import argparse
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from ser_gpu.cli import console, options
from ser_gpu.corpora.splits import ALIASES
from ser_gpu.crossvalidate import Run, add_run_options, all_folds, hold_to_one_setting, train_all
from ser_gpu.errors import InputError
from ser_gpu.evaluation import crossvalidation
from ser_gpu.evaluation.crossvalidation import METRICS
from ser_gpu.files import write_json


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
    folder, protocol = Path(args.runs) / "ablation", ALIASES.get(args.protocol, args.protocol)
    folds = args.folds if args.folds is not None else all_folds(protocol, train_arguments)
    for name in chosen:
        hold_to_one_setting(folder / _slug(name), [protocol, *train_arguments, *_own(variants[name])])
    runs = {
        name: [
            Run(protocol, fold, seed, folder / _slug(name) / f"fold{fold}-seed{seed}", _own(variants[name]))
            for seed in args.seeds
            for fold in folds
        ]
        for name in chosen
    }
    failed = train_all([run for each in runs.values() for run in each], train_arguments, args.jobs)
    results = {name: [run.result() for run in each if run.finished] for name, each in runs.items()}
    table = compare(protocol, {name: variants[name] for name in chosen}, results)
    path = Path(args.table or folder / "table.json")
    write_json(path, table)
    if args.json:
        console.print_json(table)
    else:
        show(table)
        console.err.print(f"written: {path}")
    return options.SOME_FAILED if failed else options.DONE


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


def compare(protocol: str, variants: dict[str, list[str]], results: dict[str, Sequence[dict]]) -> dict:
    """Validation scores of each variant, and its difference in UAR from the first one, fold by fold and seed by seed.

    Scores of a test part are left out.

    Args:
        protocol: its name.
        variants: name -> settings in which it differs; the first one is the recipe.
        results: name -> what `ser-gpu train` wrote at the end of each training.

    Raises:
        ValueError: no training of the recipe came to its end.
    """
    recipe = next(iter(variants))
    if not results[recipe]:
        raise InputError(f"no training of {recipe!r} came to its end, so there is nothing to compare with")
    reference = {_place(result): result["validation"]["uar"] for result in results[recipe]}
    first = results[recipe][0]
    return {
        "protocol": protocol,
        "config": first["config"],
        "environment": first["environment"],
        "variants": [
            {"name": name, "settings": settings, **_against(reference, results[name])}
            for name, settings in variants.items()
            if results[name]
        ],
    }


def _against(reference: dict[tuple, float], results: Sequence[dict]) -> dict:
    rows = [crossvalidation.row(result, ("validation",)) for result in results]
    paired = [row["validation"]["uar"] - reference[_place(row)] for row in rows if _place(row) in reference]
    several = len(paired) > 1
    return {
        "runs": len(rows),
        "parameters": rows[0]["parameters"],
        "seconds": fmean(row["seconds"] for row in rows),
        "validation": {metric: fmean(row["validation"][metric] for row in rows) for metric in METRICS},
        "difference": fmean(paired) if paired else None,
        "standard_error": stdev(paired) / len(paired) ** 0.5 if several else None,
        "rows": [{key: value for key, value in row.items() if key not in ("config", "environment")} for row in rows],
    }


def _place(row: dict) -> tuple[int, int]:
    return row["fold"], row["seed"]


def show(table: dict) -> None:
    """The table in the terminal: validation UAR of every variant, and its difference from the recipe in points."""
    columns = ("variant", "runs", "parameters", "UAR", "difference", "standard error", "ECE")
    shown = console.table(f"Ablation: {table['protocol']}, validation parts", columns)
    for row in table["variants"]:
        gap = "" if row["difference"] is None else f"{100 * row['difference']:+.1f}"
        error = "" if row["standard_error"] is None else f"{100 * row['standard_error']:.1f}"
        scores = row["validation"]
        cells = (f"{row['parameters']:,}", f"{scores['uar']:.3f}", gap, error, f"{scores['ece']:.3f}")
        shown.add_row(row["name"], str(row["runs"]), *cells)
    console.out.print(shown)


def _own(settings: list[str]) -> tuple[str, ...]:
    return ("--no-test", *(("--set", *settings) if settings else ()))


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ablate",
        description="Train each variant of the recipe on the same folds and seeds and compare their validation parts; "
        "no test part is scored. Started again, it goes on where it stopped. Arguments that are not named here go to "
        "ser-gpu train, such as --epochs or --device.",
    )
    add_run_options(parser, protocol="search")
    default = Path(__file__).resolve().parent / "ablation.toml"
    parser.add_argument("--variants", default=str(default), help="(default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants and the recipe (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
