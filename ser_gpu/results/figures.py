"""Figures, one function each. Every function returns a matplotlib figure and writes nothing."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"


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
        axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="as right as it is sure")
        axes.plot([row["confidence"] for row in rows], [row["accuracy"] for row in rows], color=_BLUE, linewidth=1)
        sizes = [600 * row["clips"] / clips + 8 for row in rows]
        axes.scatter([row["confidence"] for row in rows], [row["accuracy"] for row in rows], s=sizes, color=_BLUE)
        axes.set(title=f"{name}: error {error:.3f}", xlabel="confidence", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share right (area of a point: clips)")
    panels[0].legend(frameon=False, loc="upper left")
    figure.suptitle(title)
    return figure


def training_curves(history: Sequence[dict], title: str) -> Figure:
    """Loss, and validation accuracy and UAR, by epoch.

    Args:
        history: rows of `metrics.csv`, one an epoch.
    """
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    loss, score = figure.subplots(1, 2)
    loss.plot(epochs, [row["train_loss"] for row in history], color=_GREY, label="training (augmented, mixed)")
    loss.plot(epochs, [row["validation_loss"] for row in history], color=_BLUE, label="validation")
    loss.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss", ylim=(0, None))
    score.plot(epochs, [row["validation_accuracy"] for row in history], color=_BLUE, label="accuracy")
    score.plot(epochs, [row["validation_uar"] for row in history], color=_ORANGE, linestyle="--", label="UAR")
    score.set(xlabel="epoch", ylabel="share right", title="Validation", ylim=(0, 1))
    for axes in (loss, score):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle(title)
    return figure


def path(
    raw: np.ndarray,
    trimmed: np.ndarray,
    augmented: np.ndarray,
    decibels: np.ndarray,
    probabilities: dict[str, float],
    sample_rate: int,
) -> Figure:
    """The way of one clip, left to right: as read, trimmed, augmented, as log-mel, as probabilities.

    Shape: [T], [L], [L], [M, F] in dB below the peak.
    """
    figure = Figure(figsize=(14.0, 2.9), layout="constrained")
    panels = figure.subplots(1, 5, width_ratios=[1, 1, 1, 1.1, 0.8])
    peak = max(np.abs(wave).max() for wave in (raw, trimmed, augmented)) * 1.05
    titles = ("waveform in", "trim, centre in 3 s", "augment (training only)")
    for axes, wave, title in zip(panels, (raw, trimmed, augmented), titles, strict=False):
        axes.plot(np.arange(len(wave)) / sample_rate, wave, color=_BLUE, linewidth=0.5)
        axes.set(title=title, xlabel="time (s)", ylim=(-peak, peak), yticks=[])
    seconds = len(augmented) / sample_rate
    image = panels[3].imshow(decibels, origin="lower", aspect="auto", extent=(0, seconds, 0, len(decibels)))
    panels[3].set(title="log-mel: what the CNN sees", xlabel="time (s)", ylabel="mel band")
    figure.colorbar(image, ax=panels[3], label="dB below the peak")
    emotions = list(probabilities)[::-1]
    panels[4].barh(emotions, [probabilities[emotion] for emotion in emotions], color=_ORANGE)
    panels[4].set(title="emotion out", xlabel="probability", xlim=(0, 1))
    return figure
