"""The result of scoring: a folder of Parquet files, a row a recording, each file written whole."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_gpu.errors import InputError
from ser_gpu.prediction import Prediction
from ser_gpu.scale import storage
from ser_gpu.timeline.segment import Segment, Timeline

if TYPE_CHECKING:
    import pyarrow as pa

_SETTINGS = b"ser_gpu"


def schema(labels: Sequence[str], timeline: bool) -> "pa.Schema":
    """The columns: path, emotion, confidence, a probability for each label, seconds of speech, error; of a timeline
    path, seconds, seconds of speech, segments, error.
    """
    import pyarrow as pa

    answer = [("emotion", pa.string()), ("confidence", pa.float32())]
    answer += [(_column(label), pa.float32()) for label in labels]
    if timeline:
        segment = pa.struct([("start", pa.float64()), ("end", pa.float64()), *answer])
        answer = [("seconds", pa.float64()), ("segments", pa.list_(segment))]
    return pa.schema([("path", pa.string()), *answer, ("speech_seconds", pa.float64()), ("error", pa.string())])


def of_prediction(answer: Prediction) -> dict:
    """The columns of one answer.

    >>> of_prediction(Prediction.of(("happy", "sad"), (0.25, 0.75), 2.0))
    {'emotion': 'sad', 'confidence': 0.75, 'p_happy': 0.25, 'p_sad': 0.75, 'speech_seconds': 2.0}
    """
    return _answer(answer) | {"speech_seconds": answer.speech_seconds}


def of_timeline(timeline: Timeline) -> dict:
    """The columns of one timeline; a segment without an emotion is one in which nobody speaks."""
    segments = [{"start": each.start, "end": each.end} | _answer(each) for each in timeline.segments]
    spoken = sum(each.seconds for each in timeline.stretches if each.speech)
    return {"seconds": timeline.seconds, "segments": segments, "speech_seconds": spoken}


def _answer(found: Prediction | Segment) -> dict:
    shares = {_column(label): share for label, share in found.probabilities.items()}
    return {"emotion": found.emotion, "confidence": found.confidence} | shares


def _column(label: str) -> str:
    return f"p_{label}"


def write(batch: "pa.Table", out: str, settings: dict) -> "pa.Table":
    """Write a batch as one file of the folder `out`; how many recordings it holds, and how many of them failed.

    The file is named after the recordings in it: a batch that Ray does again is written to the same place.
    """
    import pyarrow as pa
    from pyarrow.parquet import write_table

    names = batch.column("path").to_pylist()
    digest = hashlib.sha256("\n".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest()
    buffer = pa.BufferOutputStream()
    write_table(batch.replace_schema_metadata({_SETTINGS: json.dumps(settings)}), buffer)
    storage.write_file(f"{out}/part-{digest[:20]}.parquet", buffer.getvalue().to_pybytes())
    failed = batch.num_rows - batch.column("error").null_count
    return pa.table({"recordings": [batch.num_rows], "failed": [failed]})


def done(out: str, settings: dict) -> set[str]:
    """The recordings that a folder holds already, with an answer or an error.

    Raises:
        ValueError: they were answered by another model, or in another way; or a file there is no result.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    found: set[str] = set()
    for place in _files(out):
        try:
            with storage.open_file(place) as file, ParquetFile(file) as parquet:
                stored = (parquet.schema_arrow.metadata or {}).get(_SETTINGS)
                if stored is None:
                    raise InputError(f"{place}: is no result of ser-gpu score; name another folder with --out")
                if difference := _difference(json.loads(stored), settings):
                    raise InputError(f"{out}: holds answers of {difference}; name another folder with --out")
                found.update(parquet.read(["path"]).column(0).to_pylist())
        except pa.ArrowInvalid:
            raise InputError(f"{place}: is not a Parquet file; name another folder with --out") from None
    return found


def _files(out: str) -> list[str]:
    if storage.is_address(out):
        return [place for place in storage.list_files(out) if place.endswith(".parquet")]
    for left in Path(out).glob(".part-*"):  # of a process that was killed while it wrote
        left.unlink(missing_ok=True)
    return [str(path) for path in sorted(Path(out).glob("*.parquet")) if not path.name.startswith(".")]


def _difference(stored: dict, settings: dict) -> str | None:
    """What is not the same, in words."""
    if stored.get("timeline") != settings["timeline"]:
        return "one emotion a recording" if settings["timeline"] else "timelines"
    return None if stored == settings else "another model"
