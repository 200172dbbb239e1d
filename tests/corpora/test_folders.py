import pytest

from ser_gpu import corpora
from ser_gpu.audio.folder import HIDDEN
from ser_gpu.corpora.clip import Clip
from tests.corpora.conftest import touch


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
    meant = "emotions by folder Anger/, anna/ not used"
    assert (list(found.clips), found.description, found.left_out, found.notice) == (clips, said, {}, meant)
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
        HIDDEN: 1,
        ".mid: notes, not sound": 1,
        "not in a folder of an emotion": 1,
    }


PEOPLE = [f"{speaker}/{emotion}" for speaker in ("anna", "bob") for emotion in ("angry", "sad")]
TURNED = ["/".join(reversed(place.split("/"))) for place in PEOPLE]


@pytest.mark.parametrize(
    ("places", "emotions", "speakers", "parts", "said"),
    [
        # (folders that hold a clip, separated by spaces) -> (emotions, speakers, parts, notice)
        (PEOPLE, "angry sad", "anna bob", "", "emotions by folder angry/, speakers by folder anna/"),
        (TURNED, "angry sad", "anna bob", "", "emotions by folder angry/, speakers by folder anna/"),
        ([f"data/{each}" for each in PEOPLE], "angry sad", "anna bob", "", "speakers by folder anna/, data/ not used"),
        (
            [f"a/b/{each}/wav" for each in TURNED],
            "angry sad",
            "anna bob",
            "",
            "wav/ not used, a/ not used, b/ not used",
        ),
        (["data/angry", "data/sad"], "angry sad", "", "", "emotions by folder angry/, data/ not used"),
        (["data/glad", "data/mad"], "glad mad", "", "", "emotions by folder glad/, data/ not used"),
        (["glad", "mad"], "glad mad", "", "", None),
        (["glad/ann", "mad/ben"], "glad mad", "ann ben", "", "emotions by folder glad/, speakers by folder ann/"),
        (["ann/01_happy", "ben/02_sad"], "01_happy 02_sad", "ann ben", "", "emotions by folder 01_happy/"),
        (["joy/sad", "joy/angry", "ann/sad", "ann/mad"], "angry mad sad", "ann joy", "", "speakers by folder ann/"),
        (["angry", "sad/anna", "sad"], "angry sad", "", "", "emotions by folder angry/, anna/ not used"),
        (["anna/monday/sad", "bob/angry"], "angry sad", "anna bob", "", "speakers by folder anna/, monday/ not used"),
        (["ann/Wut", "ann/Trauer", "ben/Wut"], "trauer wut", "ann ben", "", "speakers by folder ann/"),
        (["loc1/Joie", "loc2/Cole\u0300re"], "colère joie", "loc1 loc2", "", "speakers by folder loc1/"),
        (["ann/neutral", "ann/odd", "ben/neutral", "ben/odd"], "neutral odd", "ann ben", "", "speakers by folder ann/"),
        (["p1/odd", "p2/odd", "p1/even"], "p1 p2", "even odd", "", ", no name is a known emotion"),
        (["sad_set/sad", "sad_set/angry"], "angry sad", "", "", "sad_set/ not used"),
        (["sad/m", "angry/female"], "angry sad", "", "", "emotions by folder angry/, genders by folder female/"),
        (["sad", "angry", ".Trash/glad", "__MACOSX/mad"], "angry sad", "", "", None),
        (["train/sad", "dev/sad", "Test/angry"], "angry sad", "", "test train validation", None),
        (["train/cheerful", "test/gloomy"], "cheerful gloomy", "", "test train", None),
        (["x/train/sad", "x/valid/angry", "x/notes"], "angry sad", "", "train validation", "x/ not used"),
        (["ann/test/sad", "ben/train/angry"], "angry sad", "ann ben", "test train", "speakers by folder ann/"),
    ],
)
def test_known_emotions_tell_which_folder_is_what(places, emotions, speakers, parts, said, tmp_path):
    touch(tmp_path, *(f"{place}/{take}.wav" for place in places for take in range(2)))
    found = corpora.load(tmp_path)

    def named(field):
        return sorted({value for clip in found.clips if (value := getattr(clip, field))})

    assert (named("emotion"), named("speaker"), named("part")) == (emotions.split(), speakers.split(), parts.split())
    assert named("gender") == (["female", "male"] if "genders" in (said or "") else [])
    assert not said if found.notice is None else said in found.notice
    hidden = sum(2 for place in places if place.startswith((".", "__")))
    assert found.left_out.get(HIDDEN, 0) == hidden
    assert len(found.clips) + sum(found.left_out.values()) == 2 * len(places)


def test_what_stands_for_nothing_is_no_folder_of_an_emotion(tmp_path):
    touch(tmp_path, "sad/a.wav", "angry/b.wav", "nan/c.wav", "None/d.wav")
    found = corpora.load(tmp_path)
    assert {clip.emotion for clip in found.clips} == {"sad", "angry"}
    assert found.left_out == {"not in a folder of an emotion": 2}


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
        ((loose,), r"loose.wav, line 1: no column file or path"),
        ((None, "own"), "need a folder or a CSV"),
    ):
        with pytest.raises(ValueError, match=said):
            corpora.load(*arguments)
