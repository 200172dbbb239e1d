"""A data set as a whole: how many clips of what, how their properties are spread, how emotions differ in sound."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.acoustics import Interval
from experiments.figures.style import BLUE, COLOURS, GREEN, GREY, ORANGE, styled
from ser_gpu.corpora.clip import Clip


@styled()
def counts(clips: Sequence[Clip], emotions: Sequence[str], title: str) -> Figure:
    """Clips by emotion and intensity, by speaker, and by gender.

    Args:
        clips: with `gender`, and `intensity` among their further fields.
        emotions: names, in the order to draw them.
        title: what the figure shows.
    """
    figure = Figure(figsize=(10.0, 3.6))
    by_emotion, by_speaker, by_gender = figure.subplots(1, 3, width_ratios=[1.3, 2, 0.7])
    places, start = np.arange(len(emotions)), np.zeros(len(emotions))
    for intensity, alpha in (("normal", 0.6), ("strong", 1.0)):
        of_emotion = Counter(clip.emotion for clip in clips if clip.get("intensity") == intensity)
        widths = np.array([of_emotion[emotion] for emotion in emotions])
        by_emotion.barh(places, widths, left=start, color=[COLOURS[emotion] for emotion in emotions], alpha=alpha)
        start = start + widths
    by_emotion.set_yticks(places, emotions)
    by_emotion.invert_yaxis()
    by_emotion.set(xlabel="clips (light: normal intensity; dark: strong)", title="by emotion")
    of_speaker, gender_of = Counter(clip.speaker for clip in clips), {clip.speaker: clip.gender for clip in clips}
    speakers = sorted(of_speaker)
    colours = [BLUE if gender_of[speaker] == "male" else ORANGE for speaker in speakers]
    by_speaker.bar(speakers, [of_speaker[speaker] for speaker in speakers], color=colours)
    by_speaker.set(xlabel="speaker (colours as on the right)", ylabel="clips", title="by speaker")
    by_speaker.set_xticks(speakers[:: max(1, len(speakers) // 12)])
    genders = ("male", "female")
    by_gender.bar(genders, [sum(clip.gender == gender for clip in clips) for gender in genders], color=[BLUE, ORANGE])
    by_gender.set(ylabel="clips", title="by gender")
    figure.suptitle(title)
    return figure


@styled()
def distributions(columns: dict[str, np.ndarray], labels: np.ndarray, emotions: Sequence[str], title: str) -> Figure:
    """How values are spread within each emotion: a box of the middle half, its median, and whiskers to 5 and 95%.

    Args:
        columns: label of an axis with its unit -> one value a clip, [N] each.
        labels: emotion of each clip, [N].
        emotions: names, by number.
        title: what the figure shows.
    """
    figure = Figure(figsize=(1.4 + 3.0 * len(columns), 3.6))
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(panels, columns.items(), strict=True):
        parts = axes.boxplot(
            [values[labels == emotion] for emotion in range(len(emotions))],
            orientation="horizontal",
            whis=(5, 95),
            showfliers=False,
            widths=0.6,
            patch_artist=True,
            medianprops={"color": "black"},
        )
        for box, emotion in zip(parts["boxes"], emotions, strict=True):
            box.set(facecolor=COLOURS[emotion], alpha=0.7)
        axes.set(xlabel=name)
        axes.grid(axis="x")
    panels[0].set_yticks(range(1, len(emotions) + 1), emotions)
    panels[0].invert_yaxis()
    figure.suptitle(title)
    figure.supxlabel("box: the middle half of the clips; line: their median; whiskers: from 5% to 95%", fontsize=9)
    return figure


@styled()
def distances(by_relation: dict[str, np.ndarray], title: str) -> Figure:
    """How far apart two clips are, by what they have in common.

    Args:
        by_relation: what two clips share -> distance of each pair.
        title: what the figure shows.
    """
    figure = Figure(figsize=(8.0, 3.4))
    axes = figure.subplots()
    parts = axes.violinplot(list(by_relation.values()), orientation="horizontal", showmedians=True, showextrema=False)
    for body, colour in zip(parts["bodies"], (ORANGE, BLUE, GREEN, GREY), strict=False):
        body.set(facecolor=colour, alpha=0.6)
    parts["cmedians"].set_color("black")
    names = [f"{name}\n({len(values):,} pairs)" for name, values in by_relation.items()]
    axes.set_yticks(range(1, len(names) + 1), names)
    axes.invert_yaxis()
    axes.set(xlabel="distance of two log-mel spectrograms (standard deviations)", xlim=(0, None))
    figure.suptitle(title)
    axes.grid(axis="x")
    return figure


@styled()
def acoustic_profile(features: dict[str, Interval], emotions: Sequence[str], title: str) -> Figure:
    """How each emotion differs from the speaker's own mean, with 95% intervals over speakers.

    Args:
        features: label of an axis with its unit -> `Interval` with a value for each emotion, [C].
        emotions: names, by number.
        title: what the figure shows.
    """
    figure = Figure(figsize=(10.4, 3.9))
    panels = figure.subplots(1, len(features), sharey=True, squeeze=False)[0]
    places = np.arange(len(emotions))
    for axes, (name, interval) in zip(panels, features.items(), strict=True):
        axes.axvline(0, color=GREY, linewidth=0.8)
        colours = [COLOURS[emotion] for emotion in emotions]
        axes.hlines(places, interval.low, interval.high, colors=colours, linewidth=2)
        axes.scatter(interval.mean, places, c=colours, s=28, zorder=3)
        axes.set(xlabel=name)
        axes.grid(axis="x")
    panels[0].set_yticks(places, emotions)
    panels[0].invert_yaxis()
    figure.suptitle(title)
    figure.supxlabel("point: the mean over speakers; line: its 95% interval", fontsize=9)
    return figure
