"""Scoring on Ray Data: each stage takes a batch of rows to others, from unpacking and decoding to an answer."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ser_gpu.audio.samples import natural_blocks, resampled
from ser_gpu.errors import AudioError, InputError, NoSpeechError, UnexpectedError, reason
from ser_gpu.prediction import Prediction
from ser_gpu.scale import results, storage
from ser_gpu.scale.sources import Sources

if TYPE_CHECKING:  # in each function too, since `ser-gpu score --help` should not need them
    import pyarrow as pa
    from ray.data import Dataset

    from ser_gpu.model import SpeechEmotionModel

LONGEST_DECODED_SECONDS = 300.0
ROWS_AT_ONCE = 64
FILES_A_TASK = 64
RECORDINGS_A_FILE = 1_000
BLOCK_BYTES = 16 * 2**20
OBJECT_STORE_BYTES = 2**29
_STARTS = 3
# Of a core. Where the network runs on the CPU, it takes nine tenths of the work; a GPU is fed by whole cores.
_ANSWER_CORES, _OTHER_CORES, _FEEDING_CORES = 0.9, 0.1, 1.0


def unpack(batch: "pa.Table") -> "Iterator[pa.Table]":
    """Row groups of Parquet files -> a row a recording: path, bytes."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

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


def decode(batch: "pa.Table", sample_rate: int) -> "Iterator[pa.Table]":
    """Rows of path and, of what is no file, bytes -> path, samples, error; mono float32 at `sample_rate` Hz.

    A recording longer than `LONGEST_DECODED_SECONDS` keeps its bytes instead of samples, and the worker that answers it
    reads it piece by piece: so no row is large.
    """
    import pyarrow as pa

    binary, text = pa.large_binary(), pa.string()
    schema = pa.schema([("path", text), ("bytes", binary), ("samples", binary), ("error", text)])
    for row in batch.to_pylist():
        path, content = row["path"], row.get("bytes")
        found = {"path": path, "bytes": None, "samples": None, "error": None}
        try:
            with _opened(path, content) as source:
                samples = _samples(source, path, sample_rate)
            found |= {"bytes": content} if samples is None else {"samples": samples.tobytes()}
        except AudioError as error:
            found["error"] = str(error)
        yield pa.Table.from_pylist([found], schema)


@contextmanager
def _opened(path: str, content: bytes | None) -> "Iterator[str | bytes | BinaryIO]":
    """What can be read of a recording: its bytes, its path, or a stream from its address.

    Raises:
        AudioError: whatever is met inside; it calls the recording by its path.
    """
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
    except Exception as error:  # of one recording; the others go on
        problem = f"unexpected error, please report it ({type(error).__name__}: {reason(error)})"
        raise UnexpectedError.of(path, problem) from None


def _samples(source: "str | bytes | BinaryIO", path: str, sample_rate: int) -> np.ndarray | None:
    """The whole recording, [T] float32; None where it is too long for a row."""
    _, blocks = natural_blocks(source, None, sample_rate)
    rate, first = next(blocks, (sample_rate, None))
    if first is None:
        raise AudioError.of(path, "holds no samples")
    parts: list[np.ndarray] = []
    for part in resampled(chain([first], (block for _, block in blocks)), rate, sample_rate):
        parts.append(part)
        if sum(map(len, parts)) > LONGEST_DECODED_SECONDS * sample_rate:
            return None
    return np.concatenate(parts)


class Answer:
    """Rows of `decode` -> rows of the result. A worker loads the model once, when it starts.

    Args:
        model: on the CPU.
        device: where it works.
        timeline: give the segments of each recording, instead of one answer.
    """

    def __init__(self, model: "SpeechEmotionModel", device: str, timeline: bool):
        self.model = model.to(device)
        self.timeline = timeline
        self.schema = results.schema(self.model.labels, timeline)

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        import pyarrow as pa

        rows = batch.to_pylist()
        for row in rows:
            if row["samples"] is not None:
                samples = np.frombuffer(row["samples"], np.float32)
                row["sound"] = {"array": samples, "sampling_rate": self.model.sample_rate, "path": row["path"]}
        together = () if self.timeline else self.model.predict_many([row["sound"] for row in rows if "sound" in row])
        answers = iter(together)
        found = [{"path": row["path"]} | self._columns(row, answers) for row in rows]
        return pa.Table.from_pylist(found, self.schema)

    def _columns(self, row: dict, answers: Iterator[Prediction | AudioError]) -> dict:
        """Those of a row's answer: of `answers` the next, where it is decoded and needs no timeline."""
        if row["error"]:
            return {"error": row["error"]}
        try:
            if "sound" in row and not self.timeline:
                answer = next(answers)
                if isinstance(answer, AudioError):
                    raise answer
                return results.of_prediction(answer)
            with _opened(row["path"], row["bytes"]) as source:
                sound = row.get("sound", source)
                if self.timeline:
                    return results.of_timeline(self.model.timeline(sound))
                return results.of_prediction(self.model.predict(sound))
        except NoSpeechError as error:
            return {"error": str(error), "speech_seconds": 0.0}
        except AudioError as error:
            return {"error": str(error)}


def run(
    model: "SpeechEmotionModel",
    left: Sources,
    out: str,
    settings: dict,
    workers: int | None = None,
    gpus: float | None = None,
    batch_size: int = 64,
) -> Iterator[dict]:
    """Score recordings on the Ray that this process has; of each file of the result as it is written, the counts.

    Args:
        settings: as in `results.write`; "timeline" among them says what is asked for.
        workers: that hold a model; None, as many as there is room for.
        gpus: of each of them; None, one where the cluster has any.
        batch_size: recordings that a worker takes at a time.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    context.raise_original_map_exception = True
    context.enable_rich_progress_bars, context.use_ray_tqdm = True, False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # an error comes as one line, without its traceback

    if gpus is None:
        gpus = float(ray.cluster_resources().get("GPU", 0) > 0)
    other = {"batch_format": "pyarrow", "num_cpus": _FEEDING_CORES if gpus else _OTHER_CORES}
    rows = _recordings(left, other).map_batches(
        decode, batch_size=FILES_A_TASK, fn_kwargs={"sample_rate": model.sample_rate}, **other
    )
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


def _recordings(left: Sources, options: dict) -> "Dataset":
    """A row a recording: its path, and its bytes where a Parquet file holds them."""
    import pyarrow as pa
    import ray

    parts = []
    if left.files:
        table = pa.table({"path": pa.array(left.files, pa.string())})
        parts.append(ray.data.from_arrow([table.slice(at, FILES_A_TASK) for at in range(0, len(table), FILES_A_TASK)]))
    if left.groups:
        groups = ray.data.from_arrow([pa.Table.from_pylist([vars(group)]) for group in left.groups])
        parts.append(groups.map_batches(unpack, batch_size=1, **options))
    return parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]


@contextmanager
def connected(address: str | None, cores: int) -> Iterator[None]:
    """Ray: the one that this process has already, the cluster at an address, or one of its own on this machine.

    Args:
        cores: that Ray may use on this machine.

    Raises:
        InputError: there is no cluster, or Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray

    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    size = {"include_dashboard": False, "num_cpus": cores, "object_store_memory": OBJECT_STORE_BYTES}
    # Ray gives its processes 15 s to start, which a busy machine may not have
    for left in reversed(range(1 if address else _STARTS)):
        try:
            ray.init(**({"address": address} if address else {"address": "local", **size}), **quiet)
            break
        except Exception as error:
            ray.shutdown()
            if left == 0:
                problem = (
                    f"--address {address}: no Ray cluster there" if address else "Ray does not start on this machine"
                )
                raise InputError(f"{problem} ({reason(error)})") from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Errors of Ray's workers as errors of this process, which are one line.

    Args:
        what: is not finished where Ray itself fails.

    Raises:
        OSError, InputError: as the worker raised it.
        InputError: workers or machines are lost.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while isinstance(cause, ray.exceptions.RayError) or not isinstance(cause, OSError | InputError | None):
            cause = getattr(cause, "cause", None) or cause.__cause__  # Ray wraps it in several ways
        lines = str(cause or error).strip().splitlines() or [type(cause or error).__name__]
        if cause is not None:
            raise type(cause)(lines[0]) from None  # below it Ray may give advice
        last = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else lines[0]  # below the worker's traceback
        raise InputError(f"{what}: not finished, the same command goes on; Ray says: {last}") from None
