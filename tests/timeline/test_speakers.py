import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_gpu.errors import InputError
from ser_gpu.timeline.speakers import LEAST_SECONDS, Speakers, Turn, read_rttm, read_rttm_of
from tests.conftest import FUZZ

TURNS = st.lists(
    st.builds(
        lambda start, seconds, speaker: Turn(start, start + seconds, speaker),
        st.floats(0, 20),
        st.floats(0, 5),
        st.sampled_from(["alice", "bob", "carol"]),
    ),
    max_size=8,
)


def line(start, seconds, speaker, recording="talk"):
    return f"SPEAKER {recording} 1 {start} {seconds} <NA> <NA> {speaker} <NA> <NA>\n"


@given(TURNS, st.floats(0, 20))
def test_each_moment_is_of_who_began_first_there_or_is_near(turns, moment):
    speaker = Speakers(turns).of(moment, moment + 1e-6)
    near = {turn.speaker for turn in turns if turn.start - 0.5 - 1e-5 <= moment <= turn.end + 0.5 + 1e-5}
    if speaker is not None:
        assert speaker in near
    inside = [turn for turn in turns if turn.start <= moment and moment + 1e-6 <= turn.end]
    if len({turn.speaker for turn in inside}) == 1 and len(turns) == len(inside):
        assert speaker == inside[0].speaker


@given(TURNS, st.floats(0, 20), st.floats(0.1, 6))
def test_cuts_leave_no_sliver(turns, start, seconds):
    cuts = Speakers(turns).changes(start, start + seconds)
    bounds = [start, *cuts, start + seconds]
    assert all(after - before >= LEAST_SECONDS for before, after in itertools.pairwise(bounds) if cuts)


def test_turns_that_overlap_or_lie_in_another_and_pauses_between_them():
    speakers = Speakers([Turn(0.0, 4.0, "alice"), Turn(3.0, 6.0, "bob"), Turn(20.0, 21.0, "alice")])
    assert speakers.names == ("alice", "bob")
    assert speakers.of(3.2, 3.8) == "alice"
    assert speakers.of(3.0, 6.0) == "bob"
    assert speakers.of(6.1, 6.4) == "bob"
    assert speakers.of(10.0, 11.0) is None
    assert speakers.of(19.6, 20.2) == "alice"
    assert speakers.changes(3.0, 5.0) == [4.0]
    assert speakers.changes(3.9, 5.0) == []
    speakers = Speakers([Turn(30.0, 33.0, "bob"), Turn(0.0, 60.0, "alice"), Turn(58.0, 62.0, "carol")])
    assert speakers.names == ("alice", "bob", "carol")
    assert (speakers.of(30.0, 33.0), speakers.of(60.0, 61.0)) == ("alice", "carol")
    assert Speakers([Turn(0.0, 9.0, "alice"), Turn(1.0, 2.0, "alice")]).changes(0.0, 9.0) == []
    assert Speakers([]).of(0.0, 1.0) is None
    assert Speakers([]).changes(0.0, 9.0) == []


def test_one_id_is_not_of_two_recordings(tmp_path):
    (tmp_path / "a.rttm").write_text(line(0, 1, "alice") + line(0, 1, "bob", "other"))
    with pytest.raises(InputError, match=r"a.rttm: talk can be x/talk.wav and y/talk.wav: name one of them"):
        read_rttm_of(tmp_path / "a.rttm", ["x/talk.wav", "y/talk.wav"])
    assert len(read_rttm_of(tmp_path / "a.rttm", ["talk.wav", "talk.wav", "other.wav"])) == 2


DIARIZED = ";; a remark\nSPKR-INFO talk 1 <NA> <NA> <NA> unknown SPEAKER_00 <NA>\n" + line(0.5, 1.25, "SPEAKER_00")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    ("content", "turns"),
    [
        (DIARIZED, [(0.5, 1.75, "SPEAKER_00")]),
        (line(0, 3, "alice", "my call 2 0.5"), [(0, 3, "alice")]),
        (line(-0.01, 2.5, "alice"), [(0, 2.49, "alice")]),
        (line(1, 2, "Alice Smith"), [(1, 3, "Alice Smith")]),
        ("speaker talk 1 1e0 .5 <NA> <NA> 4 0.98 <NA>", [(1, 1.5, "4")]),
        ("SPEAKER\ttalk\t1\t0\t1\t<NA>\t<NA>\talice\t<NA>\r\n", [(0, 1, "alice")]),
        ("  SPEAKER talk <NA> 0 1 <NA> unknown J\u00f6rg 0.5 0.5", [(0, 1, "J\u00f6rg")]),
        ("SPEAKER talk 1 0 1 <NA> <NA> alice", [(0, 1, "alice")]),
        (line(0, 1, "alice").rstrip() + " ;; by hand", [(0, 1, "alice")]),
        ("SPEAKER talk 1 0 1 <NA> <NA> Dr. Li 0.9 <NA> <NA> more", [(0, 1, "Dr. Li")]),
        (line(5, 1, "bob") + line(0, 0, "alice"), [(0, 0, "alice"), (5, 6, "bob")]),
    ],
)
def test_rttm_as_tools_write_it(tmp_path, encoding, content, turns):
    path = tmp_path / "talk.rttm"
    path.write_bytes(content.encode(encoding))
    assert [tuple(turn) for turn in read_rttm(path).turns] == turns


WORDS = st.sampled_from(
    ["SPEAKER", "speaker", "<NA>", "1", "0.5", "-0.2", "-7", "1e9", "nan", "talk", "a.wav", "", "\t", ";;"]
)
NAMES = st.lists(st.text("aZ4.\u00e9-_", min_size=1, max_size=4), min_size=1, max_size=3).map(" ".join)


@FUZZ
@given(st.lists(st.lists(st.one_of(WORDS, NAMES), max_size=12).map(" ".join), max_size=4), st.booleans())
def test_any_rttm_line_is_read_or_refused_in_one_line(tmp_path, lines, is_rttm):
    path = tmp_path / "talk.rttm"
    path.write_text("\n".join(["SPEAKER " * is_rttm + each for each in lines]), encoding="utf-8")
    speakers, said = Speakers([]), f"{path}: ok"
    try:
        speakers = read_rttm(path, "talk.wav")
    except InputError as error:
        said = str(error)
    assert said.startswith(str(path))
    assert said.isprintable()
    assert {turn.speaker for turn in speakers.turns} == set(speakers.names)
    assert all(0 <= turn.start <= turn.end < math.inf for turn in speakers.turns)
    assert speakers.of(0.0, 1e9) in (None, *speakers.names)


@FUZZ
@given(NAMES, st.lists(st.tuples(st.floats(-1, 9), st.floats(0, 9), st.text("aZ\u00e9-_", min_size=1)), min_size=1))
def test_any_rttm_line_of_a_tool_gives_its_turn(tmp_path, name, rows):
    path = tmp_path / "talk.rttm"
    path.write_text("".join(line(start, seconds, who, name) for start, seconds, who in rows), encoding="utf-8")
    turns = [(max(start, 0.0), max(start + seconds, 0.0), who) for start, seconds, who in rows]
    assert [tuple(turn) for turn in read_rttm(path, name).turns] == sorted(turns)


@pytest.mark.parametrize("recording", ["talk.wav", "calls/talk.mp3", "talk"])
@pytest.mark.parametrize(
    "ids",
    [("talk", "b"), ("talk.wav", "b.wav"), ("x/talk", "x/b"), ("talk.flac", "talk.1.wav"), ("C:\\x\\TALK.WAV", "b")],
)
def test_an_id_has_a_suffix_and_a_folder_or_not(tmp_path, recording, ids):
    path = tmp_path / "all.rttm"
    path.write_text("".join(line(0, 1, who, id) for who, id in zip(("alice", "bob"), ids, strict=True)))
    assert read_rttm(path, recording).names == ("alice",)


def test_an_accent_is_the_same_however_it_is_written(tmp_path):
    path = tmp_path / "all.rttm"
    path.write_text(line(0, 1, "alice", "caf\u00e9") + line(0, 1, "bob", "b"), encoding="utf-8")
    assert read_rttm(path, "cafe\u0301.wav").names == ("alice",)


def test_rttm_of_several_recordings(tmp_path):
    path = tmp_path / "all.rttm"
    path.write_text(line(0, 1, "alice", "one") + line(0, 1, "bob", "my_talk"))
    assert read_rttm(path, "calls/my talk.wav").names == ("bob",)
    with pytest.raises(ValueError, match=r"all\.rttm: is of one, my_talk, and none of them is other"):
        read_rttm(path, "other.wav")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no line of it begins with SPEAKER"),
        ("SPEAKER talk 1 0.0\n", "line 1: is no RTTM: SPEAKER talk 1 0.0"),
        (line("x", 1, "alice"), "line 1: is no RTTM"),
        (line(0, 1, "alice") + "SPEAKR talk 1 1 1 <NA> <NA> bob <NA> <NA>\n", "line 2: is no RTTM"),
        (line(0, -1, "alice"), "line 1: is no RTTM"),
        (line(0, "nan", "alice"), "line 1: is no RTTM"),
        (line(-2, 9, "alice"), "line 1: is no RTTM"),
        (line(0, "1e999", "alice"), "line 1: is no RTTM"),
        (b"RIFF\0\xff\xfe", "is no text"),
        (None, "no such file"),
    ],
)
def test_bad_rttm_is_one_line(tmp_path, content, problem):
    path = tmp_path / "talk.rttm"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=problem) as error:
        read_rttm(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
