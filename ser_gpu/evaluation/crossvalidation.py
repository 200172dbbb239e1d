"""Many trainings as one table: a row each, and mean and spread over folds and over seeds."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import fmean, stdev

from ser_gpu.errors import InputError
from ser_gpu.settings import first_difference
from ser_gpu.training.config import TrainConfig

METRICS = ("accuracy", "uar", "macro_f1", "ece")
PARTS = ("validation", "test")
_KEPT = ("fold", "seed", "manifest_hash", "parameters", "bfloat16", "temperature", "seconds", "config", "environment")


def table(name: str, protocol: str, results: Sequence[dict], planned: int) -> dict:
    """Rows and summary of trainings, of which `ser-gpu train` wrote the results; `planned` are all that there will be.

    Raises InputError where trainings differ in more than fold and seed.
    """
    first, *others = map(_settings, results)
    if difference := next(filter(None, (first_difference(first, other) for other in others)), None):
        raise InputError(f"{name}: not trainings of one recipe, {difference}; use another --name")
    rows = [row(result) for result in results]
    return {
        "name": name,
        "protocol": protocol,
        "runs": len(rows),
        "planned": planned,
        "summary": {part: summary(rows, part) for part in PARTS if all(part in row for row in rows)},
        "rows": rows,
    }


def row(result: dict, parts: Sequence[str] = PARTS) -> dict:
    """What a table keeps of a training: fold, seed, settings, and the scores of these parts."""
    scores = {
        part: {name: result[part][name] for name in ("clips", *METRICS, "log_loss", "by")}
        for part in parts
        if part in result
    }
    return {name: result[name] for name in _KEPT} | {"init_sha256": result.get("init_sha256")} | scores


def summary(rows: Sequence[dict], part: str) -> dict[str, dict]:
    """Of each metric the mean over all runs; the standard deviation over seeds of the mean over their folds, and over
    folds of the mean over their seeds, None where there is but one."""
    found = {}
    for metric in METRICS:
        found[metric] = {"mean": fmean(row[part][metric] for row in rows)}
        for axis in ("seed", "fold"):
            groups: dict[int, list[float]] = {}
            for row in rows:
                groups.setdefault(row[axis], []).append(row[part][metric])
            means = [fmean(values) for values in groups.values()]
            found[metric][f"sd_{axis}s"] = stdev(means) if len(means) > 1 else None
    return found


def _settings(result: dict) -> dict[str, object]:
    training = asdict(replace(TrainConfig.from_dict(result["config"]["training"]), fold=0, seed=0))
    begun = result.get("init_sha256") is not None  # with other weights, which may be others for each training
    return {"training": training, **result["config"]["model"], "a network to begin with": begun}
