"""python -m experiments.vad: two voice activity detectors, on voices in noise and on sounds that are no voice.

`periodicity` is the detector that guards `predict` (`ser_gpu.stages.vad.VoiceActivity`); `silero` is the network that
cuts the timeline (`ser_gpu.audio.silero.SpeechProbability`). Voices are training clips, so that thresholds may be
chosen here; the other sounds are synthesised from a seed.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments import study
from experiments.sounds import Condition, as_recorded, in_noise, telephone
from ser_gpu import checkpoint
from ser_gpu.audio.silero import SpeechProbability
from ser_gpu.audio.waveform import level, load, resample
from ser_gpu.cli import common, console
from ser_gpu.corpora.splits import Protocol
from ser_gpu.stages.noise import coloured_noise
from ser_gpu.stages.vad import VoiceActivity
from ser_gpu.timeline.cuts import SpeechCuts
from ser_gpu.timeline.settings import TimelineSettings

RATE = 16_000
SECONDS = 3.0
DETECTORS = ("periodicity", "silero")
NOISES = {"white": 0.0, "pink": 1.0}
RATIOS_DB = (20, 10, 5, 0)
CONDITIONS: dict[str, Condition] = {
    "clean": as_recorded,
    "telephone": telephone,
    **{f"{name} noise, {snr} dB": in_noise(decay, snr) for name, decay in NOISES.items() for snr in RATIOS_DB},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, and print the table."""
    args = _parser().parse_args(arguments)
    return common.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    clips = common.find_clips(args.data, args.corpus)
    part_of = Protocol("stratified").split(clips).part_of
    training = [clip for clip in clips if part_of[clip.id] == "train"]
    generator = torch.Generator().manual_seed(args.seed)
    chosen = torch.randperm(len(training), generator=generator)[: args.clips].tolist()
    waveforms = [load(training[row].path, RATE) for row in chosen]
    detectors = _detectors()
    result = {
        "seed": args.seed,
        "clips": len(waveforms),
        "sounds": args.sounds,
        "timeline_settings": asdict(TimelineSettings()),
        "voices": {
            name: _found(detectors, (_changed(waveform, change, generator) for waveform in waveforms))
            for name, change in CONDITIONS.items()
        },
        "other_sounds": {
            name: _found(detectors, (level(make(generator)) for _ in range(args.sounds)))
            for name, make in SOUNDS.items()
        },
        "milliseconds": {name: _milliseconds(detectors[name], generator) for name in DETECTORS},
    }
    study.publish(args, result, _figure(result), show)
    return common.DONE


def _detectors() -> dict[str, Callable[[Tensor], bool]]:
    config = checkpoint.load_model(device="cpu").config
    periodicity, silero = VoiceActivity(config.audio.sample_rate), SpeechProbability()
    settings = TimelineSettings()
    window = config.audio.clip_samples

    def by_periodicity(waveform: Tensor) -> bool:
        length = min(window, len(waveform))
        starts = [*range(0, len(waveform) - length, max(1, length // 2)), len(waveform) - length]
        return bool(periodicity(torch.stack([waveform[at : at + length] for at in starts])).any())

    def by_silero(waveform: Tensor) -> bool:
        cuts = SpeechCuts(silero, config.audio.clip_seconds, settings)
        found = [stretch for block in waveform.split(cuts.block) for stretch in cuts.take(block.numpy())]
        return bool(found or list(cuts.close()))

    return {"periodicity": by_periodicity, "silero": by_silero}


def _found(detectors: dict[str, Callable[[Tensor], bool]], waveforms: Iterator[Tensor]) -> dict[str, float]:
    """The share of the sounds in which each detector finds a voice."""
    rows = [[detectors[name](waveform) for name in DETECTORS] for waveform in waveforms]
    return dict(zip(DETECTORS, torch.tensor(rows).double().mean(dim=0).tolist(), strict=True))


def _changed(waveform: Tensor, change: Condition, generator: torch.Generator) -> Tensor:
    changed, rate = change(waveform, RATE, generator)
    return level(changed if rate == RATE else resample(changed, rate, RATE))


def _milliseconds(detect: Callable[[Tensor], bool], generator: torch.Generator) -> float:
    """Of a minute of sound, on one core: the least of five."""
    minute = torch.randn(60 * RATE, generator=generator)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        detect(minute)
        times.append(1_000 * (time.perf_counter() - start))
    return min(times)


def _noise(decay: float) -> Callable[[torch.Generator], Tensor]:
    def make(generator: torch.Generator) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            return coloured_noise(torch.tensor([decay]), round(SECONDS * RATE))[0]

    return make


def _seconds() -> Tensor:
    return torch.arange(round(SECONDS * RATE)) / RATE


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _harmonics(pitch: Tensor, count: int = 10) -> Tensor:
    """A tone with harmonics of falling strength; its pitch in Hz at each sample."""
    phase = 2 * math.pi * torch.cumsum(pitch.double() / RATE, dim=0)
    return sum(torch.sin(n * phase) / n for n in range(1, count + 1)).float()


def _hum(generator: torch.Generator) -> Tensor:
    pitch = 50.0 if torch.rand((), generator=generator) < 0.5 else 60.0
    return _harmonics(torch.full_like(_seconds(), pitch), 20) + 0.01 * torch.randn(len(_seconds()), generator=generator)


def _tone(generator: torch.Generator) -> Tensor:
    return torch.sin(2 * math.pi * _between(100, 3_000, generator) * _seconds())


def _dtmf(generator: torch.Generator) -> Tensor:
    out = torch.zeros_like(_seconds())
    low, high = (697, 770, 852, 941), (1_209, 1_336, 1_477)
    for start in range(0, len(out) - 1_600, 3_200):
        time = torch.arange(1_600) / RATE
        row, column = int(torch.randint(4, (), generator=generator)), int(torch.randint(3, (), generator=generator))
        out[start : start + 1_600] = torch.sin(2 * math.pi * low[row] * time) + torch.sin(
            2 * math.pi * high[column] * time
        )
    return out


def _melody(generator: torch.Generator) -> Tensor:
    """Eight plucked notes of a major scale."""
    out = torch.zeros_like(_seconds())
    note = len(out) // 8
    for index in range(8):
        step = (0, 2, 4, 5, 7, 9, 11, 12)[int(torch.randint(8, (), generator=generator))]
        pitch = torch.full((note,), 220.0 * 2 ** (step / 12))
        decay = torch.exp(-4 * torch.arange(note) / RATE)
        out[index * note : (index + 1) * note] = _harmonics(pitch) * decay
    return out


def _alarm(generator: torch.Generator) -> Tensor:
    """A siren between two pitches."""
    rate, low = _between(0.5, 4, generator), _between(400, 900, generator)
    return _harmonics(low * (1.25 + 0.25 * torch.sign(torch.sin(2 * math.pi * rate * _seconds()))), 4)


def _clicks(generator: torch.Generator) -> Tensor:
    out = 0.001 * torch.randn(len(_seconds()), generator=generator)
    out[torch.randint(len(out), (12,), generator=generator)] = 1.0
    return out


def _engine(generator: torch.Generator) -> Tensor:
    """A low tone that speeds up and down, its strength uneven."""
    pitch = _between(40, 90, generator) * (1.2 + 0.3 * torch.sin(2 * math.pi * 0.4 * _seconds()))
    uneven = 1 + 0.5 * torch.sin(2 * math.pi * _between(3, 9, generator) * _seconds())
    return _harmonics(pitch, 25) * uneven + 0.1 * torch.randn(len(_seconds()), generator=generator)


def _barks(generator: torch.Generator) -> Tensor:
    """Short bursts of a falling tone in noise, three a second at most."""
    out = torch.zeros_like(_seconds())
    length = round(0.18 * RATE)
    for start in range(0, len(out) - length, round(_between(0.35, 0.7, generator) * RATE)):
        pitch = torch.linspace(_between(500, 800, generator), 300, length)
        burst = _harmonics(pitch) + 0.5 * torch.randn(length, generator=generator)
        out[start : start + length] = burst * torch.hann_window(length)
    return out


def _applause(generator: torch.Generator) -> Tensor:
    strength = torch.rand(len(_seconds()) // 160, generator=generator).pow(6).repeat_interleave(160)
    return strength * torch.randn(len(_seconds()), generator=generator)


SOUNDS: dict[str, Callable[[torch.Generator], Tensor]] = {
    **{f"{name} noise": _noise(decay) for name, decay in (*NOISES.items(), ("brown", 2.0), ("blue", -1.0))},
    "violet noise": _noise(-2.0),
    "hum": _hum,
    "tone": _tone,
    "DTMF": _dtmf,
    "melody": _melody,
    "alarm": _alarm,
    "clicks": _clicks,
    "engine": _engine,
    "barks": _barks,
    "applause": _applause,
}


def show(result: dict) -> None:
    """The table in the terminal."""
    shown = console.table("A voice is found in", ("sound", *DETECTORS))
    for group in ("voices", "other_sounds"):
        for name, row in result[group].items():
            shown.add_row(name, *(f"{row[detector]:.1%}" for detector in DETECTORS))
        shown.add_section()
    shown.add_row("a minute takes", *(f"{result['milliseconds'][name]:.0f} ms" for name in DETECTORS))
    console.out.print(shown)


def _figure(result: dict) -> Figure:
    groups = {"voices: higher is better": result["voices"], "no voice: lower is better": result["other_sounds"]}
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, (title, rows) in zip(figure.subplots(1, 2), groups.items(), strict=True):
        for offset, detector in zip((-0.2, 0.2), DETECTORS, strict=True):
            places = [at + offset for at in range(len(rows))]
            axes.barh(places, [100 * row[detector] for row in rows.values()], 0.4, label=detector)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.set(title=title, xlabel="a voice is found in (%)", xlim=(0, 105))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.vad", description=__doc__.splitlines()[0])
    common.add_data_options(parser)
    add = parser.add_argument
    add("--clips", type=common.positive_int, default=240, help="training clips (default: %(default)s)")
    add("--sounds", type=common.positive_int, default=40, help="of each other kind (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the choice, noise and sounds (default: %(default)s)")
    study.add_output_options(parser, "vad")
    return parser


if __name__ == "__main__":
    sys.exit(main())
