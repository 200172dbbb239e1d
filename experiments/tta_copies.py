"""python -m experiments.tta_copies CHECKPOINTS: what test-time augmentation gives, without and with a speaker's clips.

Validation speakers are answered by the clip alone, at three pitches, and at three pitches and three tempi.
"""

import argparse
import sys
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from experiments import enrolment, study
from ser_gpu.cli import console, options
from ser_gpu.config import TtaConfig
from ser_gpu.evaluation import metrics
from ser_gpu.evaluation.report import environment
from ser_gpu.stages.tta import TestTimeAugmentation

COPIES = {
    "the clip alone": TtaConfig(enabled=False),
    "three pitches": TtaConfig(tempo=1.0),
    "three pitches, three tempi": TtaConfig(),
}
COUNT = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, answer, score, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    contents: dict[str, list[dict]] = {name: [] for name in COPIES}
    for path in args.checkpoints:
        model, clips, bank = study.load_validation(path, args, device)
        for name, config in COPIES.items():
            model.tta = TestTimeAugmentation(config, model.config.mel, model.config.trim.fill).to(device).eval()
            contents[name].append(enrolment.answers(model, bank, clips, ["unlabelled"], [args.count], args.draws))
    rows = [
        {"copies": name, "without": scores(found, "none"), "enrolled": scores(found, "unlabelled")}
        for name, found in contents.items()
    ]
    header = {"trainings": len(args.checkpoints), "draws": args.draws, "clips": args.count}
    result = header | {"environment": environment(device), "rows": rows}
    study.publish(args, result, show)
    return options.DONE


def scores(contents: Sequence[dict], kind: str) -> dict[str, float]:
    """UAR and log loss, the mean over trainings and draws."""
    each = []
    for content in contents:
        truth = np.array(content["truth"])
        for entry in content["entries"]:
            if entry["kind"] == kind:
                own, logits = (
                    truth[entry["rows"].numpy()],
                    entry["probabilities"].clamp(min=1e-12).log().double().numpy(),
                )
                uar = metrics.headline(own, logits.argmax(axis=1))["uar"]
                each.append({"uar": uar, "log_loss": metrics.log_loss(own, logits)})
    return {name: fmean(score[name] for score in each) for name in ("uar", "log_loss")}


def show(result: dict) -> None:
    """A row a kind of copies."""
    columns = ("copies", "UAR", "log loss", f"UAR, {result['clips']} clips enrolled", "log loss")
    shown = console.table("Test-time augmentation", columns)
    for row in result["rows"]:
        cells = [f"{row[part][name]:.3f}" for part in ("without", "enrolled") for name in ("uar", "log_loss")]
        shown.add_row(row["copies"], *cells)
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = study.enrolment_parser(
        "tta_copies", __doc__.splitlines()[0], "of ser-gpu crossvalidate --protocol search --no-test", draws=2
    )
    parser.add_argument(
        "--count", type=options.positive_int, default=COUNT, help="enrolled clips (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
