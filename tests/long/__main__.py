"""python -m tests.long SUBJECT: one long check, its JSON to tests/long/results/, and the pages anew."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from ser_gpu.cli import console, options
from ser_gpu.evaluation.report import environment
from ser_gpu.files import write_json
from tests.conftest import synthetic_ravdess, synthetic_voice
from tests.long import files, fuzz, kills, logits, memory, report, speech, timeline

SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one check."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _check(args))


def _check(args: argparse.Namespace) -> int:
    subject = args.subject if args.subject != "memory" else f"memory-{args.of}"
    measured = {
        "command": f"python -m tests.long {' '.join(sys.argv[1:])}",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(torch.device("cpu")),
        **SUBJECTS[args.subject](args),
    }
    write_json(report.RESULTS / f"{subject}.json", measured)
    report.update()
    print(json.dumps(measured, indent=2))
    return options.DONE


def _fuzz(args: argparse.Namespace) -> dict:
    with console.progress() as progress:
        task = progress.add_task("Damaged files", total=args.count)
        voice = synthetic_voice(3, 1, SEED, seconds=0.3)
        return fuzz.fuzz(voice, args.count, SEED, lambda: progress.advance(task))


def _files(args: argparse.Namespace) -> dict:
    voices = [synthetic_voice(emotion, 1, SEED) for emotion in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        return files.predict_many(voices, args.count, Path(folder) / "voices", SEED)


def _kills(args: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        data = synthetic_ravdess(Path(folder) / "data")
        return kills.kill(data, Path(folder), args.count, SEED)


def _memory(args: argparse.Namespace) -> dict:
    seconds = 60.0 * args.minutes
    with console.progress() as progress:
        task = progress.add_task(f"Memory of {args.of}", total=seconds)
        tick = lambda: progress.advance(task)  # noqa: E731
        if args.of == "training":
            return memory.training(args.train_arguments, seconds, tick)
        voices = [synthetic_voice(emotion, 1, SEED) for emotion in range(0, 8, 2)]
        return memory.prediction(voices, seconds, tick)


def _hours(args: argparse.Namespace) -> dict:
    return memory.long_recording(synthetic_voice(3, 1, SEED, seconds=5.0, sample_rate=48_000), args.count)


def _timeline(args: argparse.Namespace) -> dict:
    return timeline.long_recording(args.count)


def _speech(args: argparse.Namespace) -> dict:
    clips = options.find_clips(args.data, args.corpus)
    _, bank = options.read_clips(clips, 16_000, torch.device("cpu"))
    return speech.detect(bank, args.count, SEED)


def _logits(_: argparse.Namespace) -> dict:
    return {"seed": SEED, "logits": logits.of_shipped_weights(SEED).tolist()}


SUBJECTS: dict[str, Callable[[argparse.Namespace], dict]] = {
    "fuzz": _fuzz,
    "files": _files,
    "kills": _kills,
    "memory": _memory,
    "hours": _hours,
    "timeline": _timeline,
    "speech": _speech,
    "logits": _logits,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.long", description="Checks that take minutes or hours.")
    subjects = parser.add_subparsers(dest="subject", required=True)
    for name, count, what in (
        ("fuzz", 100_000, "damaged files to predict"),
        ("files", 10_000, "files to predict at once, one in a hundred bad"),
        ("kills", 100, "kill -9 of one training"),
        ("hours", 3, "hours of one recording"),
        ("timeline", 180, "minutes of one recording"),
        ("speech", 200, "noises of each colour in which to look for speech"),
    ):
        subject = subjects.add_parser(name)
        subject.add_argument("--count", type=options.positive_int, default=count, help=f"{what} ({count:,})")
    options.add_data_options(subjects.choices["speech"])
    subjects.add_parser("logits")
    watched = subjects.add_parser("memory")
    watched.add_argument("of", choices=("prediction", "training"))
    watched.add_argument("--minutes", type=float, default=60.0, help="(default: %(default)s)")
    watched.add_argument("train_arguments", nargs="*", help="of ser_gpu.train, after --")
    return parser


if __name__ == "__main__":
    sys.exit(main())
