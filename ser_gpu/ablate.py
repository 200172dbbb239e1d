"""python -m ser_gpu.ablate: what each part of the recipe is worth, on validation parts alone."""

import argparse
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from ser_gpu import command_line
from ser_gpu.atomic import write_json
from ser_gpu.crossvalidate import Run, add_run_options, all_folds, hold_to_one_setting, train_all
from ser_gpu.results import console, crossvalidation


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train what is missing, and print the table."""
    args, train_arguments = _parser().parse_known_args(arguments)
    return command_line.run(lambda: _ablate(args, train_arguments))


def _ablate(args: argparse.Namespace, train_arguments: list[str]) -> int:
    variants = read_variants(Path(args.variants))
    recipe = next(iter(variants))
    chosen = list(dict.fromkeys([recipe, *(args.only or variants)]))
    if unknown := [name for name in chosen if name not in variants]:
        raise ValueError(f"no such variant: {', '.join(unknown)}; {args.variants} has {', '.join(variants)}")
    folder = Path(args.runs) / "ablation"
    folds = args.folds if args.folds is not None else all_folds(args.protocol)
    for name in chosen:
        hold_to_one_setting(folder / _slug(name), [args.protocol, *variants[name], *train_arguments])
    runs = {
        name: [
            Run(args.protocol, fold, seed, folder / _slug(name) / f"fold{fold}-seed{seed}", _own(variants[name]))
            for seed in args.seeds
            for fold in folds
        ]
        for name in chosen
    }
    failed = train_all([run for each in runs.values() for run in each], train_arguments, args.jobs)
    rows = {name: [run.result() for run in each if run.finished] for name, each in runs.items()}
    table = crossvalidation.ablation(args.protocol, {name: variants[name] for name in chosen}, rows)
    path = Path(args.table or folder / "table.json")
    write_json(path, table)
    if args.json:
        console.out.print_json(data=table)
    else:
        console.show_ablation(table)
        console.err.print(f"written: {path}")
    return command_line.SOME_FAILED if failed else command_line.DONE


def read_variants(path: Path) -> dict[str, list[str]]:
    """The variants of a file: a name, and the settings in which it differs from the recipe, which comes first.

    Raises:
        ValueError: a file that is missing or not of this form.
    """
    try:
        variants = tomllib.loads(path.read_text(encoding="utf-8"))["variants"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise ValueError(f"{path}: no table of variants ({error})") from None
    if not variants or any(not isinstance(settings, list) for settings in variants.values()):
        raise ValueError(f'{path}: each variant must be a list of settings, such as ["cnn.width=48"]')
    return variants


def _own(settings: list[str]) -> tuple[str, ...]:
    return ("--no-test", *(("--set", *settings) if settings else ()))


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ser_gpu.ablate",
        description="Train each variant of the recipe on the same folds and seeds and compare their validation parts; "
        "no test part is scored. Started again, it goes on where it stopped. Arguments that are not named here go to "
        "ser_gpu.train, such as --epochs or --device.",
    )
    add_run_options(parser, protocol="search")
    parser.add_argument("--variants", default="experiments/ablation.toml", help="(default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants and the recipe (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
