"""The pages: tables are those of the committed JSON, links lead somewhere, and what is shown is what happens."""

import csv
import json
import re
import shlex
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from experiments import pages
from ser_gpu import predict
from ser_gpu.cli import options
from ser_gpu.cli.main import COMMANDS
from ser_gpu.config import AugmentConfig, CnnConfig, ModelConfig
from ser_gpu.corpora import known
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages import cnn, prepared, waveform_augment
from ser_gpu.training.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
MARKDOWN = sorted(
    {*pages.PAGES, ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md", *(ROOT / "docs").glob("*.md")}
)
SHIPPED = ("ser_ravdess", "ser_ravdess_actors")
MOST_WORDS = {"README.md": 1_200, "weights/README.md": 2_500}
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:do )?(?:ser-gpu|(?:python|torchrun \S+) -m) (\S+)(.*)")
PROGRAMS = {"ser_gpu.timeline": "ser_gpu.timeline.command", "benchmarks": "benchmarks.command"}
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """A page without its blocks of code."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page, language):
    found = re.findall(r"^```(\S*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [text for of, text in found if of == language]


def commands(page):
    """The module and the words of each command of this project on a page; what stands for options, [--x], is none."""
    variables = []
    for line in "\n".join(blocks(page, "")).replace("\\\n", "").splitlines():
        line = line.split(" #")[0].removeprefix("$ ")
        variables += re.findall(r'^(\w+)="(.*)"$', line) + re.findall(r"for (\w+) in ([^\s;]+)", line)
        for variable, value in variables:
            line = line.replace(f"${variable}", value)
        for part in re.split(r"[|;]", line):
            found = COMMAND.match(part.strip())
            if found and not re.search(r"\.\.\.|\[-", part):
                module = f"ser_gpu.{found[1]}" if found[1] in COMMANDS else found[1]
                yield PROGRAMS.get(module, module), shlex.split(found[2])


def read(path):
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", pages.PAGES, ids=name)
def test_tables_are_generated_from_the_results(page):
    assert pages.updated(page) == page.read_text(encoding="utf-8"), "python -m experiments.pages writes them"


def test_every_table_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in pages.PAGES)
    for table in pages.TABLES:
        assert text.count(f"<!-- {table}: begin -->") == text.count(f"<!-- {table}: end -->") >= 1, table


@pytest.mark.parametrize("page", MARKDOWN, ids=name)
def test_links_and_anchors_resolve(page):
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", MOST_WORDS)
def test_the_readme_and_the_model_card_are_short(page):
    assert len((ROOT / page).read_text(encoding="utf-8").split()) <= MOST_WORDS[page]


def test_the_readme_shows_what_predict_prints(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    # as a processor shows it that does not multiply in bfloat16; another one's percents differ by some tenths
    monkeypatch.setattr(prepared, "multiplies_bfloat16", lambda: False)
    (block,) = (block for block in blocks(ROOT / "README.md", "") if block.startswith("$ ser-gpu predict examples"))
    command, shown = block.split("\n", 1)
    assert predict.main([*command.split()[3:], "--device", "cpu"]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert printed == [line.rstrip() for line in shown.splitlines()]


def test_the_readme_has_code_that_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    first, second, third, _ = blocks(ROOT / "README.md", "python")  # test_export runs the last one
    names = {"waveform": torch.zeros(2, 48_000)}
    third = re.sub(r'"\w+\.wav"', '"examples/sample.wav"', third)
    exec(first + second.replace("model(waveform)", "model(waveform.to(model.device))") + third, names)
    assert capsys.readouterr().out.startswith("happy 0.")
    assert names["voice"].recordings == 3
    assert names["probabilities"].sum(dim=1).tolist() == pytest.approx([1, 1])


def test_the_commands_page_shows_lines_of_a_stored_training():
    with (ROOT / "weights" / "ser_ravdess_actors.metrics.csv").open() as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for row in (rows[0], rows[-1]):
        assert (
            f"epoch {row['epoch']:.0f}/{len(rows)}  loss {row['train_loss']:.3f}  "
            f"validation accuracy {row['validation_accuracy']:.3f}  UAR {row['validation_uar']:.3f}  "
            f"{row['clips_per_second']:.0f} clips/s"
        ) in text


def test_the_commands_page_has_every_command():
    headings = re.findall(r"^## (.+)$", prose(ROOT / "docs" / "commands.md"), flags=re.MULTILINE)
    assert set(COMMANDS) <= {name.strip() for heading in headings for name in heading.split(",")}


@pytest.mark.parametrize("page", MARKDOWN, ids=name)
def test_the_commands_of_a_page_have_options_that_exist(page, monkeypatch):
    monkeypatch.setattr(options, "run", lambda work: "parsed")
    for module, words in commands(page):
        if module not in ("pytest", "venv"):
            assert import_module(module).main(words) == "parsed", (module, words)


def test_the_layout_page_lists_every_module():
    text = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "ser_gpu").rglob("*.py")} - {"__init__.py", "__main__.py", "version.py"}
    assert not {module for module in modules if module not in text}


def test_contributing_shows_a_network_a_transform_and_a_corpus_that_work(monkeypatch):
    *shown, entry = blocks(ROOT / "CONTRIBUTING.md", "python")
    assert all(len([line for line in block.splitlines() if line]) <= 15 for block in (*shown, entry))
    network, transform = ({"__name__": "shown"} for _ in range(2))
    for names, block in zip((network, transform), shown, strict=True):
        exec(block, names)
    (corpus,) = eval(f"({entry})", vars(known))  # an entry of the table there
    monkeypatch.setitem(cnn.NETWORKS, "mine", network["MyCnn"])
    monkeypatch.setitem(waveform_augment.TRANSFORMS, "polarity", transform["flip_polarity"])
    augment = AugmentConfig(chain="warp,channel,noise,polarity")
    model = SpeechEmotionModel(ModelConfig(augment=augment, cnn=CnnConfig(network="mine"))).train()
    assert model(torch.randn(4, 48_000)).shape == (4, 8)
    clip = corpus.parse("12_ANG_3.wav")
    assert (clip.emotion, clip.speaker) == ("angry", "12")
    assert corpus.parse("03-01-01-01-01-01-01.wav") == known.FOREIGN


@pytest.mark.parametrize("shipped", SHIPPED)
def test_the_evaluation_is_of_the_split_and_the_training_on_the_card(shipped):
    evaluation, training = (read(f"weights/{shipped}.{kind}.json") for kind in ("evaluation", "training"))
    assert evaluation["manifest_hash"] == training["manifest_hash"]
    assert evaluation["trained_clips_allowed"] is False
    # these trainings scored the middle three seconds of a longer clip, where `evaluate` averages its windows: one clip
    # in fifty is longer, and one of the test part may change sides
    assert evaluation["accuracy"] == pytest.approx(training["test"]["accuracy"], abs=1.01 / evaluation["clips"])


@pytest.mark.parametrize("protocol", ["stratified", "grouped"])
def test_numbers_of_epochs_are_compared_on_one_split_with_all_else_equal(protocol):
    shorter = read(f"weights/runs/{protocol}-60-epochs.json")
    rows = read(f"weights/crossvalidation/{protocol}.json")["rows"]
    longer = next(row for row in rows if (row["fold"], row["seed"]) == (0, 0))
    assert longer["manifest_hash"] == shorter["manifest_hash"]
    assert shorter["config"]["training"].pop("epochs") == 60
    assert longer["config"]["training"].pop("epochs") == TrainConfig().epochs
    assert longer["config"] == shorter["config"]


@pytest.mark.parametrize("path", sorted((ROOT / "weights" / "crossvalidation").glob("*.json")), ids=lambda p: p.stem)
def test_stored_settings_are_those_of_a_model_of_today(path):
    rows = read(path)["rows"]
    for row in rows:
        stored = row["config"]["model"]
        stored["trim"].setdefault("fill", "silence")
        stored["mel"].setdefault("mean_subtraction", 0.0)
        assert ModelConfig.from_dict(stored).as_dict() == stored
        TrainConfig(**row["config"]["training"])
    assert all((a["seed"], a["fold"]) < (b["seed"], b["fold"]) for a, b in pairwise(rows))
