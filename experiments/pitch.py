"""python -m experiments.pitch: the fundamental frequency of every clip, to experiments/results/pitch.csv."""

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from experiments.study import RESULTS
from ser_gpu import command_line
from ser_gpu.atomic import write_csv
from ser_gpu.data.waveform import load
from ser_gpu.results import console

LOWEST_HZ, HIGHEST_HZ = 60.0, 600.0
_RATE = 16_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and track."""
    args = _parser().parse_args(arguments)
    return command_line.run(lambda: _track_all(args))


def _track_all(args: argparse.Namespace) -> int:
    clips = command_line.find_clips(args.data)
    with console.progress() as progress, ProcessPoolExecutor(os.cpu_count()) as pool:
        tracked = progress.track(pool.map(track, [clip.path for clip in clips]), total=len(clips), description="Pitch")
        rows = [{"clip": clip.name, **found} for clip, found in zip(clips, tracked, strict=True)]
    write_csv(Path(args.out), rows)
    console.err.print(f"written: {args.out}")
    return command_line.DONE


def track(path: Path) -> dict[str, str]:
    """Median and spread of the pitch over the voiced frames of a clip, and their share.

    Source: Mauch and Dixon, pYIN, ICASSP 2014, as in librosa.
    """
    import librosa

    waveform = load(path, _RATE).numpy()
    hertz, voiced, _ = librosa.pyin(waveform, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=_RATE, frame_length=1_024)
    spoken = hertz[voiced]
    if len(spoken) == 0:
        return {"median_hz": "", "spread_semitones": "", "voiced": "0.000"}
    spread = np.std(12 * np.log2(spoken / np.median(spoken)))
    return {
        "median_hz": f"{np.median(spoken):.1f}",
        "spread_semitones": f"{spread:.2f}",
        "voiced": f"{voiced.mean():.3f}",
    }


def read(path: Path) -> dict[str, float]:
    """Median pitch in Hz by clip name, of those that have one.

    Raises:
        ValueError: there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no pitch table; python -m experiments.pitch writes it")
    with path.open(newline="", encoding="utf-8") as file:
        return {row["clip"]: float(row["median_hz"]) for row in csv.DictReader(file) if row["median_hz"]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.pitch", description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="RAVDESS folder (default: $RAVDESS_DIR, else downloaded)")
    parser.add_argument("--out", default=str(RESULTS / "pitch.csv"), help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
