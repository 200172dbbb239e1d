"""The tables of the pages, as Markdown made of the committed JSON: one function a table."""

import json
from collections.abc import Iterable
from dataclasses import fields
from inspect import getdoc
from pathlib import Path

import numpy as np

from experiments import markdown
from experiments.figures.style import VOICES
from ser_gpu import crossvalidate
from ser_gpu.config import ModelConfig
from ser_gpu.evaluation import metrics, predictions
from ser_gpu.training.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
CROSS_VALIDATIONS = {
    "stratified": "a tenth of the clips",
    "grouped": "a tenth of the clips, with their repetitions",
    "stratified-voices": "a tenth of the clips of RAVDESS and nEMO, by the recipe of `ser_voices`; without TTA",
    "actors5": "five speakers a fold (one fold: four)",
    "actors5-refit": "the same; validation speakers in training too",
    "actors5-pretrained-refit": "the same; pretrained on seven other corpora, by speaker groups",
    "actors5-voices": "the same; pretrained on six other corpora, by the recipe for eight corpora; without TTA",
    "actors5-voices-grouped": "the same, all batches by speaker groups",
    "actors5-pretrained-one-copy": "as `actors5-pretrained-refit`, one seed; without TTA",
    "actors6": "four speakers",
}
ABLATIONS = ("ablation", "ablation-full-length", "ablation-spectrograms")
SEEN = ("stratified", "grouped")
HEADLINE = {"accuracy": "accuracy", "UAR": "uar", "macro F1": "macro_f1"}
_LEAST = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_TOGETHER = "the same; ensemble of a fold's seeds"
# validation speakers of `search` and `actors5`, by whom the settings were chosen; each is a test speaker of some fold
CHOSEN_BY = {"01", "02", "03", "05", "06", "08", "10", "11", "14", "17"}


def weights_file(name: str) -> Path:
    """A file of `weights/`."""
    return ROOT / "weights" / name


def study_file(name: str) -> Path:
    """The JSON of a study."""
    return ROOT / "experiments" / "results" / f"{name}.json"


def read(path: Path) -> dict:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def measured(table: str, *results: dict) -> str:
    """A table, and below it the versions of ser_gpu that its results were measured with."""
    versions = sorted({each["environment"]["ser_gpu"] for each in results})
    return f"{table}\n\nMeasured with ser_gpu {', '.join(versions)}."


def settings() -> str:
    """A heading and a table for each part of the settings, from the fields."""
    sections = []
    for name, part in {"training": TrainConfig(), **vars(ModelConfig())}.items():
        rows = [
            {
                "setting": f"`{name}.{each.name}`",
                "default": f"`{str(each.default).lower() if isinstance(each.default, bool) else each.default}`",
                "must be": ", ".join(words for _, words in each.metadata.get("rules", ())),
                "flag": f"`--{each.name.replace('_', '-')}`" if each.metadata.get("help") else "",
            }
            for each in fields(part)
        ]
        sections.append(f"## {name}\n\n{getdoc(type(part))}\n\n{markdown.table(rows)}")
    return "\n\n".join(sections)


def cross_validations() -> str:
    """Every cross-validation: mean and spread over its trainings, and the scores of all answers pooled."""
    rows, trainings = [], []
    for name, tested_on in CROSS_VALIDATIONS.items():
        table = cross_validation(name)
        seeds, folds = (len({row[axis] for row in table["rows"]}) for axis in ("seed", "fold"))
        scores, pooled = table["summary"]["test"], table["pooled"]
        trainings += table["rows"]
        rows.append(
            {"protocol": f"`{name}`", "tested on": tested_on}
            | {"trainings": f"{table['runs']} ({folds} x {seeds})"}
            | {label: with_spread(scores[key]) for label, key in HEADLINE.items()}
            | {"95 % interval of the UAR": _interval(pooled["all answers"])}
            | {"ECE, mean over runs": f"{scores['ece']['mean']:.3f}"}
            | {"ECE, pooled": f"{pooled['all answers']['ece']:.3f}"}
            | {"in bfloat16": sum(row["bfloat16"] for row in table["rows"])}
        )
        if together := pooled.get("seeds together"):
            rows.append(
                {"protocol": "", "tested on": _TOGETHER, "trainings": ""}
                | {label: f"{together[key]:.3f}" for label, key in HEADLINE.items()}
                | {"95 % interval of the UAR": _interval(together), "ECE, mean over runs": ""}
                | {"ECE, pooled": f"{together['ece']:.3f}", "in bfloat16": ""}
            )
        if name.startswith("actors5"):
            rows.append(unchosen(name))
    return measured(markdown.table(rows), *trainings)


def unchosen(name: str) -> dict[str, object]:
    """The scores on the speakers on whom no setting was chosen."""
    answers = predictions.read(weights_file(f"crossvalidation/{name}.predictions.csv.gz"))
    rows = np.array([clip.speaker not in CHOSEN_BY for clip in answers.clips])
    truth, predicted = answers.truth[rows], answers.predicted[rows]
    speakers = [clip.speaker for clip, kept in zip(answers.clips, rows, strict=True) if kept]
    scores = metrics.headline(truth, predicted)
    scores["interval95"] = metrics.bootstrap_intervals(truth, predicted, speakers)
    ece = metrics.calibration_error(metrics.reliability(truth, answers.probabilities[rows]))
    return (
        {
            "protocol": "",
            "tested on": f"its {len({*speakers})} speakers on whom no setting was chosen",
            "trainings": "",
        }
        | {label: f"{scores[key]:.3f}" for label, key in HEADLINE.items()}
        | {"95 % interval of the UAR": _interval(scores), "ECE, mean over runs": ""}
        | {"ECE, pooled": f"{ece:.3f}", "in bfloat16": ""}
    )


def actors5_folds() -> str:
    """The UAR of each training of `actors5`, a row a fold."""
    trainings = cross_validation("actors5")["rows"]
    rows = []
    for fold in sorted({row["fold"] for row in trainings}):
        of_fold = sorted((row for row in trainings if row["fold"] == fold), key=lambda row: row["seed"])
        uar = crossvalidate.summary(of_fold, "test")["uar"]
        rows.append(
            {"fold": fold, "UAR": with_spread(uar, "sd_seeds")}
            | {f"seed {row['seed']}": f"{row['test']['uar']:.3f}" for row in of_fold}
        )
    return markdown.table(rows)


def trainings() -> str:
    """How each of the shipped files was trained, a column a file."""
    shipped = {name: read(weights_file(f"{name}.training.json")) for name in ("ser_ravdess", "ser_ravdess_actors")}
    facts = {
        "protocol": lambda result: f"`{result['protocol']}`",
        "fold or split": lambda result: result["fold"],
        "seed": lambda result: result["seed"],
        "test clips": lambda result: result["test"]["clips"],
        "parameters": lambda result: f"{result['parameters']:,}",
        "epochs": lambda result: result["config"]["training"]["epochs"],
        "temperature": lambda result: f"{result['temperature']:.3f}",
        "minutes": lambda result: f"{result['seconds'] / 60:.0f}",
        "device": lambda result: result["environment"]["device"],
        "threads": lambda result: result["environment"]["threads"],
        "precision": lambda result: "bfloat16" if result["bfloat16"] else "float32",
        "ser_gpu": lambda result: result["environment"]["ser_gpu"],
        "torch": lambda result: result["environment"]["torch"],
        "manifest hash": lambda result: f"`{result['manifest_hash'][:16]}`",
    }
    return markdown.table(
        [
            {"": fact} | {f"`{name}.pth`": value(result) for name, result in shipped.items()}
            for fact, value in facts.items()
        ]
    )


def schedules() -> str:
    """60 epochs beside 120 on one split of each protocol whose speakers are in training."""
    rows = []
    for protocol in SEEN:
        shorter = read(weights_file(f"runs/{protocol}-60-epochs.json"))
        longer = next(row for row in cross_validation(protocol)["rows"] if (row["fold"], row["seed"]) == (0, 0))
        rows += [
            {"training": f"`{protocol}`, split 0", "epochs": result["config"]["training"]["epochs"]}
            | {
                f"{part}: {label}": f"{result[part][key]:.3f}"
                for part in ("validation", "test")
                for label, key in {"accuracy": "accuracy", "log loss": "log_loss"}.items()
            }
            for result in (shorter, longer)
        ]
    return markdown.table(rows)


def scores(name: str) -> str:
    """Headline scores of a shipped file on its test part, with intervals."""
    report = read(weights_file(f"{name}.evaluation.json"))
    rows = [
        {"": label, "test part": f"{report[key]:.3f}", "95 % interval": _interval(report, key)}
        for label, key in HEADLINE.items()
    ]
    for label, key in {"ECE (15 bins)": "ece", "ECE before temperature": "ece_before_temperature"}.items():
        rows.append({"": label, "test part": f"{report[key]:.3f}", "95 % interval": ""})
    return markdown.table([*rows, {"": "clips", "test part": report["clips"], "95 % interval": ""}])


def emotions(name: str) -> str:
    """Precision, recall and F1 of each emotion, of a shipped file."""
    return markdown.table(
        [
            {"emotion": emotion, "clips": each["clips"]}
            | {label: f"{each[label.lower()]:.3f}" for label in ("precision", "recall", "F1")}
            for emotion, each in read(weights_file(f"{name}.evaluation.json"))["per_emotion"].items()
        ]
    )


def groups(name: str) -> str:
    """Scores of a shipped file by gender and by intensity."""
    return markdown.table(
        [
            {"clips": group, "number": each["clips"]} | {label: f"{each[key]:.3f}" for label, key in HEADLINE.items()}
            for group, each in _by(read(weights_file(f"{name}.evaluation.json"))["by"])
        ]
    )


def robustness(name: str) -> str:
    """UAR under every condition, a column a model."""
    models = read(study_file(name))["models"]
    named = {f"`{model['name']}`": model for model in models} if len(models) > 1 else {"UAR": models[0]}
    rows = [
        {"condition": condition}
        | {name: f"{model['conditions'][condition]['uar']:.3f}" for name, model in named.items()}
        for condition in models[0]["conditions"]
    ]
    return measured(markdown.table(rows), *models)


def pitch_counterfactual() -> str:
    """Accuracy by gender with the pitch moved."""
    rows, result = [], read(study_file("pitch-counterfactual"))
    for shift in result["shifts"][::2]:
        of = shift["by"]["gender"]
        accuracy = {f"{words}: accuracy": f"{of[gender]['accuracy']:.3f}" for gender, words in VOICES.items()}
        rows.append({"pitch moved by": f"{shift['semitones']:+d} semitones"} | accuracy)
    return measured(markdown.table(rows), result)


def pitch_bias() -> str:
    """Men's and women's voices beside listeners, and the difference with its p value."""
    bias = read(study_file("pitch-bias"))
    rows = [
        {
            "voices": words,
            "answers": row["answers"],
            "accuracy": f"{row['accuracy']:.3f}",
            "UAR": f"{row['uar']:.3f}",
            "95 % interval of the UAR": _interval(row),
            "listeners: accuracy": f"{bias['listeners'][gender]:.3f}",
            "p value": "",
        }
        for gender, words in VOICES.items()
        for row in [bias["by"]["gender"][gender]]
    ]
    difference = {
        "voices": "women's minus men's",
        "answers": "",
        "accuracy": "",
        "UAR": f"{bias['uar_difference']:+.3f}",
        "95 % interval of the UAR": "",
        "listeners: accuracy": f"{bias['listeners']['female'] - bias['listeners']['male']:+.3f}",
        "p value": f"{bias['p_value']:.2g}",
    }
    return markdown.table([*rows, difference])


def pitch_thirds() -> str:
    """Scores by thirds of the pitch."""
    bias = read(study_file("pitch-bias"))
    return markdown.table(
        [
            {"pitch": f"{row['third']} third of {words}", "median": f"{row['median_hz']:.0f} Hz"}
            | {"answers": row["answers"], "accuracy": f"{row['accuracy']:.3f}", "UAR": f"{row['uar']:.3f}"}
            for group, words in {"all": "all", **VOICES}.items()
            for row in bias["by_pitch"][group]
        ]
    )


def risk_and_coverage() -> str:
    """How many clips are answered, and how many of these answers are right, where the model says "unsure" below a
    confidence."""
    shown = {name: _shares_and_accuracies(name) for name in ("stratified", "actors5-refit")}
    return markdown.table(
        [
            {"answers with a confidence of at least": f"{least:.1f}" if least else "any"}
            | {
                f"`{name}`: {what}": f"{value:.3f}"
                for name, rows in shown.items()
                for what, value in zip(("answered", "right of these"), rows[at], strict=True)
            }
            for at, least in enumerate(_LEAST)
        ]
    )


def _shares_and_accuracies(name: str) -> list[tuple[float, float]]:
    answers = predictions.read(weights_file(f"crossvalidation/{name}.predictions.csv.gz"))
    confidence, right = answers.probabilities.max(axis=1), answers.predicted == answers.truth
    return [(float((confidence >= least).mean()), float(right[confidence >= least].mean())) for least in _LEAST]


def ablation(name: str) -> str:
    """Every variant of a stored ablation against its first one."""
    result = read(study_file(name))
    rows = [
        {
            "variant": variant["name"],
            "runs": variant["runs"],
            "parameters": f"{variant['parameters']:,}",
            "UAR": f"{variant['validation']['uar']:.3f}",
            "difference": f"{variant['difference']:+.3f}",
            "standard error": f"{variant['standard_error']:.3f}",
            "ECE": f"{variant['validation']['ece']:.3f}",
        }
        for variant in result["variants"]
    ]
    return measured(markdown.table(rows), result)


def any_voice() -> str:
    """Variants of the recipe on corpora that were held out."""
    result = read(study_file("any-voice"))
    rows = [
        {"variant": variant["name"], "settings": f"`{' '.join(variant['settings'])}`", "runs": variant["runs"]}
        | {"UAR": f"{variant['test']['uar']:.3f}"}
        | {name: f"{each['uar']:.3f}" for name, each in variant["test"]["by_corpus"].items()}
        | {"log loss": f"{variant['test']['log_loss']:.3f}"}
        | {"confidence minus accuracy": f"{variant['test']['confidence_above_accuracy']:+.3f}"}
        for variant in result["variants"]
    ]
    return markdown.table(rows)


def cross_validation(name: str) -> dict:
    """The result of `ser-gpu crossvalidate`."""
    return read(weights_file(f"crossvalidation/{name}.json"))


def _by(facets: dict[str, dict[str, dict]]) -> Iterable[tuple[str, dict]]:
    yield from ((VOICES[gender], each) for gender, each in facets["gender"].items())
    yield from ((f"{intensity} intensity", each) for intensity, each in facets["intensity"].items())


def with_spread(score: dict[str, float | None], over: str = "sd_folds") -> str:
    """A mean, and its standard deviation where there is one."""
    spread = score[over]
    return f"{score['mean']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _interval(report: dict, metric: str = "uar") -> str:
    return "{:.3f} to {:.3f}".format(*report["interval95"][metric])
