"""The same recipe under several protocols: scores of each training and emotion, and what errors have in common."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.figures.style import BLUE, GREEN, GREY, ORANGE, styled

_COLOURS = (GREY, BLUE, GREEN, ORANGE)


@styled()
def protocols(tables: dict[str, dict], classes: int, title: str) -> Figure:
    """Test UAR of every training by protocol, and its mean.

    Args:
        tables: name of a protocol -> table as `ser_gpu.crossvalidate.table` gives it.
        classes: number of emotions, for the level of chance.
        title: what the figure shows.
    """
    figure = Figure(figsize=(8.0, 0.62 * len(tables) + 1.5))
    axes = figure.subplots()
    for place, (table, colour) in enumerate(zip(tables.values(), _COLOURS * 2, strict=False)):
        scores = [row["test"]["uar"] for row in table["rows"]]
        mean = table["summary"]["test"]["uar"]["mean"]
        spread = np.linspace(-0.16, 0.16, len(scores)) if len(scores) > 1 else np.zeros(1)
        axes.scatter(scores, place + spread, color=colour, s=18, alpha=0.6)
        axes.plot([mean, mean], [place - 0.3, place + 0.3], color="black", linewidth=2)
        axes.annotate(f"{mean:.3f}", (mean, place - 0.32), ha="center", va="bottom")
    axes.axvline(1 / classes, color=GREY, linewidth=0.8, linestyle="--")
    above = {"xycoords": ("data", "axes fraction"), "xytext": (4, -12), "textcoords": "offset points"}
    axes.annotate("chance", (1 / classes, 1), **above)
    runs = {name: f"{table['runs']} training{'s' if table['runs'] > 1 else ''}" for name, table in tables.items()}
    axes.set_yticks(range(len(tables)), [f"{name}\n({count})" for name, count in runs.items()])
    axes.set_ylim(len(tables) - 0.5, -0.75)
    axes.set(xlabel="UAR of the test part (a point: one training; a line: their mean)", xlim=(0, 1))
    figure.suptitle(title)
    axes.grid(axis="x")
    return figure


@styled()
def emotions_by_protocol(scores: dict[str, dict[str, float]], emotions: Sequence[str], title: str) -> Figure:
    """F1 of each emotion, a mark a protocol.

    Args:
        scores: name of a protocol -> emotion -> F1.
        emotions: in the order to draw them.
        title: what the figure shows.
    """
    figure = Figure(figsize=(8.4, 3.6))
    axes = figure.subplots()
    places = np.arange(len(emotions))
    for (name, of_emotion), colour, marker in zip(scores.items(), (BLUE, ORANGE, GREEN, GREY), "osD^", strict=False):
        axes.plot(places, [of_emotion[e] for e in emotions], marker, color=colour, label=name, markersize=7)
    ends = np.array([[of_emotion[e] for e in emotions] for of_emotion in scores.values()])
    axes.vlines(places, ends.min(axis=0), ends.max(axis=0), color=GREY, linewidth=0.8, zorder=0)
    axes.set_xticks(places, emotions)
    axes.set(ylabel="F1 (share)", ylim=(0, 1))
    figure.suptitle(title)
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=len(scores))
    return figure


@styled()
def errors_by_side(sides: dict[str, dict], title: str) -> Figure:
    """Share of the errors that keep the arousal or valence of the acted emotion, beside that of evenly spread errors.

    Args:
        sides: name of an axis -> `kept`, `chance` and `errors` of `experiments.arousal_valence.kept_by_errors`.
        title: what the figure shows.
    """
    figure = Figure(figsize=(6.6, 3.4))
    axes = figure.subplots()
    for place, row in enumerate(sides.values()):
        axes.bar(place, row["kept"], 0.5, color=(ORANGE, BLUE)[place % 2])
        axes.plot([place - 0.32, place + 0.32], [row["chance"]] * 2, color="black", linestyle="--")
        axes.annotate(f"{row['kept']:.0%}", (place, row["kept"] / 2), ha="center", va="center", color="white", size=13)
    axes.plot([], [], color="black", linestyle="--", label="if every wrong emotion were as likely")
    axes.set_xticks(range(len(sides)), [f"{name}\n({row['errors']:,} errors)" for name, row in sides.items()])
    axes.set(ylabel="share of errors that keep it", ylim=(0, 1), xlim=(-0.6, len(sides) - 0.4))
    figure.suptitle(title)
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return figure
