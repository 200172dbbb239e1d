"""What the studies share: the clips that a checkpoint never heard, and where their results go."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ser_gpu import checkpoint, command_line
from ser_gpu.atomic import replacing, write_json
from ser_gpu.checkpoint import Provenance
from ser_gpu.data.ravdess import Clip
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.results import console, environment

RESULTS = Path(__file__).resolve().parent / "results"


def load(path: str, data: str | None, device: torch.device) -> tuple[SpeechEmotionModel, Provenance, list[Clip]]:
    """A model, where it comes from, and its test part.

    Raises:
        ValueError: the clips found are not those that its protocol dealt with, so its test part is not known.
    """
    model, provenance = checkpoint.load(path, device)
    found = command_line.find_clips(data)
    split = provenance.protocol.split(found)
    if split.manifest_hash != provenance.manifest_hash:
        raise ValueError(f"{path}: was trained on another set of clips than the {len(found):,} found")
    return model, provenance, [clip for clip in found if split.part_of[clip.name] == "test"]


def add_output_options(parser: argparse.ArgumentParser, name: str) -> None:
    """`--out` and `--json`; `name` is that of the results."""
    default = RESULTS / name
    parser.add_argument("--out", default=str(default), help="JSON and figure, without suffix (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of tables")


def publish(args: argparse.Namespace, result: dict, figure: Figure, show: Callable[[dict], None]) -> None:
    """Write JSON and figure to `--out`, and print the JSON, or what `show` prints of it."""
    write_json(Path(f"{args.out}.json"), result)
    with replacing(f"{args.out}.png") as temporary:
        figure.savefig(temporary, dpi=130)
    if args.json:
        console.out.print_json(data=result)
    else:
        show(result)


def header(path: str, provenance: Provenance, clips: list[Clip], device: torch.device) -> dict:
    """What every result of a study says about its model."""
    return {
        "checkpoint": Path(path).name,
        "protocol": provenance.protocol.name,
        "fold": provenance.protocol.fold,
        "training_seed": provenance.seed,
        "manifest_hash": provenance.manifest_hash,
        "clips": len(clips),
        "environment": environment.describe(device),
    }
