import json

import pytest

from experiments import card, sections


def score(mean, spread):
    return {"mean": mean, "sd_seeds": None, "sd_folds": spread}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "ROOT", tmp_path)
    report = {"accuracy": 0.8, "uar": 0.79, "macro_f1": 0.78, "calibration_error": 0.04}
    report |= {"interval95": {"uar": [0.7, 0.9]}}
    table = {
        "runs": 4,
        "rows": [{"fold": fold, "seed": seed, "bfloat16": seed == 1} for fold in (0, 1) for seed in (0, 1)],
        "summary": {
            "test": {
                "accuracy": score(0.75, 0.02),
                "uar": score(0.74, 0.03),
                "macro_f1": score(0.73, None),
                "calibration_error": score(0.05, 0.01),
            }
        },
        "pooled": {"all answers": report, "seeds together": report},
    }
    path = sections.weights_file("crossvalidation/actors5.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(table))


def cells(label):
    lines = sections.cross_validations().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"| `{label}` |"))
    return [[cell.strip() for cell in line.split("|")[3:-1]] for line in lines[at : at + 2]]


def test_a_row_says_how_many_trainings_stand_behind_it(tables):
    measured, together = cells("actors5")
    assert measured == [
        "4: folds 2, seeds 2", "0.750 ± 0.020", "0.740 ± 0.030", "0.730", "0.700 to 0.900", "0.050", "0.040"
    ]  # fmt: skip
    assert together == ["2: folds 2", "0.800", "0.790", "0.780", "0.700 to 0.900", "", "0.040"]


def test_the_arithmetic_of_the_trainings_is_told(tables):
    assert "in bfloat16 in 2 of 4 of `actors5`; in float32" in sections.cross_validations()


def test_what_was_not_measured_says_so(tables):
    assert cells("actors6")[0] == ["not measured", "", "", "", "", "", ""]


def test_only_what_stands_between_known_markers_is_replaced(tables, tmp_path):
    page = tmp_path / "page.md"
    ours, theirs = (
        f"<!-- {name}: begin -->\nyesterday\n<!-- {name}: end -->" for name in ("cross-validations", "speed")
    )
    page.write_text(f"before\n{ours}\nbetween\n{theirs}\nafter\n")
    updated = card.updated(page)
    assert updated.startswith("before\n<!-- cross-validations: begin -->\n\n| protocol |")
    assert updated.endswith(f"<!-- cross-validations: end -->\nbetween\n{theirs}\nafter\n")
    assert updated.count("yesterday") == 1
    assert sections.cross_validations() in updated
