"""python -m benchmarks: time every subject, print the tables, and write them to the results and the pages."""

import argparse
import json
import math
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarks import baselines, report
from benchmarks.report import SUBJECTS
from benchmarks.start import ROOT
from benchmarks.timing import Job, failure
from ser_gpu.cli import console, options
from ser_gpu.errors import InputError
from ser_gpu.evaluation.report import environment
from ser_gpu.files import read_json, write_json

# the rows of a GPU in order of value, and the share of the time for each
SHARES = {"log-mel": 28, "training": 22, "graph": 10, "pipeline": 22, "start": 12, "files": 14, "augment": 8}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the benchmarks."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _benchmark(args))


def _benchmark(args: argparse.Namespace) -> int:
    ends = time.monotonic() + 60 * args.minutes if args.minutes else None
    names = args.subjects or (list(SHARES) if ends else list(SUBJECTS))
    path, measured = Path(args.out) if args.out else None, {}
    for place, name in enumerate(names):
        limit = None
        if ends:
            shares = [SHARES.get(each, 10) for each in names[place:]]
            limit = max(0.0, ends - time.monotonic()) * shares[0] / sum(shares)
        result = measured[name] = {"tables": {}}

        def keep(part: dict, name: str = name, result: dict = result) -> None:
            nonlocal path
            for table, rows in part.pop("tables", {}).items():
                stamp = {key: result[key] for key in ("commit", "processor")}
                result["tables"].setdefault(table, []).extend(_finite(row) | stamp for row in rows)
            result |= part
            if not args.out and not args.dry and "environment" in result:
                path = report.RESULTS / f"{result['environment']['device']}.json"
            if path and result["tables"]:  # row after row, so that a run that is cut has what it measured
                before = read_json(path) if path.exists() else {}
                write_json(path, before | {name: result})

        console.say(f"{name} ..." + (f" at most {limit:.0f} s" if limit is not None else ""))
        _measure(name, args, limit, keep)
        if failed := result.get("failed"):
            print(f"error: {name}: {failed}", file=sys.stderr)
        if not args.json:
            for key, form in SUBJECTS[name].TABLES.items():
                if result["tables"].get(key):
                    console.out.print(report.terminal_table(form, result["tables"][key]))
    if args.json:
        print(json.dumps(measured, indent=2))
    if path and not args.out:
        _update_pages()
    console.err.print(f"written: {path}" if path else "nothing written")
    return options.SOME_FAILED if any("failed" in each for each in measured.values()) else options.DONE


def _finite(row: dict) -> dict:
    """Without what JSON has not, such as the loss of a training that diverged."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def _measure(name: str, args: argparse.Namespace, limit: float | None, keep: Callable[[dict], None]) -> None:
    """Run a subject in a process of its own: what fails in one, or takes too long, ends no other."""
    # a fork imports nothing again, but cannot use CUDA where an import has asked for it
    kind = "forkserver" if args.dry and "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    context.set_forkserver_preload(["benchmarks.report", "torch._dynamo"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_subject_in_process, args=(name, args, theirs))
    process.start()
    theirs.close()
    ends = None if limit is None else time.monotonic() + limit
    try:
        while True:
            if not ours.poll(None if ends is None else max(0.0, ends - time.monotonic())):
                keep({"failed": f"cut after {limit:.0f} s"})
                break
            keep(ours.recv())
    except EOFError:
        process.join()
        if process.exitcode:
            keep({"failed": f"ended with {process.exitcode}"})
    finally:
        if process.is_alive():
            _kill(process)


def _kill(process: multiprocessing.Process) -> None:
    """End a subject and all that it started."""
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg") and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _subject_in_process(name: str, args: argparse.Namespace, answers: Connection) -> None:
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    try:
        device = options.device(args.device)
        if device.index is not None:
            torch.cuda.set_device(device)
        answers.send(
            {
                "measured": datetime.now(UTC).isoformat(timespec="seconds"),
                "dry": args.dry,
                "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
                "commit": args.commit or commit(),
                "processor": processor(),
                "environment": environment(device),
                "baselines": baselines.versions(),
            }
        )
        other = Path(args.against) if args.against else None
        for table, rows in SUBJECTS[name].run(Job(device, args.dry, args.processes, other)):
            answers.send({"tables": {table: rows}})
    except InputError as error:
        answers.send({"failed": str(error)})
    except Exception as error:  # the other subjects go on
        traceback.print_exc()
        answers.send({"failed": failure(error)})


def commit() -> str:
    """Of this checkout, with a mark where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude", "*"]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    return "unknown"


def processor() -> str:
    """The model of the processor, as the system names it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _update_pages() -> None:
    from experiments import pages  # here, since a run that writes elsewhere needs no page

    report.draw_figures()
    pages.write()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed beside error, against librosa and others in the same run."
    )
    add = parser.add_argument
    add("subjects", nargs="*", type=_subject, metavar="SUBJECT", help=f"{', '.join(SUBJECTS)} (default: all)")
    add("--device", help=options.DEVICE)
    what = f"end after so many minutes, with what was measured; without SUBJECT: {', '.join(SHARES)}"
    add("--minutes", type=options.number(0.1), help=what)
    add("--dry", action="store_true", help="tiny sizes, to find mistakes before; writes nothing without --out")
    add(
        "--processes",
        type=options.positive_int,
        default=os.cpu_count(),
        help="workers of the librosa baselines (default: all %(default)s cores)",
    )
    add("--against", metavar="DIR", help="another checkout of this project, which `files` times too")
    add("--commit", help="of these files, where there is no git (default: what git says)")
    add("--out", help="JSON file to write (default: benchmarks/results/DEVICE.json)")
    add("--json", action="store_true", help="print the JSON instead of tables")
    return parser


def _subject(name: str) -> str:
    if name not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"no such subject: {name!r}, there are {', '.join(SUBJECTS)}")
    return name
