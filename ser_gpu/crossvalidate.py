"""python -m ser_gpu.crossvalidate: a training for every fold and seed, resumable, and the table of all of them."""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ser_gpu import command_line
from ser_gpu.atomic import write_csv, write_json
from ser_gpu.data.protocols import FOLDS, NAMED_PROTOCOLS, RANDOM_PROTOCOLS
from ser_gpu.results import console, crossvalidation, predictions

SPLIT_SEEDS = range(5)


@dataclass(frozen=True)
class Run:
    """One training: protocol, fold and seed, the folder that it writes, and further arguments of `ser_gpu.train`."""

    protocol: str
    fold: int
    seed: int
    out: Path
    arguments: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """True where its result is written."""
        return (self.out / "result.json").exists()

    def result(self) -> dict:
        """What `ser_gpu.train` wrote at its end."""
        return json.loads((self.out / "result.json").read_text(encoding="utf-8"))

    def predictions(self) -> list[dict]:
        """Its answers, one row a clip, with fold and seed."""
        with (self.out / "predictions.csv").open(newline="", encoding="utf-8") as file:
            return [{"fold": self.fold, "seed": self.seed, **row} for row in csv.DictReader(file)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train what is missing, and print the table."""
    args, train_arguments = _parser().parse_known_args(arguments)
    return command_line.run(lambda: _crossvalidate(args, train_arguments))


def _crossvalidate(args: argparse.Namespace, train_arguments: list[str]) -> int:
    name = args.name or (f"{args.protocol}-refit" if args.refit else args.protocol)
    folder = Path(args.runs) / name
    folds = args.folds if args.folds is not None else all_folds(args.protocol)
    runs = [
        Run(args.protocol, fold, seed, folder / place, ("--refit", f"{args.refit}/{place}") if args.refit else ())
        for seed in args.seeds
        for fold in folds
        for place in [f"fold{fold}-seed{seed}"]
    ]
    hold_to_one_setting(folder, [args.protocol, *train_arguments, *(["--refit"] if args.refit else [])])
    failed = train_all(runs, train_arguments, args.jobs)
    done = [run for run in runs if run.finished]
    if not done:
        raise ValueError(f"{folder}: no training of {len(runs)} came to its end")
    table = crossvalidation.table(name, args.protocol, [run.result() for run in done], len(runs))
    path = Path(args.table or folder / "table.json")
    answers = path.with_suffix(".predictions.csv")
    write_csv(answers, [row for run in done for row in run.predictions()])
    table |= {"pooled": pooled(answers, part=next(reversed(table["summary"])), several=len(args.seeds) > 1)}
    write_json(path, table)
    if args.json:
        console.out.print_json(data=table)
    else:
        console.show_crossvalidation(table)
        console.err.print(f"written: {path}, {answers}")
    return command_line.SOME_FAILED if failed else command_line.DONE


def pooled(path: Path, part: str, several: bool) -> dict[str, dict]:
    """Scores of the answers of all trainings taken together; of several seeds, also where those of a fold answer as
    one model, with the mean of their probabilities. Intervals resample actors.
    """
    answers = predictions.read(path, part)
    return {"all answers": answers.report()} | ({"seeds together": answers.together().report()} if several else {})


def all_folds(protocol: str) -> Sequence[int]:
    """Every fold of a protocol; of a random one, the first split seeds."""
    return SPLIT_SEEDS if protocol in RANDOM_PROTOCOLS else range(FOLDS[protocol])


def hold_to_one_setting(folder: Path, arguments: list[str]) -> None:
    """Refuse to mix trainings of different settings under one name."""
    path = folder / "arguments.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != arguments:
        raise ValueError(f"{folder}: holds trainings with other settings; give these another --name")
    write_json(path, arguments)


def train_all(runs: Sequence[Run], train_arguments: list[str], jobs: int) -> int:
    """Run what is not finished, `jobs` trainings at a time, each a process with its own log; how many failed."""
    runs = [run for run in runs if not run.finished]
    if not runs:
        return 0
    failed = 0
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with console.progress("status") as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("Trainings", total=len(runs), status="")
        one = lambda run: _train_one(run, train_arguments, threads)  # noqa: E731
        for run, code in zip(runs, pool.map(one, runs), strict=True):
            if code:
                failed += 1
                why = _last_line(run).removeprefix("error: ")
                console.err.print(f"error: fold {run.fold}, seed {run.seed}: {why} ({run.out}/log.txt)")
            progress.update(task, advance=1, status=_last_line(run))
    return failed


def _train_one(run: Run, train_arguments: list[str], threads: int) -> int:
    run.out.mkdir(parents=True, exist_ok=True)
    own = ["--protocol", run.protocol, "--fold", str(run.fold), "--seed", str(run.seed), *run.arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with (run.out / "log.txt").open("a", encoding="utf-8") as log:
        command = [sys.executable, "-m", "ser_gpu.train", *train_arguments, *own, "--out", str(run.out), "--resume"]
        return subprocess.run(command, stdout=log, stderr=log, env=environment).returncode


def _last_line(run: Run) -> str:
    lines = (run.out / "log.txt").read_text(encoding="utf-8").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "no output")


def add_run_options(parser: argparse.ArgumentParser, protocol: str) -> None:
    """What every command of many trainings knows: which ones, how many at a time, and where to."""
    add = parser.add_argument
    add("--protocol", choices=NAMED_PROTOCOLS, default=protocol, help="(default: %(default)s)")
    add("--folds", type=int, nargs="+", help="(default: all; for a random protocol, split seeds 0 to 4)")
    add("--seeds", type=int, nargs="+", default=[0], help="seeds of the trainings (default: 0)")
    add("--runs", default="runs", help="folder of all trainings (default: %(default)s)")
    add("--table", help="JSON file of the table (default: table.json beside the trainings)")
    add("--jobs", type=command_line.positive_int, default=1, help="trainings at a time (default: %(default)s)")
    add("--json", action="store_true", help="print the JSON instead of the table")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ser_gpu.crossvalidate",
        description="Train every fold and seed of a protocol and print the table. Started again, it goes on where it "
        "stopped. Arguments that are not named here go to ser_gpu.train, such as --epochs, --set or --device.",
    )
    add_run_options(parser, protocol="actors5")
    parser.add_argument("--name", help="of the folder and the table (default: the protocol, -refit for a refit)")
    parser.add_argument(
        "--refit",
        metavar="FOLDER",
        help="repeat the finished trainings of this folder, such as RUNS/actors5, on training and validation parts",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
