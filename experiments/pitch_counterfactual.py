"""python -m experiments.pitch_counterfactual CHECKPOINT: what a model says of the same clips with another pitch.

Our own pitch shift moves every clip of the test part by -4 to +4 semitones; all else stays.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from experiments import study
from ser_gpu import command_line
from ser_gpu.data.ravdess import Clip
from ser_gpu.data.waveform import ClipBank
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.results import console, figures, metrics
from ser_gpu.stages.stretch import change_pitch_and_tempo

SEMITONES = range(-4, 5)
_BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, shift, score, and print the table."""
    args = _parser().parse_args(arguments)
    return command_line.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = command_line.device(args.device)
    model, provenance, clips = study.load(args.checkpoint, args.data, device)
    bank = command_line.read_clips(clips, model.sample_rate, device)
    result = {
        **study.header(args.checkpoint, provenance, clips, device),
        "emotions": list(model.labels),
        "shifts": [row(model, bank, clips, semitones) for semitones in SEMITONES],
    }
    figure = figures.pitch_counterfactual(result["shifts"], model.labels)
    study.publish(args, result, figure, console.show_pitch_counterfactual)
    return command_line.DONE


def row(model: SpeechEmotionModel, bank: ClipBank, clips: Sequence[Clip], semitones: float) -> dict:
    """Scores of each sex with the pitch moved, and how often each emotion is predicted."""
    answers = model.probabilities(shifted_logits(model, bank, semitones)).cpu().numpy()
    labels = np.array([clip.emotion for clip in clips])
    predicted = answers.argmax(axis=1)
    sexes = np.array([clip.sex for clip in clips])
    return {
        "semitones": semitones,
        **metrics.headline(labels, predicted),
        "by_sex": {
            sex: {
                **metrics.headline(labels[sexes == sex], predicted[sexes == sex]),
                "predicted": [
                    float((predicted[sexes == sex] == emotion).mean()) for emotion in range(answers.shape[1])
                ],
            }
            for sex in ("male", "female")
            if (sexes == sex).any()
        },
    }


@torch.inference_mode()
def shifted_logits(model: SpeechEmotionModel, bank: ClipBank, semitones: float) -> Tensor:
    """Logits of all clips of a bank after trimming and a shift of the pitch; at 0 the vocoder is passed too.

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.pitch_counterfactual", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("checkpoint", help="a .pth file that ser_gpu.train wrote")
    add("--data", help="RAVDESS folder (default: $RAVDESS_DIR, else downloaded)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    study.add_output_options(parser, "pitch-counterfactual")
    return parser


if __name__ == "__main__":
    sys.exit(main())
