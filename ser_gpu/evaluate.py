"""ser-gpu evaluate CHECKPOINT: score a model on clips that it was not trained on."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from ser_gpu import checkpoint
from ser_gpu.checkpoint import Provenance
from ser_gpu.cli import console, options
from ser_gpu.corpora import names
from ser_gpu.corpora.clip import OWN, PARTS, Clip
from ser_gpu.corpora.splits import Protocol, Split
from ser_gpu.errors import InputError, check, require
from ser_gpu.evaluation import figures
from ser_gpu.evaluation.report import answers, environment, notes
from ser_gpu.files import write_json
from ser_gpu.training.config import Plan

ALL = "all"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which clips of which recordings are scored."""
    options.add_data_options(parser)
    add = options.add_protocol_options(parser, "that of the checkpoint's training", "the same; 0 with --protocol")
    default = "(default: test; all, if the model was trained on another corpus)"
    add("--part", choices=(*PARTS, ALL), help=f"part to score {default}")
    add("--allow-trained", action="store_true", help="also score clips that the model was trained on")
    parser.add_argument("--device", help=options.DEVICE)


def main(arguments: Sequence[str] | None = None) -> int:
    about = "Score a checkpoint on the test part of its own protocol, or on clips of your choice."
    parser = options.Parser(prog="ser-gpu evaluate", description=about)
    parser.add_argument("checkpoint", help="a .pth file that ser-gpu train wrote")
    add_options(parser)
    add = parser.add_argument_group("output").add_argument
    add("--out", metavar="DIR", help="folder for the JSON and the figures (default: that of the checkpoint)")
    add("--json", action="store_true", help="print the JSON instead of tables")
    return options.run(lambda: _run(parser.parse_args(arguments)))


def _run(args: argparse.Namespace) -> int:
    require("train", "scipy", "matplotlib")
    device = options.device(args.device)
    path = Path(args.checkpoint)
    stem = Path(args.out or path.parent) / path.name.removesuffix(".pth")
    written = [f"{stem}.{name}" for name in ("evaluation.json", "confusion.png", "reliability.png")]
    options.require_free({"--out": map(Path, written)}, [args.checkpoint, args.data])
    model, provenance = checkpoint.load(args.checkpoint, device)
    clips, about, by_speaker = asked(args, model.labels, provenance)
    clips, bank = options.read_clips(clips, model.sample_rate, device)
    scores = answers(model, bank, torch.arange(len(bank), device=device), clips).report(by_speaker)
    result = about | {"temperature": float(model.temperature), "environment": environment(device), **scores}
    where = title(about)
    if args.json:  # before anything is written, which may fail
        console.print_json(result)
    else:
        console.show_report(where, scores, model.labels)
    console.note(*notes(scores))
    write_json(written[0], result)
    figures.save(figures.confusion(scores["confusion"], model.labels, f"Confusion: {where}"), written[1])
    figures.save(figures.reliability(**scores["reliability"], title=f"Reliability: {where}"), written[2])
    if not args.json:
        console.err.print(f"written: {', '.join(written)}")
    return options.DONE


def title(about: dict) -> str:
    """The clips in words."""
    return "all clips" if about["part"] == ALL else "{protocol}, fold {fold}, {part} part".format_map(about)


def asked(args: argparse.Namespace, labels: Sequence[str], provenance: Provenance) -> tuple[list[Clip], dict, bool]:
    """The clips to score, what a result says about them, and whether their speakers are new to the model. InputError
    where there are none, or where some are of its training, unless that is allowed."""
    path = args.checkpoint
    own = protocol = Protocol.from_dict(provenance.protocol)
    trained_on = {*(own.corpus or OWN).split(", ")}
    is_default = names()[0] in trained_on and OWN not in trained_on  # which may have begun with weights of the default
    if not (args.data or args.corpus or args.corpora or is_default):
        plan = None
        with suppress(InputError):  # another config.json
            plan = Plan.read(Path(path).parent)
        where = plan.data if plan and plan.data else ", ".join(sorted(trained_on))
        raise InputError(f"{path}: was trained on {where}: name recordings with --data or --corpora")
    found = options.find_clips(args.data, args.corpus, options.corpora_of(args.corpora))
    is_new = OWN not in trained_on and trained_on.isdisjoint(clip.corpus for clip in found)
    if args.test_speakers:
        protocol = Protocol("test-speakers", 0, tuple(args.test_speakers))
    elif args.protocol is not None or args.fold is not None:
        protocol = Protocol(args.protocol or own.name, args.fold or 0)
    part = args.part or (ALL if is_new and protocol is own else "test")
    split = Split(dict.fromkeys((clip.id for clip in found), ALL)) if part == ALL else protocol.split(found)
    clips = [clip for clip in found if split.part_of[clip.id] == part]
    check(clips, f"{path}: {protocol.name} has no clip in its {part} part; --part names another")
    known = [clip for clip in clips if clip.emotion in labels]
    check(known, f"no clip to score in the {part} part: the model knows {', '.join(labels)}")
    if not (args.allow_trained or is_new):
        _refuse_trained(path, provenance, found, split.ids(part))
    if others := sorted({clip.emotion for clip in clips}.difference(labels)):
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        console.err.print(f"left out: {len(clips) - len(known):,} clips of emotions unknown to the model ({shown})")
    about = {"checkpoint": Path(path).name, **protocol.in_results, "part": part, "seed": provenance.seed}
    about |= {"manifest_hash": split.manifest_hash, "trained_clips_allowed": args.allow_trained}
    return known, about, is_new or protocol.speaker_independent


def _refuse_trained(path: str, provenance: Provenance, found: Sequence[Clip], clips: Sequence[str]) -> None:
    try:
        own = Protocol.from_dict(provenance.protocol).split(found)
    except InputError:  # these clips cannot be those that it was trained on
        own = None
    why = None
    if own is None or own.manifest_hash != provenance.manifest_hash:
        why = f"was trained on another set of clips than these {len(found):,}, so its test part is not known"
    elif overlap := sum(own.part_of.get(clip, "test") != "test" for clip in clips):
        why = f"{overlap:,} of these clips were in its training or validation, so the scores would not be honest"
    check(not why, f"{path}: {why}; --allow-trained scores it all the same")


if __name__ == "__main__":
    sys.exit(main())
