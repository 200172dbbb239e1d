"""The stages of scoring, each from a batch of rows to others: unpack, decode, answer. Ray Data runs them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ser_gpu.audio.samples import natural_blocks, resampled
from ser_gpu.errors import AudioError, NoSpeechError, UnexpectedError, reason
from ser_gpu.prediction import Prediction
from ser_gpu.scale import results, storage

if TYPE_CHECKING:
    import pyarrow as pa

    from ser_gpu.model import SpeechEmotionModel

LONGEST_DECODED_SECONDS = 300.0
ROWS_AT_ONCE = 64


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
            with opened(path, content) as source:
                samples = _samples(source, path, sample_rate)
            found |= {"bytes": content} if samples is None else {"samples": samples.tobytes()}
        except AudioError as error:
            found["error"] = str(error)
        yield pa.Table.from_pylist([found], schema)


@contextmanager
def opened(path: str, content: bytes | None) -> "Iterator[str | bytes | BinaryIO]":
    """What can be read of a recording: its bytes, its path, or a stream from its address.

    Raises:
        AudioError: whatever is met inside; it calls the recording by its path.
    """
    try:
        if content is not None:
            yield content
        elif not storage.is_address(path):
            yield path
        else:
            with storage.open_file(path) as stream:
                yield stream
    except AudioError as error:
        raise type(error).of(path, _problem(error, path)) from None
    except FileNotFoundError:
        raise AudioError.of(path, "no such file") from None
    except OSError as error:
        raise AudioError.of(path, f"cannot be read ({reason(error)})") from None
    except Exception as error:  # of one recording; the others go on
        problem = f"unexpected error, please report it ({type(error).__name__}: {reason(error)})"
        raise UnexpectedError.of(path, problem) from None


def _problem(error: AudioError, path: str) -> str:
    """What is wrong, without the name of the recording."""
    names = (path, "bytes", "stream", "audio")
    text = str(error)
    return next((text.removeprefix(f"{name}: ") for name in names if text.startswith(f"{name}: ")), text)


def _samples(source: "str | bytes | BinaryIO", path: str, sample_rate: int) -> np.ndarray | None:
    """The whole recording; None where it is too long for a row.

    Shape: -> [T] float32.
    """
    _, blocks = natural_blocks(source, None, sample_rate)
    rate, first = next(blocks, (sample_rate, None))
    if first is None:
        raise AudioError.of(path, "holds no samples")

    def natural() -> Iterator[np.ndarray]:
        yield first
        yield from (block for _, block in blocks)

    parts: list[np.ndarray] = []
    for part in resampled(natural(), rate, sample_rate):
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
        answers = self._timelines(rows) if self.timeline else self._predictions(rows)
        found = [{"path": row["path"]} | answer for row, answer in zip(rows, answers, strict=True)]
        return pa.Table.from_pylist(found, self.schema)

    def _predictions(self, rows: Sequence[dict]) -> Iterator[dict]:
        """An answer a row: what is decoded in common batches, what is too long by itself."""
        decoded = [self._recording(row) for row in rows if row["samples"] is not None]
        answers = self.model.predict_many(decoded)
        for row in rows:
            if row["samples"] is not None:
                yield _said(next(answers))
            else:
                yield _said(AudioError(row["error"]) if row["error"] else self._of_long(row))

    def _of_long(self, row: dict) -> Prediction | AudioError:
        try:
            with opened(row["path"], row["bytes"]) as source:
                return self.model.predict(source)
        except AudioError as error:
            return error

    def _timelines(self, rows: Sequence[dict]) -> Iterator[dict]:
        for row in rows:
            if row["error"]:
                yield {"error": row["error"]}
                continue
            try:
                with opened(row["path"], row["bytes"]) as source:
                    found = self.model.timeline(source if row["samples"] is None else self._recording(row))
                yield results.of_timeline(found)
            except AudioError as error:
                yield {"error": str(error)}

    def _recording(self, row: dict) -> dict:
        samples = np.frombuffer(row["samples"], np.float32)
        return {"array": samples, "sampling_rate": self.model.sample_rate, "path": row["path"]}


def _said(answer: Prediction | AudioError) -> dict:
    if isinstance(answer, Prediction):
        return results.of_prediction(answer)
    return {"error": str(answer)} | ({"speech_seconds": 0.0} if isinstance(answer, NoSpeechError) else {})
