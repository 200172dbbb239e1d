import codecs
import re
import shutil

import pytest

from ser_gpu import corpora
from ser_gpu.audio.folder import audio_files
from ser_gpu.audio.formats import SUFFIXES, UNREADABLE_SUFFIXES
from ser_gpu.corpora import manifest
from ser_gpu.corpora.clip import Clip
from tests.corpora.conftest import touch


def csv_of(folder, text, name="clips.csv", files=("a.wav", "b.wav", "c.wav")):
    touch(folder, *files)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_per_emotion(tmp_path):
    for i in range(3):
        touch(tmp_path, f"Anger/{i}.wav", f"happy/anna/{i}.flac", "Home Sick/0.mp3", "README.txt")
    found = corpora.load(tmp_path)
    clips = [
        *(Clip(f"Anger/{i}", tmp_path / "Anger" / f"{i}.wav", "angry", None, "own") for i in range(3)),
        Clip("Home Sick/0", tmp_path / "Home Sick" / "0.mp3", "home_sick", None, "own"),
        *(Clip(f"happy/anna/{i}", tmp_path / "happy" / "anna" / f"{i}.flac", "happy", None, "own") for i in range(3)),
    ]
    said = "a folder per emotion: 7 clips, 3 emotions (happy, angry, home_sick), speakers unknown"
    assert (list(found.clips), found.description, found.left_out, found.notice) == (clips, said, {}, None)
    assert corpora.load(str(tmp_path), "own") == found


def test_what_a_folder_per_emotion_leaves_out_is_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    touch(tmp_path, "happy/a.wav", "happy/a.mp3", "happy/b.m4a", "sad/.hidden.wav", "sad/c.wav", "sad/song.mid")
    touch(tmp_path, "loose.wav")
    found = corpora.load(tmp_path)
    assert [clip.path.name for clip in found.clips] == ["a.wav", "c.wav"]
    assert found.left_out == {
        "duplicate": 1,
        ".m4a needs ffmpeg": 1,
        "a hidden file": 1,
        ".mid: notes, not sound": 1,
        "not in a folder of an emotion": 1,
    }


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
    listed = csv_of(tmp_path, "file,emotion\n" + "".join(f"{path},sad\n" for path in predicted.paths))
    assert len(corpora.load(listed).clips) == len(predicted.paths)
    for path, reason in predicted.skipped:
        with pytest.raises(ValueError, match=re.escape(reason)):
            corpora.load(csv_of(tmp_path, f"file,emotion\n{path},sad\n"))


def test_folders_of_the_parts_may_hold_the_emotions(tmp_path):
    part_of = {"test": "test", "train": "train", "val": "validation"}
    touch(tmp_path, *(f"{folder}/{emotion}/a.wav" for folder in part_of for emotion in ("happy", "sad")))
    found = corpora.load(tmp_path)
    sad = {clip.id: clip.part for clip in found.clips if clip.emotion == "sad"}
    assert sad == {f"{folder}/sad/a": part for folder, part in part_of.items()}
    assert found.description.endswith("speakers unknown; parts: 2 train, 2 validation, 2 test")


def test_official_names_sorted_by_emotion_are_that_corpus_unless_told_otherwise_and_a_few_are_not(tmp_path):
    touch(tmp_path, "mad/03-01-05-01-01-01-01.wav", "glad/03-01-03-01-01-01-01.wav")
    assert {clip.emotion for clip in corpora.load(tmp_path).clips} == {"happy", "angry"}
    assert {clip.emotion for clip in corpora.load(tmp_path, "own").clips} == {"glad", "mad"}
    few = touch(tmp_path, "few/angry/03-01-05-01-01-01-01.wav", "few/angry/mine.wav").parent.parent
    assert corpora.load(few).description == "a folder per emotion: 2 clips, 1 emotion (angry), speakers unknown"


def test_nothing_to_find(tmp_path):
    with pytest.raises(ValueError, match="neither a folder per emotion"):
        corpora.load(tmp_path)
    loose = touch(tmp_path / "loose.wav")
    for arguments, said in (
        ((tmp_path,), r"left out: 1 not in a folder of an emotion$"),
        ((tmp_path / "absent",), "absent: no such folder or CSV file"),
        ((loose,), r"loose.wav: neither a folder nor a list"),
        ((None, "own"), "need a folder or a CSV"),
        ((loose, "tess"), "TESS is read from its folder"),
    ):
        with pytest.raises(ValueError, match=said):
            corpora.load(*arguments)


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


def test_paths_may_be_absolute_or_of_windows_and_ids_stay_unique(tmp_path):
    path = csv_of(
        tmp_path / "list",
        f"file,emotion\n{tmp_path}/abs.wav,sad\nsub\\x.wav,sad\na.wav,sad\na.flac,happy\n",
        files=("../abs.wav", "sub/x.wav", "a.wav", "a.flac"),
    )
    ids = [clip.id for clip in corpora.load(path).clips]
    assert ids == sorted([f"{tmp_path}/abs", "sub/x", "a.wav", "a.flac"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,speaker\na.wav,x\n", r"line 1: no column emotion or label; there are: file, speaker"),
        ("emotion\nsad\n", r"line 1: no column file or path; there are: emotion"),
        ("", r"line 1: no column file or path; there are: none"),
        ("file,emotion\na.wav,\n", r"line 2: no emotion for a.wav"),
        ("file,emotion\na.wav,sad\n,sad\n", r"line 3: no file is named"),
        ("file,emotion\na.wav,sad\nz.wav,sad\n", r"line 3: no such file: z.wav"),
        ("file,emotion\na.wav,sad\nb.wav,sad\na.wav,happy\n", r"line 4: a.wav is already in line 2"),
        ("file,emotion,part\na.wav,sad,exam\n", r"line 2: part must be train, validation or test, got 'exam'"),
        ("file,emotion\na.wav,sad,x\n", r"line 2: more fields than columns"),
        ("file,emotion\n", r"no clip in it"),
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
    path.write_bytes("file,emotion\n".encode("utf-16"))
    with pytest.raises(ValueError, match="not text in UTF-8"):
        manifest.read(path)
    path.write_bytes(b'file,emotion\n"' + b"x" * 200_000 + b'",sad\n')
    with pytest.raises(ValueError, match="not a CSV file: field larger"):
        manifest.read(path)
