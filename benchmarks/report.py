"""The committed results as tables: for the terminal, and as Markdown for the pages."""

import json
from pathlib import Path

from rich.table import Table

from benchmarks import (
    augment,
    export,
    figures,
    files,
    graph,
    live,
    log_mel,
    pipeline,
    scale,
    score,
    start,
    summary,
    training,
)
from benchmarks.tables import TableForm
from experiments import markdown
from ser_gpu import __version__
from ser_gpu.cli import console
from ser_gpu.evaluation.figures import save

RESULTS = Path(__file__).resolve().parent / "results"
DEVICES = ("cpu", "cuda")
SUBJECTS = {
    "log-mel": log_mel,
    "augment": augment,
    "pipeline": pipeline,
    "start": start,
    "live": live,
    "files": files,
    "training": training,
    "graph": graph,
    "scale": scale,
    "score": score,
    "export": export,
}


def terminal_table(form: TableForm, rows: list[dict]) -> Table:
    """One table for rich."""
    form = form.shown(rows)
    table = console.table(form.title, form.headings)
    for row in rows:
        table.add_row(*form.cells(row))
    return table


def summary_table() -> str:
    """Each speed beside the fastest of the others in the same run, on each device that was measured; Markdown."""
    blocks = [
        f"{_machine(shown)}:\n\n{_markdown(summary.FORM, summary.rows(shown))}"
        for result in results().values()
        if (shown := summary.subjects(result or {}))
    ]
    missing = [device for device, result in results().items() if not result]
    return "\n\n".join([*blocks, *(f"On {device}: not measured." for device in missing)])


def tables() -> str:
    """Every table of every subject, on each device that was measured; Markdown."""
    blocks = []
    for device, result in results().items():
        if not result:
            blocks.append(f"## On {device}\n\nNot measured.")
            continue
        blocks.append(f"## On {device}: {_machine(result)}")
        for name in (each for each in SUBJECTS if each in result):
            blocks += [f"### {name}", f"{_version(result[name])}.", *_tables_of(name, result)]
            if name == "log-mel":
                blocks.append(f"![Log-mel clips a second against the batch](results/{device}.batch.png)")
        blocks.append(f"Not measured: {', '.join(sorted({*SUBJECTS} - {*result}))}.")
    return "\n\n".join(blocks)


def tables_of(name: str) -> str:
    """Every table of one subject, on each device that was measured; Markdown."""
    blocks = []
    for device, result in results().items():
        if not result or name not in result:
            blocks.append(f"On {device}: not measured.")
            continue
        blocks += [f"On {device}: {_machine({name: result[name]})}.", *_tables_of(name, result)]
    return "\n\n".join(blocks)


def _tables_of(name: str, result: dict) -> list[str]:
    measured = ((form, result[name]["tables"].get(key)) for key, form in SUBJECTS[name].TABLES.items())
    return [f"{form.title}:\n\n{_markdown(form.shown(rows), rows)}" for form, rows in measured if rows]


def draw_figures() -> None:
    """Draw the figures anew from the results."""
    for device, result in results().items():
        if result and "log-mel" in result:
            save(figures.by_batch(result["log-mel"]), RESULTS / f"{device}.batch.png", dpi=110)


def results() -> dict[str, dict | None]:
    """What was measured on each device, by subject; None on one that was not measured."""
    paths = {device: RESULTS / f"{device}.json" for device in DEVICES}
    return {device: json.loads(path.read_text("utf-8")) if path.exists() else None for device, path in paths.items()}


def _machine(result: dict) -> str:
    """The device, cores, versions and dates of a result, in words."""
    first = next(iter(result.values()))
    where = first["environment"]
    names = [where["device_name"] if where["device"] == "cuda" else None, first.get("processor")]
    machine = ", ".join(filter(None, names)) or where["device_name"]
    return f"{machine}, {where['threads']} cores, torch {where['torch']}; {_version(*result.values())}"


def _version(*measured: dict) -> str:
    """Which code was measured, and when."""
    versions = ", ".join(sorted({each["environment"]["ser_gpu"] for each in measured}))
    commits = ", ".join(sorted({each["commit"] for each in measured if "commit" in each}))
    days = sorted({each["measured"][:10] for each in measured})
    older = "" if versions == __version__ else ", older than this code"
    code = f"ser_gpu {versions}{f' ({commits})' if commits else ''}{older}"
    return f"{code}, measured {' to '.join(dict.fromkeys((days[0], days[-1])))}"


def _markdown(form: TableForm, rows: list[dict]) -> str:
    return markdown.table([dict(zip(form.headings, form.cells(row), strict=True)) for row in rows])
