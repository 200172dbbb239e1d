"""ser-gpu evaluate CHECKPOINT: score a model on clips that it was not trained on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ser_gpu import checkpoint
from ser_gpu.checkpoint import Provenance
from ser_gpu.cli import console, enrolment_runs, options
from ser_gpu.corpora.clip import OWN, PARTS, Clip
from ser_gpu.corpora.splits import Protocol, Split
from ser_gpu.errors import InputError, require
from ser_gpu.evaluation import enrolment, environment, figures
from ser_gpu.evaluation.report import answers
from ser_gpu.files import write_json

ALL = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and evaluate."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Score the asked clips, and write the scores and the figures."""
    require("train", "scipy", "matplotlib")
    device = options.device(args.device)
    model, provenance = checkpoint.load(args.checkpoint, device)
    found = options.find_clips(args.data, args.corpus, options.corpora_of(args.corpora))
    trained_by = Protocol.from_dict(provenance.protocol)
    is_new = _of_another_corpus(trained_by, found)
    asked = args.protocol or args.fold is not None or args.test_speakers
    part = args.part or (ALL if is_new and not asked else "test")
    protocol = _protocol(args, trained_by)
    split = Split(dict.fromkeys((clip.id for clip in found), ALL)) if part == ALL else protocol.split(found)
    if not (args.allow_trained or is_new):
        _refuse_trained(args.checkpoint, provenance, found, split, part)
    if not any(where == part for where in split.part_of.values()):
        raise InputError(f"{args.checkpoint}: {protocol.name} has no clip in its {part} part; --part names another")
    clips = _known_emotions([clip for clip in found if split.part_of[clip.id] == part], model.labels, part)
    bank = options.read_clips(clips, model.sample_rate, device)
    usable = bank.usable().nonzero().flatten()
    if not len(usable):
        raise InputError(f"{args.checkpoint}: every clip of the {part} part is silent or too short to score")
    answered = answers(model, bank, usable, [clips[row] for row in usable.tolist()])
    scores = answered.report(by_speaker=is_new or protocol.speaker_independent)
    result = {
        "checkpoint": Path(args.checkpoint).name,
        "protocol": protocol.name,
        "fold": protocol.fold,
        "test_speakers": list(protocol.test_speakers),
        "test_corpora": list(protocol.test_corpora),
        "part": part,
        "seed": provenance.seed,
        "manifest_hash": split.manifest_hash,
        "trained_clips_allowed": args.allow_trained,
        "temperature": float(model.temperature),
        "environment": environment.describe(device),
        **scores,
    }
    if args.enrol:
        result["enrolment"] = enrolment.table([enrolment_runs.answers(args, model, bank, clips)])
    title = "all clips" if part == ALL else f"{protocol.name}, fold {protocol.fold}, {part} part"
    written = _write(args, result, model.labels, title)
    if args.json:
        console.print_json(result)
    else:
        console.show_report(title, scores, model.labels)
        if args.enrol:
            console.show_enrolment(f"Enrolment, {title}", enrolment.lines(result["enrolment"]))
        console.err.print(f"written: {', '.join(map(str, written))}")
    return options.DONE


def _protocol(args: argparse.Namespace, stored: Protocol) -> Protocol:
    if args.test_speakers:
        return Protocol("test-speakers", 0, tuple(args.test_speakers))
    if args.protocol is None and args.fold is None:
        return stored
    return Protocol(args.protocol or stored.name, args.fold or 0)


def _of_another_corpus(trained_by: Protocol, clips: Sequence[Clip]) -> bool:
    """True where no clip can have been trained on, since the checkpoint knows other corpora alone."""
    trained_on = {*(trained_by.corpus or OWN).split(", ")}
    return OWN not in trained_on and trained_on.isdisjoint(clip.corpus for clip in clips)


def _refuse_trained(path: str, provenance: Provenance, clips: Sequence[Clip], split: Split, part: str) -> None:
    """Raise unless none of the clips to score was in the checkpoint's training or validation."""
    try:
        own = Protocol.from_dict(provenance.protocol).split(clips)
    except InputError:  # these clips cannot be those that it was trained on
        own = None
    if own is None or own.manifest_hash != provenance.manifest_hash:
        raise InputError(
            f"{path}: was trained on another set of clips than these {len(clips):,}, so its test part is not known; "
            "--allow-trained scores it all the same"
        )
    seen = {clip for clip, where in own.part_of.items() if where != "test"}
    if overlap := seen.intersection(split.ids(part)):
        raise InputError(
            f"{path}: {len(overlap):,} of these clips were in its training or validation, so the scores would not be "
            "honest; --allow-trained scores it all the same"
        )


def _known_emotions(clips: Sequence[Clip], labels: Sequence[str], part: str) -> list[Clip]:
    """The clips whose emotion the model knows; stderr counts the others."""
    known = [clip for clip in clips if clip.emotion in labels]
    others = sorted({clip.emotion for clip in clips}.difference(labels))
    if others:
        names = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        console.err.print(f"left out: {len(clips) - len(known):,} clips of emotions unknown to the model ({names})")
    if not known:
        raise InputError(f"no clip to score in the {part} part: the model knows {', '.join(labels)}")
    return known


def _write(args: argparse.Namespace, result: dict, labels: Sequence[str], title: str) -> list[Path]:
    stem = Path(args.out) / Path(args.checkpoint).stem if args.out else Path(args.checkpoint).with_suffix("")
    numbers, confusion, reliability = (
        Path(f"{stem}.{name}") for name in ("evaluation.json", "confusion.png", "reliability.png")
    )
    write_json(numbers, result)
    figures.save(figures.confusion(result["confusion"], labels, f"Confusion: {title}"), confusion)
    figures.save(figures.reliability(**result["reliability"], title=f"Reliability: {title}"), reliability)
    return [numbers, confusion, reliability]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ser-gpu evaluate",
        description="Score a checkpoint on the test part of its own protocol, or on clips of your choice.",
    )
    parser.add_argument("checkpoint", help="a .pth file that ser-gpu train wrote")
    options.add_data_options(parser)
    options.add_protocol_options(parser, "who is in which part (default: as the checkpoint was trained)")
    parser.add_argument(
        "--part",
        choices=(*PARTS, ALL),
        help="part to score (default: test, or all of a corpus that the model was not trained on)",
    )
    parser.add_argument("--allow-trained", action="store_true", help="score clips that the model was trained on, too")
    enrolment_runs.add_options(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    parser.add_argument("--out", help="folder for the JSON and the figures (default: beside the checkpoint)")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
