"""python -m experiments.pitch_bias PREDICTIONS: is a model better on some voices, and does their pitch explain it?

Takes the answers of a training or of a cross-validation (`.csv` or `.csv.gz`), and the pitch of each clip.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments import figures, pitch, study
from experiments.pitch import Pitch
from ser_gpu.cli import console, options
from ser_gpu.errors import InputError
from ser_gpu.evaluation import metrics, predictions

PERMUTATIONS = 10_000
GENDERS = ("male", "female")
# Share of listeners' ratings that name the acted emotion, by gender of the speaker (Livingstone and Russo 2018)
LISTENERS = {"male": 0.586, "female": 0.661}


@dataclass(frozen=True)
class Answers:
    """Answers to clips that the model was not trained on. Several answers to a clip are several rows.

    Attributes:
        labels, predicted: emotions by number, [N].
        speakers: [N].
        male: [N] bool.
        hertz: median pitch, NaN where there is none, [N].
    """

    labels: np.ndarray
    predicted: np.ndarray
    speakers: np.ndarray
    male: np.ndarray
    hertz: np.ndarray


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, compare, and print the tables."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _compare(args))


def _compare(args: argparse.Namespace) -> int:
    answers = read(Path(args.predictions), pitch.read(args.pitch))
    result = {
        "predictions": Path(args.predictions).name,
        "answers": len(answers.labels),
        "speakers": len(np.unique(answers.speakers)),
        "seed": args.seed,
        **by_gender(answers, args.seed),
        "by_pitch": by_pitch(answers),
        "listeners": LISTENERS,
    }
    study.publish(args, result, show, figures.pitch_bias(result))
    return options.DONE


def read(path: Path, pitches: Mapping[str, Pitch]) -> Answers:
    """The answers to the test part.

    Raises:
        ValueError: the table holds no answers to a test part, or does not tell a speaker's gender.
        OSError: it cannot be read.
    """
    found = predictions.read(path)
    genders = np.array([clip.gender or "" for clip in found.clips])
    if unknown := set(genders.tolist()) - set(GENDERS):
        raise InputError(f"{path}: the gender of every speaker must be male or female, got {min(unknown)!r}")
    return Answers(
        labels=found.truth,
        predicted=found.predicted,
        speakers=np.array([clip.speaker or clip.id for clip in found.clips]),
        male=genders == "male",
        hertz=np.array([pitches[clip.id].median_hz if clip.id in pitches else np.nan for clip in found.clips]),
    )


def by_gender(answers: Answers, seed: int) -> dict:
    """Scores of men's and women's voices with intervals over speakers, their difference, and its p value.

    The permutation test deals the genders anew among the speakers, because the clips of one speaker are not
    independent.
    """
    rows = {}
    for name, members in zip(GENDERS, (answers.male, ~answers.male), strict=True):
        labels, predicted, speakers = answers.labels[members], answers.predicted[members], answers.speakers[members]
        rows[name] = {
            "answers": int(members.sum()),
            "speakers": len(np.unique(speakers)),
            **metrics.headline(labels, predicted),
            "interval95": metrics.bootstrap_intervals(labels, predicted, speakers),
        }
    difference = rows["female"]["uar"] - rows["male"]["uar"]
    chance = permuted_differences(answers, seed)
    larger = np.abs(chance) >= abs(difference) - 1e-12
    return {
        "by": {"gender": rows},
        "uar_difference": difference,
        "p_value": float((1 + larger.sum()) / (1 + len(chance))),
    }


def permuted_differences(answers: Answers, seed: int, draws: int = PERMUTATIONS) -> np.ndarray:
    """UAR of as many speakers as there are women minus that of the others, for random choices of them.

    Shape: -> [draws].
    """
    speakers, speaker_of = np.unique(answers.speakers, return_inverse=True)
    shape = len(speakers), int(answers.labels.max()) + 1
    right, total = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (speaker_of, answers.labels), 1)
    np.add.at(right, (speaker_of, answers.labels), answers.labels == answers.predicted)
    women = len(np.unique(answers.speakers[~answers.male]))
    generator = np.random.default_rng(seed)
    chosen = generator.permuted(np.tile(np.arange(len(speakers)) < women, (draws, 1)), axis=1)

    def uar(members: np.ndarray) -> np.ndarray:
        said = members @ total
        return np.nanmean(np.divide(members @ right, said, out=np.full(said.shape, np.nan), where=said > 0), axis=1)

    return uar(chosen.astype(float)) - uar((~chosen).astype(float))


def by_pitch(answers: Answers) -> dict[str, list[dict]]:
    """Scores by thirds of the pitch: of all voices, of men's and of women's own."""
    known = ~np.isnan(answers.hertz)
    groups = {"all": known, "male": known & answers.male, "female": known & ~answers.male}
    return {name: _thirds(answers, members) for name, members in groups.items() if members.any()}


def _thirds(answers: Answers, members: np.ndarray) -> list[dict]:
    edges = np.quantile(answers.hertz[members], [1 / 3, 2 / 3])
    third = np.digitize(answers.hertz, edges)
    rows = []
    for number, name in enumerate(("low", "middle", "high")):
        inside = members & (third == number)
        if inside.any():
            rows.append(
                {
                    "third": name,
                    "answers": int(inside.sum()),
                    "median_hz": float(np.median(answers.hertz[inside])),
                    **metrics.headline(answers.labels[inside], answers.predicted[inside]),
                }
            )
    return rows


def show(result: dict) -> None:
    """The tables in the terminal."""
    columns = ("", "speakers", "answers", "accuracy", "UAR", "95 % interval", "listeners")
    genders = console.table("By gender of the speaker", columns)
    for gender, row in result["by"]["gender"].items():
        low, high = row["interval95"]["uar"]
        scores = (f"{row['accuracy']:.3f}", f"{row['uar']:.3f}", f"{low:.3f} to {high:.3f}")
        cells = (str(row["speakers"]), str(row["answers"]), *scores, f"{result['listeners'][gender]:.3f}")
        genders.add_row(gender, *cells)
    console.out.print(genders)
    difference, chance = result["uar_difference"], result["p_value"]
    console.out.print(f"UAR of women's voices minus men's: {difference:+.3f} (permutation test: p = {chance:.2g})")
    thirds = console.table("By thirds of the pitch", ("voices", "third", "median (Hz)", "answers", "accuracy", "UAR"))
    for name, rows in result["by_pitch"].items():
        for row in rows:
            scores = (f"{row['accuracy']:.3f}", f"{row['uar']:.3f}")
            thirds.add_row(name, row["third"], f"{row['median_hz']:.0f}", str(row["answers"]), *scores)
    console.out.print(thirds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.pitch_bias", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("predictions", help="predictions.csv of a training, or NAME.predictions.csv.gz of a cross-validation")
    add("--pitch", default=str(study.RESULTS / "pitch.csv"), help="of python -m experiments.pitch (%(default)s)")
    add("--seed", type=int, default=0, help="of the permutations (default: %(default)s)")
    study.add_output_options(parser, "pitch-bias")
    return parser


if __name__ == "__main__":
    sys.exit(main())
