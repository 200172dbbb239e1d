"""Scoring on Ray Data: batches of rows are unpacked, answered and written."""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import pyarrow as pa
import ray
from pyarrow.parquet import ParquetFile
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayError, RayTaskError

from ser_gpu.audio.reader import Source, name_of
from ser_gpu.errors import AudioError, InputError, UnexpectedError, reason
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.scale import results, storage
from ser_gpu.scale.sources import Sources
from ser_gpu.timeline import Timeline

ROWS_AT_ONCE = 64
RECORDINGS_A_FILE = 1_000
BLOCK_BYTES = 16 * 2**20
OBJECT_STORE_BYTES = 2**29
_ANSWER_CORES, _OTHER_CORES = 0.9, 0.1  # of a task


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


class Answer:
    """Rows of path and, where it is no file, bytes -> rows of the result; the model works on `device`."""

    def __init__(self, model: SpeechEmotionModel, device: str, timeline: bool):
        self.model = model.to(device)
        self.timeline = timeline
        self.schema = results.schema(self.model.labels, timeline)

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.to_pylist()
        recordings = (_recording(row["path"], row.get("bytes")) for row in rows)
        answers = map(self._timeline, recordings) if self.timeline else self.model.predict_many(recordings)
        found = [{"path": row["path"]} | results.columns(answer) for row, answer in zip(rows, answers, strict=True)]
        return pa.Table.from_pylist(found, self.schema)

    def _timeline(self, recording: Source) -> Timeline | AudioError:
        try:
            return self.model.timeline(recording)
        except AudioError as error:
            return error
        except Exception as error:  # a bug at one recording must not stop the others
            return UnexpectedError.at(name_of(recording), error)


def _recording(path: str, content: bytes | None) -> Source:
    if content is None:
        return storage.Remote(path) if storage.is_address(path) else path
    stream = io.BytesIO(content)
    stream.name = path  # which errors name
    return stream


def run(
    model: SpeechEmotionModel,
    left: Sources,
    out: str,
    settings: dict,
    workers: int | None = None,
    gpus: float | None = None,
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
    other = {"batch_format": "pyarrow", "num_cpus": _OTHER_CORES}
    parts = []
    if left.files:
        table = pa.table({"path": pa.array(left.files, pa.string())})
        parts.append(ray.data.from_arrow([table.slice(at, ROWS_AT_ONCE) for at in range(0, len(table), ROWS_AT_ONCE)]))
    if left.groups:
        groups = ray.data.from_arrow([pa.Table.from_pylist([vars(group)]) for group in left.groups])
        parts.append(groups.map_batches(unpack, batch_size=1, **other))
    made = model, "cuda" if gpus else "cpu", settings["timeline"]
    pool = ActorPoolStrategy(size=workers) if workers else ActorPoolStrategy(min_size=1)
    each = {"batch_format": "pyarrow", "batch_size": ROWS_AT_ONCE, "num_cpus": _ANSWER_CORES, "num_gpus": gpus}
    rows = reduce(Dataset.union, parts).map_batches(Answer, fn_constructor_args=made, compute=pool, **each)
    stored = {"out": out, "settings": settings}
    yield from rows.map_batches(results.write, batch_size=RECORDINGS_A_FILE, fn_kwargs=stored, **other).iter_rows()


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
    where = {"include_dashboard": False, "num_cpus": cores, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.CRITICAL, **({} if address else where))
    except Exception as error:
        ray.shutdown()
        problem = f"--address {address}: no Ray cluster there" if address else "Ray does not start on this machine"
        raise InputError(f"{problem} ({reason(error)})") from None
