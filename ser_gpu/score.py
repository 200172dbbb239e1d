"""ser-gpu score SOURCE... --out DIR: name the emotion of very many recordings, on this machine or a Ray cluster."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from ser_gpu.cli import console, options
from ser_gpu.errors import require
from ser_gpu.files import only_one


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and score."""
    about = "Name the emotion of very many recordings with Ray Data, and write the answers as Parquet files. "
    about += "Started again, it continues where it stopped."
    parser = options.Parser(prog="ser-gpu score", description=about)
    add = parser.add_argument_group("recordings and answers").add_argument
    help = "folders, files, patterns such as 'plays/**/*.wav', lists (CSV, TSV or Parquet with a column path or file), "
    help += "and Parquet files with the bytes of audio files (column audio or bytes); here, or at an address such as "
    help += "s3://bucket/plays"
    add("sources", nargs="+", metavar="SOURCE", help=help)
    add("--out", required=True, metavar="DIR", help="folder or address of the answers")
    add("--retry", action="store_true", help="try the recordings again that have an error in DIR")
    add("--timeline", action="store_true", help="give the segments of each recording, instead of one emotion")
    add("--json", action="store_true", help="print the counts as JSON")
    add = parser.add_argument_group("model and machines").add_argument
    add("--weights", metavar="NAME|FILE", help=f"{options.SHIPPED} a checkpoint")
    add("--address", help="address of a Ray cluster, or auto (default: Ray on this machine, for this command alone)")
    help = "number of processes that each hold a model (default: Ray starts as many as there is room for)"
    add("--workers", type=options.positive_int, metavar="N", help=help)
    help = "GPUs for each worker, such as 0.5 (default: 1 if the cluster has any, else 0)"
    add("--gpus", type=options.number(0.0), metavar="SHARE", help=help)
    return options.run(lambda: run(parser.parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    """Score the recordings that are not in the result yet."""
    require("ray", "ray", "pyarrow")
    from ser_gpu.scale import sources, storage  # here: --help needs neither these nor torch

    found = sources.find(args.sources)
    console.note(*found.notes)
    out = storage.absolute(args.out)
    if not storage.is_address(out):
        read = [place for source in args.sources for place in storage.expand(source)]
        options.require_free({"--out": [Path(out, "part.parquet"), *Path(out).glob("*.parquet")]}, read)
    from ser_gpu.checkpoint import load_model  # here: a mistyped source need not wait for torch and Ray
    from ser_gpu.recognizer import cores
    from ser_gpu.scale import pipeline, results

    model = load_model(args.weights, "cpu")
    settings = {"model": f"{model.network_hash} {float(model.temperature)}", "timeline": args.timeline}
    # one process at a time; an address cannot be locked
    with nullcontext() if storage.is_address(out) else only_one(Path(out)):
        stored = results.done(out, settings)
        names = found.names
        before = {name: stored[name] for name in names if name in stored}
        failed_before = {name for name, error in before.items() if error is not None}
        if args.retry and failed_before:
            results.forget(out, failed_before)
            before = dict.fromkeys(before.keys() - failed_before)
            failed_before = set()
        if before:
            console.err.print(f"{len(before):,} of {len(names):,} recordings are in {out} already")
        count, failed = 0, len(failed_before)
        if len(before) < len(names):
            with pipeline.connected(args.address, max(cores(), args.workers or 0), out), options.quiet_decoders():
                for part in pipeline.run(model, found.without(before), out, settings, args.workers, args.gpus):
                    count, failed = count + part["recordings"], failed + part["failed"]
    if args.json:
        console.print_json({"recordings": count, "failed": failed, "done_before": len(before), "out": out})
    else:
        retry = "; --retry tries them again" if failed else ""
        written = f"written: {count:,} recording{'s' * (count != 1)}, to {out}"
        console.err.print(f"{written}; {failed:,} of {len(names):,} have an error{retry}")
    return options.SOME_FAILED if failed else options.DONE


if __name__ == "__main__":
    sys.exit(main())
