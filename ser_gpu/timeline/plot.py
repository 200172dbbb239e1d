"""The picture of a timeline: stacked probabilities of the emotions over time, and who speaks when."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ser_gpu.timeline.segment import Timeline

COLUMNS = 1_200
PICTURES = (".png", ".jpg", ".webp", ".pdf", ".svg", ".eps")
_HEX = "#6a7375 #2897b8 #88630b #2d41a0 #8e090c #9c50d8 #749652 #762a54"  # of the page of `ser-gpu app`, when light
COLOURS = dict(zip(EMOTIONS, _HEX.split(), strict=True))
STYLE = {"figure.constrained_layout.use": True, "figure.titlesize": 12, "axes.titlesize": 10, "axes.axisbelow": True}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "grid.alpha": 0.3, "legend.frameon": False}
_NAME_POINTS = 8


@contextmanager
def styled() -> Iterator[None]:
    """A decorator: what is drawn has the style of all figures."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


@styled()
def figure(timeline: "Timeline") -> "Figure":
    """Draw a timeline in 1,200 columns; sure segments that are wide enough carry their emotion."""
    from matplotlib.figure import Figure

    edges, shares, rows = columns(timeline)
    drawn = Figure(figsize=(10.0, 3.0 + 0.25 * len(rows)))
    above, below = drawn.subplots(2, 1, sharex=True, height_ratios=(12, len(rows)))
    bottom = np.zeros(len(shares))
    for number, label in enumerate(timeline.labels):
        top = bottom + shares[:, number]
        above.stairs(top, edges, baseline=bottom, fill=True, color=COLOURS.get(label, f"C{number}"), label=label)
        bottom = top
    above.set(ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="probability")
    for row, share in enumerate(rows.values()):
        below.stairs(row + share, edges, baseline=row, fill=True, color="#333333")
    below.set(ylim=(0, len(rows)), xlim=(0, edges[-1]))
    below.set_yticks([row + 0.5 for row in range(len(rows))], list(rows))
    below.tick_params("y", length=0)
    below.locator_params("x", nbins=10, steps=[1, 1.5, 2, 3, 5, 6, 10])
    below.xaxis.set_major_formatter(lambda seconds, _: clock(seconds))
    drawn.legend(loc="outside right center", reverse=True)
    _name(above, timeline)
    return drawn


def _name(axes: "Axes", timeline: "Timeline") -> None:
    axes.figure.draw_without_rendering()  # the width of a second is known only after it
    second = axes.get_window_extent().width / max(timeline.seconds, 1e-3)
    longest = axes.text(0, 0, max(timeline.labels, key=len), fontsize=_NAME_POINTS)
    size = np.add(longest.get_window_extent().size, (6, 0))  # pixels: width with a gap, height
    longest.remove()
    sure = [each for each in timeline.segments if each.speech and each.confidence >= 0.5]
    fitting = [[each for each in sure if side <= each.seconds * second] for side in size]
    upright = int(2 * len(fitting[0]) < len(sure))
    room = size[1 - upright] + 4 if fitting[upright] else 0
    axes.set_ylim(0, 1 / (1 - room / axes.get_window_extent().height))
    for each in fitting[upright]:
        style = {"ha": "center", "va": "bottom", "rotation": 90 * upright, "fontsize": _NAME_POINTS}
        axes.text((each.start + each.end) / 2, 1.01, each.emotion, **style)


def columns(timeline: "Timeline") -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The timeline in `COLUMNS` equal parts.

    Shape: edges in seconds [N + 1]; probabilities [N, C], zero in pauses; 1 where "speech", or a speaker, is [N].
    """
    cells = replace(timeline, step_seconds=max(timeline.seconds, 1e-3) / COLUMNS).grid
    edges = np.array([0.0, *(cell.end for cell in cells)])
    shares = np.array([list(cell.probabilities.values()) or [0.0] * len(timeline.labels) for cell in cells])
    speakers = timeline.speakers or (None,)
    speaks = [np.array([cell.speech and cell.speaker == name for cell in cells], float) for name in speakers]
    return edges, shares, dict(zip(timeline.speakers or ("speech",), speaks, strict=True))


def require_picture(path: str | Path, option: str = "") -> None:
    """Raise InputError where the suffix is none of a picture."""
    if Path(path).suffix.lower() not in PICTURES:
        raise InputError(f"{option}{path}: a picture ends in one of {', '.join(PICTURES)}")


def clock(seconds: float) -> str:
    """Seconds as 01:15 or 1:02:05."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
