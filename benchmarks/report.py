"""The committed results as tables: for the terminal, and as Markdown for the pages."""

import json
from pathlib import Path

from rich.table import Table

from benchmarks import (
    augment,
    export,
    figures,
    files,
    frontend,
    latency,
    live,
    pipeline,
    scale,
    score,
    summary,
    training,
)
from benchmarks.tables import TableForm
from experiments import markdown
from ser_gpu.cli import console
from ser_gpu.evaluation.figures import save

RESULTS = Path(__file__).resolve().parent / "results"
DEVICES = ("cpu", "cuda")
SUBJECTS = {
    "frontend": frontend,
    "augment": augment,
    "pipeline": pipeline,
    "latency": latency,
    "live": live,
    "files": files,
    "training": training,
    "scale": scale,
    "score": score,
    "export": export,
}


def terminal_table(form: TableForm, rows: list[dict]) -> Table:
    """One table for rich."""
    table = console.table(form.title, form.headings)
    for row in rows:
        table.add_row(*form.cells(row))
    return table


def summary_table() -> str:
    """Each speed beside the best baseline of the same run, on each device that was measured; Markdown."""
    blocks = [
        f"{_machine(result)}:\n\n{_markdown(summary.FORM, summary.rows(result))}"
        for result in results().values()
        if result
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
        for name in SUBJECTS:
            blocks += [f"### {name}", *_tables_of(name, result)]
            if name == "frontend" and name in result:
                blocks.append(f"![Log-mel clips a second against the batch](results/{device}.batch.png)")
    return "\n\n".join(blocks)


def tables_of(name: str) -> str:
    """Every table of one subject, on each device that was measured; Markdown."""
    blocks = []
    for device, result in results().items():
        if not result or name not in result:
            blocks.append(f"On {device}: not measured.")
            continue
        quick = ", a short run" if result[name]["quick"] else ""
        blocks += [f"On {device}: {_machine({name: result[name]})}{quick}.", *_tables_of(name, result)]
    return "\n\n".join(blocks)


def _tables_of(name: str, result: dict) -> list[str]:
    if name not in result:
        return ["Not measured."]
    forms = SUBJECTS[name].TABLES.items()
    return [f"{form.title}:\n\n{_markdown(form, result[name]['tables'][key])}" for key, form in forms]


def draw_figures() -> None:
    """Draw the figures anew from the results."""
    for device, result in results().items():
        if result and "frontend" in result:
            save(figures.by_batch(result["frontend"]), RESULTS / f"{device}.batch.png", dpi=110)


def results() -> dict[str, dict | None]:
    """What was measured on each device, by subject; None on one that was not measured."""
    paths = {device: RESULTS / f"{device}.json" for device in DEVICES}
    return {device: json.loads(path.read_text("utf-8")) if path.exists() else None for device, path in paths.items()}


def _machine(result: dict) -> str:
    """The device, cores, versions and dates of a result, in words."""
    where = next(iter(result.values()))["environment"]
    versions = ", ".join(sorted({each["environment"]["ser_gpu"] for each in result.values()}))
    days = sorted({each["measured"][:10] for each in result.values()})
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    machine = f"{where['device_name']}, {where['threads']} cores, torch {where['torch']}"
    return f"{machine}; ser_gpu {versions}, measured {when}"


def _markdown(form: TableForm, rows: list[dict]) -> str:
    return markdown.table([dict(zip(form.headings, form.cells(row), strict=True)) for row in rows])
