"""What the studies share: the test part of a checkpoint, and where results go."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ser_gpu import checkpoint
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.checkpoint import Provenance
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.evaluation import figures
from ser_gpu.evaluation.report import environment
from ser_gpu.files import write_json
from ser_gpu.model import SpeechEmotionModel

RESULTS = Path(__file__).resolve().parent / "results"


def load(
    path: str, args: argparse.Namespace, device: torch.device, part: str = "test"
) -> tuple[SpeechEmotionModel, Provenance, list[Clip]]:
    """A model, its provenance, and the clips of a part of its split, from the data that `args` name.

    Raises:
        InputError: the clips found are not those of its training, so its parts are not known, or the part is empty.
    """
    model, provenance = checkpoint.load(path, device)
    found = options.find_clips(args.data, args.corpus)
    split = Protocol.from_dict(provenance.protocol).split(found)
    if split.manifest_hash != provenance.manifest_hash:
        raise InputError(f"{path}: was trained on another set of clips than the {len(found):,} found")
    clips = [clip for clip in found if split.part_of[clip.id] == part]
    if not clips:
        raise InputError(f"{path}: its protocol has no {part} clips")
    return model, provenance, clips


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
    """Write JSON and, where there is one, the figure to `--out`, and print the JSON, or what `show` prints of it."""
    write_json(Path(f"{args.out}.json"), result)
    if figure is not None:
        figures.save(figure, f"{args.out}.png", dpi=120)
    if args.json:
        console.print_json(result)
    else:
        show(result)


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
