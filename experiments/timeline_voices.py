"""python -m experiments.timeline_voices CHECKPOINT: timelines of new speakers, with a voice and without.

Each test speaker of the checkpoint has one recording, joined from clips as in `experiments.timeline`. It is answered
with no voice given, with the voice of other clips of the speaker, and with its own voice. The same for a recording
of angry clips alone, for which its own voice is wrong; and for speakers in turn, where it is known who speaks when.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from experiments import study
from experiments.timeline import RATE, SETTINGS, Part, drawn, joined, scores, sounds_of
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.timeline.speakers import Speakers, Turn
from ser_gpu.voices.enrol import of_windows, own_voice

SCORES = ("accuracy", "uar", "eder")
ROWS = ("no voice given", "voice of other clips", "own voice")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    device = options.device(args.device)
    model, provenance, clips = study.load(args.checkpoint, args, device)
    speakers = sorted({clip.speaker for clip in clips})[: args.speakers]
    result = {**study.header(args.checkpoint, provenance, clips, device), "seed": args.seed, "enrolled": args.enrolled}
    result |= {"speakers": len(speakers), "joined": args.clips}
    found: dict[str, list[dict]] = {}
    with console.progress() as progress:
        for speaker in progress.track(speakers, description="Speakers"):
            own = drawn([clip for clip in clips if clip.speaker == speaker], 10**6, args.seed)
            for recording, rows in _of_speaker(model, own, args).items():
                found.setdefault(recording, []).append(rows)
        found["two speakers in turn"] = [
            _of_call(model, [clip for clip in clips if clip.speaker in pair], args)
            for pair in progress.track([speakers[at : at + 2] for at in range(0, len(speakers) - 1, 2)])
        ]
    result["recordings"] = {name: _mean(rows) for name, rows in found.items() if rows}
    study.publish(args, result, show)
    return options.DONE


def _of_speaker(model: SpeechEmotionModel, clips: Sequence[Clip], args: argparse.Namespace) -> dict[str, dict]:
    """The scores of a recording of varied clips and of one of angry ones, by who is said to speak."""
    enrolled, others = clips[: args.enrolled], clips[args.enrolled :]
    windows = [model.clip_windows(sound.numpy()) for sound in sounds_of(model, enrolled)]
    voice = of_windows(model, windows)
    chosen = {"varied speech": others[: args.clips], "anger alone": [c for c in others if c.emotion == "angry"]}
    found = {}
    for name, each in chosen.items():
        if not each:
            continue
        waveform, parts = joined(each, sounds_of(model, each), SETTINGS["pauses of 0.5 s"], args.seed)
        voices = dict(zip(ROWS, (None, voice, own_voice(model, (RATE, waveform))), strict=True))
        found[name] = {row: _scored(model, waveform, parts, voice=who) for row, who in voices.items()}
    return found


def _of_call(model: SpeechEmotionModel, clips: Sequence[Clip], args: argparse.Namespace) -> dict[str, dict]:
    """The scores of two speakers in turn: nothing known; who speaks when; and each one's own voice."""
    chosen = drawn(clips, 2 * args.clips, args.seed)
    waveform, parts = joined(chosen, sounds_of(model, chosen), SETTINGS["two voices, 0.5 s"], args.seed)
    known = Speakers(Turn(part.start / RATE, part.end / RATE, part.speaker) for part in parts)
    own = own_voice(model, (RATE, waveform), speakers=known)
    return {
        "no voice given": _scored(model, waveform, parts),
        "who speaks when": _scored(model, waveform, parts, speakers=known),
        "own voice of each": _scored(model, waveform, parts, speakers=known, voice=own),
    }


def _scored(model: SpeechEmotionModel, waveform: Tensor, parts: Sequence[Part], **known: object) -> dict[str, float]:
    found = model.timeline((RATE, waveform), **known)
    scored = scores(found.stretches, parts, len(waveform), model.labels)
    return {name: scored[name] for name in SCORES}


def _mean(recordings: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        row: {name: float(np.mean([each[row][name] for each in recordings])) for name in SCORES}
        for row in recordings[0]
    }


def show(result: dict) -> None:
    """The table in the terminal."""
    shown = console.table("Timelines of new speakers", ("recording", "who speaks", *SCORES))
    for recording, rows in result["recordings"].items():
        for row, values in rows.items():
            shown.add_row(recording, row, *(f"{values[name]:.3f}" for name in SCORES))
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.timeline_voices", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="whose test speakers are heard; they are new to it")
    options.add_data_options(parser)
    add("--clips", type=options.positive_int, default=40, help="in a recording (default: %(default)s)")
    add("--enrolled", type=options.positive_int, default=16, help="other clips of the voice (default: %(default)s)")
    add("--speakers", type=options.positive_int, default=100, help="at most (default: all)")
    add("--seed", type=int, default=0, help="of the draw, the order and the noise (default: %(default)s)")
    add("--device", help=options.DEVICE)
    study.add_output_options(parser, "timeline-voices")
    return parser


if __name__ == "__main__":
    sys.exit(main())
