import gzip
import json

import pytest

from experiments import enrolment_tables, markdown, page_tables, pages


def score(mean, spread):
    return {"mean": mean, "sd_seeds": None, "sd_folds": spread}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """One made-up cross-validation under every name."""
    monkeypatch.setattr(page_tables, "ROOT", tmp_path)
    report = {"accuracy": 0.8, "uar": 0.79, "macro_f1": 0.78, "ece": 0.04, "interval95": {"uar": [0.7, 0.9]}}
    test = {"accuracy": score(0.75, 0.02), "uar": score(0.74, 0.03), "macro_f1": score(0.73, None)}
    table = {
        "runs": 4,
        "rows": [
            {"fold": fold, "seed": seed, "bfloat16": seed == 1, "environment": {"ser_gpu": "0.3"}}
            for fold in (0, 1)
            for seed in (0, 1)
        ],
        "summary": {"test": test | {"ece": score(0.05, 0.01)}},
        "pooled": {"all answers": report, "seeds together": report},
    }
    for name in page_tables.CROSS_VALIDATIONS:
        path = page_tables.weights_file(f"crossvalidation/{name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table))
        answers = "fold,seed,part,clip,speaker,emotion,predicted,sad,angry\n0,0,test,a,01,sad,angry,0.1,0.9\n"
        answers += "0,0,test,b,04,sad,sad,0.9,0.1\n0,0,test,c,07,angry,sad,0.9,0.1\n"
        path.with_suffix(".predictions.csv.gz").write_bytes(gzip.compress(answers.encode()))


def cells(label):
    lines = page_tables.cross_validations().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"| `{label}` |"))
    return [[cell.strip() for cell in line.split("|")[3:-1]] for line in lines[at : at + 3]]


def test_a_row_says_how_many_trainings_stand_behind_it(tables):
    measured, together, unchosen = cells("actors5")
    assert measured == [
        "4 (2 x 2)", "0.750 ± 0.020", "0.740 ± 0.030", "0.730", "0.700 to 0.900", "0.050", "0.040", "2"
    ]  # fmt: skip
    assert together == ["", "0.800", "0.790", "0.780", "0.700 to 0.900", "", "0.040", ""]
    # of the speakers 01, 04 and 07 settings were chosen by 01; of the two others one is right, with 0.9 for each
    assert unchosen == ["", "0.500", "0.500", "0.333", "0.000 to 1.000", "", "0.400", ""]


@pytest.fixture
def results(tables):
    """The README's table."""
    drawn = {key: {"mean": 0.779, "sd": 0.01} for key in ("accuracy", "uar", "macro_f1")}
    enrolled = {"enrolment": {"all answers": [{"kind": "labelled", "count": 8} | drawn]}}
    page_tables.weights_file(f"crossvalidation/{enrolment_tables.ORDINARY}.json").write_text(json.dumps(enrolled))
    corpora = page_tables.study_file("cross-corpus-voices")
    corpora.parent.mkdir(parents=True)
    eight = [{"kind": kind, "count": 8, "uar": uar} for kind, uar in (("unlabelled", 0.5), ("labelled", 0.6))]
    rows = [
        {"tested_on": "SAVEE", "emotions": 2, "uar": 0.3, "enrolled": eight},
        {"tested_on": "URDU", "emotions": 4, "uar": 0.4, "enrolled": []},
    ]
    corpora.write_text(json.dumps({"rows": rows}))
    return enrolment_tables.results()


def test_the_readme_has_known_voices_new_ones_enrolled_ones_and_new_languages(results):
    title, _, *rows = results.splitlines()
    assert title == "| speaker | test | accuracy | UAR | macro F1 |"
    _, _, new, unchosen, enrolled, corpus, language, *with_clips = (
        [cell.strip() for cell in row.split("|")] for row in rows
    )
    assert new[3:6] == ["0.750 ± 0.020", "0.740 ± 0.030", "0.730"]
    assert unchosen[2:6] == ["its 2 speakers on whom no setting was chosen", "0.500", "0.500", "0.333"]
    assert enrolled[3:6] == ["0.779 ± 0.010"] * 3
    assert corpus[2:6] == ["2 corpora, each left out; chance: 0.375", "", "0.350", ""]
    assert language[2:6] == ["1 of these; chance: 0.250", "", "0.400", ""]
    assert [row[4] for row in with_clips] == ["0.500", "0.600"]


def test_only_what_stands_between_markers_is_replaced(results, tmp_path):
    page = tmp_path / "page.md"
    frame = "before\n<!-- results: begin -->\n{}\n<!-- results: end -->\nafter <!-- a comment -->\n"
    page.write_text(frame.format("yesterday"))
    updated = pages.updated(page)
    assert updated == frame.format(f"\n{results}\n")
    page.write_text(updated)
    assert pages.updated(page) == updated


def test_an_unknown_table_is_named(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- weather: begin -->\n<!-- weather: end -->\n")
    with pytest.raises(ValueError, match=r"page\.md: no such table: weather"):
        pages.updated(page)


def test_a_table_has_a_line_a_row_and_numbers_to_the_right():
    lines = markdown.table([{"a": "x", "b": 1, "c": ""}, {"a": "y", "b": "+2 dB", "c": "±3"}]).splitlines()
    assert lines == ["| a | b | c |", "| --- | ---: | ---: |", "| x | 1 |  |", "| y | +2 dB | ±3 |"]
