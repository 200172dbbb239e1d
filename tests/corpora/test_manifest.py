import codecs
import csv
import io
import math
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_gpu import corpora
from ser_gpu.audio.folder import audio_files
from ser_gpu.audio.formats import SUFFIXES, UNREADABLE_SUFFIXES
from ser_gpu.corpora import manifest
from ser_gpu.corpora.clip import Clip, canonical
from ser_gpu.errors import InputError
from tests.conftest import FUZZ
from tests.corpora.conftest import touch

NO_TIME = "start must be seconds or hours:minutes:seconds, got"


def csv_of(folder, text, name="clips.csv", files=("a.wav", "b.wav", "c.wav")):
    touch(folder, *files)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("with_ffmpeg", [True, False])
def test_what_predict_reads_is_read_here_too(with_ffmpeg, tmp_path, monkeypatch):
    if not with_ffmpeg:
        monkeypatch.setenv("PATH", str(tmp_path))
    elif shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    touch(tmp_path, "sad/a.wav", *(f"happy/{suffix[1:]}{suffix}" for suffix in SUFFIXES.union(UNREADABLE_SUFFIXES)))
    found, predicted = corpora.load(tmp_path), audio_files(tmp_path)
    assert tuple(sorted(clip.path for clip in found.clips)) == predicted.paths
    assert found.left_out == predicted.skipped_counts
    assert (tmp_path / "happy" / "m4a.m4a" in predicted.paths) == with_ffmpeg


def test_every_column_of_a_csv(tmp_path):
    path = csv_of(
        tmp_path,
        "file,emotion,speaker,gender,part,corpus,group,intensity,sentence,mood\n"
        "a.wav,ANG,anna,F,train,home,g1,strong,7,odd\n"
        "b.wav,joy,ben,male,dev,RAVDESS,,,,\n"
        "sub/c.wav,boredom,,,,,,,,\n",
        files=("a.wav", "b.wav", "sub/c.wav"),
    )
    found = corpora.load(path)
    kept = (("intensity", "strong"), ("sentence", "7"), ("mood", "odd"))
    assert found.clips == (
        Clip("a", tmp_path / "a.wav", "angry", "anna", "home", "female", "g1", "train", kept),
        Clip("b", tmp_path / "b.wav", "happy", "ben", "ravdess", "male", part="validation"),
        Clip("sub/c", tmp_path / "sub" / "c.wav", "bored", None, "own"),
    )
    assert found.description == (
        "the list clips.csv: 3 clips, 2 speakers, 3 emotions (happy, angry, bored), the speaker of 1 clip unknown; "
        "parts: 1 train, 1 validation"
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_other_names_order_and_case(delimiter, tmp_path):
    text = "Label,SEX,Split,Path\r\nsad,m,Test,a.wav\r\n,,,\r\nsad,,,b.wav"
    a, b = corpora.load(csv_of(tmp_path, text.replace(",", delimiter), name="clips.tsv")).clips
    assert (a.emotion, a.gender, a.part, a.path.name, b.part) == ("sad", "male", "test", "a.wav", None)


def test_a_csv_as_excel_and_pandas_write_it(tmp_path):
    path = csv_of(tmp_path, "")
    path.write_bytes(codecs.BOM_UTF8 + ',file,emotion,speaker\r\n0,a.wav,"sad","Müller, A."\r\n'.encode())
    (clip,) = corpora.load(path).clips
    assert (clip.emotion, clip.speaker, clip.extra) == ("sad", "Müller, A.", ())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le bom", "latin-1", "cp1252"])
@pytest.mark.parametrize("start", ["", "sep=;\r\n", "SEP=;\n", '"sep=;"\n', "\n\r\n"])
def test_encodings_and_the_line_of_excel_that_names_the_separator(encoding, start, tmp_path):
    path = csv_of(tmp_path, "")
    text = f"{start}file;emotion;a,b,c;start\r\na.wav;sad;Müller, A.;0,5\r\n"
    path.write_bytes(codecs.BOM_UTF16_LE + text.encode("utf-16-le") if "bom" in encoding else text.encode(encoding))
    (clip,) = corpora.load(path).clips
    assert (clip.emotion, clip.extra, clip.start) == ("sad", (("a,b,c", "Müller, A."),), 0.5)


@pytest.mark.parametrize(
    "header",
    [
        "filename,label,speaker_id",
        "filepath,class,spk",
        "File Name,Emotion,Speaker ID",
        "audio,class,subject",
        "wav,label,SpeakerID",
        "audio_filepath,label,actor",
        "path,emotion,speaker",
        "path,category,speaker",
    ],
)
def test_usual_names_of_columns(header, tmp_path):
    (clip,) = corpora.load(csv_of(tmp_path, f"{header}\na.wav,sad,ann\n")).clips
    assert (clip.id, clip.emotion, clip.speaker, clip.extra) == ("a", "sad", "ann", ())


def test_of_two_names_for_one_thing_the_first_counts_and_the_other_is_kept(tmp_path):
    (clip,) = corpora.load(csv_of(tmp_path, "class,filename,emotion,path\n3,x.wav,sad,a.wav\n")).clips
    assert (clip.id, clip.emotion, clip.extra) == ("a", "sad", (("class", "3"), ("filename", "x.wav")))


@pytest.mark.parametrize(
    ("columns", "row", "span"),
    [
        ("start,end", "0.5,1.25", (0.5, 1.25)),
        ("offset,duration", "0.5,1", (0.5, 1.5)),
        ("onset,offset", "0.5,2", (0.5, 2.0)),  # which is the end beside another start
        ("start,offset", "0.5,2", (0.5, 2.0)),
        ("offset,stop", "0.5,2", (0.5, 2.0)),
        ("start,end,duration", "0.5,1.25,9", (0.5, 1.25)),
        ("start", "2", (2.0, math.inf)),
        ("end", "2", (0.0, 2.0)),
        ("duration", "2", (0.0, 2.0)),
        ("Start Time,End_Time", "1e-3,1e2", (0.001, 100.0)),
        ("Start (s),end_sec", "0.5,1", (0.5, 1.0)),
        ("onset_seconds,Duration in s", "0.5,1", (0.5, 1.5)),
        ("xmin,xmax", "0.5,1", (0.5, 1.0)),
        ("start,end", ",", (0.0, math.inf)),
        ("start,end", "1,", (1.0, math.inf)),
    ],
)
def test_a_clip_may_be_a_stretch_of_its_file(columns, row, span, tmp_path):
    path = csv_of(tmp_path, f"file,emotion,{columns}\na.wav,sad,{row}\n")
    (clip,) = corpora.load(path).clips
    assert (clip.id, clip.start, clip.end, clip.extra) == ("a", *span, ())


def test_columns_that_are_not_used_are_said(tmp_path):
    found = corpora.load(csv_of(tmp_path, "file,emotion,start_ms,end_ms\na.wav,sad,0,900\nb.wav,sad,,\n"))
    assert found.notice == "columns not used: start_ms, end_ms"
    assert corpora.load(csv_of(tmp_path, "file,emotion,speaker\na.wav,sad,ann\n")).notice is None


def test_stretches_of_one_file_are_clips_of_their_own(tmp_path):
    rows = "a.wav,sad,0,1\na.wav,sad,3600.123,3600.2\na.wav,happy,3600.1234,\nb.wav,sad,0,1\n"
    found = corpora.load(csv_of(tmp_path, f"file,emotion,start,end\n{rows}c.wav,sad,,\n"))
    assert found.description.endswith("speakers unknown, 4 of the clips are stretches of files")
    assert [clip.id for clip in found.clips] == ["a:0-1", "a:3600.123-3600.2", "a:3600.1234-inf", "b", "c"]


@pytest.mark.parametrize(
    ("other", "said"), [("./../{}/a.wav", "a"), ("sub/../a.wav", "a"), ("{}/a.wav", "{}/a"), ("link.wav", "link")]
)
def test_a_file_is_known_by_any_of_its_names(other, said, tmp_path):
    folder = tmp_path / "x"
    touch(folder, "sub/b.wav", "a.wav")
    (folder / "link.wav").symlink_to(folder / "a.wav")
    name = other.format(folder if other.startswith("{}") else "x")
    path = csv_of(folder, f"file,emotion\n{name},sad\n", files=("sub/b.wav", "a.wav"))
    assert [clip.id for clip in corpora.load(path).clips] == [said.format(folder)]
    path = csv_of(folder, f"file,emotion\na.wav,sad\n{name},sad\n", files=("sub/b.wav", "a.wav"))
    with pytest.raises(ValueError, match=r"line 3: .* is already in line 2"):
        corpora.load(path)


def test_all_missing_files_are_named_together(tmp_path):
    rows = "".join(f"{number}.wav,sad\n" for number in range(30)) + f"{'x' * 300}.wav,sad\n"
    with pytest.raises(ValueError, match=r"no such file: 31 of 32: 0.wav \(line 3\), .*4.wav \(line 7\), \.\.\.$"):
        corpora.load(csv_of(tmp_path, f"file,emotion\na.wav,sad\n{rows}"))


def test_paths_may_be_absolute_or_of_windows_and_ids_stay_unique(tmp_path):
    path = csv_of(
        tmp_path / "list",
        f"file,emotion\n{tmp_path}/abs.wav,sad\nsub\\x.wav,sad\na.wav,sad\na.flac,happy\n",
        files=("../abs.wav", "sub/x.wav", "a.wav", "a.flac"),
    )
    ids = [clip.id for clip in corpora.load(path).clips]
    assert ids == sorted([f"{tmp_path}/abs", "sub/x", "a.wav", "a.flac"])


def test_rows_without_an_emotion_are_counted_and_what_pandas_writes_for_nothing_is_no_name(tmp_path):
    rows = ["a.wav,sad,nan,None,0:01.5,", "b.wav,happy,tom,<NA>,,", "a.wav,nan,tom,,,", "b.wav,,,,,", "b.wav,None,,,,"]
    rows += [f"a.wav,{nothing},,,," for nothing in ("NA", "#N/A", "-nan", "NaT")]  # of R, Excel, C, pandas
    found = corpora.load(csv_of(tmp_path, "\n".join(["file,emotion,speaker,part,start,end", *rows])))
    assert found.left_out == {"without an emotion": 7}
    clips = [(clip.emotion, clip.speaker, clip.part, clip.start) for clip in found.clips]
    assert clips == [("sad", None, None, 1.5), ("happy", "tom", None, 0.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,speaker\na.wav,x\n", r"line 1: no column emotion or label or class; there are: file, speaker"),
        ("emotion\nsad\n", r"line 1: no column file or path or filepath; there are: emotion"),
        ("", r"line 1: no column file or path or filepath; there are: none"),
        ("file,emotion,Emotion\na.wav,sad,sad\n", r"line 1: two columns are named emotion"),
        ("file,emotion\na.wav,\na.wav,NaN\n", r"no clip in it; rows without an emotion: 2"),
        ("file,emotion\na.wav,sad\n,sad\n", r"line 3: no file is named"),
        ("file,emotion\na.wav,sad\nz.wav,sad\n", r"no such file: 1 of 2: z.wav \(line 3\)"),
        ("file,emotion\na.wav,sad\nb.wav,sad\na.wav,happy\n", r"line 4: a.wav is already in line 2"),
        ("file,emotion,part\na.wav,sad,exam\n", r"line 2: part must be train, validation or test, got 'exam'"),
        ("file,emotion\na.wav,sad,x\n", r"line 2: more fields than columns"),
        ('file,emotion\na.wav,"sad\nb.wav,happy\n', r"a quotation mark is not closed: sad\\nb.wav,happy"),
        ('file,text,emotion\na.wav,"oh,sad\nb.wav,ah,happy\n', r"a quotation mark is not closed$"),
        ('file,emotion\na.wav,"sad\nb.wav,"happy\n', r"a quotation mark is not closed: sad\\n"),
        ('"file,emotion\n' + "a.wav,sad\n" * 99, r"no column file or path or filepath; there are: .{0,240}$"),
        ("file,emotion\n", r"no clip in it"),
        ("file,emotion,start,end\na.wav,sad,1,1\n", r"line 2: a.wav: the end, 1 s, must be after the start, 1 s"),
        ("file,emotion,start,end\na.wav,sad,-1,1\n", f"line 2: {NO_TIME} '-1'"),
        ("file,emotion,offset\na.wav,sad,0:1s\n", f"line 2: {NO_TIME} '0:1s'"),
        ("file,emotion,start,end\na.wav,sad,0,1\na.wav,angry,0,1\n", r"line 3: a.wav is already in line 2"),
    ],
)
def test_errors_name_file_and_line(text, message, tmp_path):
    path = csv_of(tmp_path, text)
    with pytest.raises(ValueError, match=message) as error:
        corpora.load(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "clips.csv"
    for content in (b"RIFF\x10\0\0\0WAVE", codecs.BOM_UTF16_LE + b"odd", "file,emotion".encode("utf-32"), b"\x81"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="neither a folder nor a list: no text in UTF-8, UTF-16 or Latin-1"):
            manifest.read(path)
    path.write_bytes(b'file,emotion\n"' + b"x" * 200_000 + b'",sad\n')
    with pytest.raises(ValueError, match="not a CSV file: field larger"):
        manifest.read(path)


@pytest.fixture(scope="module")
def ten_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists") / "x"
    touch(folder, *(f"sub/{number}.wav" for number in range(10)))
    return folder


PLACES = ("sub/{}.wav", "./sub/{}.wav", "../x/sub/{}.wav", "sub/../sub/{}.wav", "sub\\{}.wav", "{folder}/sub/{}.wav")
HEADERS = {
    "file": ("file", "Path", "filename", " FilePath ", "audio", "wav_path"),
    "emotion": ("emotion", "Label", "class"),
    "speaker": ("speaker", "speaker_id", "SPK", "subject id"),
    "part": ("part", "Split"),
    "start": ("start", "offset"),
    "end": ("end", "Stop"),
    "mood": ("mood",),
}
TEXTS = st.text("ab äöü,;|\t'\"\n.=#-", max_size=6)
SECONDS = st.floats(0, 1e6).map(repr)
FIELDS = {
    "emotion": st.sampled_from(("sad", "Anger", "home sick", "ü")),
    "speaker": TEXTS,
    "part": st.sampled_from(("", "train", "Dev", "TEST")),
    "start": st.just("") | SECONDS,
    "end": st.just("") | SECONDS,
    "mood": TEXTS,
}


@st.composite
def lists(draw):
    """Rows as dictionaries, and the bytes of a list that holds them in some form."""
    columns = draw(st.permutations(["file", "emotion", *draw(st.sets(st.sampled_from(list(FIELDS)[1:])))]))
    files = draw(st.lists(st.integers(0, 9), min_size=1, unique=True))
    rows = [{name: draw(FIELDS[name]) for name in columns if name != "file"} | {"file": file} for file in files]
    delimiter, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(("\n", "\r\n", "\r")))
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if end == "\r" else draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow([draw(st.sampled_from(HEADERS[name])) for name in columns])
    for row in rows:
        place = draw(st.sampled_from(PLACES)).replace("{}", str(row["file"]))
        writer.writerow([place if name == "file" else row[name] for name in columns])
        if draw(st.booleans()):
            writer.writerow([""] * draw(st.integers(0, len(columns))))
    start = draw(st.sampled_from(("", end, f"sep={delimiter}{end}", f'"sep={delimiter}"{end}')))
    return rows, start + text.getvalue(), draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "cp1252")))


def loaded_or_one_line(path):
    try:
        return corpora.load(path).clips
    except InputError as error:
        said = str(error)
    assert said.startswith(str(path))
    assert said.isprintable()
    return said


@FUZZ
@given(lists())
def test_any_list_is_read_whole_or_refused_in_one_line(ten_files, made):
    rows, text, encoding = made
    path = ten_files / "list.csv"
    path.write_bytes(text.replace("{folder}", str(ten_files)).encode(encoding))
    found = loaded_or_one_line(path)
    spans = [(float(row.get("start") or 0), float(row.get("end") or math.inf)) for row in rows]
    if isinstance(found, str):
        assert any(end <= start for start, end in spans), found
        assert "must be after the start" in found
        return
    assert len(found) == len(rows), "none is lost"
    clip_of = {int(clip.path.name[0]): clip for clip in found}
    for row, span in zip(rows, spans, strict=True):
        clip = clip_of[row["file"]]
        part = manifest.PART_ALIASES.get(row.get("part", "").lower())
        speaker, mood = (row.get(name, "").strip() for name in ("speaker", "mood"))
        assert (clip.emotion, clip.part, clip.start, clip.end) == (canonical(row["emotion"]), part, *span)
        assert (clip.speaker, clip.extra) == (speaker or None, (("mood", mood),) if mood else ())


@FUZZ
@given(lists(), st.data())
def test_damaged_lists_are_read_or_refused_in_one_line(ten_files, made, data):
    _, text, encoding = made
    content = bytearray(text.replace("{folder}", str(ten_files)).encode(encoding))
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, len(content)))
        content[first : first + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path = ten_files / "damaged.csv"
    path.write_bytes(content)
    loaded_or_one_line(path)
