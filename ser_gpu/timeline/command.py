"""ser-gpu timeline FILE...: the emotions of recordings over time, as files, a picture, and one bar per minute."""

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import soundfile
from rich.markup import escape
from rich.progress import BarColumn, Progress, TimeRemainingColumn

from ser_gpu.audio.samples import apart
from ser_gpu.cli import console, options
from ser_gpu.errors import AudioError, InputError, check, require
from ser_gpu.recognizer import Recognizer
from ser_gpu.timeline import Answers, Segment, Speakers, Timeline, formats, merged, stretches
from ser_gpu.timeline.plot import clock, require_picture
from ser_gpu.timeline.speakers import Turn, read_rttm_of
from ser_gpu.timeline.transcript import answered, read_transcript
from ser_gpu.voices.enrol import own_voice
from ser_gpu.voices.voice import Voice

STANDARD_INPUT = STANDARD_OUTPUT = "-"
_BAR = 30
_NAMED = 4  # files, before their number is told


class _Job(NamedTuple):
    path: str  # or -
    name: str
    stem: str  # of its files in a folder
    recording: object
    speakers: Speakers | None
    given: Sequence[Segment]
    files: dict[str, Path]  # to write: format -> file; the format of a picture is "plot"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write timelines."""
    about = "The emotions of recordings over time. Without --format and --out: a line of colours for each minute."
    parser = options.Parser(prog="ser-gpu timeline", description=about)
    options.add_recordings(parser, "audio of any rate and length, folders, patterns, or - for standard input")
    group = parser.add_argument_group("answers")
    add, add_voice = group.add_argument, group.add_mutually_exclusive_group().add_argument
    add("--channels", choices=("mixed", "apart"), default="mixed", help=options.CHANNELS)
    add("--segments", metavar="FILE", help="answer these segments: a transcript in SRT, VTT, CSV or TextGrid")
    add("--speakers", metavar="RTTM", help="who speaks when, from any diarization tool; each speaker is answered apart")
    help = f"{options.VOICE}; with --speakers once for each NAME"
    add_voice("--voice", metavar="[NAME=]FILE", action="append", default=[], help=help)
    help = "enrol the speaker, or each of --speakers, from the recording itself; this speech must be varied"
    add_voice("--own-voice", action="store_true", help=help)
    add = parser.add_argument_group("output").add_argument
    add("--format", type=_formats, default=(), metavar="A,B,...", help=f"of {', '.join(formats.FORMATS)}")
    folder = "a folder if it exists, if it ends in / or if there are several recordings"
    add("--out", metavar="FILE", help=f"file to write; {folder} (default, or -: standard output)")
    add("--plot", metavar="PICTURE", help=f"also draw the timeline to this file; {folder}")
    add("--skip-done", action="store_true", help="skip recordings with newer outputs, whatever options wrote them")
    options.add_model(parser)
    return options.run(lambda: _run(parser.parse_args(arguments)))


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in formats.FORMATS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(formats.FORMATS)}")
    return names


def _run(args: argparse.Namespace) -> int:
    args.out = None if args.out == STANDARD_OUTPUT else args.out
    paths = [str(path) for path in options.recordings(args.files, args.list).paths]
    speakers_of = read_rttm_of(args.speakers, paths, console.say) if args.speakers else {}
    given = read_transcript(args.segments) if args.segments else ()
    check(not (given and len(paths) > 1), f"--segments {args.segments}: is of one recording, and here are {len(paths)}")
    voices_of = _voice_files(args, paths, [*given, *(turn for each in speakers_of.values() for turn in each.turns)])
    jobs = [job for path in paths for job in _jobs(path, args.channels == "apart", speakers_of.get(path), given)]
    _plan_files(args, jobs)
    read = [each for each in (args.speakers, args.segments, args.weights, *voices_of.values()) if each]
    texts = [path for job in jobs for format, path in job.files.items() if format != "plot"]
    pictures = [job.files["plot"] for job in jobs if args.plot]
    options.require_free({"--out": texts, "--plot": pictures}, [*paths, args.list, *read])
    if args.skip_done:
        left = [job for job in jobs if not _is_done(job.files.values(), [job.path, *read])]
        console.note(f"{len(jobs) - len(left):,} of {len(jobs):,} recordings are skipped: their outputs are newer")
        jobs = left
    if not jobs:
        return options.DONE
    model = options.model(args.weights, args.device)
    if args.own_voice and model.network_hash is None:
        raise InputError("--own-voice: this .onnx file cannot enrol: write one that can by ser-gpu export --speaker")
    voices = {speaker: options.voice(path, model) for speaker, path in voices_of.items()}
    streams = args.format == ("jsonl",) and not args.out
    code, written = options.DONE, []
    for job in jobs:
        try:
            with options.quiet_decoders():
                voice = _own_voice(model, job) if args.own_voice else voices.get("", voices)
                timeline, whole = _listen(Answers(model, voice), job, streams)
        except AudioError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            code = options.SOME_FAILED
            continue
        if not args.out and not args.format:
            _show(timeline)
        elif not args.out and not streams:
            print(formats.FORMATS[args.format[0]](timeline), end="", flush=True)
        if whole:
            _say_what_is_missing(args, timeline, job)
        if whole or not args.skip_done:  # which would take a part for the whole
            for format, path in job.files.items():
                timeline.plot(path) if format == "plot" else timeline.save(path, format)
                written.append(str(path))
        if not whole:
            print(f"interrupted: {job.name}: kept the first {clock(timeline.seconds)}", file=sys.stderr)
            code = options.INTERRUPTED
            break
    if written:
        more = f" and {len(written) - _NAMED:,} more" if len(written) > _NAMED else ""
        console.err.print(f"written: {', '.join(written[:_NAMED])}{more}")
    return code


def _jobs(path: str, are_apart: bool, speakers: Speakers | None, given: Sequence[Segment]) -> Iterator[_Job]:
    recording = sys.stdin.buffer if path == STANDARD_INPUT and sys.stdin else path
    stem = "stdin" if path == STANDARD_INPUT else Path(path).stem
    for each in apart(recording) if are_apart else [None]:
        number = f" channel {each.number + 1}" if each else ""
        yield _Job(path, f"{path}{number}", f"{stem}{number}", each or recording, speakers, given, {})


def _plan_files(args: argparse.Namespace, jobs: Sequence[_Job]) -> None:
    if args.out:
        chosen = args.format or (["json"] if _is_folder(args.out, jobs) else [formats.of_suffix(args.out, "--out ")])
        _plan(jobs, args.out, {format: formats.SUFFIXES[format] for format in chosen})
    elif len(args.format) > 1 or (len(jobs) > 1 and args.format not in ((), ("jsonl",))):
        raise InputError("several files or formats need --out: a folder, or for one recording a name")
    if args.plot:
        require("figures", "matplotlib")
        _plan(jobs, args.plot, {"plot": ".png"})
        require_picture(jobs[0].files["plot"], "--plot ")
    check(not (args.skip_done and not jobs[0].files), "--skip-done needs --out or --plot")


def _plan(jobs: Sequence[_Job], place: str, suffixes: dict[str, str]) -> None:
    for job, (format, suffix) in product(jobs, suffixes.items()):
        file = place if len(suffixes) == 1 else f"{formats.without_suffix(place)}{suffix}"
        job.files[format] = Path(place, f"{job.stem}{suffix}") if _is_folder(place, jobs) else Path(file)


def _is_folder(place: str, jobs: Sequence[_Job]) -> bool:
    return len(jobs) > 1 or place.endswith(("/", os.sep)) or Path(place).is_dir()


def _is_done(outputs: Iterable[Path], inputs: Iterable[str]) -> bool:
    with suppress(OSError):
        return min(path.stat().st_mtime_ns for path in outputs) > max(Path(each).stat().st_mtime_ns for each in inputs)
    return False


def _voice_files(args: argparse.Namespace, paths: Sequence[str], turns: Iterable[Turn | Segment]) -> dict[str, str]:
    # speaker -> file; "" is everybody
    if args.own_voice and STANDARD_INPUT in paths:
        raise InputError("--own-voice: standard input cannot be read twice, save it as a file")
    files = dict(text.rpartition("=")[::2] for text in args.voice)
    if not all(files.values()) or len(files) < len(args.voice) or ("" in files and len(files) > 1):
        raise InputError("--voice: of several speakers, name each once, as NAME=FILE")
    known = {turn.speaker for turn in turns if turn.speaker}
    for name in files.keys() - known - {""}:
        there = f"there are {', '.join(sorted(known))}" if known else "nobody says who speaks, with --speakers"
        raise InputError(f"--voice {name}: {there}")
    return files


def _own_voice(model: Recognizer, job: _Job) -> Voice | dict[str, Voice]:
    with console.err.status(f"Enrolling {Path(job.name).name}"):
        voice = own_voice(model, job.recording, speakers=job.speakers)
    for speaker, each in voice.items() if job.speakers else [(job.name, voice)]:
        console.note(*(f"{speaker}: {note}" for note in each.notes))
    return voice


def _listen(answers: Answers, job: _Job, streams: bool) -> tuple[Timeline, bool]:
    # the timeline, and whether it is whole: Ctrl-C keeps what was heard
    answer = partial(answered, given=job.given) if job.given else stretches
    shown_name, parts = answer(answers, job.recording, speakers=job.speakers)
    total = None
    with suppress(RuntimeError, TypeError, ValueError, OSError):  # the length is not known
        total = soundfile.info(Path(job.path).absolute()).duration  # for libsndfile - is standard input
    found: list[Segment] = []
    whole = True

    def heard() -> Iterator[Segment]:
        nonlocal whole
        columns = "{task.description}", BarColumn(), "{task.fields[done]}", TimeRemainingColumn()
        try:
            shown = Progress(*columns, console=console.err, transient=True, disable=not console.err.is_terminal)
            with shown as progress, closing(parts):
                task = progress.add_task(escape(Path(shown_name).name), total=total, done="")
                for seconds, segments in parts:
                    progress.update(task, completed=seconds, done=clock(seconds))
                    found.extend(segments)
                    yield from segments
        except KeyboardInterrupt:
            whole = False

    for segment in formats.lasting(merged(heard())):
        if streams:
            print(formats.json_line(shown_name, segment), end="", flush=True)
    return Timeline(shown_name, max((each.end for each in found), default=0.0), answers.labels, tuple(found)), whole


def _say_what_is_missing(args: argparse.Namespace, timeline: Timeline, job: _Job) -> None:
    if missing := len(job.given) - sum(each.speech for each in timeline.stretches if job.given):
        why = "silent, shorter than 50 ms or not in the recording"
        console.say(f"note: {args.segments}: {missing:,} of {len(job.given):,} segments without an emotion: {why}")
    for file, parts in (args.segments, job.given), (args.speakers, job.speakers.turns if job.speakers else ()):
        if (last := max((part.end for part in parts), default=0.0)) > timeline.seconds + 1:
            ends = f"ends at {clock(last)}, {timeline.name} at {clock(timeline.seconds)}"
            console.say(f"note: {file}: {ends}: is it of another recording, or in milliseconds?")
    for name in job.speakers.names if job.speakers else ():
        if name not in timeline.speakers:
            console.say(f"note: {timeline.name}: {name} is left out: {job.speakers.why_not(name, timeline.seconds)}")


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
    named = ", ".join(f"{emotion} {formats.percent(share / total)} %" for emotion, share in shares.most_common(3))
    return total, named and f"{named} of the time with speech"
