"""Scoring without Ray: which recordings are found, what a worker does with a batch, and what a result holds."""

import json
import os

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'ser_gpu[ray]'")

from pyarrow.parquet import write_table  # noqa: E402

pytest.importorskip("ray", reason="ray is not installed: pip install 'ser_gpu[ray]'")

from ser_gpu.scale import pipeline, results, sources, storage  # noqa: E402

SETTINGS = {"model": "one", "timeline": False}


def answered(paths, model, timeline=False):
    """What a worker makes of some files."""
    return pipeline.Answer(model, "cpu", timeline)(pa.table({"path": [*map(str, paths)]}))


def unpacked(groups):
    return pa.concat_tables(pipeline.unpack(pa.Table.from_pylist([vars(group) for group in groups])))


def test_a_timeline_is_that_of_the_file(calls, model):
    row, bad = answered([calls / "04.wav", calls / "empty.wav"], model, timeline=True).to_pylist()
    expected = model.timeline(calls / "04.wav")
    assert row["seconds"] == pytest.approx(expected.seconds)
    assert [(s["start"], s["end"], s["emotion"]) for s in row["segments"]] == [
        (s.start, s.end, s.emotion) for s in expected.segments
    ]
    assert (bad["error"], bad["segments"]) == (f"{calls / 'empty.wav'}: is empty", None)


@pytest.fixture
def parquet(calls, tmp_path):
    """Twelve recordings in row groups of five, as data sets of Hugging Face have them."""
    audio = [{"bytes": (calls / f"{n:02}.wav").read_bytes(), "path": f"{n:02}.wav"} for n in range(12)]
    write_table(pa.table({"audio": audio}), tmp_path / "audio.parquet", row_group_size=5)
    return tmp_path / "audio.parquet"


def test_what_is_not_done_is_read_from_parquet(parquet, calls):
    found = sources.find([str(parquet)])
    assert [group.names[0] for group in found.groups] == ["00.wav", "05.wav", "10.wav"]
    left = found.without({f"{n:02}.wav" for n in range(7)})
    assert len(left.names) == 5
    rows = unpacked(left.groups)
    assert rows["path"].to_pylist() == [f"{n:02}.wav" for n in range(7, 12)]
    assert rows["bytes"][0].as_py() == (calls / "07.wav").read_bytes()


def test_rows_without_a_path_are_called_by_their_number(calls, model, tmp_path):
    place = tmp_path / "bytes.parquet"
    write_table(pa.table({"bytes": [(calls / "00.wav").read_bytes(), None]}), place, row_group_size=1)
    found = sources.find([str(place)])
    assert [group.names for group in found.groups] == [(f"{place}#0",), (f"{place}#1",)]
    good, bad = pipeline.Answer(model, "cpu", False)(unpacked(found.groups)).to_pylist()
    assert good["error"] is None
    assert bad["error"] == f"{place}#1: is empty"


def test_two_rows_of_one_path_are_refused(parquet, tmp_path):
    with pytest.raises(ValueError, match=r"audio.parquet: the path '00.wav' is there twice"):
        sources.find([str(parquet), str(parquet)])


def test_folders_patterns_and_lists_name_files_once(calls, tmp_path):
    names = [f"{n:02}.wav" for n in range(3)]
    relative = [os.path.relpath(calls / name, tmp_path) for name in names]
    (tmp_path / "list.csv").write_text(
        "\n".join(["sep=;", "Filename;age", *(f"{name};7" for name in relative)]), "utf-16"
    )
    write_table(pa.table({"path": [str(calls / name) for name in names]}), tmp_path / "list.parquet")
    listed = sources.find([str(tmp_path / "list.parquet")])
    assert listed.files == tuple(str(calls / name) for name in names)
    assert [*map(os.path.realpath, sources.find([str(tmp_path / "list.csv")]).files)] == [*listed.files]
    assert sources.find([f"{calls}/0[012].wav", str(calls / "01.wav")]).files == listed.files
    assert set(sources.find([str(calls)]).files) == {str(path) for path in calls.iterdir()}


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_hidden_folders_are_skipped_and_said(form, tmp_path):
    for name in (".Trash", "__MACOSX", "calls"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").touch()
    place = form.format(tmp_path)
    found = sources.find([place])
    assert found.files == (f"{place}/calls/a.wav",)
    assert found.notes == (f"{place}: skipped 2 (hidden, or in a hidden folder)",)


@pytest.mark.parametrize("form", ["file://{}", "fsspec+local://{}"])
def test_an_address_is_searched_read_and_written(form, calls, model, tmp_path):
    """file:// goes through pyarrow as s3:// does, and the other through fsspec."""
    found = sources.find([form.format(f"{calls}/0[0-3].wav")])
    assert found.files == tuple(form.format(f"{calls}/{n:02}.wav") for n in range(4))
    assert sources.find([form.format(calls)]).files[:2] == found.files[:2]
    missing = form.format(f"{calls}/missing.wav")
    batch = answered([*found.files, missing], model)
    *without, error = batch["error"].to_pylist()
    assert without == [None] * 4
    assert error == f"{missing}: no such file"
    assert batch["emotion"].to_pylist()[:4] == answered(sorted(calls.glob("0[0-3].wav")), model)["emotion"].to_pylist()
    out = form.format(tmp_path / "out")
    assert results.write(batch, out, SETTINGS).to_pylist() == [{"recordings": 5, "failed": 1}]
    assert results.done(out, SETTINGS) == {**dict.fromkeys(found.files), missing: error}


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_rows_are_forgotten_and_the_others_stay(form, calls, model, tmp_path):
    names = [str(calls / f"{n:02}.wav") for n in range(4)]
    out = form.format(tmp_path)
    for few in (names[:3], names[3:]):
        results.write(answered(few, model), out, SETTINGS)
    before = pa.parquet.read_table(tmp_path).to_pylist()
    results.forget(out, {names[1], names[3]})
    assert results.done(out, SETTINGS) == {names[0]: None, names[2]: None}
    assert pa.parquet.read_table(tmp_path).to_pylist() == [row for row in before if row["path"] in (names[0], names[2])]


def test_a_result_holds_a_batch_once_and_no_other_answers(calls, model, tmp_path):
    batch = answered([calls / "00.wav"], model)
    for _ in range(2):
        results.write(batch, str(tmp_path), SETTINGS)
    (place,) = tmp_path.iterdir()
    assert json.loads(pa.parquet.read_schema(place).metadata[b"ser_gpu"]) == SETTINGS
    (tmp_path / ".part-0123-abc.parquet").write_bytes(b"PAR1")  # what a killed writer left
    assert results.done(str(tmp_path), SETTINGS) == {str(calls / "00.wav"): None}
    assert [*tmp_path.iterdir()] == [place]
    for other, kind in (({"model": "other"}, "another model"), ({"timeline": True}, "one emotion a recording")):
        with pytest.raises(ValueError, match=f"holds answers of {kind}"):
            results.done(str(tmp_path), SETTINGS | other)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.csv", b"name\na.wav\n", "list.csv, line 1: no column file or path or filepath; there are: name"),
        ("list.csv", b"file\n\0", "list.csv: neither a folder nor a list: no text in UTF-8, UTF-16 or Latin-1"),
        ("a.parquet", b"nothing", "a.parquet: is not a Parquet file"),
        ("*.wav", None, "nothing has such a name"),
        ("nowhere", None, "nowhere: no such file or folder"),
        ("empty", None, "empty: no audio file in this folder"),
    ],
)
def test_a_source_that_names_nothing_is_one_line(name, content, message, tmp_path):
    if name == "empty":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, OSError), match=message.replace("*", r"\*")):
        sources.find([str(tmp_path / name)])


def test_the_stream_of_an_address_goes_back_and_forth(calls):
    with pytest.raises(OSError, match=r"^nowhere://a/b: cannot be opened: "):
        storage.open_file("nowhere://a/b")
    with storage.open_file(f"file://{calls}/00.wav") as stream:
        stream.seek(-4, os.SEEK_END)
        assert stream.read() == (calls / "00.wav").read_bytes()[-4:]
        stream.seek(0)
        assert stream.read(4) == b"RIFF"
