"""Many trainings as one table: a row each, and mean and spread over folds and over seeds."""

from collections.abc import Sequence
from statistics import fmean, stdev

METRICS = ("accuracy", "uar", "macro_f1", "calibration_error")


def table(name: str, protocol: str, results: Sequence[dict], planned: int) -> dict:
    """Rows and summary of the trainings whose results these are.

    Args:
        results: what `ser_gpu.train` wrote, one a training.
        planned: trainings that the table is meant to hold.

    Raises:
        ValueError: trainings that differ in more than fold and seed.
    """
    if difference := _first_difference([_settings(result) for result in results]):
        raise ValueError(f"{name}: not trainings of one recipe, they differ in {difference}; use another --name")
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


def ablation(protocol: str, variants: dict[str, list[str]], results: dict[str, Sequence[dict]]) -> dict:
    """Validation UAR of each variant, and its difference from the first one, fold by fold and seed by seed. What a
    training says of its test part is left out.

    Args:
        variants: name -> settings in which it differs; the first one is the recipe.
        results: name -> what `ser_gpu.train` wrote.
    """
    rows = {name: [_row(result, ("validation",)) for result in each] for name, each in results.items()}
    recipe = {_place(row): row["validation"]["uar"] for row in rows[next(iter(variants))]}
    return {
        "protocol": protocol,
        "variants": [
            {"name": name, "settings": settings, **_against(recipe, rows[name]), "rows": rows[name]}
            for name, settings in variants.items()
            if rows[name]
        ],
    }


def _settings(result: dict) -> dict[str, object]:
    """Every value of a configuration by its full name, without fold and seed."""
    parts = {"training": result["config"]["training"], **result["config"]["model"]}
    values = {f"{part}.{name}": value for part, config in parts.items() for name, value in config.items()}
    return {name: value for name, value in values.items() if name not in ("training.fold", "training.seed")}


def _first_difference(settings: Sequence[dict[str, object]]) -> str | None:
    names = sorted(set().union(*settings))
    return next((name for name in names if len({repr(each.get(name)) for each in settings}) > 1), None)


def _against(recipe: dict[tuple, float], rows: Sequence[dict]) -> dict:
    paired = [row["validation"]["uar"] - recipe[_place(row)] for row in rows if _place(row) in recipe]
    several = len(paired) > 1
    return {
        "runs": len(rows),
        "parameters": rows[0]["parameters"],
        "seconds": fmean(row["seconds"] for row in rows),
        "validation": {metric: fmean(row["validation"][metric] for row in rows) for metric in METRICS},
        "difference": fmean(paired) if paired else None,
        "standard_error": stdev(paired) / len(paired) ** 0.5 if several else None,
    }


def _place(row: dict) -> tuple[int, int]:
    return row["fold"], row["seed"]


def _spread(rows: Sequence[dict], part: str, metric: str, axis: str) -> float | None:
    groups: dict[int, list[float]] = {}
    for row in rows:
        groups.setdefault(row[axis], []).append(row[part][metric])
    means = [fmean(values) for values in groups.values()]
    return stdev(means) if len(means) > 1 else None


def _row(result: dict, parts: Sequence[str] = ("validation", "test")) -> dict:
    kept = (
        "fold",
        "seed",
        "manifest_hash",
        "parameters",
        "bfloat16",
        "temperature",
        "seconds",
        "config",
        "environment",
    )
    scores = {
        part: {name: result[part][name] for name in ("clips", *METRICS, "by_sex")} for part in parts if part in result
    }
    return {name: result[name] for name in kept} | scores
