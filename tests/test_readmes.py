"""Figures in READMEs are those of the committed JSON."""

import json
from pathlib import Path

import pytest

from benchmarks import report
from experiments import card, sections

ROOT = Path(__file__).parent.parent
CARD = (ROOT / "weights" / "README.md").read_text()


@pytest.mark.parametrize("name", sections.SHIPPED)
def test_the_evaluation_is_of_the_split_and_the_training_that_the_card_names(name):
    evaluation, training = (
        json.loads((ROOT / "weights" / f"{name}.{kind}.json").read_text()) for kind in ("evaluation", "training")
    )
    assert evaluation["manifest_hash"] == training["manifest_hash"]
    assert evaluation["manifest_hash"] in CARD
    assert evaluation["trained_clips_allowed"] is False
    # one clip of the part may fall to the other side by another processor's rounding
    assert evaluation["accuracy"] == pytest.approx(training["test"]["accuracy"], abs=1.01 / evaluation["clips"])
    assert f"{training['parameters']:,} parameters" in CARD


@pytest.mark.parametrize("path", [report.README, report.DETAILS], ids=lambda path: path.parent.name)
def test_benchmark_tables_are_generated_from_the_results(path):
    assert report.updated(path) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", card.PAGES, ids=lambda page: page.parent.name)
def test_tables_of_results_are_generated_from_them(page):
    assert card.updated(page) == page.read_text(encoding="utf-8")


def test_every_section_stands_on_a_page():
    pages = "".join(page.read_text(encoding="utf-8") for page in card.PAGES)
    missing = [name for name in card.SECTIONS if f"<!-- {name}: begin -->" not in pages]
    assert not missing
