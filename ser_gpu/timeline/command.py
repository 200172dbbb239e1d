"""ser-gpu timeline FILE...: the emotions of recordings over time, as files, a picture, and a bar a minute."""

import argparse
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ser_gpu.cli import console, options
from ser_gpu.errors import AudioError, InputError, extra
from ser_gpu.recognizer import Answers
from ser_gpu.timeline import formats, stretches
from ser_gpu.timeline.plot import clock
from ser_gpu.timeline.segment import Segment, Timeline, merged
from ser_gpu.timeline.speakers import Speakers, read_rttm

if TYPE_CHECKING:
    from ser_gpu.model import SpeechEmotionModel
    from ser_gpu.onnx import OnnxModel
    from ser_gpu.voices.voice import Voice

STANDARD_INPUT = "-"
_BAR = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write timelines."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    targets = {name: _targets(args, name) for name in args.files}
    if args.plot:
        extra("matplotlib", "figures")  # before an hour of work, not after it
    speakers_of = {name: read_rttm(args.speakers, name) if args.speakers else None for name in args.files}
    voice_files = _voice_files(args, speakers_of.values())
    model = options.model(args.weights, args.device)
    voices = {speaker: options.voice(path, model) for speaker, path in voice_files.items()}
    streams = args.format == ("jsonl",) and args.out is None
    failed = False
    for name in args.files:
        speakers = speakers_of[name]
        voice = voices.get(None) or voices or None
        try:
            with options.quiet_decoders():
                if args.own_voice:
                    voice = _own_voice(model, name, speakers)
                timeline, whole = _listen(Answers(model, voice), name, args.step, streams, speakers)
        except AudioError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr, flush=True)
            continue
        _write(args, timeline, targets[name], streams)
        if not whole:
            print(f"interrupted: {name}: kept the first {clock(timeline.seconds)}", file=sys.stderr)
            return options.INTERRUPTED
    return options.SOME_FAILED if failed else options.DONE


def _own_voice(
    model: "SpeechEmotionModel | OnnxModel", name: str, speakers: Speakers | None
) -> "Voice | dict[str, Voice]":
    from ser_gpu.model import SpeechEmotionModel
    from ser_gpu.voices.enrol import own_voice

    if not isinstance(model, SpeechEmotionModel):
        raise InputError("--own-voice: an .onnx file enrols nobody here, name a .pth checkpoint")
    with console.err.status(f"Enrolling {_short(name)}"):
        voice = own_voice(model, name, speakers=speakers)
    for speaker, each in voice.items() if speakers else [(None, voice)]:
        for note in each.notes:
            console.err.print(f"note: {speaker or name}: {note}")
    return voice


def _listen(
    answers: Answers, name: str, step: float, streams: bool, speakers: Speakers | None
) -> tuple[Timeline, bool]:
    """The timeline, and whether it is whole: Ctrl-C keeps what was heard."""
    recording = sys.stdin.buffer if name == STANDARD_INPUT else name
    shown_name, parts = stretches(answers, recording, speakers=speakers)
    found: list[Segment] = []
    seconds, whole = 0.0, True

    def heard() -> Iterator[Segment]:
        nonlocal seconds, whole
        try:
            with _progress() as progress, closing(parts):
                task = progress.add_task(_short(shown_name), total=_length(name), done="")
                for seconds, segments in parts:
                    progress.update(task, completed=seconds, done=clock(seconds))
                    found.extend(segments)
                    yield from segments
                _finish(progress, task, seconds)
        except KeyboardInterrupt:
            whole = False

    for segment in merged(heard()):
        if streams:
            print(formats.json_line(shown_name, segment), end="", flush=True)
    end = found[-1].end if found else 0.0
    return Timeline(shown_name, end if not whole else max(end, seconds), answers.labels, tuple(found), step), whole


def _write(
    args: argparse.Namespace, timeline: Timeline, targets: Sequence[tuple[str, Path | None]], streams: bool
) -> None:
    for format, path in targets:
        if path is not None:
            formats.save(timeline, path, format)
        elif not streams:
            print(formats.FORMATS[format](timeline), end="", flush=True)
    if args.plot:
        timeline.plot(_plot_path(args, timeline.name))
    if not targets:
        show(timeline)


def show(timeline: Timeline) -> None:
    """A bar a minute in the terminal: how much of it is speech, and its emotions; then a line for each speaker."""
    spoken = sum(segment.seconds for segment in timeline.segments if segment.speech)
    console.out.print(f"{timeline.name}: {clock(timeline.seconds)}, {clock(spoken)} of it speech")
    for minute in range(int(max(timeline.seconds - 1e-9, 0) // 60) + 1):
        shares = minute_shares(timeline, minute)
        bar = "#" * round(_BAR * min(1.0, sum(shares.values()) / 60))
        console.out.print(f"{clock(60 * minute):>8}  {bar:{_BAR}}  {_named(shares) or 'nobody speaks'}")
    for speaker in timeline.speakers:
        shares = _seconds_by_emotion(each for each in timeline.segments if each.speaker == speaker)
        console.out.print(f"{speaker}: {clock(sum(shares.values()))}  {_named(shares)}", markup=False)


def minute_shares(timeline: Timeline, minute: int) -> dict[str, float]:
    """Seconds of each emotion in a minute, the longest first."""
    return _seconds_by_emotion(timeline.segments, 60 * minute, 60 * (minute + 1))


def _seconds_by_emotion(segments: Iterable[Segment], start: float = 0.0, end: float = math.inf) -> dict[str, float]:
    shares: dict[str, float] = {}
    for segment in segments:
        overlap = min(end, segment.end) - max(start, segment.start)
        if segment.speech and overlap > 0:
            shares[segment.emotion] = shares.get(segment.emotion, 0.0) + overlap
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _named(shares: dict[str, float]) -> str:
    """The three longest of them, in percent."""
    total = sum(shares.values())
    return ", ".join(f"{emotion} {share / total:.0%}" for emotion, share in list(shares.items())[:3])


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]}", markup=False),
        TimeRemainingColumn(),
        console=console.err,
        transient=True,
    )


def _finish(progress: Progress, task: TaskID, seconds: float) -> None:
    progress.update(task, total=seconds or 1.0, completed=seconds or 1.0)


def _length(name: str) -> float | None:
    """Seconds that a file promises; None where it does not say."""
    import soundfile

    if name == STANDARD_INPUT:  # which libsndfile would read and close
        return None
    try:
        return soundfile.info(name).duration
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, OSError):
        return None


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"...{name[-27:]}"


def _targets(args: argparse.Namespace, name: str) -> list[tuple[str, Path | None]]:
    """The format and the path of each file to write; no path is standard output."""
    if args.out is None:
        several = len(args.format) > 1 or (len(args.files) > 1 and args.format not in ((), ("jsonl",)))
        if several:
            raise InputError("several files or formats need --out: a folder, or for one recording a name")
        return [(format, None) for format in args.format]
    if len(args.files) > 1:
        folder = Path(args.out)
        stems = [Path(each).stem for each in args.files]
        if len(set(stems)) < len(stems):
            raise InputError("--out: two recordings would be written under one name; run them one by one")
        return [
            (format, folder / f"{Path(name).stem}{formats.SUFFIXES[format]}") for format in args.format or ("json",)
        ]
    if not args.format:
        return [(formats.of_suffix(args.out), Path(args.out))]
    if len(args.format) == 1:
        return [(args.format[0], Path(args.out))]
    return [(format, Path(args.out).with_suffix(formats.SUFFIXES[format])) for format in args.format]


def _plot_path(args: argparse.Namespace, name: str) -> Path:
    """Of several recordings each has its own picture, in the folder that --plot names."""
    return Path(args.plot) if len(args.files) == 1 else Path(args.plot) / f"{Path(name).stem}.png"


def _voice_files(args: argparse.Namespace, speakers: Iterable[Speakers | None]) -> dict[str | None, str]:
    """The file of each speaker whom --voice names; of None, where it names one file and no speaker."""
    if args.own_voice and STANDARD_INPUT in args.files:
        raise InputError("--own-voice: standard input cannot be read twice, save it as a file")
    texts = args.voice or []
    if len(texts) == 1 and "=" not in texts[0]:
        return {None: texts[0]}
    pairs = [text.partition("=")[::2] for text in texts]
    names = [name for name, path in pairs]
    if texts and not args.speakers:
        raise InputError("--voice NAME=FILE says who is who in --speakers, and there is none; name one FILE")
    if not all(name and path for name, path in pairs) or len(set(names)) < len(names):
        raise InputError("--voice: of several speakers, name each once, as NAME=FILE")
    known = dict.fromkeys(name for each in speakers if each for name in each.names)
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"--voice {unknown[0]}: {args.speakers} has only {', '.join(known)}")
    return dict(pairs)


def _formats(text: str) -> tuple[str, ...]:
    """An argparse type: names of formats, with commas between."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in formats.FORMATS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(formats.FORMATS)}")
    return names


def _step(text: str) -> float:
    """An argparse type: seconds above zero."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 3_600:
        raise argparse.ArgumentTypeError(f"must be seconds between 0.01 and 3600, got {text!r}")
    return seconds


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
    add("--step", type=_step, default=0.5, metavar="SECONDS", help="of the picture's grid (default: %(default)s)")
    voice = parser.add_mutually_exclusive_group()
    voice.add_argument(
        "--voice",
        metavar="[NAME=]FILE",
        action="append",
        help="who speaks, as ser-gpu enrol wrote it with the same checkpoint; of --speakers, once for each NAME",
    )
    voice.add_argument(
        "--own-voice",
        action="store_true",
        help="enrol the recording's own speech first, with --speakers that of each. Only where one speaker talks, or "
        "--speakers says who does; and only varied speech: who is angry all the time is made neutral",
    )
    add("--speakers", metavar="RTTM", help="who speaks when, from any diarization tool; each speaker is answered apart")
    add("--weights", help="checkpoint, or .onnx file of ser-gpu export (default: the shipped one)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
