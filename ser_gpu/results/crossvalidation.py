"""Many trainings as one table: a row each, and mean and spread over folds and over seeds."""

from collections.abc import Sequence
from statistics import fmean, stdev

METRICS = ("accuracy", "uar", "macro_f1", "calibration_error")


def table(name: str, protocol: str, results: Sequence[dict], planned: int) -> dict:
    """Rows and summary of the trainings whose results these are.

    Args:
        results: what `ser_gpu.train` wrote, one a training.
        planned: trainings that the table is meant to hold.
    """
    rows = [_row(result) for result in results]
    parts = [part for part in ("validation", "test") if all(part in row for row in rows)]
    return {
        "name": name,
        "protocol": protocol,
        "runs": len(rows),
        "planned": planned,
        "summary": {part: summary(rows, part) for part in parts},
        "rows": rows,
    }


def summary(rows: Sequence[dict], part: str) -> dict[str, dict]:
    """Of each metric: the mean over all runs, the standard deviation over seeds of the mean over their folds, and the
    standard deviation over folds of the mean over their seeds; None where there is but one.
    """
    return {
        metric: {
            "mean": fmean(row[part][metric] for row in rows),
            "sd_seeds": _spread(rows, part, metric, "seed"),
            "sd_folds": _spread(rows, part, metric, "fold"),
        }
        for metric in METRICS
    }


def _spread(rows: Sequence[dict], part: str, metric: str, axis: str) -> float | None:
    groups: dict[int, list[float]] = {}
    for row in rows:
        groups.setdefault(row[axis], []).append(row[part][metric])
    means = [fmean(values) for values in groups.values()]
    return stdev(means) if len(means) > 1 else None


def _row(result: dict) -> dict:
    kept = ("fold", "seed", "manifest_hash", "parameters", "temperature", "seconds", "config", "environment")
    scores = {
        part: {name: result[part][name] for name in ("clips", *METRICS, "by_sex")}
        for part in ("validation", "test")
        if part in result
    }
    return {name: result[name] for name in kept} | scores
