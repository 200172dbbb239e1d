"""ser-gpu score on a local Ray with two workers: every recording has one row, whatever happens on the way."""

import json
import os
import re
import resource
import shutil
import signal
import threading
import time
from operator import itemgetter
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install 'ser_gpu[ray]'")

from ser_gpu import score
from ser_gpu.cli import options
from ser_gpu.scale import pipeline, results
from tests.scale.conftest import assert_answers

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def command(weights):
    return lambda *arguments: [*map(str, arguments), "--weights", weights, "--workers", "2"]


def table(out):
    import pandas

    return pandas.read_parquet(out).set_index("path", verify_integrity=True).sort_index()


@pytest.fixture(scope="module")
def scored(calls, command, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    assert score.main(command(calls, "--out", out)) == options.SOME_FAILED
    return out


def test_every_recording_has_the_answer_that_predict_gives(scored, calls, model):
    from pyarrow.parquet import read_table

    assert_answers(sorted(read_table(scored).to_pylist(), key=itemgetter("path")), calls, model)


def test_started_again_it_scores_what_is_new_and_counts_what_failed(scored, calls, command, tmp_path, capsys):
    out, more = tmp_path / "out", tmp_path / "more"
    shutil.copytree(scored, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert score.main(command(calls, "--out", out)) == options.SOME_FAILED
    said = capsys.readouterr().err
    assert f"written: 0 recordings, to {out}; 4 of 44 have an error; --retry tries them again" in said
    more.mkdir()
    shutil.copy(calls / "00.wav", more / "new.wav")
    assert score.main(command(calls, more / "*.wav", "--out", out, "--json")) == options.SOME_FAILED
    said = capsys.readouterr()
    assert json.loads(said.out) == {"recordings": 1, "failed": 4, "done_before": 44, "out": str(out)}
    assert f"44 of 45 recordings are in {out} already" in said.err
    assert "INFO" not in said.err
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(table(out)) == 45


def test_what_failed_is_tried_again(calls, command, tmp_path, capsys):
    some, out = tmp_path / "some", tmp_path / "out"
    some.mkdir()
    for name in ("00.wav", "empty.wav"):
        shutil.copy(calls / name, some)
    assert score.main(command(some, "--out", out)) == options.SOME_FAILED
    shutil.copy(calls / "01.wav", some / "empty.wav")
    assert score.main(command(some / "00.wav", "--out", out)) == options.DONE
    assert score.main(command(some, "--out", out)) == options.SOME_FAILED
    capsys.readouterr()
    assert score.main(command(some, "--out", out, "--retry")) == options.DONE
    assert f"written: 1 recording, to {out}; 0 of 2 have an error\n" in capsys.readouterr().err
    assert table(out).error.isna().all()


def test_a_source_that_is_not_there_is_refused_before_anything_starts(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "connected", None)
    assert score.main(command(tmp_path / "nowhere", "--out", tmp_path / "out")) == options.WRONG_USE
    assert capsys.readouterr().err == f"error: {tmp_path}/nowhere: no such file or folder\n"
    assert not (tmp_path / "out").exists()


def test_lists_and_parquet_with_audio_give_the_same_answers(scored, calls, command, tmp_path):
    import pyarrow as pa
    from pyarrow.parquet import write_table

    names = [f"{n:02}.wav" for n in range(12)]
    write_table(pa.table({"path": [str(calls / name) for name in names]}), tmp_path / "list.parquet")
    audio = [{"bytes": (calls / name).read_bytes(), "path": name} for name in names]
    write_table(pa.table({"audio": audio}), tmp_path / "audio-0.parquet", row_group_size=5)
    sources = [tmp_path / name for name in ("list.parquet", "audio-*.parquet")]
    assert score.main(command(*sources, "--out", tmp_path / "out")) == 0
    found, expected = table(tmp_path / "out"), table(scored)
    assert len(found) == 2 * 12
    for name in names:
        wanted = expected.loc[str(calls / name)]
        for row in (found.loc[name], found.loc[str(calls / name)]):
            assert (row.emotion, row.confidence) == (wanted.emotion, pytest.approx(wanted.confidence, abs=1e-5))


def test_a_worker_that_is_killed_costs_no_recording_and_no_second_row(calls, command, tmp_path, local_ray):
    """Those that hold a model and those that decode are killed in turn, while Ray works."""
    many = tmp_path / "many"
    many.mkdir()
    for n in range(400):
        (many / f"{n:03}.wav").symlink_to(calls / f"{n % 40:02}.wav")
    killed = []
    stop = threading.Event()

    def kill():
        while not stop.wait(0.5) and len(killed) < 3:
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    title = (process / "cmdline").read_bytes()
                    parent_is_ours = _descends_from_us(int(process.name))
                except OSError:
                    continue
                if b"(Answer)" in title and parent_is_ours:
                    time.sleep(0.2)
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))
                    break

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        assert score.main(command(many, "--out", tmp_path / "out")) == 0
    finally:
        stop.set()
        thread.join()
    assert killed
    assert list(table(tmp_path / "out").index) == sorted(map(str, many.iterdir()))


def _descends_from_us(process: int) -> bool:
    while process > 1:
        if process == os.getpid():
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def _on_a_full_disk(batch, out, settings):
    """As `results.write` in Ray's worker, where no file may be larger than 1,000 bytes: the system's own refusal."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        return results.write(batch, out, settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_one_line_and_what_is_written_stays(calls, command, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert score.main(command(calls / "0*.wav", "--out", out)) == 0
    before = sorted(out.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.results, "write", _on_a_full_disk)
        assert score.main(command(calls, "--out", out)) == options.WRONG_USE
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert re.fullmatch(rf"error: {out}/part-\w+.parquet: cannot be written: file too large", said.splitlines()[-1])
    assert sorted(out.iterdir()) == before
    assert score.main(command(calls, "--out", out)) == options.SOME_FAILED
    assert len(table(out)) == 44
