"""ser-gpu score SOURCE... --out DIR: name the emotion of very many recordings, on this machine or a Ray cluster."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ser_gpu.cli import console, options
from ser_gpu.errors import require
from ser_gpu.scale import cluster, results, sources, stages, storage

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

    from ser_gpu.model import SpeechEmotionModel

FILES_A_TASK = 64
RECORDINGS_A_FILE = 1_000
BLOCK_BYTES = 16 * 2**20
# Of a core. Where the network runs on the CPU, it takes nine tenths of the work; a GPU is fed by whole cores.
_ANSWER_CORES, _OTHER_CORES, _FEEDING_CORES = 0.9, 0.1, 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and score."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Score what is not in the result yet."""
    require("ray", "ray", "pyarrow")
    from ser_gpu.checkpoint import load_model

    model = load_model(args.weights, "cpu")
    out = storage.absolute(args.out)
    settings = {"model": f"{model.network_hash} {float(model.temperature)}", "timeline": args.timeline}
    with _held(out):
        found = sources.find(args.sources)
        left = found.without(results.done(out, settings))
        if len(left) < len(found):
            console.err.print(f"{len(found) - len(left):,} of {len(found):,} recordings are in {out} already")
        count = failed = 0
        if len(left):
            cores = max(os.cpu_count() or 1, args.workers or 0)
            with cluster.connected(args.address, cores), options.quiet_decoders(), cluster.one_line(out):
                _configure()
                for part in _pipeline(model, left, out, settings, args).iter_rows():
                    count, failed = count + part["recordings"], failed + part["failed"]
    _say(args, out, {"recordings": count, "failed": failed, "done_before": len(found) - len(left), "out": out})
    return options.SOME_FAILED if failed else options.DONE


def _say(args: argparse.Namespace, out: str, summary: dict) -> None:
    if args.json:
        console.print_json(summary)
    else:
        console.err.print(
            f"written: {summary['recordings']:,} recordings, {summary['failed']:,} with an error, to {out}"
        )


def _pipeline(
    model: "SpeechEmotionModel", left: sources.Sources, out: str, settings: dict, args: argparse.Namespace
) -> "Dataset":
    """The stages, which begin to run when the rows of the last one are asked for."""
    from ray.data import ActorPoolStrategy

    gpus = cluster.gpus_of_each(args.gpus)
    other = {"batch_format": "pyarrow", "num_cpus": _FEEDING_CORES if gpus else _OTHER_CORES}
    pool = ActorPoolStrategy(size=args.workers) if args.workers else ActorPoolStrategy(min_size=1)
    decoded = _recordings(left, other).map_batches(
        stages.decode, batch_size=FILES_A_TASK, fn_kwargs={"sample_rate": model.sample_rate}, **other
    )
    answered = decoded.map_batches(
        stages.Answer,
        fn_constructor_args=(model, "cuda" if gpus else "cpu", args.timeline),
        batch_size=args.batch_size,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=_ANSWER_CORES,
        num_gpus=gpus,
    )
    written = {"out": out, "settings": settings}
    return answered.map_batches(
        results.write, batch_size=RECORDINGS_A_FILE, fn_kwargs=written, batch_format="pyarrow", num_cpus=_OTHER_CORES
    )


def _recordings(left: sources.Sources, options: dict) -> "Dataset":
    """A row a recording: its path, and its bytes where a Parquet file holds them."""
    import pyarrow as pa
    import ray

    parts = []
    if left.files:
        table = pa.table({"path": pa.array(left.files, pa.string())})
        blocks = [table.slice(at, FILES_A_TASK) for at in range(0, len(table), FILES_A_TASK)]
        parts.append(ray.data.from_arrow(blocks))
    if left.groups:
        groups = ray.data.from_arrow([_as_table(group) for group in left.groups])
        parts.append(groups.map_batches(stages.unpack, batch_size=1, **options))
    return parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]


def _as_table(group: sources.RowGroup) -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_pylist([vars(group)])


def _configure() -> None:
    """Small blocks, Ray's progress, and errors as we raise them."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    context.raise_original_map_exception = True
    context.enable_rich_progress_bars, context.use_ray_tqdm = True, False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # an error comes as one line, without its traceback
    logging.getLogger("ray.data._internal.progress").setLevel(logging.INFO)


def _held(out: str) -> AbstractContextManager:
    """The folder for this process alone, where a lock can hold it."""
    from ser_gpu.files import only_one

    return nullcontext() if storage.is_address(out) else only_one(Path(out))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ser-gpu score",
        description="Name the emotion of very many recordings with Ray Data, and write the answers as Parquet files. "
        "Started again, it goes on where it stopped.",
    )
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="folders, files, patterns such as 'calls/**/*.wav', lists (CSV, TSV or Parquet with a column path or "
        "file), and Parquet files with the bytes of audio files (column audio or bytes); here, or at an address such "
        "as s3://bucket/calls",
    )
    add("--out", required=True, metavar="DIR", help="folder or address of the result")
    add("--timeline", action="store_true", help="give the segments of each recording, instead of one emotion")
    add("--weights", help="checkpoint (default: the shipped one)")
    add("--address", help="of a Ray cluster, such as auto (default: Ray on this machine, for this command alone)")
    add("--workers", type=options.positive_int, help="that hold a model (default: Ray starts as many as there is room)")
    add(
        "--gpus",
        type=options.share_of_gpus,
        help="of each worker, such as 0.5 (default: 1 where the cluster has any, else 0)",
    )
    add(
        "--batch-size",
        type=options.positive_int,
        default=64,
        help="recordings that a worker takes at a time (default: %(default)s)",
    )
    add("--json", action="store_true", help="print the counts as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
