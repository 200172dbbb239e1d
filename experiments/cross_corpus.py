"""python -m experiments.cross_corpus CHECKPOINTS: how a model does on corpora of which nothing was in its training.

A checkpoint of a training that held whole corpora out is scored on these; any other checkpoint on each corpus that it
was not trained on. Trainings of the same corpora, whichever of them were held out, are of one recipe: the temperature
of a corpus is fitted on the others that its recipe was scored on. Answers are among the emotions that the corpus has.
They are kept beside the checkpoint in files that end in .answers, so that a study that was stopped goes on: delete them
after a change of the code.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from experiments import enrolment, study
from experiments.enrolment_tables import with_clips
from ser_gpu import checkpoint, corpora
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.evaluation import metrics
from ser_gpu.evaluation.report import environment
from ser_gpu.files import sha256
from ser_gpu.model import SpeechEmotionModel

KINDS, COUNTS = ("unlabelled", "labelled"), (8, 16)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, score, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    several = options.corpora_of(args.corpora)
    if not several:
        raise InputError("--corpora names the corpora")
    found = options.find_clips(None, None, several)
    rows, logits_of = [], {}
    for path in args.checkpoints:
        model, provenance = checkpoint.load(path, device)
        for name, clips, trained_on in study.held_out(provenance, found):
            kept = Path(path).with_name(f"{name}-{args.draws}-{sha256(path)[:16]}.answers")
            if not kept.exists():
                known = [clip for clip in clips if clip.emotion in model.labels]
                known, bank = options.read_clips(known, model.sample_rate, device)
                checkpoint.write(kept, answers(model, bank, known, args.draws))
            content = checkpoint.read(kept)
            row = scores(content, _titles(trained_on), name) | {"seed": provenance.seed}
            logits = content["without"].clamp(min=1e-12).log() * model.temperature.item()
            recipe = Protocol.from_dict(provenance.protocol).corpus, provenance.seed
            logits_of.setdefault(recipe, {})[row["tested_on"]] = logits.numpy(), np.array(content["truth"])
            rows.append((recipe, row))
    calibrated = {recipe: study.on_new_corpora(own) for recipe, own in logits_of.items()}
    rows = [row | {"calibrated": calibrated[recipe][1][row["tested_on"]]} for recipe, row in rows]
    temperature = float(np.exp(np.mean([np.log(each) for each, _ in calibrated.values()])))
    result = {"draws": args.draws, "environment": environment(device), "temperature": temperature, "rows": rows}
    study.publish(args, result, show)
    return options.DONE


def answers(model: SpeechEmotionModel, bank: ClipBank, clips: Sequence[Clip], draws: int) -> dict:
    """With and without enrolled clips; without alone for no draws, and where nobody has as many and one more."""
    with suppress(InputError):
        if draws:
            return enrolment.answers(model, bank, clips, KINDS, COUNTS, draws)
    return enrolment.answers(model, bank, clips, [], [], draws)


def scores(content: dict, trained_on: str, tested_on: str) -> dict:
    """UAR among the common emotions."""
    truth = np.array(content["truth"])
    present = np.unique(truth)
    uar = lambda rows, found: metrics.headline(truth[rows], metrics.likeliest(found, present))["uar"]  # noqa: E731
    without = content["without"].numpy()
    none, *entries = content["entries"]
    predicted = metrics.likeliest(without, present)
    confidence = without[:, present].max(axis=1) / without[:, present].sum(axis=1)
    enrolled = []
    for kind, count in dict.fromkeys((entry["kind"], entry["count"]) for entry in entries):
        same = [entry for entry in entries if (entry["kind"], entry["count"]) == (kind, count)]
        parts = [(entry["rows"].numpy(), entry["probabilities"].numpy()) for entry in same]
        enrolled.append(
            {"kind": kind, "count": count, "clips": len(parts[0][0])}
            | {"uar": float(np.mean([uar(rows, found) for rows, found in parts]))}
            | {"without": float(np.mean([uar(rows, without[rows]) for rows, _ in parts]))}
        )
    return {
        "trained_on": trained_on,
        "tested_on": _title(tested_on),
        "clips": len(truth),
        "emotions": len(present),
        "uar": uar(none["rows"].numpy(), without[none["rows"].numpy()]),
        "interval95": metrics.bootstrap_intervals(truth, predicted, content["speakers"])["uar"],
        "confidence_above_accuracy": float(confidence.mean() - (predicted == truth).mean()),  # as the file answers
        "enrolled": enrolled,
    }


def _titles(names: set[str]) -> str:
    titles = [_title(name) for name in sorted(names)]
    return ", ".join(titles) if len(titles) < 3 else f"{len(titles)} corpora"


def _title(name: str) -> str:
    return corpora.get(name).title if name in corpora.names() else name


def show(result: dict) -> None:
    """A row a model and corpus; the gap is confidence above accuracy, with the temperature of the other corpora."""
    columns = ("tested on", "trained on", "clips", "emotions", "UAR", "UAR, 8 clips", "without", "gap")
    shown = console.table("Other corpora", columns)
    for row in result["rows"]:
        enrolled = with_clips(row)
        cells = [f"{enrolled[key]:.3f}" if enrolled else "" for key in ("uar", "without")]
        counts = (str(row["clips"]), str(row["emotions"]))
        gap = f"{row['calibrated']['confidence_above_accuracy']:+.3f}"
        shown.add_row(row["tested_on"], row["trained_on"], *counts, f"{row['uar']:.3f}", *cells, gap)
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.cross_corpus", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", help=".pth files of ser-gpu train")
    parser.add_argument("--corpora", nargs="+", metavar="NAME[=DIR]", help="all that are trained on and tested on")
    draws = options.number(0, kind=int)
    parser.add_argument("--draws", type=draws, default=3, help="of 8 clips to enrol, 0 for none (default: %(default)s)")
    parser.add_argument("--device", help=options.DEVICE)
    study.add_output_options(parser, "cross-corpus")
    return parser


if __name__ == "__main__":
    sys.exit(main())
