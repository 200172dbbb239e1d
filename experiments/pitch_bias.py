"""python -m experiments.pitch_bias PREDICTIONS.csv: is the model better on some voices, and is it their pitch?

Takes the answers of a training or of a cross-validation (`predictions.csv`), and the pitch of each clip.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments import pitch, study
from ser_gpu import command_line
from ser_gpu.data import ravdess
from ser_gpu.data.ravdess import EMOTIONS
from ser_gpu.results import console, figures, metrics

PERMUTATIONS = 10_000
# Share of listeners' ratings that name the acted emotion, by sex of the actor (Livingstone and Russo 2018)
LISTENERS = {"male": 0.586, "female": 0.661}


@dataclass(frozen=True)
class Answers:
    """What a model said of clips that it never heard. Several answers to a clip are several rows.

    Attributes:
        labels, predicted: emotions by number, [N].
        actors: [N].
        male: [N] bool.
        hertz: median pitch, NaN where there is none, [N].
    """

    labels: np.ndarray
    predicted: np.ndarray
    actors: np.ndarray
    male: np.ndarray
    hertz: np.ndarray


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, compare, and print the tables."""
    args = _parser().parse_args(arguments)
    return command_line.run(lambda: _compare(args))


def _compare(args: argparse.Namespace) -> int:
    answers = read(Path(args.predictions), pitch.read(Path(args.pitch)))
    result = {
        "predictions": Path(args.predictions).name,
        "answers": len(answers.labels),
        "actors": len(np.unique(answers.actors)),
        "seed": args.seed,
        "by_sex": by_sex(answers, args.seed),
        "by_pitch": by_pitch(answers),
        "listeners": LISTENERS,
    }
    study.publish(args, result, figures.pitch_bias(result), console.show_pitch_bias)
    return command_line.DONE


def read(path: Path, hertz: dict[str, float]) -> Answers:
    """The test part of a table of predictions.

    Raises:
        ValueError: the file is missing or holds no answers to a test part.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("part") == "test"]
    if not rows:
        raise ValueError(f"{path}: no answers to a test part")
    clips = [ravdess.parse(f"{row['clip']}.wav") for row in rows]
    return Answers(
        labels=np.array([clip.emotion for clip in clips]),
        predicted=np.array([EMOTIONS.index(row["predicted"]) for row in rows]),
        actors=np.array([clip.actor for clip in clips]),
        male=np.array([clip.sex == "male" for clip in clips]),
        hertz=np.array([hertz.get(clip.name, np.nan) for clip in clips]),
    )


def by_sex(answers: Answers, seed: int) -> dict:
    """Scores of each sex with intervals over actors, their difference, and how often chance alone makes as large a one.

    The permutation test deals the sexes anew among the actors: an actor's clips are not independent of each other.
    """
    rows = {}
    for name, members in (("male", answers.male), ("female", ~answers.male)):
        labels, predicted, actors = answers.labels[members], answers.predicted[members], answers.actors[members]
        rows[name] = {
            "answers": int(members.sum()),
            "actors": len(np.unique(actors)),
            **metrics.headline(labels, predicted),
            "interval95": metrics.bootstrap_intervals(labels, predicted, actors),
        }
    difference = rows["female"]["uar"] - rows["male"]["uar"]
    chance = permuted_differences(answers, seed)
    larger = np.abs(chance) >= abs(difference) - 1e-12
    return {**rows, "uar_difference": difference, "p_value": float((1 + larger.sum()) / (1 + len(chance)))}


def permuted_differences(answers: Answers, seed: int, draws: int = PERMUTATIONS) -> np.ndarray:
    """UAR of as many actors as there are women less that of the others, for random choices of them.

    Shape: -> [draws].
    """
    actors, actor_of = np.unique(answers.actors, return_inverse=True)
    right, total = np.zeros((len(actors), len(EMOTIONS))), np.zeros((len(actors), len(EMOTIONS)))
    np.add.at(total, (actor_of, answers.labels), 1)
    np.add.at(right, (actor_of, answers.labels), answers.labels == answers.predicted)
    women = len(np.unique(answers.actors[~answers.male]))
    generator = np.random.default_rng(seed)
    chosen = generator.permuted(np.tile(np.arange(len(actors)) < women, (draws, 1)), axis=1)

    def uar(members: np.ndarray) -> np.ndarray:
        said = members @ total
        return np.nanmean(np.divide(members @ right, said, out=np.full(said.shape, np.nan), where=said > 0), axis=1)

    return uar(chosen.astype(float)) - uar((~chosen).astype(float))


def by_pitch(answers: Answers) -> dict[str, list[dict]]:
    """Scores by thirds of the pitch: of all voices, of the men's and of the women's own."""
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.pitch_bias", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("predictions", help="predictions.csv of a training, or the table's of a cross-validation")
    add("--pitch", default=str(study.RESULTS / "pitch.csv"), help="of python -m experiments.pitch (%(default)s)")
    add("--seed", type=int, default=0, help="of the permutations (default: %(default)s)")
    study.add_output_options(parser, "pitch-bias")
    return parser


if __name__ == "__main__":
    sys.exit(main())
