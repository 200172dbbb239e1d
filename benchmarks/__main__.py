"""python -m benchmarks: time every subject, print the tables, and write them to the results and the READMEs."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import frontend, latency, report
from ser_gpu import command_line
from ser_gpu.atomic import write_json
from ser_gpu.results import console, environment

SUBJECTS = {"frontend": frontend, "latency": latency}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the benchmarks."""
    args = _parser().parse_args(arguments)
    return command_line.run(lambda: _benchmark(args))


def _benchmark(args: argparse.Namespace) -> int:
    device = command_line.device(args.device)
    result = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": args.quick,
        "load_before": os.getloadavg()[0],
        "environment": environment.describe(device),
        "subjects": {},
    }
    with console.progress() as progress:
        for name in progress.track(args.subjects or SUBJECTS, description="Benchmarks"):
            result["subjects"][name] = SUBJECTS[name].run(device, args.quick)
    whole = not args.subjects and not args.quick
    path = Path(args.out) if args.out else report.RESULTS / f"{device.type}.json" if whole else None
    if path:
        write_json(path, result)
    if whole and not args.out:
        report.update_readmes()
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        for name, rows in result["subjects"].items():
            console.out.print(report.terminal_table(SUBJECTS[name], rows))
    console.err.print(f"written: {path}" if path else "nothing written: a quick or partial run, without --out")
    return command_line.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed beside error, against librosa and nnAudio in the same run."
    )
    parser.add_argument("subjects", nargs="*", type=_subject, metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    parser.add_argument("--quick", action="store_true", help="small settings, for a test")
    parser.add_argument("--out", help="JSON file to write (default for a whole run: benchmarks/results/DEVICE.json)")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of tables")
    return parser


def _subject(name: str) -> str:
    if name not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"no such subject: {name!r}, there are {', '.join(SUBJECTS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
