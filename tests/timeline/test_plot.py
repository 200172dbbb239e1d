import pytest

from ser_gpu.timeline import plot
from ser_gpu.timeline.segment import Timeline, spoken


def test_hours_stay_readable():
    parts = [spoken(at, at + 3.0, {"sad": (at % 7) / 7, "calm": 1 - (at % 7) / 7}) for at in range(0, 10_800, 3)]
    timeline = Timeline("talk", 10_800.0, ("sad", "calm"), tuple(parts))
    edges, shares, speech = plot.columns(timeline)
    assert len(speech) <= plot.MOST_COLUMNS
    assert edges[-1] == 10_800.0
    assert shares.sum(axis=1) == pytest.approx(1.0)
    assert len(plot._named(timeline)) <= plot.NAMED


def test_picture_is_written_whole(timeline, tmp_path):
    timeline.plot(tmp_path / "talk.png")
    assert [path.name for path in tmp_path.iterdir()] == ["talk.png"]
    assert (tmp_path / "talk.png").read_bytes().startswith(b"\x89PNG")


def test_each_speaker_has_a_row(call):
    found = plot.turns(call)
    assert list(found) == ["alice", "bob <b>"]
    assert sum(found["alice"]) == 7  # cells of half a second
    assert sum(found["bob <b>"]) == 3
    _, below = call.plot().axes
    assert [label.get_text() for label in below.get_yticklabels()] == ["alice", "bob <b>"]


def test_figure_without_a_path_is_only_drawn(timeline):
    assert len(timeline.plot().axes) == 2
