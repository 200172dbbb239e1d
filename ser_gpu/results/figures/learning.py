"""A training and a trained network: curves, variants, where the evidence lies."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_gpu.results.figures.style import BLUE, GREEN, GREY, ORANGE, draw_spectrogram


def training_curves(history: Sequence[dict], title: str, augmented: bool = True) -> Figure:
    """Loss, and validation accuracy and UAR, by epoch; the training loss alone where nothing was validated.

    Args:
        history: rows of `metrics.csv`, one an epoch; where they have `train_accuracy`, it is drawn too.
        title: what the figure shows.
        augmented: whether the training clips were.
    """
    epochs = [row["epoch"] for row in history]
    validated = "validation_loss" in history[0]
    figure = Figure(figsize=(9.0 if validated else 4.5, 3.8), layout="constrained")
    loss, *others = figure.subplots(1, 2 if validated else 1, squeeze=False)[0]
    training = "training (augmented, mixed)" if augmented else "training"
    loss.plot(epochs, [row["train_loss"] for row in history], color=GREY, label=training)
    loss.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss", ylim=(0, None))
    loss.grid(alpha=0.3)
    figure.suptitle(title)
    if validated:
        _draw_validation(loss, others[0], history)
    loss.legend(frameon=False, loc="best")
    return figure


def _draw_validation(loss: Axes, score: Axes, history: Sequence[dict]) -> None:
    epochs = [row["epoch"] for row in history]
    loss.plot(epochs, [row["validation_loss"] for row in history], color=BLUE, label="validation")
    score.plot(epochs, [row["validation_accuracy"] for row in history], color=BLUE, label="accuracy")
    score.plot(epochs, [row["validation_uar"] for row in history], color=ORANGE, linestyle="--", label="UAR")
    score.set(xlabel="epoch", ylabel="share right", title="Validation", ylim=(0, 1))
    if "train_accuracy" in history[0]:
        train = [row["train_accuracy"] for row in history]
        score.plot(epochs, train, color=GREY, label="accuracy on the training clips")
        score.set(title="Validation, and training clips")
    score.grid(alpha=0.3)
    score.legend(frameon=False, loc="lower right")


def ablation(variants: Sequence[dict], title: str) -> Figure:
    """What each change of the recipe does to the validation UAR, in points, with its standard error.

    Args:
        variants: as `ser_gpu.results.crossvalidation.ablation` gives them; the first one is the recipe.
        title: what the figure shows.
    """
    rows = sorted((row for row in variants[1:] if row["difference"] is not None), key=lambda row: row["difference"])
    figure = Figure(figsize=(8.0, 0.25 * len(rows) + 1.5), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=0.8)
    for place, row in enumerate(rows):
        points, error = 100 * row["difference"], 100 * (row["standard_error"] or 0.0)
        colour = BLUE if points < 0 else GREEN
        axes.errorbar(points, place, xerr=error or None, color=colour, marker="o", capsize=3)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set(xlabel="change of the validation UAR (points, with standard error)")
    figure.suptitle(title)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(axis="x", alpha=0.3)
    return figure


def evidence(clips: Sequence[dict], seconds: float, hertz: np.ndarray, title: str) -> Figure:
    """Spectrograms above, and below each of them where the evidence for its emotion lies.

    Args:
        clips: `name`, `decibels` [M, F], and `evidence` [M, F] in nats.
        seconds: length of each clip.
        hertz: centre of each band, [M].
        title: what the figure shows.
    """
    figure = Figure(figsize=(10.0, 6.2), layout="constrained")
    panels = figure.subplots(2, len(clips), squeeze=False, sharex=True, sharey=True)
    lowest = min(clip["decibels"].min() for clip in clips)
    for column, clip in zip(panels.T, clips, strict=True):
        sound = draw_spectrogram(column[0], clip["decibels"], seconds, hertz, vmin=lowest, vmax=0)
        column[0].set_title(clip["name"])
        most = float(np.abs(clip["evidence"]).max()) or 1.0
        found = draw_spectrogram(column[1], clip["evidence"], seconds, hertz, vmin=-most, vmax=most, cmap="PuOr_r")
        column[1].set_xlabel("time (s)")
        figure.colorbar(found, ax=column[1], label="evidence (nats of log-odds)", location="bottom", shrink=0.8)
    figure.colorbar(sound, ax=panels[0], label="level (dB below the peak)")
    for axes in panels[:, 0]:
        axes.set_ylabel("frequency (Hz)")
    figure.suptitle(title)
    return figure
