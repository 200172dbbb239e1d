"""python -m experiments.draw_pipeline [CLIP]: what each stage makes of a clip, drawn to examples/pipeline.png."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import ser_gpu
from experiments import figures
from ser_gpu.audio.samples import load
from ser_gpu.cli import console, options
from ser_gpu.evaluation.figures import save

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run the stages one by one, and draw them."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _draw(args))


@torch.inference_mode()
def _draw(args: argparse.Namespace) -> int:
    model = ser_gpu.load_model(args.checkpoint, device="cpu")
    waveform = load(args.clip, model.sample_rate)
    window = model.window(waveform[None])
    decibels = model.decibels(window)
    torch.manual_seed(args.seed)
    model.train()
    augmented = model.decibels(window)
    masked = model.mask(model.mel.normalised(augmented)) == 0
    model.eval()
    figure = figures.pipeline(
        waveform.numpy(),
        window[0].numpy(),
        decibels[0, 0].numpy(),
        augmented.masked_fill(masked, augmented.min())[0, 0].numpy(),
        model.predict(args.clip).probabilities,
        model.sample_rate,
    )
    save(figure, args.out, dpi=110)
    console.err.print(f"written: {args.out}")
    return options.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.draw_pipeline", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("clip", nargs="?", default=str(ROOT / "examples" / "sample.wav"), help="(default: %(default)s)")
    add("--checkpoint", help="a .pth file (default: the shipped weights)")
    add("--seed", type=int, default=7, help="of the augmentation (default: %(default)s)")
    add("--out", default=str(ROOT / "examples" / "pipeline.png"), help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
