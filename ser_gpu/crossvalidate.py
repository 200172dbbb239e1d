"""ser-gpu crossvalidate: a training for every fold and seed, resumable, and the table of all of them."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import fmean, stdev

import torch

from ser_gpu import corpora, train
from ser_gpu.cli import console, options
from ser_gpu.corpora import splits
from ser_gpu.errors import InputError, require
from ser_gpu.evaluation import predictions
from ser_gpu.files import read_json, write_json
from ser_gpu.settings import first_difference
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.distributed import VARIABLES, Ranks

METRICS = ("accuracy", "uar", "macro_f1", "ece")
PARTS = ("validation", "test")
_KEPT = ("fold", "seed", "manifest_hash", "parameters", "bfloat16", "temperature", "seconds", "config", "environment")


@dataclass(frozen=True)
class Run:
    """One training."""

    protocol: str
    fold: int
    seed: int
    out: Path  # the folder that it writes
    arguments: tuple[str, ...] = ()  # further ones of `ser-gpu train`

    @property
    def finished(self) -> bool:
        return (self.out / "result.json").exists()

    def result(self) -> dict:
        return read_json(self.out / "result.json")


def add_run_options(parser: argparse.ArgumentParser, protocol: str | None = None) -> None:
    """The options of every command that runs many trainings."""
    add = parser.add_argument
    options.add_protocol_choice(parser, f"(default: {protocol or 'by speakers'})", protocol)
    add("--folds", type=int, nargs="+", help="(default: all; for a random protocol, split seeds 0 to 4)")
    add("--seeds", type=int, nargs="+", default=[0], help="seeds of the trainings (default: 0)")
    add("--runs", default="runs", help="folder of all trainings (default: %(default)s)")
    add("--table", help="JSON file of the table (default: table.json beside the trainings)")
    add("--jobs", type=options.positive_int, default=1, help="trainings at a time (default: %(default)s)")
    add("--json", action="store_true", help="print the JSON instead of the table")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="ser-gpu crossvalidate",
        description="Train every fold and seed of a protocol and print the table. Started again, it goes on where it "
        "stopped. Arguments that are not named here go to ser-gpu train, such as --data, --epochs, --set or --device; "
        "{fold} and {seed} in them stand for the training's own.",
    )
    add_run_options(parser)
    parser.add_argument("--name", help="of the folder and the table (default: the protocol, -refit for a refit)")
    again = "repeat the finished trainings of this folder, such as RUNS/speakers, on training and validation parts; "
    again += "a seed that it lacks repeats another one of the fold"
    parser.add_argument("--refit", metavar="FOLDER", help=again)
    args, train_arguments = parser.parse_known_args(arguments)
    train.parser().parse_args(train_arguments)  # what is wrong is said once, not by each training
    return options.run(lambda: _run(args, train_arguments))


def _run(args: argparse.Namespace, train_arguments: list[str]) -> int:
    require("train", "nnAudio", "torch_audiomentations", "scipy", "sklearn", "matplotlib")
    protocol, folds = protocol_and_folds(args, train_arguments)
    name = args.name or (f"{protocol}-refit" if args.refit else protocol)
    folder = Path(args.runs) / name
    runs = [
        Run(protocol, fold, seed, folder / f"fold{fold}-seed{seed}", _refit(args.refit, fold, seed))
        for seed in args.seeds
        for fold in folds
    ]
    path = Path(args.table or folder / "table.json")
    written = [path, Path(f"{path}".removesuffix(".json") + ".predictions.csv.gz")]
    asked = train.parser().parse_args(train_arguments)
    results = [Path(each) for run in runs for each in (run.out, *run.arguments[1:])]
    read = [each / name for each in results for name in ("result.json", "predictions.csv")]
    options.require_free({"--table": written, "--runs": folder / "arguments.json"}, [asked.data, asked.init, *read])
    ranks = Ranks.of_torchrun()
    if not ranks.is_first:
        console.be_quiet()
    with ranks.joined("gloo", patience=timedelta(days=30)):  # of a rank whose trainings are done
        settings = [protocol, *train_arguments, *(["--refit"] if args.refit else [])]
        ranks.agree(lambda: hold_to_one_setting(folder, settings))
        own = runs[ranks.rank :: ranks.count]
        failed = ranks.total(train_all(own, train_arguments, args.jobs))
    if not ranks.is_first:
        return options.DONE
    for run in runs:
        if run not in own and not run.finished:
            _tell_failure(run)
    done = [run for run in runs if run.finished]
    if not done:
        raise InputError(f"{folder}: no training of {len(runs)} came to its end")
    found = table(name, protocol, [run.result() for run in done], len(runs))
    if found["summary"]:
        each = [(run, row) for run in done for row in predictions.read_rows(run.out / "predictions.csv")]
        predictions.write(written[-1], [{"fold": run.fold, "seed": run.seed, **row} for run, row in each])
        answers = predictions.read(written[-1], part=next(reversed(found["summary"])))
        found["pooled"] = {"all answers": answers.report(by_speaker=True)}
        if len(args.seeds) > 1:  # the trainings of a fold as one model
            found["pooled"]["seeds together"] = predictions.together(answers).report(by_speaker=True)
    write_json(path, found)
    if args.json:
        console.print_json(found)
    else:
        console.show_crossvalidation(found)
        console.err.print(f"written: {', '.join(map(str, written if found['summary'] else written[:1]))}")
    return options.SOME_FAILED if failed else options.DONE


def _refit(first: str | None, fold: int, seed: int) -> tuple[str, ...]:
    if first is None:
        return ()
    same = Path(first) / f"fold{fold}-seed{seed}"
    finished = sorted(path.parent for path in Path(first).glob(f"fold{fold}-seed*/result.json"))
    return ("--refit", str(same if same in finished else [*finished, same][0]))


def table(name: str, protocol: str, results: Sequence[dict], planned: int) -> dict:
    """Rows and summary of finished trainings, out of `planned`; InputError if more than fold and seed differ."""
    first, *others = map(_recipe, results)
    if difference := next(filter(None, (first_difference(first, other) for other in others)), None):
        raise InputError(f"{name}: not trainings of one recipe, {difference}; use another --name")
    rows = [row(result) for result in results]
    return {
        "name": name,
        "protocol": protocol,
        "runs": len(rows),
        "planned": planned,
        "summary": {part: summary(rows, part) for part in PARTS if all(part in row for row in rows)},
        "rows": rows,
    }


def row(result: dict, parts: Sequence[str] = PARTS) -> dict:
    """What a table keeps of a training: fold, seed, settings, and the scores of these parts."""
    scores = {
        part: {name: result[part][name] for name in ("clips", *METRICS, "log_loss", "by")}
        for part in parts
        if part in result
    }
    return {name: result[name] for name in _KEPT} | {"init_sha256": result.get("init_sha256")} | scores


def summary(rows: Sequence[dict], part: str) -> dict[str, dict]:
    """Each metric: mean over all runs, standard deviation of the means of seeds and of folds (None where one alone)."""
    found = {}
    for metric in METRICS:
        found[metric] = {"mean": fmean(row[part][metric] for row in rows)}
        for axis in ("seed", "fold"):
            groups: dict[int, list[float]] = {}
            for row in rows:
                groups.setdefault(row[axis], []).append(row[part][metric])
            means = [fmean(values) for values in groups.values()]
            found[metric][f"sd_{axis}s"] = stdev(means) if len(means) > 1 else None
    return found


def _recipe(result: dict) -> dict[str, object]:
    training = asdict(replace(TrainConfig.from_dict(result["config"]["training"]), fold=0, seed=0))
    begun = result.get("init_sha256") is not None  # with other weights, which may be others for each training
    return {"training": training, **result["config"]["model"], "a network to begin with": begun}


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
    if protocol in splits.RANDOM_PROTOCOLS:
        return protocol, range(5)
    if protocol not in ("speakers", "loso", "loco"):
        return protocol, range(splits.folds(protocol))
    found = corpora.load_many(several) if several else corpora.load(own.data, own.corpus)
    return protocol, range(splits.folds(protocol, found.clips))


def hold_to_one_setting(folder: Path, arguments: Sequence[str]) -> None:
    """InputError if a folder has trainings of other settings: protocol, train arguments, `--refit` without folder."""
    path, here = folder / "arguments.json", _settings(arguments)
    if path.exists() and (difference := first_difference(_settings(read_json(path)), here)):
        raise InputError(f"{folder}: holds trainings with other settings ({difference}); give these another --name")
    write_json(path, list(arguments))


def _settings(arguments: Sequence[str]) -> dict:
    protocol, *own = (each for each in arguments if each != "--refit")
    args, unknown = train.parser().parse_known_args(own)
    args.protocol = protocol
    init, args.init = args.init, None  # which may be another file for each training
    plan = asdict(train.new_plan(args, torch.device("cpu"))) | {"bfloat16": args.amp or "auto"}  # on any device
    return plan | {"init": init and str(Path(init).resolve()), "refit": "--refit" in arguments, "unknown": unknown}


def train_all(runs: Sequence[Run], train_arguments: Sequence[str], jobs: int) -> int:
    """Run the unfinished trainings of this rank, `jobs` processes at a time that share the cores; how many failed."""
    runs = [run for run in runs if not run.finished]
    if not runs:
        return 0
    failed = 0
    threads = max(1, (os.cpu_count() or 1) // (jobs * int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    with console.progress("status") as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("Trainings", total=len(runs), status="")
        codes = pool.map(lambda run: _train_one(run, train_arguments, threads), runs)
        for run, code in zip(runs, codes, strict=True):
            if code:
                failed += 1
                _tell_failure(run)
            progress.update(task, advance=1, status=_last_line(run))
    return failed


def _train_one(run: Run, train_arguments: Sequence[str], threads: int) -> int:
    run.out.mkdir(parents=True, exist_ok=True)
    filled = [re.sub(r"\{(fold|seed)\}", lambda m: str(getattr(run, m[1])), each) for each in train_arguments]
    own = ["--fold", str(run.fold), "--seed", str(run.seed), *run.arguments]
    if run.protocol not in ("test-speakers", "test-corpora"):  # which are arguments of their own
        own += ["--protocol", run.protocol]
    command = [sys.executable, "-m", "ser_gpu.train", *filled, *own, "--out", str(run.out), "--resume"]
    # a training is one process, whoever started this one
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONIOENCODING": "utf-8"}
    ranks, gpus = Ranks.of_torchrun(), torch.cuda.device_count()
    if ranks.count > 1 and gpus > 1:  # this rank has a GPU of its own
        known = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        environment["CUDA_VISIBLE_DEVICES"] = known.split(",")[ranks.local % gpus]
    with (run.out / "log.txt").open("a", encoding="utf-8") as log:
        code = subprocess.run(command, env=environment, stdout=log, stderr=log).returncode
        if code < 0:
            log.write(f"error: the training was ended by signal {-code}\n")
    return code


def _last_line(run: Run) -> str:
    lines = (run.out / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "no output")


def _tell_failure(run: Run) -> None:
    why = _last_line(run).removeprefix("error: ")
    console.err.print(f"error: fold {run.fold}, seed {run.seed}: {why} ({run.out}/log.txt)")


if __name__ == "__main__":
    sys.exit(main())
