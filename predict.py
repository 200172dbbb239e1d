"""python predict.py FILES...: name the emotion of recordings. Folders are searched for audio files."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import ser_gpu
from ser_gpu import command_line
from ser_gpu.data.audio_file import AudioError
from ser_gpu.results import console

DEFAULT_WEIGHTS = Path(__file__).resolve().parent / "weights" / "ser_ravdess.pth"
STANDARD_INPUT = Path("-")
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and predict."""
    args = _parser().parse_args(arguments)
    return command_line.run(lambda: _predict(args))


def _predict(args: argparse.Namespace) -> int:
    model = ser_gpu.load_model(args.weights, command_line.device(args.device))
    top = min(args.top, len(model.labels))
    failed = False
    for path in _audio_files(args.files):
        try:
            with command_line.quiet_decoders():
                prediction = model.predict(_standard_input() if path == STANDARD_INPUT else path)
        except AudioError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr, flush=True)
            if args.json:
                _print_json(path, error=str(error))
            continue
        if args.json:
            ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:top]
            _print_json(path, emotion=prediction.emotion, confidence=prediction.confidence, probabilities=dict(ranked))
        else:
            console.show_prediction(str(path), prediction.probabilities, top)
    return command_line.SOME_FAILED if failed else command_line.DONE


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise AudioError("standard input: is closed")
    return sys.stdin.buffer


def _print_json(path: Path, **answer: object) -> None:
    print(json.dumps({"file": str(path), **answer}), flush=True)


def _audio_files(names: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, names):
        if not _is_folder(path):
            yield path
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not inside:
            raise ValueError(f"{path}: no audio file in this folder")
        yield from inside


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long: reading it will say so
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="predict.py", description="Name the emotion in recordings of a voice, with a confidence for each emotion."
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="audio of any rate and length, folders, or - for standard input")
    add("--weights", default=str(DEFAULT_WEIGHTS), help="checkpoint (default: the shipped one)")
    add("--top", type=command_line.positive_int, default=8, help="emotions to show (default: all)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--json", action="store_true", help="one JSON object a file and line, with an error where there is no answer")
    return parser


if __name__ == "__main__":
    sys.exit(main())
