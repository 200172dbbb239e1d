"""ser-gpu crossvalidate: a training for every fold and seed, resumable, and the table of all of them."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch

from ser_gpu import corpora
from ser_gpu.cli import console, enrolment_runs, options
from ser_gpu.corpora.splits import ALIASES, RANDOM_PROTOCOLS
from ser_gpu.corpora.splits import folds as number_of_folds
from ser_gpu.errors import InputError, require
from ser_gpu.evaluation import crossvalidation, enrolment, predictions
from ser_gpu.evaluation.migrations import scores_by_sex
from ser_gpu.files import write_json
from ser_gpu.training import distributed, process
from ser_gpu.training.distributed import Ranks

SPLIT_SEEDS = range(5)
_PATIENCE = timedelta(days=30)  # of a rank whose trainings are done


@dataclass(frozen=True)
class Run:
    """One training: protocol, fold and seed, the folder that it writes, and further arguments of `ser-gpu train`, in
    which `{fold}` and `{seed}` stand for the training's own."""

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
        """What `ser-gpu train` wrote at its end."""
        return scores_by_sex(json.loads((self.out / "result.json").read_text(encoding="utf-8")))

    def predictions(self) -> list[dict]:
        """Its answers, one row a clip, with fold and seed; none where it held nothing out."""
        path = self.out / "predictions.csv"
        rows = predictions.read_rows(path) if path.exists() else []
        return [{"fold": self.fold, "seed": self.seed, **row} for row in rows]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train what is missing, and print the table."""
    args, train_arguments = _parser().parse_known_args(arguments)
    return options.run(lambda: run(args, train_arguments))


def run(args: argparse.Namespace, train_arguments: list[str]) -> int:
    """Train what is missing, and write and show the table."""
    require("train", "nnAudio", "torch_audiomentations", "scipy", "sklearn", "matplotlib")
    protocol = args.protocol or _default_protocol(train_arguments)
    protocol = ALIASES.get(protocol, protocol)
    name = args.name or (f"{protocol}-refit" if args.refit else protocol)
    folder = Path(args.runs) / name
    folds = args.folds if args.folds is not None else all_folds(protocol, train_arguments)
    runs = [
        Run(protocol, fold, seed, folder / f"fold{fold}-seed{seed}", _refit(args.refit, fold, seed))
        for seed in args.seeds
        for fold in folds
    ]
    ranks = Ranks.of_torchrun()
    if not ranks.is_first:
        console.be_quiet()
    with ranks.joined("gloo", patience=_PATIENCE):
        ranks.agree(
            lambda: hold_to_one_setting(folder, [protocol, *train_arguments, *(["--refit"] if args.refit else [])])
        )
        own = runs[ranks.rank :: ranks.count]
        failed = ranks.total(train_all(own, train_arguments, args.jobs))
    if not ranks.is_first:
        return options.DONE
    for run in set(runs) - set(own):
        if not run.finished:
            _tell_failure(run)
    done = [run for run in runs if run.finished]
    if not done:
        raise InputError(f"{folder}: no training of {len(runs)} came to its end")
    table = crossvalidation.table(name, protocol, [run.result() for run in done], len(runs))
    path = Path(args.table or folder / "table.json")
    written = [path]
    if table["summary"]:
        rows = [row for run in done for row in run.predictions()]
        written.append(path.with_suffix(".predictions.csv.gz"))
        predictions.write(written[-1], rows)
        part = next(reversed(table["summary"]))
        table |= {"pooled": pooled(written[-1], part, several=len(args.seeds) > 1)}
        if args.enrol:
            table |= {"enrolment": _enrolment(args, train_arguments, done, part)}
    write_json(path, table)
    if args.json:
        console.print_json(table)
    else:
        console.show_crossvalidation(table)
        for which, rows in table.get("enrolment", {}).items():
            console.show_enrolment(f"Enrolment, {which}", enrolment.lines(rows))
        console.err.print(f"written: {', '.join(map(str, written))}")
    return options.SOME_FAILED if failed else options.DONE


def _refit(first: str | None, fold: int, seed: int) -> tuple[str, ...]:
    """The arguments that repeat a training of that folder: that of the same seed, else of the fold's first one."""
    if first is None:
        return ()
    same = Path(first) / f"fold{fold}-seed{seed}"
    others = sorted(path.parent for path in Path(first).glob(f"fold{fold}-seed*/result.json"))
    return ("--refit", str(same if same in others or not others else others[0]))


def _enrolment(args: argparse.Namespace, train_arguments: list[str], done: Sequence[Run], part: str) -> dict:
    """Scores with enrolled clips of the part that the table is about."""
    found = options.find_clips(*_data(train_arguments))
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--device")
    device = options.device(parser.parse_known_args(train_arguments)[0].device)
    return enrolment_runs.table(args, [(run.fold, run.out) for run in done], part, found, device)


def pooled(path: Path, part: str, several: bool) -> dict[str, dict]:
    """Scores of the answers of all trainings taken together; of several seeds, also where those of a fold answer as
    one model, with the mean of their probabilities. Intervals resample speakers.
    """
    answers = predictions.read(path, part)
    reports = {"all answers": answers.report(by_speaker=True)}
    if several:
        reports["seeds together"] = predictions.together(answers).report(by_speaker=True)
    return reports


def all_folds(protocol: str, train_arguments: Sequence[str] = ()) -> Sequence[int]:
    """Every fold of a protocol; of a random one, the first split seeds.

    Args:
        train_arguments: those that name the data tell how many speakers or corpora there are, where the protocol
            depends on it.
    """
    name = ALIASES.get(protocol, protocol)
    if name in RANDOM_PROTOCOLS:
        return SPLIT_SEEDS
    if name not in ("speakers", "loso", "loco"):
        return range(number_of_folds(name))
    data, corpus, several = _data(train_arguments)
    found = corpora.load_many(several) if several else corpora.load(data, corpus)
    return range(number_of_folds(name, found.clips))


def _data(train_arguments: Sequence[str]) -> tuple[str | None, str | None, dict[str, str | None] | None]:
    """The data, the corpus, and the corpora that arguments of `ser-gpu train` name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_data_options(parser)
    known, _ = parser.parse_known_args(train_arguments)
    return known.data, known.corpus, options.corpora_of(known.corpora)


def _default_protocol(train_arguments: Sequence[str]) -> str:
    """By speakers: for the default corpus the folds that were published first."""
    published = corpora.get(corpora.names()[0]).folds or {}
    return next(iter(published), "speakers") if _data(train_arguments) == (None, None, None) else "speakers"


def hold_to_one_setting(folder: Path, arguments: list[str]) -> None:
    """Refuse to mix trainings of different settings under one name."""
    path = folder / "arguments.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != arguments:
        raise InputError(f"{folder}: holds trainings with other settings; give these another --name")
    write_json(path, arguments)


def train_all(runs: Sequence[Run], train_arguments: list[str], jobs: int) -> int:
    """Run what is not finished, each training a process with its own log; how many failed.

    Args:
        jobs: trainings at a time, each with that part of the cores; of each rank, where torchrun started several.
    """
    runs = [run for run in runs if not run.finished]
    if not runs:
        return 0
    failed = 0
    threads = max(1, (os.cpu_count() or 1) // (jobs * int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    with console.progress("status") as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("Trainings", total=len(runs), status="")
        one = partial(_train_one, train_arguments=train_arguments, threads=threads, folder=Path.cwd())
        for run, code in zip(runs, pool.map(one, runs), strict=True):
            if code:
                failed += 1
                _tell_failure(run)
            progress.update(task, advance=1, status=_last_line(run))
    return failed


def _tell_failure(run: Run) -> None:
    why = _last_line(run).removeprefix("error: ")
    console.err.print(f"error: fold {run.fold}, seed {run.seed}: {why} ({run.out}/log.txt)")


def _train_one(run: Run, train_arguments: list[str], threads: int, folder: Path) -> int:
    """One training, in a process that works in `folder`; its exit code."""
    os.chdir(folder)  # where another machine does it
    run.out.mkdir(parents=True, exist_ok=True)
    own = ["--protocol", run.protocol, "--fold", str(run.fold), "--seed", str(run.seed), *run.arguments]
    train_arguments = [re.sub(r"\{(fold|seed)\}", lambda m: str(getattr(run, m[1])), each) for each in train_arguments]
    without = dict.fromkeys(distributed.VARIABLES)  # the training is one process
    environment = {**without, **_own_gpu(), "OMP_NUM_THREADS": str(threads)}
    arguments = [*train_arguments, *own, "--out", str(run.out), "--resume"]
    return process.train(arguments, run.out / "log.txt", threads, environment)


def _own_gpu() -> dict[str, str]:
    """The GPU of this rank, where torchrun started several ranks on a machine with several GPUs."""
    ranks, count = Ranks.of_torchrun(), torch.cuda.device_count()
    if ranks.count == 1 or count < 2:
        return {}
    known = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return {"CUDA_VISIBLE_DEVICES": known.split(",")[ranks.local % count]}


def _last_line(run: Run) -> str:
    lines = (run.out / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "no output")


def add_run_options(parser: argparse.ArgumentParser, protocol: str | None = None) -> None:
    """What every command of many trainings knows: which ones, how many at a time, and where to."""
    add = parser.add_argument
    options.add_protocol_choice(parser, f"(default: {protocol or 'by speakers'})", protocol)
    add("--folds", type=int, nargs="+", help="(default: all; for a random protocol, split seeds 0 to 4)")
    add("--seeds", type=int, nargs="+", default=[0], help="seeds of the trainings (default: 0)")
    add("--runs", default="runs", help="folder of all trainings (default: %(default)s)")
    add("--table", help="JSON file of the table (default: table.json beside the trainings)")
    add("--jobs", type=options.positive_int, default=1, help="trainings at a time (default: %(default)s)")
    add("--json", action="store_true", help="print the JSON instead of the table")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ser-gpu crossvalidate",
        description="Train every fold and seed of a protocol and print the table. Started again, it goes on where it "
        "stopped. Arguments that are not named here go to ser-gpu train, such as --data, --epochs, --set or --device; "
        "{fold} and {seed} in them stand for the training's own.",
    )
    add_run_options(parser)
    parser.add_argument("--name", help="of the folder and the table (default: the protocol, -refit for a refit)")
    enrolment_runs.add_options(parser, enrolment.KINDS)
    parser.add_argument(
        "--refit",
        metavar="FOLDER",
        help="repeat the finished trainings of this folder, such as RUNS/speakers, on training and validation parts; "
        "a seed that it lacks repeats another one of the fold",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
