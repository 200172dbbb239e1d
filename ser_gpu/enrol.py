"""ser-gpu enrol --out alice.voice FILES...: learn a speaker's voice, for ser-gpu predict --voice alice.voice."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from ser_gpu.cli import console, options
from ser_gpu.errors import check
from ser_gpu.voices.plan import HELPFUL_WINDOWS

SUFFIX = ".voice"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and enrol."""
    about = "Learn a speaker's voice from recordings of this speaker alone, so that the model answers that speaker "
    about += "better. The recordings must be varied: if the speaker is angry in all of them, that is taken for neutral."
    parser = options.Parser(prog="ser-gpu enrol", description=about)
    options.add_recordings(parser, f"recordings, folders or patterns; {HELPFUL_WINDOWS} varied recordings help")
    named = parser.add_argument_group("labels").add_mutually_exclusive_group()
    help = "instead of FILE, a folder for each emotion in this folder, or a CSV with columns file and emotion"
    named.add_argument("--emotion", help="the emotion of all FILEs, such as neutral")
    named.add_argument("--emotions", metavar="DATA", help=help)
    add = parser.add_argument_group("output").add_argument
    add("--out", required=True, metavar="NAME.voice", help="file to write")
    add("--json", action="store_true", help="print what was enrolled as JSON")
    options.add_model(parser, f"{options.MODEL_FILE} --speaker")
    args = parser.parse_args(arguments)
    if bool(args.files or args.list) == bool(args.emotions):
        parser.error("name the speaker's recordings, or a folder or CSV of them with --emotions")
    return options.run(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Enrol the recordings, write the voice, and say how much speech it is made of."""
    check(args.out.endswith(SUFFIX), f"--out {args.out}: the name must end in {SUFFIX}")
    if args.emotions:
        clips = options.find_clips(args.emotions)
        part = next((clip.id for clip in clips if clip.start or clip.end < math.inf), None)
        said = "is a part of its file; start and end are read by train and evaluate alone"
        check(not part, f"{args.emotions}: {part} {said}")
        speakers = {clip.speaker for clip in clips} - {None}
        check(len(speakers) < 2, f"{args.emotions}: recordings of {len(speakers)} speakers, and a voice is that of one")
        paths, emotions = zip(*((clip.path, clip.emotion) for clip in clips), strict=True)
    else:
        paths, emotions = options.recordings(args.files, args.list).paths, args.emotion
    out = Path(args.out)
    options.require_free({"--out": out}, [*paths, args.list, args.emotions, args.weights])
    model = options.model(args.weights, args.device)
    with options.quiet_decoders(), console.err.status("Enrolling"):
        voice = model.enrol(paths, emotions)
    voice.save(out)
    console.note(*voice.notes)
    if args.json:
        known = ("recordings", "windows", "seconds", "emotions", "notes", "model")
        console.print_json({"file": str(out), **{name: getattr(voice, name) for name in known}}, indent=None)
    else:
        recordings = "recording" if voice.recordings == 1 else "recordings"
        console.err.print(f"written: {out} ({voice.recordings} {recordings}, {voice.seconds:.0f} s of speech)")
    return options.DONE


if __name__ == "__main__":
    sys.exit(main())
