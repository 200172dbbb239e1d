"""Tables and figures from the committed JSON: for the terminal, between the markers of the READMEs, as pictures."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from benchmarks import augment, figures, frontend, latency, pipeline, scale, summary, training
from benchmarks.tables import TableForm
from ser_gpu.atomic import replacing

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
README, DETAILS = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
SUBJECTS = (frontend, augment, pipeline, latency, training, scale)
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def terminal_table(form: TableForm, rows: list[dict]) -> Table:
    """One table for rich."""
    table = Table(title=form.title, title_justify="left", title_style="bold", header_style="")
    for i, heading in enumerate(form.headings):
        table.add_column(heading, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*form.cells(row))
    return table


def update() -> None:
    """Draw the figures and write the tables of the READMEs anew from the results."""
    for result in _results().values():
        if result and "frontend" in result:
            with replacing(RESULTS / f"{_device(result)}.batch.png") as temporary:
                figures.by_batch(result["frontend"]).savefig(temporary, dpi=110)
    for path in (README, DETAILS):
        with replacing(path) as temporary:
            temporary.write_text(updated(path), encoding="utf-8")


def updated(path: Path) -> str:
    """A README with what stands between its markers replaced."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    content = _summary() if path == README else _details()
    return f"{before}{BEGIN}\n\n{content}\n{END}{after}"


def _summary() -> str:
    blocks = []
    for device, result in _results().items():
        if result:
            blocks.append(f"{_where(result)}:\n\n{_markdown(summary.FORM, summary.rows(result))}")
            blocks.append(f"![Log-mel clips a second against the batch](benchmarks/results/{device}.batch.png)\n")
        else:
            blocks.append(f"On {device}: not measured.\n")
    return "\n".join(blocks)


def _details() -> str:
    blocks = []
    for device, result in _results().items():
        if not result:
            blocks.append(f"## On {device}\n\nNot measured.\n")
            continue
        blocks.append(f"## On {device}: {_where(result)}\n")
        for subject in SUBJECTS:
            name = subject.__name__.rpartition(".")[2]
            blocks.append(f"### {name}\n")
            if name not in result:
                blocks.append("Not measured.\n")
                continue
            for key, form in subject.TABLES.items():
                blocks.append(f"{form.title}:\n\n{_markdown(form, result[name]['tables'][key])}")
            if name == "frontend":
                blocks.append(f"![Log-mel clips a second against the batch](results/{device}.batch.png)\n")
    return "\n".join(blocks)


def _results() -> dict[str, dict | None]:
    paths = {device: RESULTS / f"{device}.json" for device in ("cpu", "cuda")}
    return {device: json.loads(path.read_text("utf-8")) if path.exists() else None for device, path in paths.items()}


def _device(result: dict) -> str:
    return next(iter(result.values()))["environment"]["device"]


def _where(result: dict) -> str:
    where = next(iter(result.values()))["environment"]
    return f"{where['device_name']}, {where['threads']} cores, torch {where['torch']}"


def _markdown(form: TableForm, rows: list[dict]) -> str:
    lines: list[Sequence[str]] = [form.headings, ["---"] + ["---:"] * (len(form.headings) - 1)]
    lines += [form.cells(row) for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
