"""python -m benchmarks: time every subject, print the tables, and write them to the results and the pages."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import baselines, report
from benchmarks.report import SUBJECTS
from ser_gpu.cli import console, options
from ser_gpu.evaluation.report import environment
from ser_gpu.files import read_json, write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the benchmarks."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _benchmark(args))


def _benchmark(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    path = _path(args, device)
    measured = {}
    with console.progress() as progress:
        for name in progress.track(args.subjects or SUBJECTS, description="Benchmarks"):
            header = {
                "measured": datetime.now(UTC).isoformat(timespec="seconds"),
                "quick": args.quick,
                "load_before": os.getloadavg()[0],
                "environment": environment(device),
                "baselines": baselines.versions(),
            }
            measured[name] = header | {"tables": SUBJECTS[name].run(device, args.quick, args.processes)}
            if path:
                _merge(path, {name: measured[name]})
    if path and not args.out:
        _update_pages()
    if args.json:
        print(json.dumps(measured, indent=2))
    else:
        for name, result in measured.items():
            for key, form in SUBJECTS[name].TABLES.items():
                console.out.print(report.terminal_table(form, result["tables"][key]))
    console.err.print(f"written: {path}" if path else "nothing written: a quick run, without --out")
    return options.DONE


def _update_pages() -> None:
    from experiments import pages  # here, since a run that writes elsewhere needs no page

    report.draw_figures()
    pages.write()


def _path(args: argparse.Namespace, device) -> Path | None:
    if args.out:
        return Path(args.out)
    return None if args.quick else report.RESULTS / f"{device.type}.json"


def _merge(path: Path, subjects: dict) -> None:
    """Each subject is written when it is done, beside those of other runs."""
    before = read_json(path) if path.exists() else {}
    write_json(path, before | subjects)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed beside error, against librosa and others in the same run."
    )
    add = parser.add_argument
    add("subjects", nargs="*", type=_subject, metavar="SUBJECT", help=f"{', '.join(SUBJECTS)} (default: all)")
    add("--device", help=options.DEVICE)
    add("--quick", action="store_true", help="small settings, for a test; writes nothing without --out")
    add(
        "--processes",
        type=options.positive_int,
        default=os.cpu_count(),
        help="workers of the librosa baselines (default: all %(default)s cores)",
    )
    add("--out", help="JSON file to write (default: benchmarks/results/DEVICE.json)")
    add("--json", action="store_true", help="print the JSON instead of tables")
    return parser


def _subject(name: str) -> str:
    if name not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"no such subject: {name!r}, there are {', '.join(SUBJECTS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
