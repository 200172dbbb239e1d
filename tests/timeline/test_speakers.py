import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_gpu.timeline.speakers import LEAST_SECONDS, Speakers, Turn, read_rttm

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


@settings(deadline=None)
@given(TURNS, st.floats(0, 20))
def test_each_moment_is_of_who_began_first_there_or_is_near(turns, moment):
    speaker = Speakers(turns).of(moment, moment + 1e-6)
    near = {turn.speaker for turn in turns if turn.start - 0.5 - 1e-5 <= moment <= turn.end + 0.5 + 1e-5}
    if speaker is not None:
        assert speaker in near
    inside = [turn for turn in turns if turn.start <= moment and moment + 1e-6 <= turn.end]
    if len({turn.speaker for turn in inside}) == 1 and len(turns) == len(inside):
        assert speaker == inside[0].speaker


@settings(deadline=None)
@given(TURNS, st.floats(0, 20), st.floats(0.1, 6))
def test_cuts_leave_no_sliver(turns, start, seconds):
    cuts = Speakers(turns).changes(start, start + seconds)
    bounds = [start, *cuts, start + seconds]
    assert all(after - before >= LEAST_SECONDS for before, after in itertools.pairwise(bounds) if cuts)


def test_turns_that_overlap_and_pauses_between_them():
    speakers = Speakers([Turn(0.0, 4.0, "alice"), Turn(3.0, 6.0, "bob"), Turn(20.0, 21.0, "alice")])
    assert speakers.names == ("alice", "bob")
    assert speakers.of(3.2, 3.8) == "alice"
    assert speakers.of(3.0, 6.0) == "bob"
    assert speakers.of(6.1, 6.4) == "bob"
    assert speakers.of(10.0, 11.0) is None
    assert speakers.of(19.6, 20.2) == "alice"
    assert speakers.changes(3.0, 5.0) == [4.0]
    assert speakers.changes(3.9, 5.0) == []


def test_nobody_speaks_without_turns():
    assert Speakers([]).of(0.0, 1.0) is None
    assert Speakers([]).changes(0.0, 9.0) == []


def test_rttm_of_a_diarizer(tmp_path):
    path = tmp_path / "talk.rttm"
    path.write_text(
        ";; a remark\nSPKR-INFO talk 1 <NA> <NA> <NA> unknown SPEAKER_00 <NA>\n" + line(0.5, 1.25, "SPEAKER_00")
    )
    speakers = read_rttm(path)
    assert speakers.names == ("SPEAKER_00",)
    assert speakers.of(0.5, 1.75) == "SPEAKER_00"


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
        (line(0, -1, "alice"), "line 1: is no RTTM"),
        (line(0, "nan", "alice"), "line 1: is no RTTM"),
        (b"RIFF\xff\xfe", "is no text"),
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
