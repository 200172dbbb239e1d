"""python -m notebooks.execute: run the notebook's source from start to end and write it with its outputs.

The figure of a cell with a tag `figure:NAME` is written to `NAME.png` beside it, for other pages to show.
"""

import argparse
import base64
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from ser_gpu import corpora
from ser_gpu.cli import console, options
from ser_gpu.corpora.find import locate
from ser_gpu.errors import InputError
from ser_gpu.evaluation import figures
from ser_gpu.files import replacing

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "speech_emotion_recognition.py"
CELL_SECONDS = 1_200
_QUIET = {"PYTHONWARNINGS": "ignore:IProgress not found"}  # tqdm asks for widgets, which a stored notebook cannot have
_TAG = "figure:"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, execute, and write."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _execute(args))


def _execute(args: argparse.Namespace) -> int:
    data = Path(args.data) if args.data else locate(corpora.get("ravdess"), progress=console.DownloadBar("RAVDESS"))
    if not data.is_dir():
        raise InputError(f"--data {data}: no such folder")
    notebook = execute(SOURCE, {"RAVDESS_DIR": str(data.resolve())})
    with replacing(args.out) as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    written = [Path(args.out)]
    for name, figure in named_figures(notebook).items():
        written.append(written[0].with_name(f"{name}.png"))
        with replacing(written[-1]) as temporary:
            temporary.write_bytes(figure)
    console.err.print(f"written: {', '.join(map(str, written))}")
    return options.DONE


def execute(source: Path, variables: Mapping[str, str] | None = None) -> nbformat.NotebookNode:
    """The notebook of a percent-format source, with its outputs; the kernel works in the folder of the source.

    Args:
        source: a `.py` file.
        variables: of the kernel's environment, beside those of this process.

    Raises:
        ValueError: a cell failed; the message is the error's last line.
    """
    notebook = jupytext.read(source)
    number_cells(notebook)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        startup_timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=["--log-level=40"],  # errors alone
        record_timing=False,
        resources={"metadata": {"path": str(source.parent)}},
    )
    with console.progress() as progress:
        task = progress.add_task("Executing cells", total=sum(cell.cell_type == "code" for cell in notebook.cells))
        client.on_cell_executed = lambda **_: progress.advance(task)
        try:
            client.execute(env={**os.environ, **_QUIET, **(variables or {})})
        except CellExecutionError as error:
            raise InputError(f"{source.name}: {error.ename}: {error.evalue}") from None
    notebook.metadata.pop("language_info", None)
    compact_figures(notebook)
    return notebook


def compact_figures(notebook: nbformat.NotebookNode) -> None:
    """Store every figure with a palette, which makes the notebook several times smaller."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        if "image/png" in output.get("data", {}):
            content = figures.compact(base64.b64decode(output["data"]["image/png"]))
            output["data"]["image/png"] = base64.b64encode(content).decode()


def named_figures(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """The PNG files of those cells whose tag names one."""
    found = {}
    for cell in notebook.cells:
        for name in (tag.removeprefix(_TAG) for tag in cell.metadata.get("tags", ()) if tag.startswith(_TAG)):
            (data,) = (each["data"]["image/png"] for each in cell.outputs if "image/png" in each.get("data", {}))
            found[name] = base64.b64decode(data)
    return found


def number_cells(notebook: nbformat.NotebookNode) -> None:
    """Give each cell its place as its name, so that an execution does not change what did not change."""
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m notebooks.execute", description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="RAVDESS folder (default: $RAVDESS_DIR, else downloaded)")
    parser.add_argument("--out", default=str(SOURCE.with_suffix(".ipynb")), help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
