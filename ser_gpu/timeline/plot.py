"""The picture of a timeline: the emotions' probabilities, stacked over time, and where somebody speaks, or who."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.files import replacing
from ser_gpu.timeline.segment import Segment, Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_COLUMNS = 480
NAMED = 8
# Okabe and Ito, and a darker red for anger
COLOURS = {
    "neutral": "#BBBBBB",
    "calm": "#56B4E9",
    "happy": "#F0E442",
    "sad": "#0072B2",
    "angry": "#B22222",
    "fearful": "#CC79A7",
    "disgust": "#009E73",
    "surprised": "#E69F00",
}
_OTHERS = ("#7F3C8D", "#11A579", "#3969AC", "#F2B701", "#E73F74", "#80BA5A", "#008695", "#CF1C90")
_SPEECH = "#333333"


def figure(timeline: Timeline, width_inches: float = 12.0) -> "Figure":
    """Draw it: whatever its length, at most 480 columns, and the longest stretches of up to eight emotions by name.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    edges, shares, speech = columns(timeline)
    rows = turns(timeline) or {"speech": speech}
    drawn = Figure(figsize=(width_inches, 3.6 + 0.3 * len(rows)), layout="constrained")
    above, below = drawn.subplots(2, 1, sharex=True, height_ratios=(12, len(rows)))
    bottom = np.zeros(len(speech))
    for number, label in enumerate(timeline.labels):
        colour = COLOURS.get(label, _OTHERS[number % len(_OTHERS)])
        top = bottom + shares[:, number]
        above.stairs(top, edges, baseline=bottom, fill=True, color=colour, label=label)
        bottom = top
    for segment in _named(timeline):
        middle = (segment.start + segment.end) / 2
        side = "left" if middle < 0.05 * timeline.seconds else "right" if middle > 0.95 * timeline.seconds else "center"
        above.annotate(segment.emotion, (middle, 1.02), ha=side, fontsize=13, fontweight="bold", annotation_clip=False)
    above.set(ylim=(0, 1.12), ylabel="probability", yticks=(0, 0.5, 1))
    for row, share in enumerate(rows.values()):
        below.stairs(row + share, edges, baseline=row, fill=True, color=_SPEECH)
    below.set(ylim=(0, len(rows)), xlim=(0, max(timeline.seconds, 1e-3)))
    below.set_yticks([row + 0.5 for row in range(len(rows))], list(rows))
    below.tick_params("y", length=0)
    below.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 1.5, 2, 3, 5, 6, 10]))
    below.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    for axes in (above, below):
        axes.tick_params(labelsize=12)
        axes.spines[["top", "right"]].set_visible(False)
    above.yaxis.label.set_fontsize(12)
    drawn.legend(loc="outside right center", frameon=False, fontsize=12, reverse=True)
    return drawn


def save(drawn: "Figure", path: str | Path) -> None:
    """Write a figure whole or not at all, in the format of the suffix.

    Raises:
        ValueError: matplotlib has no such format.
        OSError: the file cannot be written.
    """
    with replacing(path) as temporary:
        drawn.savefig(temporary, dpi=110)


def columns(timeline: Timeline) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The grid, as many cells together as keep it within `MOST_COLUMNS`.

    Shape: -> edges in seconds [N + 1]; probability of each emotion, zero where nobody speaks [N, C]; share of speech
    [N].
    """
    groups = _groups(timeline)
    edges = [group[0].start for group in groups] + [groups[-1][-1].end]
    shares = np.zeros((len(groups), len(timeline.labels)))
    speech = np.zeros(len(groups))
    for row, group in enumerate(groups):
        spoken = [list(cell.probabilities.values()) for cell in group if cell.speech]
        speech[row] = len(spoken) / len(group)
        if spoken:
            shares[row] = np.mean(spoken, axis=0)
    return np.array(edges), shares, speech


def turns(timeline: Timeline) -> dict[str, np.ndarray]:
    """The share of each column in which each speaker speaks; empty where nobody said who speaks.

    Shape: -> [N] each.
    """
    groups = _groups(timeline)
    return {
        name: np.array([sum(cell.speaker == name for cell in group) / len(group) for group in groups])
        for name in timeline.speakers
    }


def _groups(timeline: Timeline) -> list[Sequence[Segment]]:
    cells = timeline.grid
    together = -(-len(cells) // MOST_COLUMNS)
    return [cells[at : at + together] for at in range(0, len(cells), together)]


def clock(seconds: float) -> str:
    """
    >>> clock(75), clock(3_725)
    ('1:15', '1:02:05')
    """
    whole = round(seconds)
    minutes = f"{whole // 60 % 60:02}" if whole >= 3_600 else str(whole // 60)
    return (f"{whole // 3_600}:" if whole >= 3_600 else "") + f"{minutes}:{whole % 60:02}"


def _named(timeline: Timeline) -> list[Segment]:
    """The segments whose name is written: the longest ones that are sure, each away from the others."""
    visible = timeline.seconds / MOST_COLUMNS
    spoken = [each for each in timeline.segments if each.speech and each.confidence >= 0.5 and each.seconds >= visible]
    chosen: list[Segment] = []
    room = timeline.seconds / NAMED
    for segment in sorted(spoken, key=lambda each: -each.seconds * each.confidence):
        middle = (segment.start + segment.end) / 2
        if all(abs(middle - (other.start + other.end) / 2) >= room for other in chosen):
            chosen.append(segment)
    return chosen[:NAMED]
