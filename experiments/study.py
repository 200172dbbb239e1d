"""What the studies share: the test part of a checkpoint, and where results go."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.special import softmax

from benchmarks.command import commit, processor
from ser_gpu import checkpoint, corpora
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.checkpoint import Provenance
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.evaluation import figures, metrics
from ser_gpu.evaluation.report import environment
from ser_gpu.files import write_json
from ser_gpu.model import SpeechEmotionModel

LEAST = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # confidences, as of `ser-gpu predict --least`
RESULTS = Path(__file__).resolve().parent / "results"


def clips_of(args: argparse.Namespace) -> tuple[Clip, ...]:
    """The clips that the options of `options.add_data_options` name."""
    return options.find_clips(args.data, args.corpus, options.corpora_of(args.corpora))


def load(
    path: str, args: argparse.Namespace, device: torch.device, part: str = "test"
) -> tuple[SpeechEmotionModel, Provenance, list[Clip]]:
    """A model, its provenance, and the clips of a part of its split, from the data that `args` name.

    The test part of a model that was trained on all clips of its corpora is the other corpora.

    Raises:
        InputError: the clips found are not those of its training, so its parts are not known, or the part is empty.
    """
    model, provenance = checkpoint.load(path, device)
    found = clips_of(args)
    protocol = Protocol.from_dict(provenance.protocol)
    if (protocol.name, part) == ("all", "test"):
        known = {*model.labels}
        clips = [clip for _, own, _ in held_out(provenance, found) for clip in own if clip.emotion in known]
        if not clips:
            raise InputError(f"{path}: was trained on all clips of its corpora, and --corpora names no other")
        return model, provenance, clips
    split = protocol.split(found)
    if split.manifest_hash != provenance.manifest_hash:
        raise InputError(f"{path}: was trained on another set of clips than the {len(found):,} found")
    clips = [clip for clip in found if split.part_of[clip.id] == part]
    if not clips:
        raise InputError(f"{path}: its protocol has no {part} clips")
    return model, provenance, clips


def held_out(provenance: Provenance, found: Sequence[Clip]) -> Iterator[tuple[str, list[Clip], set[str]]]:
    """The corpora of which no clip was in a training, their clips, and the corpora of the training.

    Raises:
        ValueError: a training that held out a corpus of other clips than these.
    """
    protocol = Protocol.from_dict(provenance.protocol)
    # older files do not say it: they are of the first registered corpus
    trained = {*(protocol.corpus or corpora.names()[0]).split(", ")}
    asked = {clip.corpus for clip in found} - trained
    if protocol.name in ("loco", "test-corpora"):
        own = [clip for clip in found if clip.corpus in trained]
        split = protocol.split(own)
        if split.manifest_hash != provenance.manifest_hash:
            raise InputError("a checkpoint was trained on other clips than these corpora have")
        asked = {clip.corpus for clip in own if split.part_of[clip.id] == "test"}
        trained -= asked
    for name in sorted(asked):
        yield name, [clip for clip in found if clip.corpus == name], trained


def load_validation(
    path: str, args: argparse.Namespace, device: torch.device
) -> tuple[SpeechEmotionModel, list[Clip], ClipBank]:
    """A model, and the clips of its validation part, on which settings may be chosen."""
    model, _, clips = load(path, args, device, part="validation")
    return model, *options.read_clips(clips, model.sample_rate, device)


def add_output_options(parser: argparse.ArgumentParser, name: str) -> None:
    """`--out` and `--json`; `name` is that of the results."""
    default = RESULTS / name
    parser.add_argument("--out", default=str(default), help="JSON and figure, without suffix (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of tables")


def enrolment_parser(name: str, description: str, checkpoints: str, draws: int) -> argparse.ArgumentParser:
    """The options of the studies of enrolment.

    Args:
        name: of the module.
        checkpoints: which ones it takes, for the help.
        draws: of the clips, where nothing is said.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=description)
    parser.add_argument("checkpoints", nargs="+", help=checkpoints)
    options.add_data_options(parser)
    parser.add_argument("--draws", type=options.positive_int, default=draws, help="of the clips (default: %(default)s)")
    parser.add_argument("--device", help=options.DEVICE)
    add_output_options(parser, name.replace("_", "-"))
    return parser


def publish(args: argparse.Namespace, result: dict, show: Callable[[dict], None], figure: Figure | None = None) -> None:
    """Write JSON with commit and processor, and a figure, if any, to `--out`; print it, or what `show` makes of it."""
    result = {"commit": commit(), "processor": processor()} | result
    write_json(Path(f"{args.out}.json"), result)
    if figure is not None:
        figures.save(figure, f"{args.out}.png", dpi=120)
    if args.json:
        console.print_json(result)
    else:
        show(result)


def on_new_corpora(answers: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[float, dict[str, dict[str, float]]]:
    """Scores on corpora of which nothing was in the training, among the emotions that each has.

    The temperature of a corpus is fitted on the others: of a new corpus no answers are known, and in a corpus that is
    known a model is right far more often. Also returned is that of all of them, which is for corpora still to come.

    Args:
        answers: corpus -> logits [N, C] before any temperature, and truth [N].
    """
    logits_of, truth_of = {}, {name: truth for name, (_, truth) in answers.items()}
    for name, (logits, truth) in answers.items():
        logits_of[name] = logits.astype(np.float64)
        logits_of[name][:, np.setdiff1d(np.arange(logits.shape[1]), truth)] = -np.inf

    def fitted(names: list[str]) -> float:
        if not names:
            return 1.0
        logits, truth = (np.concatenate([of[name] for name in names]) for of in (logits_of, truth_of))
        return metrics.fit_temperature(logits, truth)

    scores = {}
    for name, truth in truth_of.items():
        temperature = fitted([other for other in answers if other != name])
        logits = logits_of[name] / temperature
        probabilities = softmax(logits, axis=1)
        confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
        right = predicted == truth
        scores[name] = {
            "uar": metrics.headline(truth, predicted)["uar"],
            "log_loss": metrics.log_loss(truth, logits),
            "confidence_above_accuracy": float(confidence.mean() - right.mean()),
            "temperature": temperature,
            "accuracy": float(right.mean()),
            "answered": {
                f"{least:.1f}": [float(sure.mean()), float(right[sure].mean()) if sure.any() else None]
                for least, sure in ((least, confidence >= least) for least in LEAST)
            },
        }
    return fitted([*answers]), scores


def header(path: str, provenance: Provenance, clips: list[Clip], device: torch.device) -> dict:
    """What every result of a study says about its model."""
    return {
        "checkpoint": Path(path).name,
        "protocol": provenance.protocol["name"],
        "fold": provenance.protocol["fold"],
        "training_seed": provenance.seed,
        "manifest_hash": provenance.manifest_hash,
        "clips": len(clips),
        "environment": environment(device),
    }
