import json

import pytest

from benchmarks import __main__ as benchmarks


def test_a_quick_run_writes_speeds_beside_errors(tmp_path, capsys):
    out = tmp_path / "cpu.json"
    assert benchmarks.main(["frontend", "--quick", "--device", "cpu", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    rows = result["subjects"]["frontend"]
    assert [row["competitor"] for row in rows][-1] == "librosa, clip by clip"
    assert all(row["clips_per_second"] > 0 for row in rows)
    assert all(row["error_db"] < 1e-3 for row in rows if row["competitor"].startswith("ser_gpu"))
    assert result["environment"]["device"] == "cpu"
    assert "error, dB" in capsys.readouterr().out


def test_a_quick_run_leaves_the_committed_results_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmarks.report, "RESULTS", tmp_path)
    monkeypatch.setitem(benchmarks.SUBJECTS, "latency", benchmarks.frontend)
    assert benchmarks.main(["--quick", "--device", "cpu"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "nothing written" in capsys.readouterr().err


def test_an_unknown_subject_is_named(capsys):
    with pytest.raises(SystemExit) as caught:
        benchmarks.main(["nope"])
    assert caught.value.code == 2
    assert "no such subject: 'nope'" in capsys.readouterr().err
