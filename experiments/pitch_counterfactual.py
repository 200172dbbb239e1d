"""python -m experiments.pitch_counterfactual CHECKPOINT: what a model answers when only the pitch is changed.

The package's own pitch shift moves every clip of the test part by -4 to +4 semitones; all else stays.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from experiments import figures, study
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.evaluation import metrics
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.stretch import change_pitch_and_tempo

SEMITONES = range(-4, 5)
_BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, shift, score, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    model, provenance, clips = study.load(args.checkpoint, args, device)
    clips, bank = options.read_clips(clips, model.sample_rate, device)
    result = {
        **study.header(args.checkpoint, provenance, clips, device),
        "emotions": list(model.labels),
        "shifts": [row(model, bank, clips, semitones) for semitones in SEMITONES],
    }
    figure = figures.pitch_counterfactual(result["shifts"], model.labels)
    study.publish(args, result, show, figure)
    return options.DONE


def row(model: SpeechEmotionModel, bank: ClipBank, clips: Sequence[Clip], semitones: float) -> dict:
    """Scores by gender with the pitch moved, and how often each emotion is predicted."""
    predicted = shifted_logits(model, bank, semitones).argmax(dim=1).cpu().numpy()
    labels = np.array([model.labels.index(clip.emotion) for clip in clips])
    genders = np.array([clip.gender or "" for clip in clips])
    return {
        "semitones": semitones,
        **metrics.headline(labels, predicted),
        "by": {
            "gender": {
                gender: {
                    **metrics.headline(labels[own], predicted[own]),
                    "predicted": [float((predicted[own] == emotion).mean()) for emotion in range(len(model.labels))],
                }
                for gender in ("male", "female")
                if (own := genders == gender).any()
            }
        },
    }


@torch.inference_mode()
def shifted_logits(model: SpeechEmotionModel, bank: ClipBank, semitones: float) -> Tensor:
    """Logits of all clips of a bank after trimming and a pitch shift; a shift of 0 passes the phase vocoder too.

    Shape: -> [N, C].
    """
    model.eval()
    ratio = 2.0 ** (semitones / 12.0)
    logits = []
    for index in torch.arange(len(bank), device=model.device).split(_BATCH):
        clip = model.trim(*bank.batch(index))
        pitch = torch.full((len(clip),), ratio, device=clip.device)
        shifted = change_pitch_and_tempo(clip, pitch, torch.ones_like(pitch), longest=ratio)
        logits.append(model(shifted))
    return torch.cat(logits)


def show(result: dict) -> None:
    """The table in the terminal: accuracy and UAR by gender and semitones."""
    shifts = result["shifts"]
    genders = list(shifts[0]["by"]["gender"])
    columns = ("semitones", *(f"{gender}: {score}" for gender in genders for score in ("accuracy", "UAR")))
    shown = console.table("The same clips with another pitch", columns)
    for each in shifts:
        scores = (each["by"]["gender"][gender][name] for gender in genders for name in ("accuracy", "uar"))
        shown.add_row(f"{each['semitones']:+d}", *(f"{score:.3f}" for score in scores))
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.pitch_counterfactual", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("checkpoint", help="a .pth file that ser_gpu.train wrote")
    options.add_data_options(parser)
    add("--device", help=options.DEVICE)
    study.add_output_options(parser, "pitch-counterfactual")
    return parser


if __name__ == "__main__":
    sys.exit(main())
