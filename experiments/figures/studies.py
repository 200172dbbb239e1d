"""Figures of the studies: ablation, robustness, pitch, occlusion, overfitting."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.figures.style import BLUE, COLOURS, GREEN, GREY, ORANGE, VOICES, draw_spectrogram, styled

_PARTS = {"train": "training clips", "validation": "new speakers"}


@styled()
def ablation(variants: Sequence[dict], title: str) -> Figure:
    """What each change of the recipe does to the validation UAR, in points, with its standard error.

    Args:
        variants: as `experiments.ablate.compare` gives them; the first one is the recipe.
        title: what the figure shows.
    """
    rows = sorted((row for row in variants[1:] if row["difference"] is not None), key=lambda row: row["difference"])
    figure = Figure(figsize=(8.0, 0.25 * len(rows) + 1.5))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=0.8)
    for place, row in enumerate(rows):
        points, error = 100 * row["difference"], 100 * (row["standard_error"] or 0.0)
        colour = BLUE if points < 0 else GREEN
        axes.errorbar(points, place, xerr=error or None, color=colour, marker="o", capsize=3)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    runs = " or ".join(map(str, sorted({row["runs"] for row in rows})))
    axes.set(xlabel=f"change of the validation UAR (points; mean of n = {runs} trainings, with its standard error)")
    figure.suptitle(title)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(axis="x")
    return figure


@styled()
def robustness(models: Sequence[dict], classes: int) -> Figure:
    """UAR under every condition, a point a model; the first condition is the recording as it is.

    Args:
        models: `name`, and `conditions`: name -> scores with `uar`.
        classes: number of emotions, for the level of chance.
    """
    conditions = list(models[0]["conditions"])
    figure = Figure(figsize=(8.0, 0.34 * len(conditions) + 1.4))
    axes = figure.subplots()
    places = np.arange(len(conditions))[::-1]
    for model, colour, marker in zip(models, (BLUE, ORANGE, GREEN, GREY), "osD^", strict=False):
        scores = [model["conditions"][name]["uar"] for name in conditions]
        axes.plot(scores, places, marker, color=colour, label=f"{model['name']}, {model['clips']} clips")
        axes.axvline(scores[0], color=colour, linewidth=0.8, linestyle=":")
    axes.axvline(1 / classes, color=GREY, linewidth=0.8, linestyle="--", label="chance")
    axes.set_yticks(places, conditions)
    axes.set(xlabel="UAR (dotted: as recorded)", xlim=(0, 1))
    axes.grid()
    figure.suptitle("Robustness: UAR by condition")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled()
def pitch_counterfactual(shifts: Sequence[dict], emotions: Sequence[str]) -> Figure:
    """The same clips with another pitch: accuracy by gender, and how often each emotion is predicted.

    Args:
        shifts: `semitones`, and `by`: "gender" -> gender -> `accuracy` and the share of each emotion in `predicted`.
        emotions: names, in the order of `predicted`.
    """
    semitones = [row["semitones"] for row in shifts]
    genders = [gender for gender in VOICES if gender in shifts[0]["by"]["gender"]]
    figure = Figure(figsize=(4.2 * (1 + len(genders)), 3.9))
    panels = figure.subplots(1, 1 + len(genders))
    for gender, colour, marker in zip(genders, (BLUE, ORANGE), "os", strict=False):
        accuracy = [row["by"]["gender"][gender]["accuracy"] for row in shifts]
        panels[0].plot(semitones, accuracy, marker=marker, color=colour, label=VOICES[gender])
    panels[0].set(title="Accuracy", xlabel="pitch moved by (semitones)", ylabel="share right", ylim=(0, 1))
    panels[0].axhline(1 / len(emotions), color=GREY, linestyle="--", label="chance")
    panels[0].legend(loc="center left", bbox_to_anchor=(0, 0.35))
    for axes, gender in zip(panels[1:], genders, strict=True):
        shares = np.array([row["by"]["gender"][gender]["predicted"] for row in shifts]).T
        axes.stackplot(semitones, shares, labels=emotions, colors=[COLOURS.get(emotion) for emotion in emotions])
        axes.set(title=f"Predicted for {VOICES[gender]}", xlabel="pitch moved by (semitones)", ylabel="share of clips")
        axes.set(xlim=(semitones[0], semitones[-1]), ylim=(0, 1))
    handles, names = panels[-1].get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside right center")
    panels[0].grid()
    figure.suptitle(_fall(shifts, genders))
    return figure


def _fall(shifts: Sequence[dict], genders: Sequence[str]) -> str:
    """What the largest shifts cost, in words."""
    untouched = min(shifts, key=lambda row: abs(row["semitones"]))
    ends = [min(shifts, key=lambda row: row["semitones"]), max(shifts, key=lambda row: row["semitones"])]
    costs = []
    for gender in genders:
        before, *after = (row["by"]["gender"][gender]["accuracy"] for row in (untouched, *ends))
        change = [100 * (accuracy - before) for accuracy in after]
        costs.append(f"{VOICES[gender]} by {change[0]:+.0f} and {change[1]:+.0f} points")
    semitones = " and ".join(f"{row['semitones']:+d}" for row in ends)
    return f"{semitones} semitones move the accuracy of {', of '.join(costs)}"


@styled()
def pitch_bias(result: dict) -> Figure:
    """UAR of men's and women's voices beside that of listeners, and over thirds of the pitch.

    Args:
        result: `by`: "gender" with intervals, `uar_difference`, `p_value`, `by_pitch`, `listeners`.
    """
    figure = Figure(figsize=(9.4, 4.0))
    genders, pitch = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.5])
    scores = result["by"]["gender"]
    for place, (gender, colour) in enumerate(zip(VOICES, (BLUE, ORANGE), strict=True)):
        row = scores[gender]
        low, high = row["interval95"]["uar"]
        error = [[max(0.0, row["uar"] - low)], [max(0.0, high - row["uar"])]]
        genders.bar(place, row["uar"], 0.6, yerr=error, capsize=4, color=colour)
        genders.plot([place - 0.3, place + 0.3], [result["listeners"][gender]] * 2, color="black", linestyle="--")
    genders.plot([], [], color="black", linestyle="--", label="listeners: accuracy of one rating")
    names = [f"{words}\n{scores[gender]['speakers']} speakers" for gender, words in VOICES.items()]
    genders.set_xticks(range(len(names)), names)
    genders.set(ylabel="UAR", ylim=(0, 1), title="by gender of the speaker, 95 % intervals")
    difference, chance = result["uar_difference"], result["p_value"]
    figure.suptitle(f"UAR of women's voices minus men's: {difference:+.3f} (permutation test: p = {chance:.2g})")
    for name, colour, marker in (("all", GREY, "D"), ("male", BLUE, "o"), ("female", ORANGE, "s")):
        rows = result["by_pitch"].get(name, [])
        label = "all voices" if name == "all" else VOICES[name]
        hertz, uar = [row["median_hz"] for row in rows], [row["uar"] for row in rows]
        pitch.plot(hertz, uar, marker=marker, color=colour, label=label)
    pitch.set(xlabel="median pitch of a third of the clips (Hz)", title="by thirds of the pitch")
    for axes in (genders, pitch):
        axes.grid()
    genders.legend(loc="upper center")
    pitch.legend(loc="lower right")
    return figure


@styled()
def occlusion(clips: Sequence[dict], seconds: float, hertz: np.ndarray, title: str) -> Figure:
    """Spectrograms above; below each of them the evidence for its emotion, by occlusion, on one scale.

    Args:
        clips: `name`, `decibels` [M, F], and `evidence` [M, F] in nats.
        seconds: length of each clip.
        hertz: centre of each band, [M].
        title: what the figure shows.
    """
    figure = Figure(figsize=(9.4, 5.4))
    panels = figure.subplots(2, len(clips), squeeze=False, sharex=True, sharey=True)
    lowest = min(clip["decibels"].min() for clip in clips)
    most = max(float(np.abs(clip["evidence"]).max()) for clip in clips) or 1.0
    for column, clip in zip(panels.T, clips, strict=True):
        sound = draw_spectrogram(column[0], clip["decibels"], seconds, hertz, vmin=lowest, vmax=0)
        column[0].set_title(clip["name"])
        found = draw_spectrogram(column[1], clip["evidence"], seconds, hertz, vmin=-most, vmax=most, cmap="PuOr_r")
        column[1].set_xlabel("time (s)")
    figure.colorbar(sound, ax=panels[0], label="level (dB below the peak)")
    figure.colorbar(found, ax=panels[1], label="evidence (nats of log-odds)")
    for axes in panels[:, 0]:
        axes.set_ylabel("frequency (Hz)")
    figure.suptitle(title)
    return figure


@styled()
def overfitting(variants: Sequence[dict], title: str) -> Figure:
    """Accuracy on the training clips and on new speakers by epoch, a panel a variant of one network.

    Args:
        variants: `name`, `train_accuracy` and `validation_accuracy`, as `experiments.overfitting` gives them.
        title: what the figure shows.
    """
    figure = Figure(figsize=(10.4, 3.2))
    panels = figure.subplots(1, len(variants), sharex=True, sharey=True, squeeze=False)[0]
    for axes, row in zip(panels, variants, strict=True):
        for part, colour in (("train", GREY), ("validation", BLUE)):
            right = row[f"{part}_accuracy"]
            axes.plot(range(1, len(right) + 1), right, color=colour, label=_PARTS[part])
            end = {"xy": (len(right), right[-1]), "xytext": (-2, -12), "textcoords": "offset points", "ha": "right"}
            axes.annotate(f"{right[-1]:.0%}", color=colour, **end)
        axes.set(title=row["name"], xlabel="epoch", ylim=(0, 1.02))
        axes.grid()
    panels[0].set_ylabel("share right")
    figure.suptitle(title)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
