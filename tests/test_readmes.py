"""Figures in READMEs are those of the committed JSON."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import report
from experiments import card

ROOT = Path(__file__).parent.parent
CARD = (ROOT / "weights" / "README.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def evaluation():
    return json.loads((ROOT / "weights" / "ser_ravdess.evaluation.json").read_text())


def row(text, label):
    """The cells of the first table row that starts with `label`."""
    (line,) = re.findall(rf"^\| {re.escape(label)} \|(.*)\|$", text, flags=re.MULTILINE)[:1]
    return [cell.strip() for cell in line.split("|")]


@pytest.mark.parametrize("text", [README, CARD], ids=["README", "model card"])
def test_accuracy_tables_are_the_evaluation(text, evaluation):
    for name, label in (("accuracy", "accuracy"), ("uar", "UAR"), ("macro_f1", "macro F1")):
        low, high = evaluation["interval95"][name]
        assert row(text, label) == [f"{evaluation[name]:.3f}", f"{low:.3f} to {high:.3f}"]
    assert row(text, "calibration error (15 bins)")[0] == f"{evaluation['calibration_error']:.3f}"


def test_the_card_tells_emotions_sexes_and_intensities_apart(evaluation):
    for emotion, scores in evaluation["per_emotion"].items():
        expected = [str(scores["clips"]), *(f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))]
        assert row(CARD, emotion) == expected
    for group, scores in [*evaluation["by_sex"].items(), *evaluation["by_intensity"].items()]:
        expected = [str(scores["clips"]), *(f"{scores[name]:.3f}" for name in ("accuracy", "uar", "macro_f1"))]
        assert row(CARD, group) == expected
    before = f"{evaluation['calibration_error_before_temperature']:.3f}"
    assert row(CARD, "the same before temperature")[0] == before


def test_the_evaluation_is_of_the_split_and_the_training_that_the_card_names(evaluation):
    training = json.loads((ROOT / "weights" / "ser_ravdess.training.json").read_text())
    assert evaluation["manifest_hash"] == training["manifest_hash"]
    assert evaluation["manifest_hash"] in CARD
    assert evaluation["trained_clips_allowed"] is False
    assert evaluation["accuracy"] == pytest.approx(training["test"]["accuracy"])
    assert f"{training['parameters']:,} parameters" in CARD


def test_the_figures_on_new_voices_are_those_of_the_run():
    test = json.loads((ROOT / "weights" / "runs" / "actors5-fold0-140-epochs.json").read_text())["test"]
    groups = {"all five": test, "two men": test["by_sex"]["male"], "three women": test["by_sex"]["female"]}
    for label, scores in groups.items():
        line = next(line for line in CARD.splitlines() if line.strip().startswith(f"| {label} |"))
        expected = [str(scores["clips"]), *(f"{scores[name]:.3f}" for name in ("accuracy", "uar", "macro_f1"))]
        assert [cell.strip() for cell in line.split("|")[2:-1]] == expected
    low, high = test["interval95"]["uar"]
    assert f"{low:.3f} to {high:.3f}" in CARD


def test_the_longer_schedule_did_not_help_on_new_voices():
    short, long = (
        json.loads((ROOT / "weights" / "runs" / f"actors5-fold0-{epochs}-epochs.json").read_text())
        for epochs in (140, 240)
    )
    assert long["manifest_hash"] == short["manifest_hash"]
    assert f"{long['validation']['uar']:.3f}" == f"{short['validation']['uar']:.3f}" == "0.727"
    assert "UAR of 0.727 on validation" in CARD
    assert f"{long['test']['uar']:.3f}" in CARD


def test_the_length_of_the_schedule_was_chosen_on_validation():
    runs = {
        110: json.loads((ROOT / "weights" / "runs" / "stratified-110-epochs.json").read_text()),
        240: json.loads((ROOT / "weights" / "ser_ravdess.training.json").read_text()),
    }
    for epochs, run in runs.items():
        assert run["config"]["training"]["epochs"] == epochs
        assert f"{run['validation']['accuracy']:.3f}" in CARD
        assert f"{run['test']['accuracy']:.3f}" in CARD


@pytest.mark.parametrize("path", [report.README, report.DETAILS], ids=lambda path: path.parent.name)
def test_benchmark_tables_are_generated_from_the_results(path):
    assert report.updated(path) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", card.PAGES, ids=lambda page: page.parent.name)
def test_tables_of_the_cross_validations_are_generated_from_their_results(page):
    assert card.updated(page) == page.read_text(encoding="utf-8")


def test_the_card_tells_what_the_studies_found():
    results = ROOT / "experiments" / "results"
    (model,) = json.loads((results / "robustness.json").read_text())["models"]
    for condition, scores in model["conditions"].items():
        assert row(CARD, condition) == [f"{scores['accuracy']:.3f}", f"{scores['uar']:.3f}"]
    for shift in json.loads((results / "pitch-counterfactual.json").read_text())["shifts"][::2]:
        expected = [f"{shift['by_sex'][sex]['accuracy']:.3f}" for sex in ("male", "female")]
        assert row(CARD, f"{shift['semitones']:+d} semitones") == expected


def test_the_ablation_on_the_page_is_the_one_that_was_measured():
    page = (ROOT / "experiments" / "README.md").read_text()
    table = json.loads((ROOT / "experiments" / "results" / "ablation-ensembles.json").read_text())
    for variant in table["variants"]:
        scores = (variant["validation"]["uar"], variant["difference"], variant["standard_error"])
        uar, difference, error = scores
        expected = [
            str(variant["runs"]),
            f"{variant['parameters']:,}",
            f"{uar:.3f}",
            f"{difference:+.3f}",
            f"{error:.3f}",
        ]
        assert row(page, variant["name"]) == expected
