"""The result of scoring: a folder of Parquet files with one row for each recording, each file written whole."""

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow.parquet import ParquetFile, write_table

from ser_gpu.errors import AudioError, InputError, NoSpeechError, check, reason, refusing
from ser_gpu.files import replacing
from ser_gpu.prediction import Prediction
from ser_gpu.scale import storage
from ser_gpu.timeline.segment import Segment, Timeline

_SETTINGS = b"ser_gpu"


def schema(labels: Sequence[str], timeline: bool) -> pa.Schema:
    """The columns; with `timeline` the answer is a list of segments."""
    shares = [(f"p_{label}", pa.float32()) for label in labels]
    answer = [("emotion", pa.string()), ("confidence", pa.float32()), *shares]
    if timeline:
        segment = pa.struct([("start", pa.float64()), ("end", pa.float64()), *answer])
        answer = [("seconds", pa.float64()), ("segments", pa.list_(segment))]
    return pa.schema([("path", pa.string()), *answer, ("speech_seconds", pa.float64()), ("error", pa.string())])


def columns(answer: Prediction | Timeline | AudioError) -> dict:
    """The columns of one answer; a segment without an emotion is one in which nobody speaks.

    >>> columns(Prediction.of(("happy", "sad"), (0.25, 0.75), 2.0))
    {'emotion': 'sad', 'confidence': 0.75, 'p_happy': 0.25, 'p_sad': 0.75, 'speech_seconds': 2.0}
    """
    if isinstance(answer, AudioError):
        return {"error": str(answer), "speech_seconds": 0.0 if isinstance(answer, NoSpeechError) else None}
    if isinstance(answer, Prediction):
        return _named(answer) | {"speech_seconds": answer.speech_seconds}
    segments = [{"start": each.start, "end": each.end} | _named(each) for each in answer.segments]
    spoken = sum(each.seconds for each in answer.stretches if each.speech)
    return {"seconds": answer.seconds, "segments": segments, "speech_seconds": spoken}


def _named(found: Prediction | Segment) -> dict:
    shares = {f"p_{label}": share for label, share in found.probabilities.items()}
    return {"emotion": found.emotion, "confidence": found.confidence} | shares


def write(batch: pa.Table, out: str, settings: dict) -> pa.Table:
    """Write a batch as one file of the folder `out`; returns how many recordings it holds and how many failed."""
    # named after its recordings, so that a batch that Ray repeats replaces the same file
    names = batch.column("path").to_pylist()
    digest = hashlib.sha256("\n".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest()
    _put(batch.replace_schema_metadata({_SETTINGS: json.dumps(settings)}), f"{out}/part-{digest[:20]}.parquet")
    return pa.table({"recordings": [batch.num_rows], "failed": [batch.num_rows - batch.column("error").null_count]})


def _put(table: pa.Table, place: str) -> None:
    buffer = pa.BufferOutputStream()
    write_table(table, buffer)
    content = buffer.getvalue().to_pybytes()
    if not storage.is_address(place):
        with replacing(place) as temporary:
            temporary.write_bytes(content)
        return
    files, name = storage.system(place)
    try:
        files.makedirs(name.rpartition("/")[0], exist_ok=True)
        files.pipe_file(name, content)  # appears whole or not at all
    except OSError as error:
        raise OSError(f"{place}: cannot be written: {reason(error).lower()}") from None


def done(out: str, settings: dict) -> dict[str, str | None]:
    """The recordings in the folder `out`, each with its error, or None where it is answered.

    Raises InputError where another model or other settings answered them, or a file is no result.
    """
    found: dict[str, str | None] = {}
    for place in _parts(out):
        table = _read(place, ["path", "error"])
        stored = (table.schema.metadata or {}).get(_SETTINGS)
        check(stored is not None, f"{place}: is no result of ser-gpu score; name another folder with --out")
        stored = json.loads(stored)
        if stored != settings:
            other = "one emotion a recording" if settings["timeline"] else "timelines"
            kind = "another model" if stored.get("timeline") == settings["timeline"] else other
            raise InputError(f"{out}: holds answers of {kind}; name another folder with --out")
        found.update(zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True))
    return found


def forget(out: str, names: Collection[str]) -> None:
    """Remove the rows of some recordings from a folder; each file is replaced whole."""
    for place in _parts(out):
        table = _read(place)
        kept = table.filter(pa.array([name not in names for name in table["path"].to_pylist()], pa.bool_()))
        if kept.num_rows == 0:
            files, name = storage.system(place)
            files.rm_file(name)
        elif kept.num_rows < table.num_rows:
            _put(kept, place)


def _read(place: str, columns: list[str] | None = None) -> pa.Table:
    refused = refusing(place, pa.ArrowInvalid, problem="is not a Parquet file; name another folder with --out")
    with refused, storage.open_file(place) as file, ParquetFile(file) as parquet:
        return parquet.read(columns)


def _parts(out: str) -> list[str]:
    if not storage.is_address(out):
        for left in Path(out).glob(".part-*"):  # left by a process that was killed
            left.unlink(missing_ok=True)
    return [place for place in storage.list_files(out, depth=1) if re.search(r"/[^./][^/]*\.parquet$", place)]
