import json

import pytest

from experiments import card


def score(mean, spread):
    return {"mean": mean, "sd_seeds": None, "sd_folds": spread}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.setattr(card, "TABLES", tmp_path)
    report = {"accuracy": 0.8, "uar": 0.79, "macro_f1": 0.78, "calibration_error": 0.04}
    report |= {"interval95": {"uar": [0.7, 0.9]}}
    table = {
        "runs": 4,
        "rows": [{"fold": fold, "seed": seed} for fold in (0, 1) for seed in (0, 1)],
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
    (tmp_path / "actors5.json").write_text(json.dumps(table))
    return tmp_path


def cells(label):
    lines = card.section().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"| `{label}` |"))
    return [[cell.strip() for cell in line.split("|")[3:-1]] for line in lines[at : at + 2]]


def test_a_row_says_how_many_trainings_stand_behind_it(tables):
    measured, together = cells("actors5")
    assert measured == [
        "4: folds 2, seeds 2", "0.750 ± 0.020", "0.740 ± 0.030", "0.730", "0.700 to 0.900", "0.050"
    ]  # fmt: skip
    assert together == ["2: folds 2", "0.800", "0.790", "0.780", "0.700 to 0.900", "0.040"]


def test_what_was_not_measured_says_so(tables):
    assert cells("actors6")[0] == ["not measured", "", "", "", "", ""]


def test_only_what_stands_between_the_markers_is_replaced(tables, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{card.BEGIN}\nyesterday\n{card.END}\nafter\n")
    updated = card.updated(page)
    assert updated.startswith("before\n")
    assert updated.endswith("\nafter\n")
    assert "yesterday" not in updated
    assert card.section() in updated
