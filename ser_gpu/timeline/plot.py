"""The picture of a timeline: stacked probabilities of the emotions over time, and who speaks when."""

from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.corpora.clip import EMOTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ser_gpu.timeline.segment import Timeline

MOST_COLUMNS = 480
_HEX = "#BBBBBB #56B4E9 #F0E442 #0072B2 #B22222 #CC79A7 #009E73 #E69F00"  # Okabe and Ito, with a darker red for anger
COLOURS = dict(zip(EMOTIONS, _HEX.split(), strict=True))
_OTHERS = ("#7F3C8D", "#11A579", "#3969AC", "#F2B701", "#E73F74", "#80BA5A", "#008695", "#CF1C90")
_SPEECH = "#333333"
_NAME_POINTS = 9


def figure(timeline: "Timeline") -> "Figure":
    """Draw a timeline in at most 480 columns; sure segments that are wide enough carry their emotion."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    edges, shares, rows = columns(timeline)
    drawn = Figure(figsize=(12.0, 3.6 + 0.3 * len(rows)), layout="constrained")
    above, below = drawn.subplots(2, 1, sharex=True, height_ratios=(12, len(rows)))
    bottom = np.zeros(len(shares))
    for number, label in enumerate(timeline.labels):
        colour = COLOURS.get(label, _OTHERS[number % len(_OTHERS)])
        top = bottom + shares[:, number]
        above.stairs(top, edges, baseline=bottom, fill=True, color=colour, label=label)
        bottom = top
    above.set(ylim=(0, 1), yticks=(0, 0.5, 1))
    above.set_ylabel("probability", fontsize=12)
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
    drawn.legend(loc="outside right center", frameon=False, fontsize=12, reverse=True)
    _name(above, timeline)
    return drawn


def _name(axes: "Axes", timeline: "Timeline") -> None:
    axes.figure.draw_without_rendering()  # the width of a second is known only after it
    second = axes.get_window_extent().width / max(timeline.seconds, 1e-3)
    sizes = {}
    for label in timeline.labels:
        text = axes.text(0, 0, label, fontsize=_NAME_POINTS)
        sizes[label] = np.add(text.get_window_extent().size, (6, 0))  # pixels: width with a gap, height
        text.remove()
    sure = [each for each in timeline.segments if each.speech and each.confidence >= 0.5]
    fitting = [[each for each in sure if sizes[each.emotion][side] <= each.seconds * second] for side in (0, 1)]
    side = int(2 * len(fitting[0]) < len(sure))  # 0: names lie, 1: they stand upright
    room = max((sizes[each.emotion][1 - side] + 4 for each in fitting[side]), default=0)
    axes.set_ylim(0, 1 / (1 - room / axes.get_window_extent().height))
    style = {"ha": "center", "va": "bottom", "rotation": 90 * side, "fontsize": _NAME_POINTS}
    for each in fitting[side]:
        axes.text((each.start + each.end) / 2, 1.01, each.emotion, **style)


def columns(timeline: "Timeline") -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The grid, its cells joined into at most `MOST_COLUMNS`.

    Shape: edges in seconds [N + 1]; probabilities [N, C], zero in pauses; share of "speech" or of each speaker [N].
    """
    cells = timeline.grid
    together = -(-len(cells) // MOST_COLUMNS)
    groups = [cells[at : at + together] for at in range(0, len(cells), together)]
    edges = np.array([*(group[0].start for group in groups), timeline.seconds])
    shares = np.zeros((len(groups), len(timeline.labels)))
    for row, group in enumerate(groups):
        if spoken := [list(cell.probabilities.values()) for cell in group if cell.speech]:
            shares[row] = np.mean(spoken, axis=0)
    turns = {}
    for name in timeline.speakers or (None,):
        speaks = ([cell.speech and cell.speaker == name for cell in group] for group in groups)
        turns[name or "speech"] = np.array([np.mean(cells) for cells in speaks])
    return edges, shares, turns


def clock(seconds: float) -> str:
    """Seconds as 1:15 or 1:02:05."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{whole % 60:02}"
