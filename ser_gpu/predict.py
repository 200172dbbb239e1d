"""ser-gpu predict FILES...: name the emotion of recordings. Folders are searched for audio files."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, tee
from pathlib import Path

from ser_gpu.audio.samples import Channel, apart
from ser_gpu.cli import console, options
from ser_gpu.corpora import clip
from ser_gpu.errors import AudioError, InputError, check
from ser_gpu.prediction import Prediction
from ser_gpu.recognizer import Recognizer
from ser_gpu.voices.voice import Voice

STANDARD_INPUT = Path("-")
UNSURE = "unsure"
FEW_FILES = 100  # of about 15 ms each on a processor; no GPU has measured the line yet


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and predict."""
    about = "Name the emotion in recordings of a voice, with a confidence for each emotion."
    parser = options.Parser(prog="ser-gpu predict", description=about)
    options.add_recordings(parser, "audio of any rate and length, folders, patterns, or - for standard input")
    add = parser.add_argument_group("answers").add_argument
    add("--voice", metavar="FILE", help=options.VOICE)
    add("--emotions", metavar="A,B,...", help="choose among these emotions only (default: all that the model knows)")
    share, least = options.number(0.0, 1.0), f"answer {UNSURE!r} if no emotion has a probability of P (0 to 1) or more"
    add("--least", type=share, default=0.0, metavar="P", help=least)
    add("--channels", choices=("mixed", "apart"), default="mixed", help=options.CHANNELS)
    add = parser.add_argument_group("output").add_argument
    add("--top", type=options.positive_int, metavar="N", help="show the N most likely emotions (default: all)")
    add("--json", action="store_true", help="print a JSON object a line for each file, with the key error if it failed")
    few = f"cuda if there is one and {FEW_FILES} files or more, else cpu, since CUDA takes seconds to start"
    options.add_model(parser, device=f"cpu, cuda, cuda:1, ... (default: {few})")
    return options.run(lambda: run(parser.parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    """Print an answer, or an error, for each file in order."""
    found = options.recordings(args.files, args.list)
    model = options.model(args.weights, args.device or ("cpu" if len(found.paths) < FEW_FILES else None))
    emotions = _chosen(args.emotions, model.labels)
    voice = options.voice(args.voice, model) if args.voice else None
    for skipped, why in found.skipped if args.json else ():
        console.print_json({"file": str(skipped), "skipped": why}, indent=None)
    failed = False
    with options.quiet_decoders():
        for path, answer in _answers(model, found.paths, voice, args.channels == "apart"):
            if isinstance(answer, AudioError):
                failed = True
                print(f"error: {answer}", file=sys.stderr, flush=True)
                said = {"error": str(answer)}
            else:
                answer = _among(answer, emotions)
                shown = dict(sorted(answer.probabilities.items(), key=lambda item: -item[1])[: args.top])
                said = {"emotion": answer.emotion, "confidence": answer.confidence, "probabilities": shown}
                if answer.confidence < args.least:
                    said |= {"emotion": UNSURE, "likeliest": answer.emotion}
                if not args.json:
                    console.show_prediction(str(path), said, args.least)
            if args.json:
                console.print_json({"file": str(path), **said}, indent=None)
    return options.SOME_FAILED if failed else options.DONE


def _chosen(names: str | None, known: Sequence[str]) -> tuple[str, ...]:
    if names is None:
        return tuple(known)
    try:
        chosen = clip.subset([name for name in names.split(",") if name.strip()], known)
    except InputError as error:
        raise InputError(f"--emotions {names}: {error}") from None
    check(len(chosen) >= 2, f"--emotions {names}: name two or more of {', '.join(known)}")
    return chosen


def _answers(
    model: Recognizer, paths: Sequence[Path], voice: Voice | None, are_apart: bool
) -> Iterator[tuple[Path | Channel, Prediction | AudioError]]:
    with side_by_side(model, len(paths)) as workers:
        for is_stream, group in groupby(paths, lambda path: path == STANDARD_INPUT):
            files = list(group)
            if are_apart:
                whole = (sys.stdin.buffer if path == STANDARD_INPUT and sys.stdin else path for path in files)
                named, asked = tee(channel for each in whole for channel in apart(each))
                yield from zip(named, model.predict_many(asked, voice=voice, **workers), strict=True)
            elif is_stream:  # read only after all files before it are answered
                yield from ((path, _of_standard_input(model, voice)) for path in files)
            else:
                yield from zip(files, model.predict_many(files, voice=voice, **workers), strict=True)


@contextmanager
def side_by_side(model: Recognizer, files: int) -> Iterator[dict[str, int]]:
    """On a CPU, a batch for each core, with one thread each, is faster than all cores on one batch."""
    kind = model.device.type if files > 1 and hasattr(model, "device") else None
    if kind != "cpu":
        yield {"workers": 2} if kind == "cuda" else {}
        return
    import torch  # here, since an .onnx file does without

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield {"workers": threads}
    finally:
        torch.set_num_threads(threads)


def _of_standard_input(model: Recognizer, voice: Voice | None) -> Prediction | AudioError:
    if sys.stdin is None:
        return AudioError("standard input: is closed")
    try:
        return model.predict(sys.stdin.buffer, voice=voice)
    except AudioError as error:
        return error


def _among(answer: Prediction, emotions: Sequence[str]) -> Prediction:
    if len(emotions) == len(answer.probabilities):
        return answer
    total = sum(answer.probabilities[emotion] for emotion in emotions)
    shares = {e: answer.probabilities[e] / total if total > 0 else 1 / len(emotions) for e in emotions}
    return Prediction.of(emotions, list(shares.values()))


if __name__ == "__main__":
    sys.exit(main())
