import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_gpu.timeline.segment import JOINED_SECONDS, Timeline, merged, silent, spoken

LABELS = ("neutral", "happy", "sad")


@st.composite
def stretches(draw):
    """Stretches without gaps, as a stream gives them: no two pauses after each other."""
    found, at = [], 0.0
    for _ in range(draw(st.integers(1, 12))):
        length = draw(st.floats(0.1, 5.0))
        if draw(st.booleans()) or (found and not found[-1].speech):
            shares = [draw(st.floats(0.01, 1.0)) for _ in LABELS]
            found.append(spoken(at, at + length, dict(zip(LABELS, (s / sum(shares) for s in shares), strict=True))))
        else:
            found.append(silent(at, at + length))
        at += length
    return tuple(found)


@given(stretches())
def test_neighbours_of_one_emotion_are_merged_and_every_moment_is_kept(parts):
    segments = list(merged(parts))
    assert (segments[0].start, segments[-1].end) == (parts[0].start, parts[-1].end)
    assert {each.emotion for each in segments if each.speech} == {part.emotion for part in parts if part.speech}
    assert list(merged(segments)) == segments
    for before, after in itertools.pairwise(segments):
        assert before.end == after.start
        assert not (before.speech and after.speech and before.emotion == after.emotion)
    for before, pause, after in zip(segments, segments[1:], segments[2:], strict=False):
        if before.speech and after.speech and not pause.speech and pause.seconds <= JOINED_SECONDS:
            assert before.emotion != after.emotion


@given(stretches(), st.sampled_from([0.1, 0.25, 0.5, 1.0, 60.0]))
def test_grid_is_regular_and_covers_the_recording(parts, step):
    timeline = Timeline("talk", parts[-1].end, LABELS, parts, step)
    cells = timeline.grid
    assert cells[0].start == 0.0
    assert math.isclose(cells[-1].end, timeline.seconds)
    for number, cell in enumerate(cells):
        assert math.isclose(cell.start, number * step)
        assert cell.seconds <= step + 1e-9
        if cell.speech:
            assert math.isclose(sum(cell.probabilities.values()), 1.0, rel_tol=1e-6)
            assert cell.confidence == max(cell.probabilities.values())
        else:
            assert (cell.emotion, cell.confidence, cell.probabilities) == (None, None, {})


def test_cell_speaks_where_half_of_it_does():
    sad = spoken(0.26, 1.0, {"sad": 1.0})
    timeline = Timeline("talk", 1.0, ("sad",), (silent(0.0, 0.26), sad), 0.5)
    assert [cell.speech for cell in timeline.grid] == [False, True]


def test_cells_of_segments_inside_others():
    parts = spoken(0.0, 8.0, {"sad": 1.0}, "alice"), spoken(2.0, 3.0, {"sad": 1.0}, "bob", ""), silent(8.0, 9.0)
    timeline = Timeline("talk", 9.0, ("sad",), parts, 1.0)
    assert [cell.speaker for cell in timeline.grid] == ["alice"] * 8 + [None]


def test_merged_probabilities_are_weighted_by_seconds(timeline):
    first = next(segment for segment in timeline.segments if segment.speech)
    assert (first.start, first.end, first.emotion) == (0.5, 3.0, "happy")
    assert first.confidence == pytest.approx((0.7 * 1.25 + 0.6 * 1.1) / 2.35)


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan])
def test_wrong_step_is_refused(step):
    with pytest.raises(ValueError, match="step_seconds must be positive, got"):
        Timeline("talk", 1.0, LABELS, (silent(0.0, 1.0),), step)
