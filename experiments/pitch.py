"""python -m experiments.pitch: the fundamental frequency of every clip, to experiments/results/pitch.csv."""

import argparse
import csv
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import study
from ser_gpu.audio.samples import load
from ser_gpu.cli import console, options
from ser_gpu.errors import InputError
from ser_gpu.files import write_csv

LOWEST_HZ, HIGHEST_HZ = 60.0, 600.0
_RATE = 16_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and track."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _track_all(args))


def _track_all(args: argparse.Namespace) -> int:
    clips = study.clips_of(args)
    with console.progress() as progress, ProcessPoolExecutor(os.cpu_count()) as pool:
        tracked = progress.track(pool.map(track, [clip.path for clip in clips]), total=len(clips), description="Pitch")
        rows = [{"clip": clip.id, **found} for clip, found in zip(clips, tracked, strict=True)]
    write_csv(Path(args.out), rows)
    console.err.print(f"written: {args.out}")
    return options.DONE


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


class Pitch(NamedTuple):
    """Median pitch of a clip in Hz, and its spread in semitones; NaN where the table does not hold it."""

    median_hz: float
    spread_semitones: float


def read(path: str | Path) -> dict[str, Pitch]:
    """The pitch of each clip by its id; clips without a voiced frame are left out.

    Args:
        path: what this command writes.

    Raises:
        ValueError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no pitch table; python -m experiments.pitch writes it")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                row["clip"]: Pitch(float(row["median_hz"]), float(row.get("spread_semitones") or "nan"))
                for row in csv.DictReader(file)
                if row["median_hz"]
            }
    except (KeyError, ValueError):
        raise InputError(f"{path}: damaged, or not a pitch table") from None


def in_semitones(found: Mapping[str, Pitch], ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Median pitch in semitones re 100 Hz, and its spread in semitones, clip by clip; NaN where there is none.

    Shape: N ids -> [N], [N].
    """
    unknown = Pitch(np.nan, np.nan)
    median, spread = np.array([found.get(each, unknown) for each in ids], dtype=float).reshape(-1, 2).T
    return 12 * np.log2(median / 100), spread


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.pitch", description=__doc__.splitlines()[0])
    options.add_data_options(parser)
    parser.add_argument("--out", default=str(study.RESULTS / "pitch.csv"), help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
