"""Figures as small PNG files: 48 colours are enough for lines, and for a spectrogram."""

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from ser_gpu.files import replacing

COLOURS = 48


def compact(png: bytes) -> bytes:
    """The same image with a palette of 48 colours: less than a third of the bytes."""
    with Image.open(io.BytesIO(png)) as image:
        palette = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE, kmeans=1)
    file = io.BytesIO()
    palette.save(file, "PNG", optimize=True)
    return file.getvalue()


def save(figure: Figure, path: str | Path, dpi: int = 110) -> None:
    """Write a figure as a compact PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    with replacing(path) as temporary:
        temporary.write_bytes(compact(file.getvalue()))
