"""Scoring on Ray Data: batches of rows are unpacked, decoded, answered and written."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import numpy as np
import pyarrow as pa
import ray
from pyarrow.parquet import ParquetFile
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayError, RayTaskError

from ser_gpu.audio.reader import Source
from ser_gpu.audio.samples import natural_blocks, resampled
from ser_gpu.errors import AudioError, InputError, UnexpectedError, reason
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.scale import results, storage
from ser_gpu.scale.sources import Sources

LONGEST_DECODED_SECONDS = 300.0
ROWS_AT_ONCE = 64
FILES_A_TASK = 64
RECORDINGS_A_FILE = 1_000
BLOCK_BYTES = 16 * 2**20
OBJECT_STORE_BYTES = 2**29
_STARTS = 3
# Cores of a task. On the CPU the network takes nine tenths of the work; a GPU is fed by whole cores.
_ANSWER_CORES, _OTHER_CORES, _FEEDING_CORES = 0.9, 0.1, 1.0


def unpack(batch: pa.Table) -> Iterator[pa.Table]:
    """Row groups of Parquet files -> one row for each recording: path, bytes."""
    for group in batch.to_pylist():
        name_of = dict(zip(group["rows"], group["names"], strict=True))
        at = 0
        with storage.open_file(group["place"]) as file, ParquetFile(file) as parquet:
            for part in parquet.iter_batches(ROWS_AT_ONCE, [group["group"]], [group["column"]]):
                values = part.column(0).field("bytes") if "." in group["column"] else part.column(0)
                wanted = [row for row in range(len(values)) if at + row in name_of]
                paths = [name_of[at + row] for row in wanted]
                content = [values[row].as_py() or b"" for row in wanted]
                at += len(values)
                yield pa.table({"path": pa.array(paths, pa.string()), "bytes": pa.array(content, pa.large_binary())})


def decode(batch: pa.Table, sample_rate: int) -> Iterator[pa.Table]:
    """Rows of path and, where it is no file, bytes -> path, samples, error; mono float32 at `sample_rate` Hz.

    Above `LONGEST_DECODED_SECONDS` there are no samples: the worker reads the recording in pieces, so no row is large.
    """
    binary, text = pa.large_binary(), pa.string()
    schema = pa.schema([("path", text), ("bytes", binary), ("samples", binary), ("error", text)])
    for row in batch.to_pylist():
        path, content = row["path"], row.get("bytes")
        found = {"path": path}
        try:
            with _opened(path, content) as source:
                samples = _samples(source, path, sample_rate)
            found |= {"bytes": content} if samples is None else {"samples": samples.tobytes()}
        except AudioError as error:
            found["error"] = str(error)
        yield pa.Table.from_pylist([found], schema)


@contextmanager
def _opened(path: str, content: object) -> Iterator[object]:
    # content, path, or a stream from an address; any error inside becomes an AudioError with the path
    try:
        if content is not None or not storage.is_address(path):
            yield path if content is None else content
        else:
            with storage.open_file(path) as stream:
                yield stream
    except AudioError as error:
        text = str(error)
        problem = re.sub("^(bytes|stream|audio): ", "", text)
        raise (error if problem == text else type(error).of(path, problem)) from None
    except FileNotFoundError:
        raise AudioError.of(path, "no such file") from None
    except OSError as error:
        raise AudioError.of(path, f"cannot be read ({reason(error)})") from None
    except Exception as error:  # a bug at one recording must not stop the others
        problem = f"unexpected error, please report it ({type(error).__name__}: {reason(error)})"
        raise UnexpectedError.of(path, problem) from None


def _samples(source: Source, path: str, sample_rate: int) -> np.ndarray | None:
    # [T] float32; None where the recording is too long for a row
    _, blocks = natural_blocks(source, None, sample_rate)
    parts: list[np.ndarray] = []
    for part in resampled(blocks, sample_rate):
        parts.append(part)
        if sum(map(len, parts)) > LONGEST_DECODED_SECONDS * sample_rate:
            return None
    return np.concatenate(parts)


class Answer:
    """Rows of `decode` -> rows of the result; the model comes on the CPU, once a worker, and works on `device`."""

    def __init__(self, model: SpeechEmotionModel, device: str, timeline: bool):
        self.model = model.to(device)
        self.timeline = timeline
        self.schema = results.schema(self.model.labels, timeline)

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.to_pylist()
        for row in rows:
            if row["samples"] is not None:
                samples = np.frombuffer(row["samples"], np.float32)
                row["sound"] = {"array": samples, "sampling_rate": self.model.sample_rate, "path": row["path"]}
        together = [] if self.timeline else [row for row in rows if "sound" in row]
        for row, answer in zip(together, self.model.predict_many([row["sound"] for row in together]), strict=True):
            row["answer"] = answer
        one = self.model.timeline if self.timeline else self.model.predict
        for row in (row for row in rows if "answer" not in row and not row["error"]):
            try:
                with _opened(row["path"], row.get("sound", row["bytes"])) as sound:
                    row["answer"] = one(sound)
            except AudioError as error:
                row["answer"] = error
        # a recording that was not decoded has its error already
        found = [row | (results.columns(row["answer"]) if "answer" in row else {}) for row in rows]
        return pa.Table.from_pylist(found, self.schema)


def run(
    model: SpeechEmotionModel,
    left: Sources,
    out: str,
    settings: dict,
    workers: int | None = None,
    gpus: float | None = None,
    batch_size: int = 64,
) -> Iterator[dict]:
    """Score recordings on the Ray of this process; yields the counts of each result file when it is written.

    workers: that hold a model; None: as many as there is room for.
    gpus: of each worker; None: one where the cluster has any, else none.
    """
    context = DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    context.raise_original_map_exception = True
    context.enable_rich_progress_bars, context.use_ray_tqdm = True, False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are one line, without a traceback

    if gpus is None:
        gpus = float(ray.cluster_resources().get("GPU", 0) > 0)
    other = {"batch_format": "pyarrow", "num_cpus": _FEEDING_CORES if gpus else _OTHER_CORES}
    parts = []
    if left.files:
        table = pa.table({"path": pa.array(left.files, pa.string())})
        parts.append(ray.data.from_arrow([table.slice(at, FILES_A_TASK) for at in range(0, len(table), FILES_A_TASK)]))
    if left.groups:
        groups = ray.data.from_arrow([pa.Table.from_pylist([vars(group)]) for group in left.groups])
        parts.append(groups.map_batches(unpack, batch_size=1, **other))
    rows = reduce(Dataset.union, parts)
    rows = rows.map_batches(decode, batch_size=FILES_A_TASK, fn_kwargs={"sample_rate": model.sample_rate}, **other)
    rows = rows.map_batches(
        Answer,
        fn_constructor_args=(model, "cuda" if gpus else "cpu", settings["timeline"]),
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=workers) if workers else ActorPoolStrategy(min_size=1),
        num_cpus=_ANSWER_CORES,
        num_gpus=gpus,
    )
    written = {"fn_kwargs": {"out": out, "settings": settings}, "batch_format": "pyarrow", "num_cpus": _OTHER_CORES}
    yield from rows.map_batches(results.write, batch_size=RECORDINGS_A_FILE, **written).iter_rows()


@contextmanager
def connected(address: str | None, cores: int, what: str) -> Iterator[None]:
    """Ray: the running one of this process, the cluster at `address`, or a new one with `cores` of this machine.

    Raises in one line the OSError or InputError of a worker; where Ray fails, InputError: `what` is not finished.
    """
    is_ours = not ray.is_initialized()
    if is_ours:
        _start(address, cores)
    try:
        yield
    except RayError as error:
        cause: BaseException | None = error
        while isinstance(cause, RayError) or not isinstance(cause, OSError | InputError | None):
            cause = getattr(cause, "cause", None) or cause.__cause__  # Ray wraps it in several ways
        lines = str(cause or error).strip().splitlines() or [type(cause or error).__name__]
        if cause is not None:
            raise type(cause)(lines[0]) from None  # the next lines may be advice of Ray
        last = lines[-1] if isinstance(error, RayTaskError) else lines[0]  # the worker's traceback comes before it
        raise InputError(f"{what}: not finished, the same command goes on; Ray says: {last}") from None
    finally:
        if is_ours:
            ray.shutdown()


def _start(address: str | None, cores: int) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage report
    own = {"include_dashboard": False, "num_cpus": cores, "object_store_memory": OBJECT_STORE_BYTES}
    # Ray's processes must start within 15 s, which fails on a busy machine
    for left in reversed(range(1 if address else _STARTS)):
        try:
            where = {"address": address} if address else {"address": "local", **own}
            ray.init(**where, log_to_driver=False, logging_level=logging.CRITICAL)
            return
        except Exception as error:
            ray.shutdown()
            if left == 0:
                no_cluster = f"--address {address}: no Ray cluster there"
                problem = no_cluster if address else "Ray does not start on this machine"
                raise InputError(f"{problem} ({reason(error)})") from None
