import csv
import html
import io
import json
import shutil
import subprocess

import pytest

from ser_gpu.timeline.formats import FORMATS, SUFFIXES, percent
from ser_gpu.timeline.segment import Timeline, silent
from ser_gpu.timeline.segment import spoken as spoken_part


def spoken(timeline):
    return [segment for segment in timeline.segments if segment.speech]


def test_json_has_the_keys_of_speechbrain_and_more(timeline):
    content = json.loads(FORMATS["json"](timeline))
    assert content["file"] == "my talk.wav"
    assert [s["start"] for s in content["segments"]] == [s.start for s in timeline.segments]
    said = next(s for s in content["segments"] if s["speech"])
    assert (said["start"], said["end"], said["emotion"]) == (0.5, 3.0, "happy")
    assert list(said["probabilities"]) == list(timeline.labels)
    assert [json.loads(line) for line in FORMATS["jsonl"](timeline).splitlines()] == [
        {"file": "my talk.wav", **segment} for segment in content["segments"]
    ]


def test_csv_has_a_column_an_emotion(timeline):
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](timeline))))
    assert [float(row["end"]) for row in rows] == [segment.end for segment in timeline.segments]
    assert all(bool(row["sad"]) == (row["speech"] == "1") for row in rows)


def test_pyannote_reads_rttm_of_ten_fields(timeline):
    lines = [line.split(" ") for line in FORMATS["rttm"](timeline).splitlines()]
    assert all(len(line) == 10 and line[1] == "my_talk" for line in lines)
    assert [(float(line[3]), line[7]) for line in lines] == [(s.start, s.emotion) for s in spoken(timeline)]
    pandas = pytest.importorskip("pandas")
    core = pytest.importorskip("pyannote.core")
    names = ["type", "uri", "channel", "start", "duration", "a", "b", "label", "c", "d"]
    table = pandas.read_csv(io.StringIO(FORMATS["rttm"](timeline)), names=names, sep=r"\s+")
    annotation = core.Annotation()
    for row in table.itertuples():
        annotation[core.Segment(row.start, row.start + row.duration)] = row.label
    assert annotation.labels() == sorted({segment.emotion for segment in spoken(timeline)})


@pytest.mark.parametrize("name", ["vtt", "srt"])
def test_webvtt_reads_subtitles(timeline, name):
    captions = pytest.importorskip("webvtt").from_buffer(io.StringIO(FORMATS[name](timeline)), format=name)
    assert [caption.start_in_seconds for caption in captions] == [int(segment.start) for segment in spoken(timeline)]
    assert [caption.text.split()[0] for caption in captions] == [s.emotion for s in spoken(timeline)]
    assert captions[-1].end == "00:01:01.500"


def test_praatio_reads_a_tier_of_emotions_and_one_of_speakers(timeline, call, tmp_path):
    praatio = pytest.importorskip("praatio.textgrid")
    for recording, tiers in ((timeline, ("emotion",)), (call, ("emotion", "speaker"))):
        recording.save(tmp_path / "talk.TextGrid")
        grid = praatio.openTextgrid(str(tmp_path / "talk.TextGrid"), includeEmptyIntervals=True)
        assert grid.tierNames == tiers
        for tier in tiers:
            entries = [(e.start, e.end, e.label) for e in grid.getTier(tier).entries]
            assert entries == [(s.start, s.end, getattr(s, tier) or "") for s in recording.segments]


def test_audacity_labels_have_three_columns(timeline):
    lines = [line.split("\t") for line in FORMATS["audacity"](timeline).splitlines()]
    assert [(float(a), float(b)) for a, b, _ in lines] == [(s.start, s.end) for s in spoken(timeline)]


@pytest.mark.parametrize("name", FORMATS)
def test_suffix_tells_the_format(timeline, tmp_path, name):
    path = tmp_path / f"talk{SUFFIXES[name]}"
    timeline.save(path)
    assert path.read_bytes().decode() == FORMATS[name](timeline)


@pytest.mark.parametrize(("share", "expected"), [(0.996, 99), (0.004, 1), (1.0, 100), (0.0, 0), (0.505, 50), (0.6, 60)])
def test_percent_is_all_or_nothing_only_where_it_is(share, expected):
    assert percent(share) == expected


@pytest.fixture
def awkward():
    """A pause that is shorter than a millisecond, signs of markup, and a segment inside another."""
    shares = {"<laughter> & joy": 0.996, "calm": 0.004}
    parts = spoken_part(0.0, 1.0, shares), silent(1.0, 1.0001), spoken_part(1.0001, 5.0, shares, "<b>Bob", 'a --> "b"')
    parts += spoken_part(2.0, 3.0, shares, None, "inside"), silent(5.0, 5.0004)
    return Timeline("a", 5.0004, tuple(shares), parts)


def test_nothing_of_no_length_is_written(awkward, tmp_path):
    segments = json.loads(FORMATS["json"](awkward))["segments"]
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](awkward))))
    assert [(each["start"], each["end"]) for each in segments] == [(0, 1), (1, 5), (2, 3)]
    assert [(float(each["start"]), float(each["end"])) for each in rows] == [(0, 1), (1, 5), (2, 3)]
    assert [each["text"] for each in rows] == ["", 'a --> "b"', "inside"]
    praatio = pytest.importorskip("praatio.textgrid")
    awkward.save(tmp_path / "a.TextGrid")
    grid = praatio.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=True)
    assert grid.tierNames == ("emotion", "speaker", "text")
    assert [tuple(each) for each in grid.getTier("text").entries] == [(0, 1, ""), (1, 5, 'a --> "b"')]


def test_markup_is_text(awkward, tmp_path):
    webvtt, name = pytest.importorskip("webvtt"), "<laughter> & joy 99 %"
    captions = list(webvtt.from_buffer(io.StringIO(FORMATS["vtt"](awkward)), format="vtt"))
    said = [name, f'[{name}] a --> "b"', f"[{name}] inside"]
    assert [html.unescape(caption.text) for caption in captions] == said
    assert [caption.voice for caption in captions] == [None, "b Bob", None]


def test_a_cue_is_one_paragraph():
    parts = (spoken_part(0.0, 1.0, {"sad": 0.9, "calm": 0.1}, "Bob\nLi", "one\n\ntwo\tthree"),)
    timeline = Timeline("a", 1.0, ("sad", "calm"), parts)
    for name, said in (("vtt", "<v Bob Li>"), ("srt", "Bob Li: "), ("audacity", "\tBob Li: ")):
        assert FORMATS[name](timeline).endswith(f"{said}[sad 90 %] one two three\n")


@pytest.mark.parametrize("player", ["pysubs2", "ffmpeg"])
def test_players_of_srt_show_all_of_it(awkward, player):
    name = "<laughter> & joy 99 %"
    said = [name, f'<b>Bob: [{name}] a --> "b"', f"[{name}] inside"]
    if player == "ffmpeg":
        ffmpeg = shutil.which("ffmpeg") or pytest.skip("no ffmpeg")
        command = [ffmpeg, "-v", "error", "-f", "srt", "-i", "-", "-f", "ass", "-"]
        done = subprocess.run(command, input=FORMATS["srt"](awkward).encode(), capture_output=True, check=True)
        shown = [line.split(",", 9)[9] for line in done.stdout.decode().splitlines() if line.startswith("Dialogue:")]
    else:
        pysubs2 = pytest.importorskip("pysubs2")
        events = pysubs2.SSAFile.from_string(FORMATS["srt"](awkward), format_="srt").events
        shown = [event.plaintext for event in events]
        assert [(event.start, event.end) for event in events] == [(0, 1_000), (1_000, 5_000), (2_000, 3_000)]
    assert shown == [each.translate(str.maketrans("<>", "\u2039\u203a")) for each in said]


def test_unknown_format_is_refused(timeline, tmp_path):
    with pytest.raises(ValueError, match=r"format must be one of json, .* got 'xml'"):
        timeline.save(tmp_path / "talk", "xml")
    with pytest.raises(ValueError, match=r"no format has the suffix '\.xml'"):
        timeline.save(tmp_path / "talk.xml")
    assert not list(tmp_path.iterdir())


def test_every_format_says_who_speaks(call):
    said = [(s.speaker, s.emotion) for s in spoken(call)]
    assert said == [("alice", "happy"), ("bob <b>", "happy"), ("alice", "sad"), (None, "sad")]
    segments = json.loads(FORMATS["json"](call))["segments"]
    assert [(s.get("speaker"), s["emotion"]) for s in segments if s["speech"]] == said
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](call))))
    assert [(row["speaker"] or None, row["emotion"]) for row in rows if row["speech"] == "1"] == said
    names = [row.split(" ")[7] for row in FORMATS["rttm"](call).splitlines()]
    assert names == ["alice_happy", "bob_<b>_happy", "alice_sad", "sad"]
    labels = [row.split("\t")[2] for row in FORMATS["audacity"](call).splitlines()]
    assert labels == ["alice: happy 70 %", "bob <b>: happy 60 %", "alice: sad 60 %", "sad 60 %"]
    webvtt = pytest.importorskip("webvtt")
    captions = webvtt.from_buffer(io.StringIO(FORMATS["vtt"](call)), format="vtt")
    assert [caption.voice for caption in captions] == ["alice", "bob b", "alice", None]
    assert [caption.text for caption in captions] == ["happy 70 %", "happy 60 %", "sad 60 %", "sad 60 %"]
