"""python predict.py FILES...: name the emotion of recordings. Folders are searched for audio files."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import ser_gpu
from ser_gpu import command_line
from ser_gpu.data.waveform import AudioError
from ser_gpu.results import console

DEFAULT_WEIGHTS = Path(__file__).resolve().parent / "weights" / "ser_ravdess.pth"
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
            prediction = model.predict(path)
        except AudioError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr)
            continue
        if args.json:
            ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:top]
            row = {"file": str(path), "emotion": prediction.emotion, "confidence": prediction.confidence}
            print(json.dumps({**row, "probabilities": dict(ranked)}), flush=True)
        else:
            console.show_prediction(str(path), prediction.probabilities, top)
    return command_line.SOME_FAILED if failed else command_line.DONE


def _audio_files(names: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, names):
        if not path.is_dir():
            yield path
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not inside:
            raise ValueError(f"{path}: no audio file in this folder")
        yield from inside


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="predict.py", description="Name the emotion in recordings of a voice, with a confidence for each emotion."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio files of any rate and length, or folders")
    parser.add_argument("--weights", default=str(DEFAULT_WEIGHTS), help="checkpoint (default: the shipped one)")
    parser.add_argument("--top", type=command_line.positive_int, default=8, help="emotions to show (default: all)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of bars")
    return parser


if __name__ == "__main__":
    sys.exit(main())
