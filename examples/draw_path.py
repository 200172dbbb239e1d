"""python examples/draw_path.py [CLIP]: draw what each stage makes of a clip, to examples/path.png."""

import sys
from pathlib import Path

import torch

import ser_gpu
from ser_gpu.atomic import replacing
from ser_gpu.data.waveform import load
from ser_gpu.results import figures

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parent / "weights" / "ser_ravdess.pth"


def main(clip: str) -> None:
    """Run the stages one by one and draw them side by side."""
    torch.manual_seed(0)
    model = ser_gpu.load_model(WEIGHTS)
    raw = load(clip, model.sample_rate)
    trimmed = model.trim(raw[None])
    augmented = model.augment.train()(trimmed)
    spectrogram = model.mel.decibels(augmented)
    figure = figures.path(
        raw.numpy(),
        trimmed[0].numpy(),
        augmented[0].numpy(),
        spectrogram[0].numpy(),
        model.predict(clip).probabilities,
        model.sample_rate,
    )
    with replacing(HERE / "path.png") as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(HERE / "sample.wav"))
