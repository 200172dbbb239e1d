"""What the figures share: colours that colour-blind readers can tell apart, and names."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from ser_gpu.evaluation.figures import BLUE, GREY, ORANGE
from ser_gpu.timeline.plot import COLOURS, styled

__all__ = ["BLUE", "COLOURS", "GREEN", "GREY", "ORANGE", "VOICES", "draw_spectrogram", "hertz_axis", "styled"]

GREEN = "#009E73"  # of Okabe and Ito, as the other three; no emotion has one of them
VOICES = {"male": "men's voices", "female": "women's voices"}
_TICKS_HZ = (250, 500, 1_000, 2_000, 4_000, 8_000)


def draw_spectrogram(
    axes: Axes,
    spectrogram: np.ndarray,
    seconds: float,
    hertz: np.ndarray,
    vmin: float,
    vmax: float,
    cmap: str = "magma",
) -> AxesImage:
    """Time to the right, mel bands upwards, with ticks in Hz.

    Shape: [M, F], centre of each band [M].
    """
    image = axes.imshow(
        spectrogram,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, -0.5, len(hertz) - 0.5),
        cmap=cmap,
        vmin=vmin,
        vmax=vmax,
    )
    ticks = [tick for tick in _TICKS_HZ if tick <= hertz[-1] * 1.02]
    axes.set_yticks(np.interp(ticks, hertz, np.arange(len(hertz))), [f"{tick:,}" for tick in ticks])
    return image


def hertz_axis(axes: Axes) -> None:
    """A logarithmic axis of frequency."""
    axes.set_xscale("log")
    axes.set_xticks([125, *_TICKS_HZ], ["125", *(f"{tick:,}" for tick in _TICKS_HZ)])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
