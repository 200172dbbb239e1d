"""python -m ser_gpu.evaluate CHECKPOINT: score a model on clips that it was not trained on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ser_gpu import checkpoint, command_line
from ser_gpu.atomic import replacing, write_json
from ser_gpu.checkpoint import Provenance
from ser_gpu.data.protocols import NAMED_PROTOCOLS, PARTS, Protocol, Split
from ser_gpu.data.ravdess import Clip
from ser_gpu.results import console, environment, figures
from ser_gpu.scoring import collect_logits, report


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and evaluate."""
    args = _parser().parse_args(arguments)
    return command_line.run(lambda: _evaluate(args))


def _evaluate(args: argparse.Namespace) -> int:
    device = command_line.device(args.device)
    model, provenance = checkpoint.load(args.checkpoint, device)
    protocol = _asked_protocol(args, provenance.protocol)
    found = command_line.find_clips(args.data)
    split = protocol.split(found)
    if not args.allow_trained:
        _refuse_trained(args.checkpoint, provenance, found, split, args.part)
    wanted = set(split.names(args.part))
    clips = [clip for clip in found if clip.name in wanted]
    bank = command_line.read_clips(clips, model.sample_rate, device)
    scores = report(
        model,
        collect_logits(model, bank, torch.arange(len(clips), device=device)),
        clips,
        protocol.speaker_independent,
    )
    result = {
        "checkpoint": Path(args.checkpoint).name,
        "protocol": protocol.name,
        "fold": protocol.fold,
        "test_actors": list(protocol.test_actors),
        "part": args.part,
        "seed": provenance.seed,
        "manifest_hash": split.manifest_hash,
        "trained_clips_allowed": args.allow_trained,
        "temperature": float(model.temperature),
        "environment": environment.describe(device),
        **scores,
    }
    title = f"{protocol.name}, fold {protocol.fold}, {args.part} part"
    pictures = {
        "confusion": figures.confusion(scores["confusion"], model.labels, f"Confusion: {title}"),
        "reliability": figures.reliability(**scores["reliability"], title=f"Reliability: {title}"),
    }
    written = _write(args, result, pictures)
    if args.json:
        console.out.print_json(data=result)
    else:
        console.show_report(title, scores, model.labels)
        console.err.print(f"written: {', '.join(map(str, written))}")
    return command_line.DONE


def _asked_protocol(args: argparse.Namespace, stored: Protocol) -> Protocol:
    if args.test_actors:
        return Protocol("actors", 0, tuple(args.test_actors))
    if args.protocol is None and args.fold is None:
        return stored
    return Protocol(args.protocol or stored.name, args.fold if args.fold is not None else 0)


def _refuse_trained(path: str, provenance: Provenance, clips: Sequence[Clip], split: Split, part: str) -> None:
    """Raise unless none of the clips to score was in the checkpoint's training or validation."""
    own = provenance.protocol.split(clips)
    if own.manifest_hash != provenance.manifest_hash:
        raise ValueError(
            f"{path}: was trained on another set of clips than the {len(clips):,} found, so its test part is not "
            "known; --allow-trained scores it all the same"
        )
    seen = {name for name, where in own.part_of.items() if where != "test"}
    overlap = seen.intersection(split.names(part))
    if overlap:
        raise ValueError(
            f"{path}: {len(overlap)} of these clips were in its training or validation, so the scores would not be "
            "honest; --allow-trained scores it all the same"
        )


def _write(args: argparse.Namespace, result: dict, pictures: dict[str, Figure]) -> list[Path]:
    stem = Path(args.out) / Path(args.checkpoint).stem if args.out else Path(args.checkpoint).with_suffix("")
    numbers = Path(f"{stem}.evaluation.json")
    write_json(numbers, result)
    written = [numbers]
    for name, figure in pictures.items():
        written.append(Path(f"{stem}.{name}.png"))
        with replacing(written[-1]) as temporary:
            figure.savefig(temporary, dpi=150)
    return written


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ser_gpu.evaluate",
        description="Score a checkpoint on the test part of its own protocol, or on clips of your choice.",
    )
    parser.add_argument("checkpoint", help="a .pth file that ser_gpu.train wrote")
    parser.add_argument("--data", help="RAVDESS folder (default: $RAVDESS_DIR, else downloaded)")
    parser.add_argument("--protocol", choices=NAMED_PROTOCOLS, help="default: the checkpoint's own")
    parser.add_argument("--fold", type=int, help="fold, or seed of a random split (default: the checkpoint's own)")
    parser.add_argument("--test-actors", type=int, nargs="+", metavar="ACTOR", help="score these actors, 1 to 24")
    parser.add_argument("--part", choices=PARTS, default="test", help="part to score (default: %(default)s)")
    parser.add_argument("--allow-trained", action="store_true", help="score clips that the model was trained on, too")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    parser.add_argument("--out", help="folder for the JSON and the figure (default: beside the checkpoint)")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
