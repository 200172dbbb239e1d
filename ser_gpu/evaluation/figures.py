"""What the commands draw: a function a figure, which returns it; `save` writes."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_gpu.evaluation.metrics import calibration_error
from ser_gpu.files import replacing
from ser_gpu.timeline.plot import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # Okabe and Ito: colour-blind readers can tell them apart


def save(figure: "Figure", path: str | Path, dpi: int = 120) -> None:
    """Write a figure as a compact PNG."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # labels in a script that the font does not have
        figure.savefig(file, format="png", dpi=dpi)
    with replacing(path) as temporary:
        temporary.write_bytes(compact(file.getvalue()))


def compact(png: bytes) -> bytes:
    """The same image with a palette of 256 colours, which nobody sees: half of the bytes."""
    from PIL import Image  # which matplotlib brings

    with Image.open(io.BytesIO(png)) as image:
        palette = image.convert("RGB").quantize(256, dither=Image.Dither.NONE, kmeans=1)
    file = io.BytesIO()
    palette.save(file, "PNG", optimize=True)
    return file.getvalue()


@styled()
def training_curves(history: Sequence[dict], title: str) -> "Figure":
    """Loss, and validation accuracy and UAR if there are any, by epoch; `history` has the rows of `metrics.csv`."""
    from matplotlib.figure import Figure  # here, since a command without it says how to get it

    validated = "validation_loss" in history[0]
    column = {name: [row[name] for row in history] for name in history[0]}
    figure = Figure(figsize=(9.0 if validated else 4.5, 3.8))
    loss, *others = figure.subplots(1, 2 if validated else 1, squeeze=False)[0]
    loss.plot(column["epoch"], column["train_loss"], color=GREY, label="training (augmented, mixed)")
    loss.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss", ylim=(0, None))
    figure.suptitle(title, parse_math=False)
    for score in others:
        loss.plot(column["epoch"], column["validation_loss"], color=BLUE, label="validation")
        score.plot(column["epoch"], column["validation_accuracy"], color=BLUE, label="accuracy")
        score.plot(column["epoch"], column["validation_uar"], color=ORANGE, linestyle="--", label="UAR")
        score.set(xlabel="epoch", ylabel="share right", title="Validation", ylim=(0, 1))
        score.legend(loc="lower right")
    loss.legend(loc="best")
    for axes in (loss, *others):
        axes.grid()
    return figure


@styled()
def confusion(matrix: Sequence[Sequence[int]], emotions: Sequence[str], title: str) -> "Figure":
    """Each row's share by colour, clips as numbers. Shape: [C, C] counts, true emotion by row, predicted by column."""
    from matplotlib.figure import Figure

    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(1.0, len(emotions) / 10)
    figure = Figure(figsize=(6.4 * size, 5.8 * size))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(emotions))
    axes.set_xticks(places, emotions, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(places, emotions, parse_math=False)
    axes.set(xlabel="predicted emotion", ylabel="acted emotion")
    axes.set_title(title, parse_math=False)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=colour)
    figure.colorbar(image, label="share of the row", shrink=0.8)
    return figure


@styled()
def reliability(before: Sequence[dict], after: Sequence[dict], title: str) -> "Figure":
    """Accuracy against confidence, before and after the temperature, as `metrics.reliability` gives them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.2))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, rows, name in zip(panels, (before, after), ("before temperature", "after temperature"), strict=True):
        clips = sum(row["clips"] for row in rows)
        confidence, accuracy = ([row[key] for row in rows] for key in ("confidence", "accuracy"))
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfect calibration")
        axes.plot(confidence, accuracy, color=BLUE, linewidth=1)
        axes.scatter(confidence, accuracy, s=[600 * row["clips"] / clips + 8 for row in rows], color=BLUE)
        axes.set(title=f"{name}: ECE {calibration_error(rows):.3f}", xlabel="confidence")
        axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        axes.grid()
    panels[0].set_ylabel("share right (area of a point: clips)")
    panels[0].legend(loc="lower right")
    figure.suptitle(title, parse_math=False)
    return figure
