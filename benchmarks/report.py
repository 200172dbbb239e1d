"""Tables from the committed JSON: for the terminal, and between the markers of the READMEs."""

import json
from pathlib import Path
from types import ModuleType

from rich.table import Table

from benchmarks import frontend, latency
from ser_gpu.atomic import replacing

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SECTIONS = {ROOT / "README.md": (frontend,), ROOT / "benchmarks" / "README.md": (frontend, latency)}
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def terminal_table(subject: ModuleType, rows: list[dict]) -> Table:
    """The rows of one subject for rich."""
    table = Table(title=subject.TITLE, title_justify="left", title_style="bold", header_style="")
    for i, (heading, _) in enumerate(subject.COLUMNS.values()):
        table.add_column(heading, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*_cells(subject, row))
    return table


def update_readmes() -> None:
    """Write the tables of every README anew from the results."""
    for path, subjects in SECTIONS.items():
        text = updated(path.read_text(encoding="utf-8"), subjects)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def updated(text: str, subjects: tuple[ModuleType, ...]) -> str:
    """A README with its tables between the markers replaced."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{_markdown(subjects)}\n{END}{after}"


def _markdown(subjects: tuple[ModuleType, ...]) -> str:
    blocks = []
    for device in ("cpu", "cuda"):
        path = RESULTS / f"{device}.json"
        if not path.exists():
            blocks.append(f"On {device}: not measured.\n")
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        where = result["environment"]
        for subject in subjects:
            name = subject.__name__.rpartition(".")[2]
            heading = f"{subject.TITLE} ({where['device_name']}, {where['threads']} cores, torch {where['torch']})"
            blocks.append(f"{heading}:\n\n{_markdown_table(subject, result['subjects'][name])}")
    return "\n".join(blocks)


def _markdown_table(subject: ModuleType, rows: list[dict]) -> str:
    headings = [heading for heading, _ in subject.COLUMNS.values()]
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *(_cells(subject, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(subject: ModuleType, row: dict) -> list[str]:
    return [form.format(row[name]) for name, (_, form) in subject.COLUMNS.items()]
