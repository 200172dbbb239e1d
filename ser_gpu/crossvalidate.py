"""ser-gpu crossvalidate: a training for every fold and seed, resumable, and the table of all of them."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import torch

from ser_gpu import corpora, train
from ser_gpu.cli import console, options
from ser_gpu.corpora import splits
from ser_gpu.errors import InputError, check, require
from ser_gpu.evaluation import predictions
from ser_gpu.evaluation.report import notes
from ser_gpu.files import read_json, write_csv, write_json
from ser_gpu.recognizer import cores
from ser_gpu.settings import first_difference
from ser_gpu.training.config import Plan
from ser_gpu.training.distributed import VARIABLES, Ranks

METRICS = ("accuracy", "uar", "macro_f1", "ece")
PARTS = ("validation", "test")
RANDOM_FOLDS = 5  # of a random protocol
_KEPT = ("fold", "seed", "manifest_hash", "parameters", "bfloat16", "temperature", "seconds", "config", "environment")


@dataclass(frozen=True)
class Run:
    """One training."""

    protocol: str
    fold: int
    seed: int
    out: Path  # the folder that it writes
    arguments: tuple[str, ...] = ()  # further ones of `ser-gpu train`

    def __str__(self):
        return f"fold {self.fold}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        return (self.out / "result.json").exists()

    def result(self) -> dict:
        return read_json(self.out / "result.json")


def add_run_options(parser: argparse.ArgumentParser, protocol: str | None = None) -> Callable:
    """The options of every command that runs many trainings; gives the adder of more of them."""
    add = parser.add_argument_group("output").add_argument
    add("--runs", default="runs", metavar="DIR", help="folder for the folders of all trainings (default: %(default)s)")
    add("--table", metavar="FILE", help="JSON file of the table (default: table.json in the folder of the trainings)")
    add("--json", action="store_true", help="print the JSON instead of the table")
    add = parser.add_argument_group("trainings").add_argument
    options.add_protocol_choice(add, protocol or "actors5 of RAVDESS, else speakers", protocol)
    help = "folds to train (default: all; of stratified and grouped, where K is a seed, 0 to 4)"
    add("--folds", type=int, nargs="+", metavar="K", help=help)
    add("--seeds", type=int, nargs="+", default=[0], metavar="N", help="seeds of the trainings (default: 0)")
    add("--jobs", type=options.positive_int, default=1, metavar="N", help="trainings at a time (default: %(default)s)")
    return add


def main(arguments: Sequence[str] | None = None) -> int:
    about = "Train every fold and seed of a protocol and print the table. Started again, it continues where it "
    about += "stopped. Arguments that are not named here go to ser-gpu train, such as --data, --epochs, --set or "
    about += "--device; {fold} and {seed} in them stand for the training's own."
    parser = options.Parser(prog="ser-gpu crossvalidate", description=about)
    add = add_run_options(parser)
    add("--name", help="name of their folder and table (default: the protocol's, with -refit for a refit)")
    again = "repeat the finished trainings of this folder, such as RUNS/speakers, on training and validation parts; "
    again += "a seed that it lacks repeats another one of the fold"
    add("--refit", metavar="FOLDER", help=again)
    args, train_arguments = parser.parse_known_args(arguments)
    train.parser().parse_args(train_arguments)  # what is wrong is said once, not by each training
    return options.run(lambda: _run(args, train_arguments))


def _run(args: argparse.Namespace, train_arguments: list[str]) -> int:
    require("train", "nnAudio", "torch_audiomentations", "scipy", "sklearn", "matplotlib")
    protocol, folds = protocol_and_folds(args, train_arguments)
    name = args.name or (f"{protocol}-refit" if args.refit else protocol)
    folder = Path(args.runs) / name
    planned = [(fold, seed, folder / f"fold{fold}-seed{seed}") for seed in args.seeds for fold in folds]
    runs = [Run(protocol, fold, seed, out, _refit(args.refit, fold, seed)) for fold, seed, out in planned]
    path = Path(args.table or folder / "table.json")
    written = [path, Path(f"{path}".removesuffix(".json") + ".predictions.csv.gz")]
    results = [Path(each) for run in runs for each in (run.out, *run.arguments[1:])]
    read = [each / name for each in results for name in (train.RESULT_FILE, "predictions.csv")]
    asked = train.parser().parse_args(train_arguments)
    if asked.out or asked.resume:
        option = "--out" if asked.out else "--resume"
        raise InputError(f"{option}: each training has a folder of its own, and goes on; see --runs and --name")
    logs = [run.out / "log.txt" for run in runs]
    options.require_free({"--table": written, "--runs": logs}, [asked.data, asked.init, *read])
    ranks = Ranks.of_torchrun()
    with ranks.joined("gloo", console.say, minutes=30 * 24 * 60):  # of a rank whose trainings are done
        if not ranks.is_first:
            console.be_quiet()
        ranks.agree(lambda: hold_to_one_setting(runs, train_arguments))
        ranks.agree(lambda: train_all(runs[ranks.rank :: ranks.count], train_arguments, args.jobs))
    if not ranks.is_first:
        return options.DONE
    logs = [_log(run) for run in runs]
    for line in dict.fromkeys(logs[0]):  # what is said of the data
        if line.startswith(("left out: ", "note: ")) and all(line in log for log in logs):
            console.err.print(line)
    for run in runs:
        if not run.finished:
            console.err.print(f"error: {run}: {_last_line(run).removeprefix('error: ')} ({run.out}/log.txt)")
    done = [run for run in runs if run.finished]
    check(done, f"{folder}: no training of {len(runs)} came to its end")
    found = table(name, protocol, [run.result() for run in done], len(runs))
    if found["summary"]:
        each = [(run, row) for run in done for row in predictions.read_rows(run.out / "predictions.csv")]
        rows = [{"fold": run.fold, "seed": run.seed, **row} for run, row in each]
        answers = predictions.answers(rows, next(reversed(found["summary"])))
        found["pooled"] = {"all answers": answers.report(by_speaker=True)}
        if len(args.seeds) > 1:  # the trainings of a fold as one model
            found["pooled"]["seeds together"] = predictions.together(answers).report(by_speaker=True)
    if args.json:  # before anything is written, which may fail
        console.print_json(found)
    else:
        console.show_crossvalidation(found)
    console.note(*(notes(found["pooled"]["all answers"]) if found["summary"] else ()))
    if found["summary"]:
        write_csv(written[1], rows)
    write_json(path, found)
    if not args.json:
        console.err.print(f"written: {', '.join(map(str, written if found['summary'] else written[:1]))}")
    return options.SOME_FAILED if len(done) < len(runs) else options.DONE


def _refit(first: str | None, fold: int, seed: int) -> tuple[str, ...]:
    if first is None:
        return ()
    same = Path(first) / f"fold{fold}-seed{seed}"
    finished = sorted(path.parent for path in Path(first).glob(f"fold{fold}-seed*/result.json"))
    return ("--refit", str(same if same in finished else [*finished, same][0]))


def table(name: str, protocol: str, results: Sequence[dict], planned: int) -> dict:
    """Rows and summary of finished trainings, out of `planned`."""
    rows = [row(result) for result in results]
    about = {"name": name, "protocol": protocol, "runs": len(rows), "planned": planned}
    scored = {part: summary(rows, part) for part in PARTS if all(part in row for row in rows)}
    return about | {"summary": scored, "rows": rows}


def row(result: dict, parts: Sequence[str] = PARTS) -> dict:
    """What a table keeps of a training: fold, seed, settings, and the scores of these parts."""
    kept = ("clips", *METRICS, "log_loss", "by")
    scores = {part: {name: result[part][name] for name in kept} for part in parts if part in result}
    return {name: result[name] for name in _KEPT} | {"init_sha256": result.get("init_sha256")} | scores


def summary(rows: Sequence[dict], part: str) -> dict[str, dict]:
    """Each metric: mean over all runs, standard deviation of the means of seeds and of folds (None where one alone)."""

    def spread(metric: str, axis: str) -> float | None:
        of = {place: [row[part][metric] for row in rows if row[axis] == place] for place in {row[axis] for row in rows}}
        return stdev(map(fmean, of.values())) if len(of) > 1 else None

    def of(metric: str) -> dict[str, float | None]:
        spreads = {f"sd_{axis}s": spread(metric, axis) for axis in ("seed", "fold")}
        return {"mean": fmean(row[part][metric] for row in rows), **spreads}

    return {metric: of(metric) for metric in METRICS}


def protocol_and_folds(args: argparse.Namespace, train_arguments: Sequence[str]) -> tuple[str, Sequence[int]]:
    """Protocol and folds; by default all folds by speakers, or the first published protocol of the default corpus."""
    own = train.parser().parse_args(train_arguments)
    several = options.corpora_of(own.corpora)
    protocol = splits.ALIASES.get(args.protocol, args.protocol) or "speakers"
    if own.test_speakers or own.test_corpora:
        protocol = "test-corpora" if own.test_corpora else "test-speakers"
    elif args.protocol is None and not (own.data or own.corpus or several):
        protocol = next(iter(corpora.get(corpora.names()[0]).folds or {}), protocol)
    if args.folds is not None:
        return protocol, args.folds
    clips = None
    if protocol in ("speakers", "loso", "loco"):
        clips = (corpora.load_many(several) if several else corpora.load(own.data, own.corpus)).clips
    return protocol, range(RANDOM_FOLDS if protocol in splits.RANDOM_PROTOCOLS else splits.folds(protocol, clips))


def hold_to_one_setting(runs: Sequence[Run], train_arguments: Sequence[str]) -> None:
    """InputError where settings are wrong, or the folder of a run holds a training of others."""
    for run in runs:
        args = train.parser().parse_args(_arguments(run, train_arguments))
        here, stored = train.new_plan(args, torch.device("cpu")), Plan.read(run.out)
        if stored and args.amp in (None, "auto"):  # on any device
            here = replace(here, bfloat16=stored.bfloat16)
        if stored and stored.free is None:  # of an older version
            here = replace(here, free=None, init_licence=None)
        elif stored:  # what followed the number of clips
            fitted = {name: getattr(stored.training, name) for name in stored.free}
            here = replace(here, training=replace(here.training, **fitted))
        if stored and (difference := first_difference(stored.values, here.values)):
            raise InputError(f"{run.out}: a training with other settings ({difference}); use another --name")


def train_all(runs: Sequence[Run], train_arguments: Sequence[str], jobs: int) -> None:
    """Run the unfinished trainings of this rank, `jobs` processes at a time that share the cores."""
    threads = max(1, cores() // (jobs * Ranks.of_torchrun().on_machine))
    runs = [run for run in runs if not run.finished]
    with console.progress() as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("Trainings", total=len(runs))
        for run, _ in zip(runs, pool.map(lambda run: _train_one(run, train_arguments, threads), runs), strict=True):
            progress.advance(task)
            console.err.print(f"{run}: {_last_line(run)}")


def _arguments(run: Run, train_arguments: Sequence[str]) -> list[str]:
    filled = [re.sub(r"\{(fold|seed)\}", lambda m: str(getattr(run, m[1])), each) for each in train_arguments]
    own = ["--fold", str(run.fold), "--seed", str(run.seed), *run.arguments]
    if run.protocol not in ("test-speakers", "test-corpora"):  # which are arguments of their own
        own += ["--protocol", run.protocol]
    return [*filled, *own, "--out", str(run.out), "--resume"]


def _train_one(run: Run, train_arguments: Sequence[str], threads: int) -> None:
    run.out.mkdir(parents=True, exist_ok=True)
    ranks, gpus = Ranks.of_torchrun(), torch.cuda.device_count()
    device = ["--device", f"cuda:{ranks.local % gpus}"] if ranks.count > 1 and gpus > 1 else []
    command = [sys.executable, "-m", "ser_gpu.train", *device, *_arguments(run, train_arguments)]
    # a training is one process, whoever started this one
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONIOENCODING": "utf-8"}
    with (run.out / "log.txt").open("a", encoding="utf-8") as log:
        code = subprocess.run(command, env=environment, stdout=log, stderr=log).returncode
        if code < 0:
            log.write(f"error: the training was ended by signal {-code}\n")


def _log(run: Run) -> list[str]:
    log = run.out / "log.txt"
    return log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []


def _last_line(run: Run) -> str:
    said = (line for line in reversed(_log(run)) if line.strip() and not line.startswith("note: "))
    return next(said, "no output")


if __name__ == "__main__":
    sys.exit(main())
