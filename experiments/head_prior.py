"""python -m experiments.head_prior CHECKPOINTS: how close the head of a voice should stay to the network's.

Validation speakers are enrolled with labelled clips, of all emotions alike, and `ser_gpu.voices.plan.HEAD_PRIOR` is
varied.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

from experiments import study
from experiments.enrolment import SpeakerClips, speakers
from experiments.shrinkage import scored
from ser_gpu.cli import console, options
from ser_gpu.evaluation.report import environment
from ser_gpu.voices import plan

PRIORS = (None, 20.0, 10.0, 5.0)  # None: the last layer is not adapted
COUNTS = (2, 4, 8, 16)
SCORES = ("uar", "log_loss")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, enrol, score, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    scores: dict[tuple[float | None, int], list[dict]] = {}
    for path in args.checkpoints:
        model, clips, bank = study.load_validation(path, args, device)
        every = [SpeakerClips(model, bank, clips, rows, tta=True) for rows in speakers(clips).values()]
        for prior in PRIORS:
            with keeping(prior):
                for count in COUNTS:
                    found = [scored(every, clips, model.labels, "labelled", count, n) for n in range(args.draws)]
                    scores.setdefault((prior, count), []).extend(found)
    rows = [
        {"prior": prior, "clips": count} | {name: fmean(each[name] for each in found) for name in SCORES}
        for (prior, count), found in scores.items()
    ]
    result = {"trainings": len(args.checkpoints), "draws": args.draws, "environment": environment(device)}
    study.publish(args, result | {"rows": rows}, show)
    return options.DONE


@contextmanager
def keeping(prior: float | None) -> Iterator[None]:
    """Enrolment with another prior, or without a head."""
    before = plan.HEAD_PRIOR
    plan.HEAD_PRIOR = math.inf if prior is None else prior
    try:
        yield
    finally:
        plan.HEAD_PRIOR = before


def show(result: dict) -> None:
    """A row a prior and number of clips."""
    shown = console.table("Prior of the head of a voice", ("prior", "clips", "UAR", "log loss"))
    for row in result["rows"]:
        prior = "last layer not adapted" if row["prior"] is None else f"{row['prior']:g}"
        shown.add_row(prior, str(row["clips"]), *(f"{row[name]:.3f}" for name in SCORES))
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    return study.enrolment_parser(
        "head_prior", __doc__.splitlines()[0], "of ser-gpu crossvalidate --protocol search --no-test", draws=3
    )


if __name__ == "__main__":
    sys.exit(main())
