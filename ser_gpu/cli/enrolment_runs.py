"""What the commands share about scores with enrolled clips: options, progress, and the answers of many trainings."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from ser_gpu import checkpoint
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.checkpoint import CheckpointError
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.evaluation import enrolment
from ser_gpu.model import SpeechEmotionModel

FILE = "enrolment.pth"


def add_options(parser: ArgumentParser, default_kinds: Sequence[str] = enrolment.KINDS[:1]) -> None:
    """How many clips of each speaker are enrolled, which ones, and how often they are drawn."""
    add = parser.add_argument
    add(
        "--enrol",
        type=int,
        nargs="+",
        metavar="N",
        help="score each speaker after the enrolment of N of their clips, too; enrolled clips are not scored",
    )
    add(
        "--enrol-clips",
        nargs="+",
        choices=enrolment.KINDS,
        default=list(default_kinds),
        help="which clips to enrol: any; neutral ones; with their labels, of all emotions alike; or every clip of the "
        f"speaker, those that are scored (default: {' '.join(default_kinds)})",
    )
    add("--draws", type=options.positive_int, default=5, help="draws of the enrolled clips (default: %(default)s)")


def answers(args: Namespace, model: SpeechEmotionModel, bank: ClipBank, clips: Sequence[Clip]) -> dict:
    """What a model answers before and after enrolment, with a progress bar."""
    kinds, counts = args.enrol_clips, args.enrol
    with console.progress() as progress:
        task = progress.add_task("Enrolling", total=len(enrolment.speakers(clips)))
        advance = lambda: progress.advance(task)  # noqa: E731
        return enrolment.answers(model, bank, clips, kinds, counts, args.draws, on_speaker=advance)


def table(
    args: Namespace, folders: Sequence[tuple[int, Path]], part: str, found: Sequence[Clip], device: torch.device
) -> dict[str, list[dict]]:
    """The scores of all trainings taken together, and of several of a fold also as one model.

    The answers of each training are kept in its folder, so that they are computed once.

    Args:
        folders: fold and folder of each finished training.
        part: of the split, to enrol and to score.
        found: the clips that all of them were trained and tested on.
    """
    of_fold: dict[int, list[dict]] = {}
    for fold, folder in folders:
        of_fold.setdefault(fold, []).append(_of_training(args, folder, part, found, device))
    every = [content for contents in of_fold.values() for content in contents]
    tables = {"all answers": enrolment.table(every)}
    if len(every) > len(of_fold):
        tables["seeds together"] = enrolment.table([enrolment.together(contents) for contents in of_fold.values()])
    return tables


def _of_training(args: Namespace, folder: Path, part: str, found: Sequence[Clip], device: torch.device) -> dict:
    asked = {"kinds": args.enrol_clips, "counts": args.enrol, "draws": args.draws, "part": part}
    try:
        stored = checkpoint.read(folder / FILE)
        if stored.get("asked") == asked:
            return stored["answers"]
    except CheckpointError:
        pass
    model, provenance = checkpoint.load(folder / "last.pth", device)
    split = Protocol.from_dict(provenance.protocol).split(found)
    if split.manifest_hash != provenance.manifest_hash:
        raise InputError(f"{folder}: was trained on other clips than these {len(found):,}")
    clips = [clip for clip in found if split.part_of[clip.id] == part]
    content = answers(args, model, options.read_clips(clips, model.sample_rate, device), clips)
    checkpoint.write(folder / FILE, {"asked": asked, "answers": content})
    return content
