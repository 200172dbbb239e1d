import itertools
import re
from pathlib import Path

import pytest

from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.errors import InputError
from ser_gpu.timeline import plot
from ser_gpu.timeline.segment import Timeline, spoken

PAGE = Path(__file__).parents[2] / "app" / "style.css"


def test_an_emotion_has_the_colour_of_the_page():
    light = re.findall(r"--emotion-(\w+): (#\w+);", PAGE.read_text(encoding="utf-8"))[: len(EMOTIONS)]
    assert dict(light) == plot.COLOURS


def test_hours_stay_readable():
    parts = [spoken(at, at + 3.0, {"sad": (at % 7) / 7, "calm": 1 - (at % 7) / 7}) for at in range(0, 10_800, 3)]
    timeline = Timeline("talk", 10_800.0, ("sad", "calm"), tuple(parts))
    edges, shares, rows = plot.columns(timeline)
    assert len(rows["speech"]) == plot.COLUMNS
    assert edges[-1] == 10_800.0
    assert shares.sum(axis=1) == pytest.approx(1.0)
    assert not timeline.plot().axes[0].texts


@pytest.mark.parametrize(("count", "rotation"), [(4, 0), (56, 90)])
def test_a_name_stands_over_its_own_segment(count, rotation):
    shares = {"neutral": 0.9, "surprised": 0.1}, {"neutral": 0.1, "surprised": 0.9}
    parts = tuple(spoken(2.0 * at, 2.0 * at + 2.0, shares[at % 2]) for at in range(count))
    timeline = Timeline("talk", 2.0 * count, tuple(shares[0]), parts)
    drawn = timeline.plot()
    drawn.draw_without_rendering()
    axes = drawn.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [segment.emotion for segment in timeline.segments]
    for box, segment in zip(boxes, timeline.segments, strict=True):
        left, right = axes.transData.transform([(segment.start, 0), (segment.end, 0)])[:, 0]
        assert left - 1 <= box.x0 <= box.x1 <= right + 1, "a pixel for rounding"
        assert box.y1 <= axes.get_window_extent().y1 + 1
    assert all(before.x1 <= after.x0 + 2 for before, after in itertools.pairwise(boxes))
    assert {text.get_rotation() for text in axes.texts} == {rotation}


def test_picture_is_written_whole_or_only_drawn(timeline, tmp_path):
    assert len(timeline.plot().axes) == 2
    timeline.plot(tmp_path / "talk.png")
    assert [path.name for path in tmp_path.iterdir()] == ["talk.png"]
    assert (tmp_path / "talk.png").read_bytes().startswith(b"\x89PNG")


def test_each_speaker_has_a_row(call):
    _, _, found = plot.columns(call)
    assert list(found) == ["alice", "bob <b>"]
    assert found["alice"].mean() * 7 == pytest.approx(3.5, abs=0.01), "a column has 0.006 s"
    assert found["bob <b>"].mean() * 7 == pytest.approx(1.5, abs=0.01)
    _, below = call.plot().axes
    assert [label.get_text() for label in below.get_yticklabels()] == ["alice", "bob <b>"]


@pytest.mark.parametrize("name", ["talk", "talk.docx", ".png", ""])
def test_a_picture_needs_its_suffix(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"a picture ends in one of \.png, "):
        Timeline("talk", 1.0, ("sad", "calm"), (spoken(0, 1, {"sad": 0.9, "calm": 0.1}),)).plot(name)
    assert not list(tmp_path.iterdir()), "nothing is left behind"
