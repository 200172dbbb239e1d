"""ser-gpu timeline FILE...: the emotions of recordings over time, as files, a picture, and one bar per minute."""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import soundfile
from rich.markup import escape
from rich.progress import BarColumn, Progress, TimeRemainingColumn

from ser_gpu.cli import console, options
from ser_gpu.errors import AudioError, InputError, require
from ser_gpu.recognizer import Answers, Recognizer
from ser_gpu.timeline import formats, stretches
from ser_gpu.timeline.plot import clock
from ser_gpu.timeline.segment import Segment, Timeline, merged
from ser_gpu.timeline.speakers import Speakers, read_rttm
from ser_gpu.voices.enrol import own_voice
from ser_gpu.voices.voice import Voice

STANDARD_INPUT = "-"
_BAR = 30


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ser-gpu timeline",
        description="The emotions of recordings over time. Without --format and --out: a bar a minute.",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="audio of any rate and length, or - for standard input")
    add("--format", type=_formats, default=(), metavar="A,B,...", help=f"of {', '.join(formats.FORMATS)}")
    add("--out", metavar="FILE", help="where to; of several recordings a folder (default: standard output)")
    add("--plot", metavar="PNG", help="also draw it; of several recordings into this folder")
    add_voice = parser.add_mutually_exclusive_group().add_argument
    help = "who speaks, as ser-gpu enrol wrote it with the same checkpoint; of --speakers, once for each NAME"
    add_voice("--voice", metavar="[NAME=]FILE", action="append", default=[], help=help)
    help = "enrol the recording's own speech first, that of each of --speakers, else of one; it must be varied"
    add_voice("--own-voice", action="store_true", help=help)
    add("--speakers", metavar="RTTM", help="who speaks when, from any diarization tool; each speaker is answered apart")
    add("--weights", help="checkpoint, or .onnx file of ser-gpu export (default: the shipped one)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    return parser


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in formats.FORMATS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(formats.FORMATS)}")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write timelines."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    outputs = _outputs(args)
    if args.plot:
        require("figures", "matplotlib")  # before the work, not after it
    speakers_of = {name: read_rttm(args.speakers, name) if args.speakers else None for name in args.files}
    voice_files = _voice_files(args, speakers_of.values())
    model = options.model(args.weights, args.device)
    voices = {speaker: options.voice(path, model) for speaker, path in voice_files.items()}
    streams = args.format == ("jsonl",) and args.out is None
    code = options.DONE
    for name in args.files:
        speakers = speakers_of[name]
        try:
            with options.quiet_decoders():
                voice = _own_voice(model, name, speakers) if args.own_voice else voices.get("", voices)
                timeline, whole = _listen(Answers(model, voice), name, streams, speakers)
        except AudioError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            code = options.SOME_FAILED
            continue
        for format, path in outputs[name]:
            if path is not None:
                timeline.save(path, format)
            elif not streams:
                print(formats.FORMATS[format](timeline), end="", flush=True)
        if args.plot:
            plot = Path(args.plot)
            timeline.plot(plot if len(args.files) == 1 else plot / f"{Path(timeline.name).stem}.png")
        if not outputs[name]:
            _show(timeline)
        if not whole:
            print(f"interrupted: {name}: kept the first {clock(timeline.seconds)}", file=sys.stderr)
            return options.INTERRUPTED
    return code


def _outputs(args: argparse.Namespace) -> dict[str, list[tuple[str, Path | None]]]:
    # recording -> (format, path) of each file to write; path None is standard output
    several = len(args.files) > 1
    if args.out is None:
        if len(args.format) > 1 or (several and args.format not in ((), ("jsonl",))):
            raise InputError("several files or formats need --out: a folder, or for one recording a name")
        return {name: [(format, None) for format in args.format] for name in args.files}
    out = Path(args.out)
    if not several and len(args.format) < 2:
        return {args.files[0]: [(args.format[0] if args.format else formats.of_suffix(out), out)]}
    if len({Path(name).stem for name in args.files}) < len(args.files):
        raise InputError("--out: two recordings would be written under one name; run them one by one")
    chosen = [(format, formats.SUFFIXES[format]) for format in args.format or ("json",)]
    stems = {name: out / Path(name).stem if several else out.with_suffix("") for name in args.files}
    return {name: [(format, Path(f"{stem}{suffix}")) for format, suffix in chosen] for name, stem in stems.items()}


def _voice_files(args: argparse.Namespace, speakers: Iterable[Speakers | None]) -> dict[str, str]:
    # speaker -> file; "" is everybody
    if args.own_voice and STANDARD_INPUT in args.files:
        raise InputError("--own-voice: standard input cannot be read twice, save it as a file")
    files = dict(text.rpartition("=")[::2] for text in args.voice)
    if not all(files.values()) or len(files) < len(args.voice) or ("" in files and len(files) > 1):
        raise InputError("--voice: of several speakers, name each once, as NAME=FILE")
    known = {name for each in speakers if each for name in each.names}
    for name in files.keys() - known - {""}:
        there = f"{args.speakers} has only {', '.join(sorted(known))}" if args.speakers else "there is no --speakers"
        raise InputError(f"--voice {name}: {there}")
    return files


def _own_voice(model: Recognizer, name: str, speakers: Speakers | None) -> Voice | dict[str, Voice]:
    with console.err.status(f"Enrolling {Path(name).name}"):
        voice = own_voice(model, name, speakers=speakers)
    for speaker, each in voice.items() if speakers else [(name, voice)]:
        for note in each.notes:
            console.err.print(f"note: {speaker}: {note}")
    return voice


def _listen(answers: Answers, name: str, streams: bool, speakers: Speakers | None) -> tuple[Timeline, bool]:
    # the timeline, and whether it is whole: Ctrl-C keeps what was heard
    shown_name, parts = stretches(answers, sys.stdin.buffer if name == STANDARD_INPUT else name, speakers=speakers)
    total = None
    with suppress(RuntimeError, TypeError, ValueError, OSError):  # the length is not known
        total = soundfile.info(name).duration
    found: list[Segment] = []
    whole = True

    def heard() -> Iterator[Segment]:
        nonlocal whole
        columns = "{task.description}", BarColumn(), "{task.fields[done]}", TimeRemainingColumn()
        try:
            with Progress(*columns, console=console.err, transient=True) as progress, closing(parts):
                task = progress.add_task(escape(Path(shown_name).name), total=total, done="")
                for seconds, segments in parts:
                    progress.update(task, completed=seconds, done=clock(seconds))
                    found.extend(segments)
                    yield from segments
        except KeyboardInterrupt:
            whole = False

    for segment in merged(heard()):
        if streams:
            print(formats.json_line(shown_name, segment), end="", flush=True)
    return Timeline(shown_name, found[-1].end if found else 0.0, answers.labels, tuple(found)), whole


def _show(timeline: Timeline) -> None:
    spoken = sum(segment.seconds for segment in timeline.segments if segment.speech)
    console.out.print(f"{timeline.name}: {clock(timeline.seconds)}, {clock(spoken)} of it speech")
    for start in range(0, max(math.ceil(timeline.seconds - 1e-9), 1), 60):
        seconds, named = _shares(timeline.segments, start, start + 60)
        bar = "#" * round(_BAR * min(1.0, seconds / 60))
        console.out.print(f"{clock(start):>8}  {bar:{_BAR}}  {named or 'nobody speaks'}")
    for speaker in timeline.speakers:
        seconds, named = _shares(each for each in timeline.segments if each.speaker == speaker)
        console.out.print(f"{speaker}: {clock(seconds)}  {named}")


def _shares(segments: Iterable[Segment], start: float = 0.0, end: float = math.inf) -> tuple[float, str]:
    # seconds of speech, and the three most frequent emotions in percent of them
    shares: Counter[str] = Counter()
    for segment in segments:
        overlap = min(end, segment.end) - max(start, segment.start)
        if segment.speech and overlap > 0:
            shares[segment.emotion] += overlap
    total = shares.total()
    return total, ", ".join(f"{emotion} {share / total:.0%}" for emotion, share in shares.most_common(3))
