"""What the pages say in figures: Markdown made of the committed JSON, one function a section."""

import json
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill

from ser_gpu.results import crossvalidation
from ser_gpu.results.figures.style import VOICES
from ser_gpu.results.tables import markdown

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("ser_ravdess", "ser_ravdess_actors")
HELD_OUT = {
    "stratified": "a tenth of the clips; every speaker is in training",
    "twin-safe": "a tenth of the clips and their repetitions",
    "actors5": "five actors (one fold: four)",
    "actors5-refit": "the same, with the two validation actors in training as well",
    "actors5-32-khz": "five actors (one fold: four), heard up to 16 kHz",
    "actors6": "four actors",
}
_HEADLINE = {"accuracy": "accuracy", "UAR": "uar", "macro F1": "macro_f1"}


def weights_file(name: str) -> Path:
    """A file of `weights/`."""
    return ROOT / "weights" / name


def study_file(name: str) -> Path:
    """The JSON of a study."""
    return ROOT / "experiments" / "results" / f"{name}.json"


def read(path: Path) -> dict:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def cross_validations() -> str:
    """Every cross-validation: mean and spread over its trainings; what was not measured says so."""
    rows = [row for name in HELD_OUT for row in _cross_validation(name)]
    return (
        f"{markdown(rows)}\n\n"
        "Means over folds and seeds; ± is the standard deviation over folds, of their means over seeds. Intervals\n"
        "(95 %) resample actors. Calibration error: 15 bins, after the temperature; mean over trainings, whose few\n"
        "hundred answers leave the bins to luck, and of all answers together. Printed by this, which trains what\n"
        "is missing (with `--seeds 0 1 2` where a row has three seeds):\n\n"
        "```\n"
        "python -m ser_gpu.crossvalidate --protocol PROTOCOL --runs weights/crossvalidation \\\n"
        "  --table weights/crossvalidation/PROTOCOL.json\n"
        "```\n\n"
        "A refit repeats each training with its validation part in it, and keeps its temperature: the same with\n"
        "`--refit weights/crossvalidation/actors5`, and `actors5-refit` in the table's name. At 32 kHz: the same with\n"
        "`--name actors5-32-khz --set audio.sample_rate=32000 mel.n_fft=2048 mel.hop=512 mel.f_max=16000\n"
        "trim.frame_length=4096 trim.hop=1024`.\n\n"
        f"{_arithmetic()}"
    )


def folds_of_new_voices() -> str:
    """The UAR of each training of `actors5`: a row for each fold, against which one more seed of it is to be read."""
    trainings = read(weights_file("crossvalidation/actors5.json"))["rows"]
    rows = []
    for fold in sorted({row["fold"] for row in trainings}):
        of_fold = sorted((row for row in trainings if row["fold"] == fold), key=lambda row: row["seed"])
        uar = crossvalidation.summary(of_fold, "test")["uar"]
        rows.append(
            {"fold": fold, "UAR": _with_spread(uar, "sd_seeds")}
            | {f"seed {row['seed']}": f"{row['test']['uar']:.3f}" for row in of_fold}
        )
    return markdown(rows)


def headline() -> str:
    """The default weights' scores with intervals."""
    scores = read(weights_file("ser_ravdess.evaluation.json"))
    return (
        f"`{scores['protocol']}` split {scores['fold']}, seed {scores['seed']}, {scores['clips']} test clips, by\n"
        "`python -m ser_gpu.evaluate weights/ser_ravdess.pth` ([JSON](weights/ser_ravdess.evaluation.json)):\n\n"
        f"{_scores_with_intervals(scores)}"
    )


def trainings() -> str:
    """Each shipped file: who was in its training, and how to train it again; and what a longer training is worth."""
    return "\n\n".join([*(_training(name) for name in SHIPPED), _schedules()])


def evaluations() -> str:
    """Each shipped file on its own test part: overall, per emotion, and for groups of clips."""
    return "\n\n".join(_evaluation(name) for name in SHIPPED)


def robustness() -> str:
    """UAR under every condition, a column for each model."""
    models = read(study_file("robustness"))["models"]
    return markdown(
        [
            {"condition": condition}
            | {f"`{model['name']}`": f"{model['conditions'][condition]['uar']:.3f}" for model in models}
            for condition in models[0]["conditions"]
        ]
    )


def pitch_counterfactual() -> str:
    """Accuracy of each sex with the pitch moved."""
    return markdown(
        [
            {"pitch moved by": f"{row['semitones']:+d} semitones"}
            | {f"{word}: accuracy": f"{row['by_sex'][sex]['accuracy']:.3f}" for sex, word in VOICES.items()}
            for row in read(study_file("pitch-counterfactual"))["shifts"][::2]
        ]
    )


def pitch_bias() -> str:
    """Men's and women's voices, the test of their difference, listeners, and thirds of the pitch."""
    bias = read(study_file("pitch-bias"))
    sexes = [
        {
            "voices": VOICES[sex],
            "answers": bias["by_sex"][sex]["answers"],
            "accuracy": f"{bias['by_sex'][sex]['accuracy']:.3f}",
            "UAR": f"{bias['by_sex'][sex]['uar']:.3f}",
            "interval of the UAR": _interval(bias["by_sex"][sex]),
            "listeners": f"{bias['listeners'][sex]:.3f}",
        }
        for sex in VOICES
    ]
    thirds = [
        {"pitch": f"{row['third']} third of {whose}", "median": f"{row['median_hz']:.0f} Hz"}
        | {"answers": row["answers"], "accuracy": f"{row['accuracy']:.3f}", "UAR": f"{row['uar']:.3f}"}
        for group, whose in (("all", "all"), *((sex, word) for sex, word in VOICES.items()))
        for row in bias["by_pitch"][group]
    ]
    difference = bias["by_sex"]["uar_difference"]
    hardest, easiest = (choose(thirds, key=lambda row: float(row["UAR"])) for choose in (min, max))
    return (
        f"{markdown(sexes)}\n\n"
        f"Women's voices less men's: {100 * difference:+.1f} points of UAR; permutation test over actors, "
        f"p = {bias['by_sex']['p_value']:.2g}.\nHardest are the clips of the {hardest['pitch']}, easiest those of the "
        f"{easiest['pitch']}.\n\n"
        f"{markdown(thirds)}"
    )


def ablation() -> str:
    """Every variant of the recipe against it, after a third of its epochs."""
    return _ablation("ablation")


def ablation_full_length() -> str:
    """The decisive variants once more, after all epochs."""
    return _ablation("ablation-full-length")


def ablation_pictures() -> str:
    """Other pictures of a clip, on the validation voices of all folds."""
    return _ablation("ablation-pictures")


def _ablation(name: str) -> str:
    table = read(study_file(name))
    rows = [
        {
            "variant": variant["name"],
            "runs": variant["runs"],
            "parameters": f"{variant['parameters']:,}",
            "UAR": f"{variant['validation']['uar']:.3f}",
            "difference": f"{variant['difference']:+.3f}",
            "standard error": f"{variant['standard_error']:.3f}",
            "calibration error": f"{variant['validation']['calibration_error']:.3f}",
        }
        for variant in table["variants"]
    ]
    return markdown(rows)


def _cross_validation(name: str) -> list[dict[str, str]]:
    path = weights_file(f"crossvalidation/{name}.json")
    first = {"protocol": f"`{name}`", "tested on": HELD_OUT[name]}
    if not path.exists():
        empty = dict.fromkeys((*_HEADLINE, "interval of the UAR", "calibration error", "of all answers"), "")
        return [first | {"trainings": "not measured"} | empty]
    table = read(path)
    seeds, folds = (len({row[axis] for row in table["rows"]}) for axis in ("seed", "fold"))
    scores = table["summary"]["test"]
    rows = [
        first
        | {"trainings": f"{table['runs']}: folds {folds}, seeds {seeds}"}
        | {label: _with_spread(scores[key]) for label, key in _HEADLINE.items()}
        | {"interval of the UAR": _interval(table["pooled"]["all answers"])}
        | {"calibration error": f"{scores['calibration_error']['mean']:.3f}"}
        | {"of all answers": f"{table['pooled']['all answers']['calibration_error']:.3f}"}
    ]
    if together := table["pooled"].get("seeds together"):
        rows.append(
            {"protocol": "", "tested on": "the same, a fold's seeds as one model"}
            | {"trainings": f"{folds}: folds {folds}"}
            | {label: f"{together[key]:.3f}" for label, key in _HEADLINE.items()}
            | {"interval of the UAR": _interval(together)}
            | {"calibration error": "", "of all answers": f"{together['calibration_error']:.3f}"}
        )
    return rows


def _arithmetic() -> str:
    """Which trainings of a table were in bfloat16."""
    paths = {name: weights_file(f"crossvalidation/{name}.json") for name in HELD_OUT}
    rows = {name: read(path)["rows"] for name, path in paths.items() if path.exists()}
    short = {name: sum(row["bfloat16"] for row in each) for name, each in rows.items()}
    said = ", ".join(f"{count} of {len(rows[name])} of `{name}`" for name, count in short.items() if count)
    return fill(f"The network was trained in bfloat16 in {said or 'none of them'}; in float32 in all others.", 120)


def _training(name: str) -> str:
    result = read(weights_file(f"{name}.training.json"))
    training, machine = result["config"]["training"], result["environment"]
    arithmetic = "bfloat16" if result["bfloat16"] else "float32"
    return (
        f"**`{name}.pth`**: `{result['protocol']}`, fold {result['fold']}, seed {result['seed']}; tested on "
        f"{result['test']['clips']} clips.\n{result['parameters']:,} parameters, {training['epochs']} epochs, "
        f"temperature {result['temperature']:.3f}. {result['seconds'] / 60:.0f} minutes on {machine['device']}, "
        f"{machine['threads']} thread, {arithmetic}, torch {machine['torch']}.\n"
        f"Manifest hash `{result['manifest_hash']}`.\n\n"
        f"```\npython -m ser_gpu.train --protocol {result['protocol']} --fold {result['fold']} --seed {result['seed']}"
        f"\n```\n\n"
        f"Every setting: [{name}.training.json]({name}.training.json). History: "
        f"[{name}.metrics.csv]({name}.metrics.csv).\n\n"
        f"![Loss and validation scores by epoch]({name}.curves.png)"
    )


def _schedules() -> str:
    files = [
        weights_file(name)
        for protocol in ("stratified", "twin-safe")
        for name in (f"runs/{protocol}-60-epochs.json", f"crossvalidation/{protocol}/fold0-seed0/result.json")
    ]
    rows = [
        {"training": f"`{result['protocol']}`, fold {result['fold']}", "epochs": result["config"]["training"]["epochs"]}
        | {
            f"{part}: {label}": f"{result[part][key]:.3f}"
            for part in ("validation", "test")
            for label, key in {"accuracy": "accuracy", "log loss": "log_loss"}.items()
        }
        for result in map(read, files)
    ]
    return (
        "`ser_gpu.train` takes 120 epochs where every speaker is in training, and 60 where not. The longer schedule\n"
        "was chosen on the validation part of `stratified`. By one split of each, what it learns there is mostly the\n"
        "twins: kept together, they leave it little to gain, and [new voices nothing]"
        "(../experiments/README.md#at-full-length).\n\n"
        f"{markdown(rows)}"
    )


def _evaluation(name: str) -> str:
    scores = read(weights_file(f"{name}.evaluation.json"))
    resampled = "clips" if scores["protocol"] in ("stratified", "twin-safe") else "actors"
    emotions = [
        {"emotion": emotion, "clips": each["clips"]}
        | {label: f"{each[label.lower()]:.3f}" for label in ("precision", "recall", "F1")}
        for emotion, each in scores["per_emotion"].items()
    ]
    groups = [
        {"group": group, "clips": each["clips"]} | {label: f"{each[key]:.3f}" for label, key in _HEADLINE.items()}
        for group, each in _groups(scores)
    ]
    return (
        f"### `{name}.pth` on its test part\n\n"
        f"`python -m ser_gpu.evaluate weights/{name}.pth` ([JSON]({name}.evaluation.json)): `{scores['protocol']}`, "
        f"fold {scores['fold']}, {scores['clips']} clips; intervals resample {resampled}.\n\n"
        f"{_scores_with_intervals(scores)}\n\n{markdown(emotions)}\n\n{markdown(groups)}\n\n"
        f"![Confusion matrix of the test part]({name}.confusion.png)\n\n"
        f"![How often it is right against how sure it is]({name}.reliability.png)"
    )


def _groups(scores: dict) -> Iterable[tuple[str, dict]]:
    yield from ((VOICES[sex], each) for sex, each in scores["by_sex"].items())
    yield from ((f"{intensity} intensity", each) for intensity, each in scores["by_intensity"].items())


def _scores_with_intervals(scores: dict) -> str:
    rows = [
        {"": label, "test part": f"{scores[key]:.3f}", "95 % interval": _interval(scores, key)}
        for label, key in _HEADLINE.items()
    ]
    for label, key in (
        ("calibration error (15 bins)", "calibration_error"),
        ("the same before temperature", "calibration_error_before_temperature"),
    ):
        rows.append({"": label, "test part": f"{scores[key]:.3f}", "95 % interval": ""})
    return markdown(rows)


def _with_spread(score: dict[str, float | None], over: str = "sd_folds") -> str:
    spread = score[over]
    return f"{score['mean']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _interval(report: dict, metric: str = "uar") -> str:
    return "{:.3f} to {:.3f}".format(*report["interval95"][metric])
