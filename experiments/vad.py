"""python -m experiments.vad: voice activity detectors, on voices in noise and on sounds that are no voice.

`cuts` are those of the timeline, by the network of silero-vad; `third frame` is `ser_gpu.audio.silero.speaks`, the same
network on a whole clip, which `predict` asks where there are no cuts. Voices are training clips of speakers on whom
nothing else was chosen, so that thresholds may be chosen here; the other sounds are synthesised from a seed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from experiments import study
from experiments.sounds import Condition, as_recorded, in_noise, quiet_after_a_click, telephone, whispered
from experiments.synthetic_sounds import NO_VOICE, NO_WORDS, RATE
from ser_gpu.audio import silero
from ser_gpu.audio.samples import level, load, resample
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Protocol
from ser_gpu.timeline.cuts import SpeechCuts, TimelineSettings

DETECTORS = ("cuts", "third frame")
THRESHOLDS = (0.1, 0.2, 0.25, 0.3, 0.5)
KEPT_AWAY = {f"{actor:02}" for actor in (1, 2, 3, 5, 6, 8, 10, 11, 14, 17)}  # who chose the other settings
GROUPS = {"voices": "voice: ", "no_words": "no words: ", "other_sounds": ""}
RATIOS_DB = (20, 10, 5, 0)
CONDITIONS: dict[str, Condition] = {
    "clean": as_recorded,
    "telephone": telephone,
    **{
        f"{name} noise, {snr} dB": in_noise(decay, snr)
        for name, decay in (("white", 0), ("pink", 1))
        for snr in RATIOS_DB
    },
    "quiet after a click": quiet_after_a_click,
    "whispered": whispered,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    clips = study.clips_of(args)
    part_of = Protocol("stratified").split(clips).part_of
    training = [clip for clip in clips if part_of[clip.id] == "train" and clip.speaker not in KEPT_AWAY]
    generator = torch.Generator().manual_seed(args.seed)
    chosen = torch.randperm(len(training), generator=generator)[: args.clips].tolist()
    chosen_clips = [training[row] for row in chosen]
    waveforms = [load(clip.path, RATE) for clip in chosen_clips]
    cold = _cold_milliseconds(waveforms[0])
    detectors = _detectors()
    shouts = [waveform for waveform, clip in zip(waveforms, chosen_clips, strict=True) if _is_shouted(clip)]
    result = {
        "seed": args.seed,
        "clips": len(waveforms),
        "sounds": args.sounds,
        "speakers": sorted({clip.speaker for clip in chosen_clips}),
        "threshold": silero.THRESHOLD,
        "timeline_settings": asdict(TimelineSettings()),
        "voices": {
            name: _found(detectors, (_changed(waveform, change, generator) for waveform in waveforms))
            for name, change in CONDITIONS.items()
        }
        | ({"shouted (strong anger)": _found(detectors, iter(shouts))} if shouts else {}),
        **{
            group: {
                name: _found(detectors, (_levelled(make(generator)) for _ in range(args.sounds)))
                for name, make in sounds.items()
            }
            for group, sounds in (("no_words", NO_WORDS), ("other_sounds", NO_VOICE))
        },
        "milliseconds": {name: _milliseconds(detectors[name], generator) for name in DETECTORS},
        "milliseconds_first_clip": cold,
    }
    study.publish(args, result, show)
    return options.DONE


def _is_shouted(clip: Clip) -> bool:
    return clip.emotion == "angry" and clip.get("intensity") == "strong"


def _detectors() -> dict[str, Callable[[Tensor], bool]]:
    return {"cuts": _by_cuts(), "third frame": _by_third_frame}


def _by_third_frame(waveform: Tensor) -> bool:
    return bool(silero.speaks(waveform.numpy()[None])[0])


def _by_cuts() -> Callable[[Tensor], bool]:
    """Whether the timeline has any stretch."""
    detector = SpeechProbability()

    def found(waveform: Tensor) -> bool:
        cuts = SpeechCuts(detector, 3.0, TimelineSettings())
        blocks = waveform.split(cuts.block)
        return any(True for block in blocks for _ in cuts.take(block.numpy())) or any(True for _ in cuts.close())

    return found


def _found(detectors: dict[str, Callable[[Tensor], bool]], waveforms: Iterator[Tensor]) -> dict[str, object]:
    """The share of the sounds in which each detector finds a voice, and how sure silero is of one."""
    rows, sure = [], []
    for waveform in waveforms:
        rows.append([detectors[name](waveform) for name in DETECTORS])
        sure.append(_sure(waveform))
    shares = dict(zip(DETECTORS, np.mean(rows, axis=0).tolist(), strict=True))
    reached = {str(threshold): float(np.mean(np.array(sure) >= threshold)) for threshold in THRESHOLDS}
    return shares | {
        "third_frame_reaches": reached,
        "silero_probability": dict(
            zip(("least", "median", "most"), np.quantile(sure, (0, 0.5, 1)).tolist(), strict=True)
        ),
    }


def _sure(waveform: Tensor) -> float:
    """The third highest probability of speech of any frame."""
    return float(np.sort(silero.speech_probability(silero.levelled(waveform.numpy()[None]))[0])[-silero.LEAST_FRAMES])


def _changed(waveform: Tensor, change: Condition, generator: torch.Generator) -> Tensor:
    changed, rate = change(waveform, RATE, generator)
    return _levelled(changed if rate == RATE else torch.from_numpy(resample(changed.numpy(), rate, RATE)))


def _levelled(sound: Tensor) -> Tensor:
    return torch.from_numpy(level(sound.numpy()))


def _cold_milliseconds(waveform: Tensor) -> dict[str, float]:
    """From nothing to the answer to one clip, imports aside."""
    took = {}
    for name, make in (("cuts", _by_cuts), ("third frame", lambda: _by_third_frame)):
        silero.load_weights.cache_clear()
        silero.detector.cache_clear()
        start = time.perf_counter()
        make()(waveform)
        took[name] = 1_000 * (time.perf_counter() - start)
    return took


def _milliseconds(detect: Callable[[Tensor], bool], generator: torch.Generator) -> float:
    """Of a minute of sound, on one core: the least of five."""
    minute = torch.randn(60 * RATE, generator=generator)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        detect(minute)
        times.append(1_000 * (time.perf_counter() - start))
    return min(times)


def show(result: dict) -> None:
    """The table in the terminal."""
    shown = console.table("A voice is found in", ("sound", *DETECTORS))
    for group, prefix in GROUPS.items():
        for name, row in result[group].items():
            shown.add_row(f"{prefix}{name}", *(f"{row[detector]:.1%}" for detector in DETECTORS))
        shown.add_section()
    shown.add_row("a minute takes", *(f"{result['milliseconds'][name]:.0f} ms" for name in DETECTORS))
    shown.add_row("the first clip takes", *(f"{result['milliseconds_first_clip'][name]:.0f} ms" for name in DETECTORS))
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.vad", description=__doc__.splitlines()[0])
    options.add_data_options(parser)
    add = parser.add_argument
    add("--clips", type=options.positive_int, default=360, help="training clips (default: %(default)s)")
    add("--sounds", type=options.positive_int, default=40, help="of each other kind (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the choice, noise and sounds (default: %(default)s)")
    study.add_output_options(parser, "vad")
    return parser


if __name__ == "__main__":
    sys.exit(main())
