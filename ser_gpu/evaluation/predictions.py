"""Predictions tables: the answers of trainings as CSV files, one row a clip, also compressed (`.csv.gz`)."""

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser_gpu.corpora.clip import Clip
from ser_gpu.errors import InputError, check, refusing
from ser_gpu.evaluation.report import Answers, field

# all columns but those of the probabilities, one an emotion
FIELDS = ("fold", "seed", "part", "clip", "corpus", "speaker", "gender", "intensity", "emotion", "predicted")


def rows(answers: Answers, part: str) -> list[dict]:
    """What a model answered for each clip of a part."""
    found = []
    for clip, best, shares in zip(answers.clips, answers.predicted, answers.probabilities, strict=True):
        known = {name: field(clip, name) for name in ("corpus", "speaker", "gender", "intensity")}
        named = {"emotion": clip.emotion, "predicted": answers.labels[best]}
        each = {label: f"{share:.5f}" for label, share in zip(answers.labels, shares, strict=True)}
        found.append({"part": part, "clip": clip.id, **known, **named, **each})
    return found


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """The rows of a table; raises InputError where the file is none."""
    kinds = gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError, csv.Error
    opened = (gzip.open if Path(path).suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="")
    with refusing(path, *kinds, problem="damaged, or not a CSV file"), opened as file:
        found = [*csv.DictReader(file)]
    if missing := {"part", "clip", "emotion", "predicted"} - set(found[0] if found else ()):
        raise InputError(f"{path}: not a table of predictions, it has no column {min(missing)}")
    return found


def read(path: str | Path, part: str = "test") -> Answers:
    """The answers to one part; raises InputError where the table holds none, or is no table of predictions."""
    return answers(read_rows(path), part, path)


def answers(rows: Sequence[dict], part: str, path: str | Path = "predictions") -> Answers:
    """The answers to one part in the rows of a table, which errors call `path`; they are those of `read`."""
    found = [row for row in rows if row["part"] == part]
    check(found, f"{path}: no answers to the {part} part")
    labels = tuple(column for column in found[0] if column not in FIELDS)
    problem = "damaged, or not a table of predictions"
    with refusing(path, TypeError, ValueError, problem=problem):  # a field that is empty or no number
        probabilities = np.array([[float(row[label]) for label in labels] for row in found])  # [N, C]
        folds = np.array([int(row.get("fold", 0)) for row in found])
    if not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-3):
        raise InputError(f"{path}: not a table of predictions, {', '.join(labels)} are no probabilities")
    return Answers(tuple(map(_clip, found)), labels, _logits(probabilities), folds=folds)


def _clip(row: dict[str, str]) -> Clip:
    speaker, gender, intensity = (row.get(name) or None for name in ("speaker", "gender", "intensity"))
    path = Path(row["clip"])  # which need not exist
    extra = (("intensity", intensity),) if intensity else ()
    return Clip(row["clip"], path, row["emotion"], speaker, row.get("corpus") or "", gender, extra=extra)


def together(answers: Answers) -> Answers:
    """One answer for each clip and fold: the mean probability of the trainings that answered."""
    rows: dict[tuple[int, str], list[int]] = {}
    for row, (fold, clip) in enumerate(zip(answers.folds, answers.clips, strict=True)):
        rows.setdefault((int(fold), clip.id), []).append(row)
    first = [each[0] for each in rows.values()]
    mean = np.array([answers.probabilities[each].mean(axis=0) for each in rows.values()])  # [N, C]
    clips = tuple(answers.clips[row] for row in first)
    return Answers(clips, answers.labels, _logits(mean), folds=answers.folds[first])


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, 1e-6))  # since a table has five digits
