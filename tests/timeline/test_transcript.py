import pytest

from ser_gpu.timeline.formats import FORMATS
from ser_gpu.timeline.segment import Timeline, silent
from ser_gpu.timeline.stream import Answers
from ser_gpu.timeline.transcript import answered, read_transcript
from tests.timeline.conftest import RATE, speech_like

SHORT = '"ooTextFile"\n"TextGrid"\n0 9\n<exists>\n2\n"TextTier" "points" 0 9 1 1 "x"\n'
GIVEN = [(1.5, 2.0, 'so "it" goes', None), (62.25, 63.0, "on <and> on", "bob")]


def given(segments):
    return [(each.start, each.end, each.text, each.speaker) for each in segments]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.srt", "1\r\n00:01:02,250 --> 00:01:03,000\r\n<v bob>on &lt;and&gt; {\\an8}on\r\n\r\n"
         "2\r\n00:00:01,5 --> 00:00:02\r\nso\r\n\"it\"\r\n<b>goes</b>"),
        ("a.vtt", "WEBVTT\n\nNOTE x\n\nSTYLE\n::cue {}\n\nid\n00:01.500 --> 00:02.000 align:start\nso \"it\" goes\n\n"
         "01:02.250 --> 01:03.000\n<v.loud bob>on <00:01:02.500><c>&lt;and&gt;</c> on</v>\n"),
        ("a.csv", "Text,Start,END,speaker\n\"so \"\"it\"\" goes\",1.5,2,\non <and> on,62.25,1:03,bob\n"),
        ("a.CSV", "start;end;speaker;text\n1,5;2,0;;\"so \"\"it\"\" goes\"\n00:01:02,250;63;bob;on <and> on\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_transcript_is_read(tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert given(read_transcript(tmp_path / name)) == GIVEN


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_the_first_tier_of_a_textgrid_is_read(tmp_path, form):
    textgrid = pytest.importorskip("praatio.textgrid")
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.PointTier("points", [(1.0, "IntervalTier?")], 0, 90))
    grid.addTier(textgrid.IntervalTier("words", [each[:3] for each in GIVEN], 0, 90))
    grid.addTier(textgrid.IntervalTier("phones", [(0, 1, "x")], 0, 90))
    grid.save(str(tmp_path / "a.TextGrid"), form, includeBlankSpaces=True)
    assert given(read_transcript(tmp_path / "a.TextGrid")) == [(*each[:3], None) for each in GIVEN]


@pytest.mark.parametrize("name", ["srt", "vtt", "csv", "textgrid"])
def test_what_is_written_is_read_again(call, tmp_path, name):
    (tmp_path / f"a.{name}").write_text(FORMATS[name](call), encoding="utf-8")
    spoken = [(each.start, each.end) for each in call.segments if each.speech or name == "csv"]
    assert [each[:2] for each in given(read_transcript(tmp_path / f"a.{name}"))] == spoken


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.doc", "", "segments are read from .srt, .vtt, .csv, .textgrid"),
        ("a.srt", "no time in it", "segments need a start and an end"),
        ("a.srt", f"{'1:' * 400}1 --> 2\nx\n", "segments need a start and an end"),
        ("a.vtt", "00:02 --> 00:01\nx\n", "in seconds or hours:minutes:seconds$"),
        ("a.srt", "1\n0:01 --> 0:02\na\n\n2\n0:02 --> end\nb\n", "segment 2 has other ones"),
        ("a.csv", "from,to\n1,2\n", "line 1: no column start"),
        ("a.srt", "1\n0:01 --> 0:02\na\n\n2\n0:02 -> 0:03\nb\n", "segment 2 has other ones"),
        ("a.srt", "1\n0:01 --> 0:02\na\n\n2\n-0:02 --> 0:03\nb\n", "segment 2 has other ones"),
        ("a.csv", "start,end\n1,2\n3\n", "segments need a start and an end"),
        ("a.csv", "start,end\n1,nan\n", "segments need a start and an end"),
        ("a.csv", "", "line 1: no column start"),
        ("a.TextGrid", SHORT, "segments need a start and an end"),
        ("a.TextGrid", f'{SHORT}"IntervalTier" "words" 0 9 2 0 1 "x"', "segments need a start and an end"),
        ("a.TextGrid", f'{SHORT}"IntervalTier"', "segments need a start and an end"),
        ("a.srt", b"\xff\x00", "is no text"),
        ("a.srt", None, "no such file"),
    ],
)
def test_a_bad_transcript_is_one_line(tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=problem) as error:
        read_transcript(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.srt", "1\n0:01 --> 0:02\nol\xe9\n2\n0:02 --> 0:03\n7\n"),  # without a blank line between
        ("a.csv", "sep=;\nbegin;end;text\n1;2;ol\xe9\n;;\n2;3;7\n"),
        ("a.csv", "onset,duration,text\n1,1,ol\xe9\n2,0:01,7\n"),
        (
            "a.TextGrid",
            f'{SHORT}"IntervalTier" "phones" 0 3 1 0 3 "" "IntervalTier" "words" 0 3 2 1 2 "ol\xe9" 2 3 "7"',
        ),
    ],
)
def test_a_transcript_of_another_program_is_read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    found = [(each.start, each.end, each.text) for each in read_transcript(tmp_path / name)]
    assert found == [(1.0, 2.0, "ol\xe9"), (2.0, 3.0, "7")]


def test_an_arrow_may_stand_in_the_text(tmp_path):
    (tmp_path / "a.vtt").write_text("WEBVTT\n\nNOTE a --> b\n\n0:01 --> 100:00:00.5\nred --> green, r2 -> c\n")
    assert [(each.end, each.text) for each in read_transcript(tmp_path / "a.vtt")] == [
        (360_000.5, "red --> green, r2 -> c")
    ]


def test_segments_are_answered_whatever_the_blocks(small_model, loud_is_speech, voice):
    sound = speech_like(70.0).repeat(3)  # several blocks of a million samples
    parts = [silent(0.0, 1.0, "alice", "a"), silent(0.5, 60.0, "bob", "b"), silent(0.7, 2.0, None, "c")]
    parts += [silent(20.0, 20.04, None, "short"), silent(65.0, 99.0, "alice", ""), silent(80.0, 81.0, None, "late")]
    known, unknown = (
        [each for _, segments in answered(answers, (3 * RATE, sound), parts)[1] for each in segments]
        for answers in (Answers(small_model, {"alice": voice}), Answers(small_model))
    )
    times = [(0, 1, "a"), (0.5, 60, "b"), (0.7, 2, "c"), (20, 20.04, "short"), (60, 65, None), (65, 70, "")]
    assert [(each.start, round(each.end, 6), each.text) for each in known] == times
    assert [each.speech for each in known] == [True, True, True, False, False, True]
    assert [one == none for one, none in zip(known, unknown, strict=True)] == [False, True, True, True, True, False]
    assert Timeline("a", 70.0, small_model.labels, tuple(known)).segments == tuple(known), "none is merged"
    part = small_model.predict((3 * RATE, sound[round(0.7 * 3 * RATE) : 6 * RATE])).probabilities
    assert known[2].probabilities == pytest.approx(part, abs=1e-4), "resampled by other blocks"
