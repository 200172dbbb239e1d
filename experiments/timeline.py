"""python -m experiments.timeline CHECKPOINT: emotions over time, against recordings whose times are known.

Recordings are joined from the test clips of the checkpoint by code, from a seed: each clip is cut to its sound, and a
pause lies between two. `--fit` does so with validation clips, for several values of the smoothing; test clips choose
nothing.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments import study
from experiments.figures.style import BLUE, ORANGE, styled
from experiments.sounds import in_noise, telephone
from ser_gpu import checkpoint
from ser_gpu.audio.samples import load, resample
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Protocol
from ser_gpu.evaluation import figures
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.timeline.cuts import TimelineSettings
from ser_gpu.timeline.segment import Segment, merged
from ser_gpu.timeline.stream import Answers, Stream

RATE = 16_000
FRAME_SECONDS = 0.01
IOU = 0.5
SCORES = ("accuracy", "uar", "segment_f1", "eder", "false_alarm", "missed")
FITTED = {
    "on": (0.5,),
    "off": (0.1, 0.2, 0.35),
    "pause_frames": (3, 4, 6),
    "margin_frames": (1, 3, 4),
    "stay": (0.01, 0.2, 0.3, 0.4, 0.5, 0.65),
    "full_seconds": (1.0,),
}
_FLOOR_DB = -60.0


@dataclass(frozen=True)
class Part:
    """A clip in a joined recording: its emotion, from `start` to `end` in samples, and who speaks."""

    emotion: str
    start: int
    end: int
    speaker: str | None = None


@dataclass(frozen=True)
class Setting:
    """How clips are joined: with pauses of that many seconds, of one voice at a time or two in turn, and what then
    happens to the recording.
    """

    pause_seconds: float
    two_voices: bool = False
    change: Callable[[Tensor, torch.Generator], Tensor] | None = None


def _noise(decay: float, snr_db: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    return lambda waveform, generator: in_noise(decay, snr_db)(waveform, RATE, generator)[0]


def _telephone(waveform: Tensor, generator: torch.Generator) -> Tensor:
    narrow, rate = telephone(waveform, RATE, generator)
    return torch.from_numpy(resample(narrow.numpy(), rate, RATE))


SETTINGS: dict[str, Setting] = {
    "pauses of 0.5 s": Setting(0.5),
    "pauses of 0.2 s": Setting(0.2),
    "pauses of 2 s": Setting(2.0),
    "two voices, 0.5 s": Setting(0.5, two_voices=True),
    "pink noise, 20 dB": Setting(0.5, change=_noise(1.0, 20.0)),
    "pink noise, 10 dB": Setting(0.5, change=_noise(1.0, 10.0)),
    "white noise, 10 dB": Setting(0.5, change=_noise(0.0, 10.0)),
    "telephone": Setting(0.5, change=_telephone),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _fit(args) if args.fit else _measure(args))


def _measure(args: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    device = options.device(args.device)
    model, provenance, clips = study.load(args.checkpoint, args, device)
    chosen = drawn(clips, args.clips, args.seed)
    sounds = sounds_of(model, chosen)
    result = {**study.header(args.checkpoint, provenance, chosen, device), "seed": args.seed, "settings": {}}
    result["timeline_settings"] = asdict(TimelineSettings())
    with console.progress("setting") as progress:
        task = progress.add_task("Recordings", total=len(SETTINGS), setting="")
        for name, setting in SETTINGS.items():
            progress.update(task, setting=name)
            result["settings"][name] = measured(model, chosen, sounds, setting, args.seed)
            progress.advance(task)
    study.publish(args, result, show, _figure(result))
    figures.save(_example(model, chosen, sounds, args.seed), f"{args.out}-example.png", dpi=110)
    return options.DONE


def _example(model: SpeechEmotionModel, clips: Sequence[Clip], sounds: Sequence[Tensor], seed: int) -> Figure:
    """The picture of the first clips of a voice after the other, two minutes at most."""
    waveform, _ = joined(clips, sounds, SETTINGS["pauses of 0.5 s"], seed)
    return model.timeline((RATE, waveform[: 120 * RATE])).plot()


def measured(
    model: SpeechEmotionModel, clips: Sequence[Clip], sounds: Sequence[Tensor], setting: Setting, seed: int
) -> dict[str, dict]:
    """The scores of the timeline, and of perfect cuts: each clip answered alone, at its known times."""
    waveform, parts = joined(clips, sounds, setting, seed)
    begin = time.perf_counter()
    found = timeline_of(model, waveform)
    factor = (time.perf_counter() - begin) / (len(waveform) / RATE)
    perfect = _perfect(model, waveform, parts)
    return {
        "seconds": len(waveform) / RATE,
        "real_time_factor": factor,
        "timeline": scores(found, parts, len(waveform), model.labels),
        "perfect_cuts": scores(perfect, parts, len(waveform), model.labels),
    }


def timeline_of(model: SpeechEmotionModel, waveform: Tensor, settings: TimelineSettings | None = None) -> list[Segment]:
    """The stretches of a waveform at 16 kHz."""
    stream = Stream(_Remembering(model), RATE, settings=settings)
    return stream.push(waveform) + stream.close()


class _Remembering(Answers):
    """Asks the network once for each stretch, so that settings are compared quickly."""

    known: ClassVar[dict[bytes, np.ndarray]] = {}

    def of_stretch(self, samples: np.ndarray, speaker: str | None = None) -> np.ndarray:
        key = hashlib.sha256(samples.tobytes()).digest()
        if key not in self.known:
            self.known[key] = super().of_stretch(samples, speaker)
        return self.known[key]


def joined(clips: Sequence[Clip], sounds: Sequence[Tensor], setting: Setting, seed: int) -> tuple[Tensor, list[Part]]:
    """One recording: the clips of a speaker after each other in a drawn order, or those of two speakers in turn, with
    pauses and a noise floor at -60 dB.

    Shape: [T] each -> [T].
    """
    generator = torch.Generator().manual_seed(seed)
    order = _order(clips, setting.two_voices, generator)
    pause = torch.zeros(round(setting.pause_seconds * RATE))
    pieces, parts, at = [pause], [], len(pause)
    for row in order:
        pieces += [sounds[row], pause]
        parts.append(Part(clips[row].emotion, at, at + len(sounds[row]), clips[row].speaker))
        at += len(sounds[row]) + len(pause)
    waveform = torch.cat(pieces)
    waveform = waveform + 10 ** (_FLOOR_DB / 20) * torch.randn(len(waveform), generator=generator)
    return (waveform if setting.change is None else setting.change(waveform, generator)[: len(waveform)]), parts


def scores(segments: Iterable[Segment], parts: Sequence[Part], samples: int, labels: Sequence[str]) -> dict[str, float]:
    """Scores of a timeline, in frames of 10 ms and in segments.

    accuracy and uar are of the frames in which somebody speaks, those that were not found counted as wrong; segment_f1
    counts a segment as found where a segment of the same emotion overlaps it by half of their union; eder is the
    emotion diarization error rate: false alarms, missed and confused seconds over the seconds of speech.

    Source: Wang, Ravanelli, Yacoubi, Speech Emotion Diarization, ASRU 2023 (EDER).
    """
    segments = tuple(merged(segments))
    count = round(samples / RATE / FRAME_SECONDS)
    truth, said = np.full(count, -1), np.full(count, -1)
    for part in parts:
        truth[_frame(part.start / RATE) : _frame(part.end / RATE)] = labels.index(part.emotion)
    for segment in segments:
        if segment.speech:
            said[_frame(segment.start) : _frame(segment.end)] = labels.index(segment.emotion)
    speech = truth >= 0
    recalls = [(said[truth == label] == label).mean() for label in sorted(set(truth[speech].tolist()))]
    false_alarm, missed = (said >= 0) & ~speech, speech & (said < 0)
    confused = speech & (said >= 0) & (said != truth)
    total = speech.sum()
    return {
        "accuracy": float((said[speech] == truth[speech]).mean()),
        "uar": float(np.mean(recalls)),
        "segment_f1": _segment_f1(segments, parts),
        "eder": float((false_alarm.sum() + missed.sum() + confused.sum()) / total),
        "false_alarm": float(false_alarm.sum() / total),
        "missed": float(missed.sum() / total),
    }


def _frame(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)


def _segment_f1(segments: Sequence[Segment], parts: Sequence[Part]) -> float:
    spans = [Segment(p.start / RATE, p.end / RATE, True, p.emotion, 1.0, {p.emotion: 1.0}) for p in parts]
    truth = [span for span in merged(_with_pauses(spans)) if span.speech]
    found = [segment for segment in segments if segment.speech]
    used: set[int] = set()
    for segment in found:
        for at, span in enumerate(truth):
            overlap = min(segment.end, span.end) - max(segment.start, span.start)
            union = max(segment.end, span.end) - min(segment.start, span.start)
            if at not in used and span.emotion == segment.emotion and overlap >= IOU * union:
                used.add(at)
                break
    return 2 * len(used) / (len(found) + len(truth))


def _with_pauses(spans: Sequence[Segment]) -> list[Segment]:
    out: list[Segment] = []
    for span in spans:
        if out and span.start > out[-1].end:
            out.append(Segment(out[-1].end, span.start, False, None, None, {}))
        out.append(span)
    return out


def _perfect(model: SpeechEmotionModel, waveform: Tensor, parts: Sequence[Part]) -> list[Segment]:
    answers = []
    for part in parts:
        with torch.inference_mode():
            logits = model(waveform[None, part.start : part.end].to(model.device))
            probabilities = model.probabilities(logits)[0].tolist()
        named = dict(zip(model.labels, probabilities, strict=True))
        best = max(named, key=named.__getitem__)
        answers.append(Segment(part.start / RATE, part.end / RATE, True, best, named[best], named))
    return answers


def drawn(clips: Sequence[Clip], count: int, seed: int) -> list[Clip]:
    """That many clips, in a drawn order."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(clips), generator=generator)[:count].tolist()
    return [clips[row] for row in rows]


def sounds_of(model: SpeechEmotionModel, clips: Sequence[Clip]) -> list[Tensor]:
    """Each clip between its silences, at one level, its peak at a half."""
    sounds = []
    for clip in clips:
        waveform = load(clip.path, RATE)
        start, end = (int(bound) for bound in model.trim.bounds(waveform[None].to(model.device)))
        sounds.append(0.5 * waveform[start:end])
    return sounds


def _order(clips: Sequence[Clip], two_voices: bool, generator: torch.Generator) -> list[int]:
    """Speaker by speaker, each one's clips in a drawn order; or two speakers in turn."""
    drawn = torch.randperm(len(clips), generator=generator).tolist()
    by_speaker: dict[str | None, list[int]] = {}
    for row in drawn:
        by_speaker.setdefault(clips[row].speaker, []).append(row)
    lists = list(by_speaker.values())
    if not two_voices:
        return [row for rows in lists for row in rows]
    order = []
    for at in range(0, len(lists), 2):
        one, other = lists[at], lists[at + 1] if at + 1 < len(lists) else []
        for turn in range(max(len(one), len(other))):
            order += one[turn : turn + 1] + other[turn : turn + 1]
    return order


def _fit(args: argparse.Namespace) -> int:
    """The smoothing and the cuts on validation clips."""
    torch.set_num_threads(1)
    model, provenance = checkpoint.load(args.checkpoint, options.device(args.device))
    clips = study.clips_of(args)
    part_of = Protocol.from_dict(provenance.protocol).split(clips).part_of
    chosen = drawn([clip for clip in clips if part_of[clip.id] == "validation"], args.clips, args.seed)
    sounds = sounds_of(model, chosen)
    recordings = [joined(chosen, sounds, SETTINGS[name], args.seed) for name in ("pauses of 0.5 s", "pauses of 0.2 s")]
    perfect = [
        scores(_perfect(model, *recording), recording[1], len(recording[0]), model.labels) for recording in recordings
    ]
    console.out.print(f"cut at the known times: accuracy {np.mean([row['accuracy'] for row in perfect]):.3f}")
    grid = {name: getattr(args, name) for name in FITTED}
    shown = console.table("Validation clips", (*FITTED, *SCORES))
    for values in product(*grid.values()):
        named = dict(zip(FITTED, values, strict=True))
        if named["margin_frames"] > named["pause_frames"] or named["off"] > named["on"]:
            continue
        settings = TimelineSettings(**named)
        rows = [
            scores(timeline_of(model, waveform, settings), parts, len(waveform), model.labels)
            for waveform, parts in recordings
        ]
        shown.add_row(*map(str, values), *(f"{np.mean([row[name] for row in rows]):.3f}" for name in SCORES))
    console.out.print(shown)
    return options.DONE


def show(result: dict) -> None:
    """The table in the terminal."""
    shown = console.table("Timeline", ("setting", *SCORES, "perfect cuts"))
    for name, row in result["settings"].items():
        values = (f"{row['timeline'][score]:.3f}" for score in SCORES)
        shown.add_row(name, *values, f"{row['perfect_cuts']['accuracy']:.3f}")
    console.out.print(shown)


@styled()
def _figure(result: dict) -> Figure:
    rows = result["settings"]
    figure = Figure(figsize=(8.0, 0.4 * len(rows) + 1.4))
    axes = figure.subplots()
    places = np.arange(len(rows))
    perfect, found = ("perfect_cuts", "|", BLUE, "cut at the known times"), ("timeline", "o", ORANGE, "timeline")
    for source, marker, colour, label in (perfect, found):
        scored = [100 * row[source]["accuracy"] for row in rows.values()]
        size = 11 if marker == "|" else 7
        axes.plot(scored, places, marker, color=colour, markersize=size, markeredgewidth=2, label=label)
    axes.set_yticks(places, list(rows))
    axes.invert_yaxis()
    axes.grid()
    axes.set(xlabel="frames of speech named right (%)", xlim=(40, 100))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.timeline", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="whose test clips are joined")
    options.add_data_options(parser)
    add("--clips", type=options.positive_int, default=144, help="to join (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the draw, the order and the noise (default: %(default)s)")
    add("--device", help=options.DEVICE)
    add("--fit", action="store_true", help="compare settings on validation clips instead")
    for name, default in FITTED.items():
        flag = f"--{name.replace('_', '-')}"
        add(flag, type=type(default[0]), nargs="+", default=default, help="with --fit (default: %(default)s)")
    study.add_output_options(parser, "timeline")
    return parser


if __name__ == "__main__":
    sys.exit(main())
