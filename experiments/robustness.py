"""python -m experiments.robustness CHECKPOINT...: how a model does on other microphones, in noise and in rooms.

The test part of each checkpoint, through `predict`, under every condition of `experiments.sounds`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from experiments import figures, study
from experiments.sounds import CONDITIONS, Condition
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.errors import NoSpeechError
from ser_gpu.evaluation import metrics
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.prediction import Prediction


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, score every checkpoint under every condition, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    models, classes = [], 0
    for path in args.checkpoints:
        model, provenance, clips = study.load(path, args, device)
        classes = len(model.labels)
        header = study.header(path, provenance, clips, device)
        models.append({"name": Path(path).stem, **header, "conditions": scores(model, clips, args.seed)})
    result = {"seed": args.seed, "models": models}
    study.publish(args, result, show, figures.robustness(models, classes))
    return options.DONE


def scores(model: SpeechEmotionModel, clips: Sequence[Clip], seed: int) -> dict[str, dict]:
    """Accuracy, UAR and the share of clips without speech, which counts as wrong, for each condition."""
    recordings = [soundfile.read(clip.path, dtype="float32", always_2d=True) for clip in clips]
    labels = np.array([model.labels.index(clip.emotion) for clip in clips])
    no_speech = len(model.labels)
    rows = {}
    with console.progress("condition") as progress:
        task = progress.add_task("Clips", total=len(CONDITIONS) * len(clips), condition="")
        for name, change in CONDITIONS.items():
            progress.update(task, condition=name)
            predicted = np.array([no_speech] * len(clips))
            for row, answer in enumerate(model.predict_many(_changed(recordings, change, seed))):
                if isinstance(answer, Prediction):
                    predicted[row] = model.labels.index(answer.emotion)
                elif not isinstance(answer, NoSpeechError):
                    raise answer
                progress.advance(task)
            rows[name] = {**metrics.headline(labels, predicted), "no_speech": float((predicted == no_speech).mean())}
    return rows


def _changed(
    recordings: Sequence[tuple[np.ndarray, int]], change: Condition, seed: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Each recording under a condition, as (rate, samples)."""
    generator = torch.Generator().manual_seed(seed)
    for samples, rate in recordings:
        waveform, new_rate = change(torch.from_numpy(samples).mean(dim=1), rate, generator)
        yield new_rate, waveform


def show(result: dict) -> None:
    """The table in the terminal: UAR and the share without speech by condition, a column a model."""
    models = result["models"]
    columns = ("condition", *(f"{model['name']}: UAR" for model in models), "no speech found")
    shown = console.table("Robustness", columns)
    for condition in models[0]["conditions"]:
        rows = [model["conditions"][condition] for model in models]
        silent = ", ".join(f"{row['no_speech']:.1%}" for row in rows)
        shown.add_row(condition, *(f"{row['uar']:.3f}" for row in rows), silent)
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.robustness", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("checkpoints", nargs="+", metavar="CHECKPOINT", help="models to compare, such as before and after a training")
    options.add_data_options(parser)
    add("--seed", type=int, default=0, help="of noise and rooms (default: %(default)s)")
    add("--device", help=options.DEVICE)
    study.add_output_options(parser, "robustness")
    return parser


if __name__ == "__main__":
    sys.exit(main())
