"""python -m experiments.shrinkage CHECKPOINTS: how many windows of a speaker should weigh as much as the population.

Validation speakers are enrolled with unlabelled clips, and `POPULATION_WINDOWS` of `ser_gpu.voices.plan` is varied.
Beside the scores stands by what the logits should be multiplied, for its `SHARPENING`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

import numpy as np
import torch

from experiments import study
from experiments.enrolment import SpeakerClips, chosen, speakers
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.evaluation import metrics
from ser_gpu.evaluation.report import environment
from ser_gpu.voices import plan

POPULATIONS = (0.0, 4.0, 8.0, 16.0, 32.0)
COUNTS = (2, 4, 8, 16)
SCORES = ("uar", "log_loss", "sharpness")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, enrol, score, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    scores: dict[tuple[float, int], list[dict]] = {}
    for path in args.checkpoints:
        model, clips, bank = study.load_validation(path, args, device)
        every = [SpeakerClips(model, bank, clips, rows, tta=True) for rows in speakers(clips).values()]
        for population in POPULATIONS:
            with weighing(population):
                for count in COUNTS:
                    for draw in range(args.draws):
                        score = scored(every, clips, model.labels, "unlabelled", count, draw)
                        scores.setdefault((population, count), []).append(score)
    rows = [
        {"population_windows": population, "clips": count}
        | {name: fmean(each[name] for each in found) for name in SCORES}
        for (population, count), found in scores.items()
    ]
    result = {"trainings": len(args.checkpoints), "draws": args.draws, "environment": environment(device)}
    study.publish(args, result | {"rows": rows}, show)
    return options.DONE


@contextmanager
def weighing(population: float) -> Iterator[None]:
    """Enrolment with another weight of the population, and answers that are as sure as they are without a voice."""
    before = plan.POPULATION_WINDOWS, plan.SHARPENING
    plan.POPULATION_WINDOWS, plan.SHARPENING = population, 0.0
    try:
        yield
    finally:
        plan.POPULATION_WINDOWS, plan.SHARPENING = before


def scored(
    every: Sequence[SpeakerClips], clips: Sequence[Clip], labels: Sequence[str], kind: str, count: int, draw: int
) -> dict[str, float]:
    """`SCORES` of the clips that are not enrolled, over all speakers, of one draw of as many clips of a kind."""
    truth, found = [], []
    for speaker in every:
        rows = [*speaker.windows_of]
        enrolled = chosen(clips, rows, kind, count, draw)
        left = sorted({*rows} - {*enrolled})
        truth += [labels.index(clips[row].emotion) for row in left]
        found.append(speaker.probabilities(left, speaker.voice(enrolled, is_labelled=kind == "labelled")))
    truth, logits = np.array(truth), torch.cat(found).clamp(min=1e-12).log().double().numpy()
    return {
        "uar": metrics.headline(truth, logits.argmax(axis=1))["uar"],
        "log_loss": metrics.log_loss(truth, logits),
        "sharpness": 1.0 / metrics.fit_temperature(logits, truth),
    }


def show(result: dict) -> None:
    """A row a weight and number of clips."""
    shown = console.table("Shrinkage of a voice", ("population, windows", "clips", "UAR", "log loss", "sharpness"))
    for row in result["rows"]:
        scores = (f"{row[name]:.3f}" for name in SCORES)
        shown.add_row(f"{row['population_windows']:g}", str(row["clips"]), *scores)
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    return study.enrolment_parser(
        "shrinkage", __doc__.splitlines()[0], "of ser-gpu crossvalidate --protocol search --no-test", draws=2
    )


if __name__ == "__main__":
    sys.exit(main())
