"""python -m experiments.head_prior CHECKPOINTS: how close the head of a voice should stay to the network's.

Validation speakers are enrolled with labelled clips, of all emotions alike, and `ser_gpu.enrolment.HEAD_PRIOR` is
varied.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

from experiments import study
from experiments.shrinkage import scored
from ser_gpu import enrolment
from ser_gpu.cli import common, console
from ser_gpu.evaluation import environment
from ser_gpu.evaluation.enrolment import SpeakerClips, speakers
from ser_gpu.files import write_json

PRIORS = (None, 20.0, 10.0, 5.0)  # None: no head
COUNTS = (2, 4, 8, 16)
SCORES = ("uar", "log_loss")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, enrol, score, and print the table."""
    args = _parser().parse_args(arguments)
    return common.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = common.device(args.device)
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
    result = {"trainings": len(args.checkpoints), "draws": args.draws, "environment": environment.describe(device)}
    write_json(f"{args.out}.json", result | {"rows": rows})
    if args.json:
        console.print_json(result | {"rows": rows})
    else:
        show(rows)
    return common.DONE


@contextmanager
def keeping(prior: float | None) -> Iterator[None]:
    """Enrolment with another prior, or without a head."""
    before = enrolment.HEAD_PRIOR
    enrolment.HEAD_PRIOR = math.inf if prior is None else prior
    try:
        yield
    finally:
        enrolment.HEAD_PRIOR = before


def show(rows: Sequence[dict]) -> None:
    """A row a prior and number of clips."""
    shown = console.table("Prior of the head of a voice", ("prior", "clips", "UAR", "log loss"))
    for row in rows:
        prior = "no head" if row["prior"] is None else f"{row['prior']:g}"
        shown.add_row(prior, str(row["clips"]), *(f"{row[name]:.3f}" for name in SCORES))
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.head_prior", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", help="of ser-gpu crossvalidate --protocol search --no-test")
    common.add_data_options(parser)
    parser.add_argument("--draws", type=common.positive_int, default=3, help="of the clips (default: %(default)s)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    study.add_output_options(parser, "head-prior")
    return parser


if __name__ == "__main__":
    sys.exit(main())
