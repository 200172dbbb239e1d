"""The tables about new speakers, as Markdown made of the committed JSON: other corpora, speaker groups, enrolment."""

from collections.abc import Iterable
from statistics import fmean

import numpy as np

from experiments import markdown
from experiments.page_tables import (
    HEADLINE,
    cross_validation,
    measured,
    read,
    study_file,
    unchosen,
    weights_file,
    with_spread,
)
from ser_gpu import corpora
from ser_gpu.evaluation import metrics, predictions

ALONE = "actors5-refit"
PRETRAINED = "actors5-pretrained-refit"
ORDINARY = "actors5-ordinary-refit"  # as `ALONE`, one seed, three copies of a clip instead of nine
OTHER_CORPORA_FIRST = "pretrained on other corpora, speaker groups"
# without test-time augmentation: by the recipe for eight corpora, by how many of its batches are speaker groups, and by
# the recipe of `PRETRAINED`
ONE_COPY = {
    "actors5-voices": "six other corpora first, speaker groups in half of the batches",
    "actors5-voices-grouped": "in all batches",
    "actors5-pretrained-one-copy": "seven other corpora first",
}
OF_EACH_CORPUS = "speakers-voices"  # the recipe for eight corpora, tested on new speakers of each corpus
FOLDS = range(5)  # of actors5
ENGLISH = ("RAVDESS speech", "SAVEE", "TESS")
SHOWN = {
    ("none", 0): "none",
    ("unlabelled", 8): "8 clips, any",
    ("labelled", 8): "8 clips, with labels",
    ("labelled", 16): "16 clips, with labels",
}
GAP, _GAP = "confidence minus accuracy", "confidence_above_accuracy"  # in a table, and in the JSON
# on corpora that were held out
VOICES, EIGHT = "cross-corpus-voices", "cross-corpus-eight"
VARIANTS = {
    "RAVDESS and nEMO, 35 dB (shipped)": VOICES,
    "the same, another seed": f"{VOICES}-seed1",
    "RAVDESS and nEMO, 80 dB": f"{VOICES}-80-db",
    "all eight corpora, 35 dB": f"{EIGHT}-35-db",
    "all eight corpora, 80 dB": EIGHT,
}
# the recipes that were compared on validation speakers, and what each is
RECIPES = {
    "voices-grouped": "all batches by speaker groups, 20 epochs",
    "voices-half": "half of the batches by speaker groups, 20 epochs",
    "voices-grouped-40": "all batches by speaker groups, 40 epochs",
    "voices-ordinary-pretrained": "ordinary batches, 40 epochs",
    "voices-ordinary": "ordinary batches, 60 epochs, without other corpora",
}
KINDS = {
    "none": "none",
    "unlabelled": "any, unlabelled",
    "neutral": "neutral",
    "labelled": "of all emotions, with labels",
    "all": "all, unlabelled, those that are scored too",
}


def results() -> str:
    """The README's table: what to expect of a known speaker, a new one, and one of another corpus."""
    table = []
    for speaker, name, test in (
        ("known", "stratified", "`stratified`: a tenth of the clips"),
        ("known", "grouped", "`grouped`: no repetitions in training"),
        ("new", ALONE, "`actors5-refit`: five speakers a fold"),
    ):
        scores = cross_validation(name)["summary"]["test"]
        table.append(_row(speaker, test, {label: with_spread(scores[key]) for label, key in HEADLINE.items()}))
    scores = unchosen(ALONE)
    table.append(_row("", str(scores["tested on"]), scores))
    enrolled = _enrolled(cross_validation(ORDINARY), "all answers")["labelled", 8]
    scores = {label: with_spread(enrolled[key], "sd") for label, key in HEADLINE.items()}
    table.append(_row("new, 8 labelled clips enrolled", "`actors5-refit`, one seed", scores))
    rows = _left_out()
    others = [row for row in rows if row["tested_on"] not in ENGLISH]
    every = f"{len(rows)} corpora, each left out"
    chance = lambda rows: f"chance: {fmean(1 / row['emotions'] for row in rows):.3f}"  # noqa: E731
    for speaker, test, found in (
        ("new, another corpus", f"{every}; {chance(rows)}", rows),
        ("new, another language", f"{len(others)} of these; {chance(others)}", others),
        ("new, 8 unlabelled clips enrolled", every, [each for row in rows if (each := with_clips(row))]),
        ("new, 8 labelled clips enrolled", every, [each for row in rows if (each := with_clips(row, "labelled"))]),
    ):
        table.append(_row(speaker, test, {"UAR": f"{fmean(each['uar'] for each in found):.3f}"}))
    return markdown.table(table)


def _row(speaker: str, test: str, scores: dict[str, object]) -> dict[str, object]:
    return {"speaker": speaker, "test": test} | {label: scores.get(label, "") for label in HEADLINE}


def new_speakers() -> str:
    """UAR, calibration and the difference between men and women, for new speakers, by what the model knows of them."""
    rows = [_pooled("RAVDESS alone", read(weights_file(f"crossvalidation/{ALONE}.json")))]
    means = _enrolled(read(weights_file(f"crossvalidation/{PRETRAINED}.json")), "all answers")
    (each,) = (row for row in read(study_file("enrolment-together"))["rows"] if row["recipes"] == [PRETRAINED])
    for row in _in_order(each["enrolment"]):
        setting = row["kind"], row["count"]
        if setting in SHOWN:
            rows.append(
                {"training": OTHER_CORPORA_FIRST, "enrolled": SHOWN[setting]}
                | {"UAR, mean of trainings": _uar(means[setting])}
                | {"UAR, ensemble of a fold's trainings": _uar(row), "ECE": f"{row['ece']['mean']:.3f}"}
                | {"men's UAR minus women's": f"{row['men_less_women']:+.3f}"}
            )
    return markdown.table(rows)


def new_speakers_voices() -> str:
    """The same without test-time augmentation, for one training a fold of each recipe of `ONE_COPY`."""
    rows = [{"enrolled": words} for words in (*SHOWN.values(), "none: men's UAR minus women's")]
    for name, share in ONE_COPY.items():
        table = read(weights_file(f"crossvalidation/{name}.json"))
        enrolled, of = _enrolled(table, "all answers"), table["pooled"]["all answers"]["by"]["gender"]
        uars = [*map(_uar, map(enrolled.get, SHOWN)), f"{of['male']['uar'] - of['female']['uar']:+.3f}"]
        errors = [*(f"{enrolled[setting]['ece']['mean']:.3f}" for setting in SHOWN), ""]
        for row, uar, ece in zip(rows, uars, errors, strict=True):
            row |= {f"{share}: UAR": uar, f"{share}: ECE": ece}
    return markdown.table(rows)


def enrolment() -> str:
    """UAR and calibration by the number and kind of enrolled clips, with the same clips without a voice beside it."""
    table = read(weights_file(f"crossvalidation/{PRETRAINED}.json"))
    mean, together = (_enrolled(table, key) for key in ("all answers", "seeds together"))
    rows = []
    for (kind, count), row in together.items():
        rows.append(
            {"enrolled clips": KINDS[kind], "number": "" if kind in ("none", "all") else count}
            | {"UAR, mean of trainings": _uar(mean[kind, count]), "UAR, ensemble of a fold's seeds": _uar(row)}
            | {"the same clips, not enrolled": f"{row['without']['uar']:.3f}"}
            | {"ECE": f"{row['ece']['mean']:.3f}", "ECE, not enrolled": f"{row['without']['ece']:.3f}"}
        )
    return markdown.table(rows)


def enrolment_shipped() -> str:
    """UAR of the shipped speaker-independent file by the number of enrolled clips."""
    rows = read(weights_file("runs/ser_ravdess_actors.enrolment.json"))["enrolment"]
    return markdown.table(
        [
            {"enrolled clips": KINDS[row["kind"]], "number": row["count"] or "", "UAR": _uar(row)}
            | {"the same clips, not enrolled": f"{row['without']['uar']:.3f}", "ECE": f"{row['ece']['mean']:.3f}"}
            for row in _in_order(rows)
        ]
    )


def cross_corpus(name: str) -> str:
    """UAR among the common emotions, on corpora of which nothing was in training; the mean over seeds.

    Args:
        name: of the stored result.
    """
    found: dict[tuple[str, str], list[dict]] = {}
    result = read(study_file(name))
    for row in result["rows"]:
        found.setdefault((row["trained_on"], row["tested_on"]), []).append(row)
    return measured(markdown.table([_held_out(*names, rows) for names, rows in found.items()]), result)


def _held_out(trained_on: str, tested_on: str, rows: list[dict]) -> dict[str, object]:
    """A row of the table; no scores with enrolled clips where the speakers have too few."""
    first = rows[0]
    enrolled = [each for row in rows if (each := with_clips(row))]
    return {
        "trained on": trained_on or corpora.get(corpora.names()[0]).title,  # of files that do not say it
        "tested on": tested_on,
        "trainings": len(rows),
        "clips": f"{first['clips']:,}",
        "emotions": first["emotions"],
        "UAR": f"{fmean(row['uar'] for row in rows):.3f}",
        "chance": f"{1 / first['emotions']:.3f}",
        "UAR, 8 clips enrolled": f"{fmean(each['uar'] for each in enrolled):.3f}" if enrolled else "",
        "UAR, the same clips, not enrolled": f"{fmean(each['without'] for each in enrolled):.3f}" if enrolled else "",
    }


def new_corpora() -> str:
    """New corpora, of which nothing was in the training: `ser_ravdess.pth`, and networks of the other recipe."""
    of_ravdess = {row["tested_on"]: row for row in read(study_file("cross-corpus-ravdess"))["rows"]}
    table = []
    for row in _left_out():
        low, high = row["interval95"]
        alone, enrolled = of_ravdess.get(row["tested_on"]), with_clips(row)
        table.append(
            {"tested on": row["tested_on"], "trained on": row["trained_on"], "chance": f"{1 / row['emotions']:.3f}"}
            | {"RAVDESS alone: UAR": alone and alone["uar"], f"RAVDESS alone: {GAP}": alone and alone[_GAP]}
            | {"UAR": row["uar"], "95 % interval": f"{low:.3f} to {high:.3f}"}
            | {"UAR, 8 clips enrolled": enrolled and enrolled["uar"], GAP: row["calibrated"][_GAP]}
        )
    both = [row for row in table if row["RAVDESS alone: UAR"] is not None]
    means = [_means(table, "mean")] + ([_means(both, "mean without RAVDESS")] if len(both) < len(table) else [])
    return markdown.table([{name: _shown(name, value) for name, value in row.items()} for row in [*table, *means]])


def new_speakers_of_each_corpus() -> str:
    """New speakers of corpora that were in training, among the emotions of each, beside corpora that were not."""
    answers = predictions.read(weights_file(f"crossvalidation/{OF_EACH_CORPUS}.predictions.csv.gz"))
    left_out = {row["tested_on"]: row["uar"] for row in _left_out(EIGHT)}
    genders, of = (np.array([getattr(clip, name) for clip in answers.clips]) for name in ("gender", "corpus"))
    table = []
    for title, name in sorted((corpora.get(name).title, name) for name in {*of.tolist()}):
        rows = of == name
        emotions = np.unique(answers.truth[rows])
        predicted = metrics.likeliest(answers.probabilities, emotions)
        uar = {
            gender: metrics.headline(answers.truth[own], predicted[own])["uar"]
            for gender, own in (("all", rows), *((each, rows & (genders == each)) for each in ("male", "female")))
            if own.any()
        }
        truth, speakers = answers.truth[rows], [clip.speaker for clip in answers.clips if clip.corpus == name]
        low, high = metrics.bootstrap_intervals(truth, predicted[rows], speakers)["uar"]
        shares = answers.probabilities[rows][:, emotions]
        confidence = shares.max(axis=1) / shares.sum(axis=1)
        table.append(
            {"tested on": title, "speakers": len({*speakers}), "clips": int(rows.sum())}
            | {"chance": 1 / len(emotions), "UAR": uar["all"], "95 % interval": f"{low:.3f} to {high:.3f}"}
            | {"men": uar.get("male"), "women": uar.get("female")}
            | {GAP: float(confidence.mean() - (predicted[rows] == truth).mean())}
            | {"UAR, the corpus left out": left_out.get(title)}
        )
    means: dict[str, object] = dict.fromkeys(table[0], "") | {"tested on": "mean"}
    for name in ("chance", "UAR", GAP, "UAR, the corpus left out"):
        means[name] = fmean(row[name] for row in table if row[name] is not None)
    return markdown.table([{name: _shown(name, value) for name, value in row.items()} for row in [*table, means]])


def with_clips(row: dict, kind: str = "unlabelled", count: int = 8) -> dict | None:
    """The scores with enrolled clips of a row of `experiments.cross_corpus`, if it has them."""
    return next((each for each in row["enrolled"] if (each["kind"], each["count"]) == (kind, count)), None)


def new_corpora_enrolled() -> str:
    """What enrolment gives on such corpora: the difference of UAR on the clips that are not enrolled."""
    table = [{"tested on": row["tested_on"]} | _gains(row) for row in _left_out()]
    names = dict.fromkeys(name for row in table for name in row if name != "tested on")
    mean = {name: fmean(row[name] for row in table if name in row) for name in names}
    return markdown.table(
        [
            {"tested on": row["tested on"]} | {name: f"{row[name]:+.3f}" if name in row else "" for name in names}
            for row in [*table, {"tested on": "mean"} | mean]
        ]
    )


def enrolment_gains() -> str:
    """The same as a mean, beside new speakers of a corpus that was in training."""
    ordinary = _enrolled(cross_validation(ORDINARY), "all answers")
    rows = [_gains(row) for row in _left_out()]
    table = []
    for kind, words in (("unlabelled", "emotions not named"), ("labelled", "emotions named")):
        for count in (8, 16):
            known, name = ordinary[kind, count], f"{count} clips, {kind}"
            gains = [row[name] for row in rows if name in row]
            table.append(
                {"enrolled": f"{count} clips, {words}"}
                | {"new speakers of RAVDESS": f"{known['uar']['mean'] - known['without']['uar']:+.3f}"}
                | {"corpora that were not in training, mean": f"{fmean(gains):+.3f}"}
            )
    return markdown.table(table)


def _gains(row: dict) -> dict[str, float]:
    return {f"{each['count']} clips, {each['kind']}": each["uar"] - each["without"] for each in row["enrolled"]}


def _means(rows: list[dict], title: str) -> dict[str, object]:
    found: dict[str, object] = dict.fromkeys(rows[0], "") | {"tested on": title}
    for name in ("RAVDESS alone: UAR", f"RAVDESS alone: {GAP}", "UAR", "UAR, 8 clips enrolled", GAP):
        found[name] = fmean(row[name] for row in rows if row[name] is not None)
    return found


def _shown(name: str, value: object) -> object:
    return format(value, "+.3f" if GAP in name else ".3f") if isinstance(value, float) else value or ""


def new_corpora_coverage() -> str:
    """What `--least` is worth on such corpora: the mean over them of the share answered, and of the share right."""
    rows = [row["calibrated"]["answered"] for row in _left_out()]
    return markdown.table(
        [
            {
                "answers with a confidence of at least": least,
                "answered": f"{fmean(row[least][0] for row in rows):.3f}",
                "right of these": _mean_of([row[least][1] for row in rows]),
                "corpora with an answer": sum(row[least][1] is not None for row in rows),
            }
            for least in rows[0]
        ]
    )


def variants() -> str:
    """By the corpora of a training and its dynamic range: UAR on corpora that were held out."""
    table = []
    for variant, name in VARIANTS.items():
        rows = _left_out(name)
        row = {"variant": variant} | {each["tested_on"]: f"{each['uar']:.3f}" for each in rows}
        row["mean"] = _mean_of([each["uar"] for each in rows])
        for kind, count in (("unlabelled", 8), ("labelled", 8), ("labelled", 16)):
            found = [each["uar"] for one in rows if (each := with_clips(one, kind, count))]
            row[f"mean, {count} clips, {kind}"] = _mean_of(found)
        table.append(row | {GAP: f"{fmean(each['calibrated'][_GAP] for each in rows):+.3f}"})
    return markdown.table(table)


def _left_out(name: str = VOICES) -> list[dict]:
    return sorted(read(study_file(name))["rows"], key=lambda row: row["tested_on"].lower())


def _mean_of(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):.3f}" if known else ""


def recipes() -> str:
    """Recipes of training and answering, compared on validation speakers: UAR without and with enrolled clips."""
    rows = []
    for name, recipe in RECIPES.items():
        table = read(study_file(name))
        enrolled = _enrolled(table, "all answers")
        validation = table["summary"]["validation"]
        rows.append(
            {"recipe": recipe, "trainings": table["runs"]}
            | {"no clips": f"{validation['uar']['mean']:.3f}"}
            | {f"{count} clips": f"{enrolled['unlabelled', count]['uar']['mean']:.3f}" for count in (4, 8, 16)}
            | {"all clips": f"{enrolled['all', 0]['uar']['mean']:.3f}"}
            | {"ECE, no clips": f"{enrolled['none', 0]['ece']['mean']:.3f}"}
            | {"ECE, 8 clips": f"{enrolled['unlabelled', 8]['ece']['mean']:.3f}"}
        )
    return markdown.table(rows)


def harm() -> str:
    """What enrolment does with clips that should not be enrolled."""
    study = read(study_file("enrolment-harm"))
    return markdown.table(
        [
            {"enrolled": row["name"]}
            | {"UAR": f"{row['uar']['mean']:.3f}", "standard deviation over draws": f"{row['uar']['sd']:.3f}"}
            | {"not enrolled": f"{row['without']['uar']:.3f}"}
            | {"difference": f"{row['uar']['mean'] - row['without']['uar']:+.3f}"}
            | {
                f"recall of the emotion, {when} a voice": f"{row['recall'][key]:.3f}" if row["recall"] else ""
                for when, key in (("without", "without"), ("with", "with"))
            }
            for row in study["rows"]
        ]
    )


def shrinkage() -> str:
    """Log loss by the number of enrolled clips and by the weight of the population, on validation speakers."""
    rows = read(study_file("shrinkage"))["rows"]
    counts = sorted({row["clips"] for row in rows})
    loss = {(row["population_windows"], row["clips"]): f"{row['log_loss']:.3f}" for row in rows}
    return markdown.table(
        [
            {"windows": f"{windows:g}"} | {f"{count} clips": loss[windows, count] for count in counts}
            for windows in sorted({row["population_windows"] for row in rows})
        ]
    )


def head_prior() -> str:
    """UAR and log loss by the number of labelled clips and by the prior of the head, on validation speakers."""
    rows = read(study_file("head-prior"))["rows"]
    found = {(row["prior"], row["clips"]): f"{row['uar']:.3f} / {row['log_loss']:.3f}" for row in rows}
    counts = sorted({row["clips"] for row in rows})
    return markdown.table(
        [
            {"prior": "last layer not adapted" if prior is None else f"{prior:g}"}
            | {f"{count} clips": found[prior, count] for count in counts}
            for prior in dict.fromkeys(row["prior"] for row in rows)
        ]
    )


def tta_copies() -> str:
    """What test-time augmentation gives, on validation speakers."""
    study = read(study_file("tta-copies"))
    heads = {"without": "", "enrolled": f", {study['clips']} clips enrolled"}
    return markdown.table(
        [
            {"copies": row["copies"]}
            | {
                f"{label}{head}": f"{row[part][name]:.3f}"
                for part, head in heads.items()
                for label, name in (("UAR", "uar"), ("log loss", "log_loss"))
            }
            for row in study["rows"]
        ]
    )


def _pooled(training: str, table: dict) -> dict[str, str]:
    pooled = table["pooled"]["seeds together"]
    of = pooled["by"]["gender"]
    mean = table["summary"]["test"]["uar"]
    return {
        "training": f"{training}: {table['runs'] // len(FOLDS)} a fold",
        "enrolled": "none",
        "UAR, mean of trainings": f"{mean['mean']:.3f} ± {mean['sd_folds']:.3f}",
        "UAR, ensemble of a fold's trainings": f"{pooled['uar']:.3f}",
        "ECE": f"{pooled['ece']:.3f}",
        "men's UAR minus women's": f"{of['male']['uar'] - of['female']['uar']:+.3f}",
    }


def _enrolled(table: dict, key: str) -> dict[tuple[str, int], dict]:
    return {(row["kind"], row["count"]): row for row in _in_order(table["enrolment"][key])}


def _in_order(rows: Iterable[dict]) -> list[dict]:
    kinds = [*KINDS]
    return sorted(rows, key=lambda row: (kinds.index(row["kind"]), row["count"]))


def _uar(row: dict) -> str:
    spread = row["uar"]["sd"]
    return f"{row['uar']['mean']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")
