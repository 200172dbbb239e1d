"""Figures in READMEs are those of the committed JSON."""

import json
import re
from pathlib import Path
from statistics import fmean, stdev

import pytest

from benchmarks import report
from experiments import card, sections
from ser_gpu.config import TrainConfig

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
CARD = (ROOT / "weights" / "README.md").read_text()
README = (ROOT / "README.md").read_text()
HEADLINE = (("accuracy", "accuracy"), ("uar", "UAR"), ("macro_f1", "macro F1"))


def read(path):
    return json.loads(path.read_text())


def between(text, begin, end):
    return text.split(begin)[1].split(end)[0]


def row(text, label):
    """The cells of the one table row that starts with `label`."""
    (line,) = re.findall(rf"^\| {re.escape(label)} \|(.*)\|$", text, flags=re.MULTILINE)
    return [cell.strip() for cell in line.split("|")]


@pytest.fixture(params=sections.SHIPPED)
def shipped(request):
    """The name of a file, its evaluation, and what the card says of it."""
    said = between(CARD, f"### `{request.param}.pth` on its test part", "![Confusion")
    return request.param, read(ROOT / "weights" / f"{request.param}.evaluation.json"), said


def check_headline(text, evaluation):
    for name, label in HEADLINE:
        low, high = evaluation["interval95"][name]
        assert row(text, label) == [f"{evaluation[name]:.3f}", f"{low:.3f} to {high:.3f}"]
    assert row(text, "calibration error (15 bins)")[0] == f"{evaluation['calibration_error']:.3f}"
    before = f"{evaluation['calibration_error_before_temperature']:.3f}"
    assert row(text, "the same before temperature")[0] == before


def test_the_readme_has_the_scores_of_the_default_weights():
    text = between(README, "<!-- headline: begin -->", "<!-- headline: end -->")
    check_headline(text, read(ROOT / "weights" / "ser_ravdess.evaluation.json"))


@pytest.mark.parametrize("path", sorted((ROOT / "weights" / "crossvalidation").glob("*.json")), ids=lambda p: p.stem)
@pytest.mark.parametrize("page", [README, CARD], ids=["readme", "card"])
def test_the_pages_have_every_cross_validation(page, path):
    text = between(page, "<!-- cross-validations: begin -->", "<!-- cross-validations: end -->")
    table = read(path)
    _, trainings, *scores, interval, calibration_error, of_all = row(text, f"`{path.stem}`")
    assert trainings.startswith(f"{len(table['rows'])}: ")
    for said, (name, _) in zip(scores, HEADLINE, strict=True):
        assert said.split(" ± ")[0] == f"{table['summary']['test'][name]['mean']:.3f}"
    pooled = table["pooled"]["all answers"]
    assert interval == "{:.3f} to {:.3f}".format(*pooled["interval95"]["uar"])
    assert calibration_error == f"{table['summary']['test']['calibration_error']['mean']:.3f}"
    assert of_all == f"{pooled['calibration_error']:.3f}"


def test_the_card_has_each_training_on_new_voices():
    text = between(CARD, "<!-- folds-of-new-voices: begin -->", "<!-- folds-of-new-voices: end -->")
    uar = {}
    for training in read(ROOT / "weights" / "crossvalidation" / "actors5.json")["rows"]:
        uar.setdefault(training["fold"], {})[training["seed"]] = training["test"]["uar"]
    for fold, by_seed in uar.items():
        mean, *seeds = row(text, str(fold))
        assert mean == f"{fmean(by_seed.values()):.3f} ± {stdev(by_seed.values()):.3f}"
        assert seeds == [f"{by_seed[seed]:.3f}" for seed in sorted(by_seed)]


def test_the_card_has_the_scores_of_each_file(shipped):
    _, evaluation, text = shipped
    check_headline(text, evaluation)


def test_the_card_tells_emotions_sexes_and_intensities_apart(shipped):
    _, evaluation, text = shipped
    for emotion, scores in evaluation["per_emotion"].items():
        expected = [str(scores["clips"]), *(f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))]
        assert row(text, emotion) == expected
    sexes = {"men's voices": evaluation["by_sex"]["male"], "women's voices": evaluation["by_sex"]["female"]}
    intensities = {f"{name} intensity": scores for name, scores in evaluation["by_intensity"].items()}
    for group, scores in (sexes | intensities).items():
        assert row(text, group) == [str(scores["clips"]), *(f"{scores[name]:.3f}" for name, _ in HEADLINE)]


def test_the_evaluation_is_of_the_split_and_the_training_that_the_card_names(shipped):
    name, evaluation, _ = shipped
    training = read(ROOT / "weights" / f"{name}.training.json")
    assert evaluation["manifest_hash"] == training["manifest_hash"]
    assert evaluation["manifest_hash"] in CARD
    assert evaluation["trained_clips_allowed"] is False
    assert evaluation["accuracy"] == pytest.approx(training["test"]["accuracy"])
    assert f"{training['parameters']:,} parameters" in CARD


@pytest.mark.parametrize("protocol", ["stratified", "twin-safe"])
def test_schedules_are_compared_on_one_split_with_all_else_equal(protocol):
    shorter, longer = (
        read(ROOT / "weights" / name)
        for name in (f"runs/{protocol}-60-epochs.json", f"crossvalidation/{protocol}/fold0-seed0/result.json")
    )
    assert longer["manifest_hash"] == shorter["manifest_hash"]
    assert shorter["config"]["training"]["epochs"] == 60
    assert longer["config"]["training"].pop("epochs") == TrainConfig().epochs
    shorter["config"]["training"].pop("epochs")
    assert longer["config"] == shorter["config"]
    for epochs, training in ((60, shorter), (TrainConfig().epochs, longer)):
        scores = [f"{training[part][key]:.3f}" for part in ("validation", "test") for key in ("accuracy", "log_loss")]
        assert "| " + " | ".join([f"`{protocol}`, fold 0", str(epochs), *scores]) + " |" in CARD


@pytest.mark.parametrize("path", [report.README, report.DETAILS], ids=lambda path: path.parent.name)
def test_benchmark_tables_are_generated_from_the_results(path):
    assert report.updated(path) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", card.PAGES, ids=lambda page: page.parent.name)
def test_tables_of_results_are_generated_from_them(page):
    assert card.updated(page) == page.read_text(encoding="utf-8")


def test_every_section_stands_between_its_markers_on_a_page():
    pages = "".join(page.read_text(encoding="utf-8") for page in card.PAGES)
    for name in card.SECTIONS:
        begins, ends = (pages.count(f"<!-- {name}: {edge} -->") for edge in ("begin", "end"))
        assert begins == ends >= 1, name


def test_the_card_tells_what_the_studies_found():
    text = between(CARD, "<!-- robustness: begin -->", "<!-- robustness: end -->")
    models = read(RESULTS / "robustness.json")["models"]
    for condition in models[0]["conditions"]:
        assert row(text, condition) == [f"{model['conditions'][condition]['uar']:.3f}" for model in models]
    for shift in read(RESULTS / "pitch-counterfactual.json")["shifts"][::2]:
        expected = [f"{shift['by_sex'][sex]['accuracy']:.3f}" for sex in ("male", "female")]
        assert row(CARD, f"{shift['semitones']:+d} semitones") == expected


def test_the_card_tells_men_and_women_apart_on_new_voices():
    text = between(CARD, "<!-- pitch-bias: begin -->", "<!-- pitch-bias: end -->")
    bias = read(RESULTS / "pitch-bias.json")
    for sex, label in (("male", "men's voices"), ("female", "women's voices")):
        scores = bias["by_sex"][sex]
        low, high = scores["interval95"]["uar"]
        expected = [str(scores["answers"]), f"{scores['accuracy']:.3f}", f"{scores['uar']:.3f}"]
        assert row(text, label) == [*expected, f"{low:.3f} to {high:.3f}", f"{bias['listeners'][sex]:.3f}"]
        for third in bias["by_pitch"][sex]:
            expected = [f"{third['median_hz']:.0f} Hz", str(third["answers"])]
            expected += [f"{third['accuracy']:.3f}", f"{third['uar']:.3f}"]
            assert row(text, f"{third['third']} third of {label}") == expected


@pytest.mark.parametrize("name", ["ablation", "ablation-full-length", "ablation-pictures"])
def test_the_ablation_on_the_page_is_the_one_that_was_measured(name):
    page = (ROOT / "experiments" / "README.md").read_text()
    text = between(page, f"<!-- {name}: begin -->", f"<!-- {name}: end -->")
    for variant in read(RESULTS / f"{name}.json")["variants"]:
        scores = variant["validation"]
        assert row(text, variant["name"]) == [
            str(variant["runs"]),
            f"{variant['parameters']:,}",
            f"{scores['uar']:.3f}",
            f"{variant['difference']:+.3f}",
            f"{variant['standard_error']:.3f}",
            f"{scores['calibration_error']:.3f}",
        ]
