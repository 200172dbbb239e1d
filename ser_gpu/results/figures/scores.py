"""How right a model is: confusion, reliability, robustness, pitch, protocols."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ser_gpu.results.figures.style import BLUE, EIGHT, GREEN, GREY, ORANGE, VOICES


def confusion(matrix: Sequence[Sequence[int]], emotions: Sequence[str], title: str) -> Figure:
    """Confusion matrix: each row's share by colour, clips as numbers.

    Shape: [C, C] counts, true emotion by row, predicted by column.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.4, 5.8), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(emotions)), emotions, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(emotions)), emotions)
    axes.set(xlabel="predicted emotion", ylabel="acted emotion", title=title)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=colour)
    figure.colorbar(image, label="share of the row", shrink=0.8)
    return figure


def reliability(before: Sequence[dict], after: Sequence[dict], title: str) -> Figure:
    """How often the model is right against how sure it is, before and after the temperature.

    Args:
        before, after: as `ser_gpu.results.metrics.reliability` gives them.
    """
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, rows, name in zip(panels, (before, after), ("before temperature", "after temperature"), strict=True):
        clips = sum(row["clips"] for row in rows)
        error = sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / clips
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="as right as it is sure")
        axes.plot([row["confidence"] for row in rows], [row["accuracy"] for row in rows], color=BLUE, linewidth=1)
        sizes = [600 * row["clips"] / clips + 8 for row in rows]
        axes.scatter([row["confidence"] for row in rows], [row["accuracy"] for row in rows], s=sizes, color=BLUE)
        axes.set(title=f"{name}: error {error:.3f}", xlabel="confidence", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share right (area of a point: clips)")
    panels[0].legend(frameon=False, loc="lower right")
    figure.suptitle(title)
    return figure


def robustness(models: Sequence[dict]) -> Figure:
    """UAR under every condition, a point a model; the first condition is the recording as it is.

    Args:
        models: `name`, and `conditions`: name -> scores with `uar`.
    """
    conditions = list(models[0]["conditions"])
    figure = Figure(figsize=(8.0, 0.34 * len(conditions) + 1.4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(conditions))[::-1]
    for model, colour, marker in zip(models, (BLUE, ORANGE, GREEN, GREY), "osD^", strict=False):
        scores = [model["conditions"][name]["uar"] for name in conditions]
        axes.plot(scores, places, marker, color=colour, label=f"{model['name']}, {model['clips']} clips")
        axes.axvline(scores[0], color=colour, linewidth=0.8, linestyle=":")
    axes.axvline(1 / 8, color=GREY, linewidth=0.8, linestyle="--", label="chance")
    axes.set_yticks(places, conditions)
    axes.set(xlabel="UAR (dotted: as recorded)", xlim=(0, 1), title="The voice of a stranger: UAR by condition")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(0.14, 0.5))
    return figure


def pitch_counterfactual(shifts: Sequence[dict], emotions: Sequence[str]) -> Figure:
    """What the same clips become with another pitch: accuracy by sex, and how often each emotion is predicted.

    Args:
        shifts: `semitones`, and `by_sex`: sex -> `accuracy` and the share of each emotion in `predicted`.
    """
    semitones = [row["semitones"] for row in shifts]
    sexes = [sex for sex in ("male", "female") if sex in shifts[0]["by_sex"]]
    figure = Figure(figsize=(4.2 * (1 + len(sexes)), 3.9), layout="constrained")
    panels = figure.subplots(1, 1 + len(sexes))
    for sex, colour, marker in zip(sexes, (BLUE, ORANGE), "os", strict=False):
        accuracy = [row["by_sex"][sex]["accuracy"] for row in shifts]
        panels[0].plot(semitones, accuracy, marker=marker, color=colour, label=VOICES[sex])
    panels[0].set(title="Accuracy", xlabel="pitch moved by (semitones)", ylabel="share right", ylim=(0, 1))
    panels[0].legend(frameon=False)
    for axes, sex in zip(panels[1:], sexes, strict=True):
        shares = np.array([row["by_sex"][sex]["predicted"] for row in shifts]).T
        axes.stackplot(semitones, shares, labels=emotions, colors=EIGHT)
        axes.set(title=f"Predicted for {VOICES[sex]}", xlabel="pitch moved by (semitones)", ylabel="share of clips")
        axes.set(xlim=(semitones[0], semitones[-1]), ylim=(0, 1))
    handles, names = panels[-1].get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside right center", frameon=False)
    panels[0].grid(alpha=0.3)
    figure.suptitle(_fall(shifts, sexes))
    return figure


def _fall(shifts: Sequence[dict], sexes: Sequence[str]) -> str:
    """What the largest shifts cost, in words."""
    untouched = min(shifts, key=lambda row: abs(row["semitones"]))
    ends = [min(shifts, key=lambda row: row["semitones"]), max(shifts, key=lambda row: row["semitones"])]
    costs = []
    for sex in sexes:
        change = [100 * (row["by_sex"][sex]["accuracy"] - untouched["by_sex"][sex]["accuracy"]) for row in ends]
        costs.append(f"{VOICES[sex]} by {change[0]:+.0f} and {change[1]:+.0f} points")
    semitones = " and ".join(f"{row['semitones']:+d}" for row in ends)
    return f"{semitones} semitones move the accuracy of {', of '.join(costs)}"


def pitch_bias(result: dict) -> Figure:
    """UAR of men's and women's voices beside listeners', and over thirds of the pitch.

    Args:
        result: `by_sex` with intervals and `p_value`, `by_pitch`, `listeners`.
    """
    figure = Figure(figsize=(9.4, 4.0), layout="constrained")
    sexes, pitch = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.5])
    for place, (sex, colour) in enumerate((("male", BLUE), ("female", ORANGE))):
        row = result["by_sex"][sex]
        low, high = row["interval95"]["uar"]
        error = [[max(0.0, row["uar"] - low)], [max(0.0, high - row["uar"])]]
        sexes.bar(place, row["uar"], 0.6, yerr=error, capsize=4, color=colour)
        sexes.plot([place - 0.3, place + 0.3], [result["listeners"][sex]] * 2, color="black", linestyle="--")
    sexes.plot([], [], color="black", linestyle="--", label="listeners, one rating")
    sexes.set_xticks([0, 1], [f"{VOICES[sex]}\n{result['by_sex'][sex]['actors']} actors" for sex in ("male", "female")])
    sexes.set(ylabel="UAR", ylim=(0, 1), title="by sex of the actor")
    difference, chance = result["by_sex"]["uar_difference"], result["by_sex"]["p_value"]
    figure.suptitle(f"Women's UAR less men's: {difference:+.3f}; as large by chance with p = {chance:.2g}")
    for name, colour, marker in (("all", GREY, "D"), ("male", BLUE, "o"), ("female", ORANGE, "s")):
        rows = result["by_pitch"].get(name, [])
        label = "all voices" if name == "all" else VOICES[name]
        hertz, scores = [row["median_hz"] for row in rows], [row["uar"] for row in rows]
        pitch.plot(hertz, scores, marker=marker, color=colour, label=label)
    pitch.set(xlabel="median pitch of a third of the clips (Hz)", title="by thirds of the pitch")
    for axes in (sexes, pitch):
        axes.grid(alpha=0.3)
    sexes.legend(frameon=False, loc="upper center")
    pitch.legend(frameon=False, loc="lower right")
    return figure
