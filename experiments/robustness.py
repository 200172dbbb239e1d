"""python -m experiments.robustness CHECKPOINT...: how a model does on the voice of a stranger.

The test part of each checkpoint, through `predict`, under every condition of `experiments.sounds`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from experiments import study
from experiments.sounds import CONDITIONS
from ser_gpu import command_line
from ser_gpu.data.ravdess import Clip
from ser_gpu.model import NoSpeechError, SpeechEmotionModel
from ser_gpu.results import console, figures, metrics


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, score every checkpoint under every condition, and print the table."""
    args = _parser().parse_args(arguments)
    return command_line.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = command_line.device(args.device)
    models = []
    for path in args.checkpoints:
        model, provenance, clips = study.load(path, args.data, device)
        header = study.header(path, provenance, clips, device)
        models.append({"name": Path(path).stem, **header, "conditions": scores(model, clips, args.seed)})
    result = {"seed": args.seed, "models": models}
    study.publish(args, result, figures.robustness(models), console.show_robustness)
    return command_line.DONE


def scores(model: SpeechEmotionModel, clips: Sequence[Clip], seed: int) -> dict[str, dict]:
    """Accuracy, UAR and the share of clips in which no speech was found, which counts as wrong, for each condition."""
    recordings = [soundfile.read(clip.path, dtype="float32", always_2d=True) for clip in clips]
    labels = np.array([clip.emotion for clip in clips])
    rows = {}
    with console.progress("condition") as progress:
        task = progress.add_task("Clips", total=len(CONDITIONS) * len(clips), condition="")
        for name, change in CONDITIONS.items():
            progress.update(task, condition=name)
            generator = torch.Generator().manual_seed(seed)
            predicted = []
            for samples, rate in recordings:
                waveform = torch.from_numpy(samples).mean(dim=1)
                predicted.append(_predict(model, *change(waveform, rate, generator)))
                progress.advance(task)
            answers = np.array(predicted)
            rows[name] = {**metrics.headline(labels, answers), "no_speech": float((answers < 0).mean())}
    return rows


def _predict(model: SpeechEmotionModel, waveform: torch.Tensor, rate: int) -> int:
    """The emotion's number, or -1 where no speech is found."""
    try:
        return model.labels.index(model.predict(waveform, rate).emotion)
    except NoSpeechError:
        return -1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.robustness", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("checkpoints", nargs="+", metavar="CHECKPOINT", help="models to compare, such as before and after a training")
    add("--data", help="RAVDESS folder (default: $RAVDESS_DIR, else downloaded)")
    add("--seed", type=int, default=0, help="of noise and rooms (default: %(default)s)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    study.add_output_options(parser, "robustness")
    return parser


if __name__ == "__main__":
    sys.exit(main())
