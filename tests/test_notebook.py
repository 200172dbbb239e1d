"""The notebook runs on synthetic data; the committed one is its source and outputs, without a clip or a path."""

import io
import re

import jupytext
import nbformat
import pytest
from PIL import Image

from notebooks import execute
from tests import notebook_results

NOTEBOOK = execute.SOURCE.with_suffix(".ipynb")
LARGEST = 1_500_000
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|usr|opt|var|mnt|private|Users)/")
SECTIONS = (
    "The data",
    "Cleaning",
    "What emotion looks like",
    "From waveform to log-mel spectrogram",
    "Augmentation",
    "The network",
    "Training",
    "Results",
    "Pitch bias",
    "Calibration and occlusion",
    "Try it",
    "Your own voice",
    "The assignment, line by line",
    "References",
)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def check_outputs(notebook):
    """No error, no noise, no audio, no path of a machine; something to see under every cell that ends in a value."""
    for cell in code_cells(notebook):
        kinds = {output.output_type for output in cell.outputs}
        assert kinds <= {"execute_result", "display_data"}, f"{kinds} under: {cell.source[:80]}"
        for output in cell.outputs:
            assert not any(kind.startswith("audio") for kind in output.data)
            for kind, content in output.data.items():
                assert "<audio" not in content
                assert "\x1b" not in content, "colours of a terminal"
                assert kind == "image/png" or not MACHINE_PATH.search(content), content[:200]


@pytest.fixture(scope="module")
def source():
    return jupytext.read(execute.SOURCE)


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tiny_ravdess, tmp_path_factory):
    """The source, run on synthetic voices and on results of tiny trainings on them."""
    results = notebook_results.make(tmp_path_factory.mktemp("results"), tiny_ravdess)
    return execute.execute(execute.SOURCE, {"RAVDESS_DIR": str(tiny_ravdess), "SER_GPU_RESULTS": str(results)})


def test_the_source_runs_from_start_to_end(executed):
    check_outputs(executed)
    figures = [output for cell in code_cells(executed) for output in cell.outputs if "image/png" in output.data]
    assert len(figures) >= 20


def test_the_figures_for_other_pages_are_those_of_the_notebook(executed):
    found = execute.named_figures(executed)
    assert set(found) == {"angry-against-sad", "confusion-new-speakers"}
    for figure in found.values():
        image = Image.open(io.BytesIO(figure))
        assert image.width > 400
        assert image.mode == "P", "with a palette, which is several times smaller"


def test_every_section_is_there_in_its_order(source):
    text = "\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    assert re.findall(r"^## \d+\. (.+)$", text, flags=re.MULTILINE) == list(SECTIONS)


def test_code_cells_are_short(source):
    longest = max(code_cells(source)[1:], key=lambda cell: len(cell.source.splitlines()))
    assert len(longest.source.splitlines()) <= 22, longest.source


def test_the_committed_notebook_is_the_source_with_outputs(committed, source):
    assert [(cell.cell_type, cell.source) for cell in committed.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ]
    counts = [cell.execution_count for cell in code_cells(committed)]
    assert counts == list(range(1, len(counts) + 1)), "run from start to end, once"
    check_outputs(committed)
    silent = [cell.source.splitlines()[0] for cell in code_cells(committed) if not cell.outputs]
    assert not silent, f"cells without an output: {silent}"


def test_the_committed_notebook_is_small(committed):
    assert NOTEBOOK.stat().st_size < LARGEST


def test_a_cell_that_fails_is_one_line(tmp_path):
    path = tmp_path / "failing.py"
    path.write_text("# %%\nimport os\n1 / (os.environ['SAID'] == 'no')\n")
    with pytest.raises(ValueError, match=r"failing\.py: ZeroDivisionError: division by zero"):
        execute.execute(path, {"SAID": "yes"})


def test_no_data_is_one_line(tmp_path, capsys):
    out = tmp_path / "out.ipynb"
    assert execute.main(["--data", str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not out.exists()


def test_execution_writes_the_notebook_and_its_figures(tiny_ravdess, tmp_path, monkeypatch, capsys):
    path = tmp_path / "small.py"
    lines = ["# %% [markdown]", "# A line.", "", '# %% tags=["figure:line"]', "# %matplotlib inline"]
    lines += ["import matplotlib.pyplot as plt", "", "plt.plot([0, 1]);"]
    path.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(execute, "SOURCE", path)
    out = tmp_path / "written" / "small.ipynb"
    assert execute.main(["--data", str(tiny_ravdess), "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().err
    assert nbformat.read(out, as_version=4).cells[0].source == "A line."
    assert Image.open(out.with_name("line.png")).width > 100
    assert [each.name for each in sorted(out.parent.iterdir())] == ["line.png", "small.ipynb"]
