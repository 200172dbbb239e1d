"""The tables of `docs/timeline.md`, as Markdown made of the committed JSON."""

from experiments import markdown
from experiments.page_tables import read, study_file


def timeline() -> str:
    """Scores of the timeline by setting, beside those of perfect cuts."""
    rows = []
    for name, row in read(study_file("timeline"))["settings"].items():
        found, perfect = row["timeline"], row["perfect_cuts"]
        scores = {"accuracy": "accuracy", "UAR": "uar", "segment F1": "segment_f1", "EDER": "eder"}
        parts = {"false alarm": "false_alarm", "missed": "missed"}
        rows.append(
            {"clips joined with": name}
            | {label: f"{found[key]:.3f}" for label, key in scores.items()}
            | {label: f"{found[key]:.3f}" for label, key in parts.items()}
            | {"accuracy, known times": f"{perfect['accuracy']:.3f}"}
        )
    return markdown.table(rows)


def vad() -> str:
    """In how many of the sounds each detector finds a voice."""
    result = read(study_file("vad"))
    titles = {"periodicity": "guard of `predict`", "silero": "cuts of the timeline"}
    rows = [
        {"sound": f"{prefix}{name}"} | {title: f"{row[key]:.1%}" for key, title in titles.items()}
        for group, prefix in (("voices", "voice: "), ("other_sounds", ""))
        for name, row in result[group].items()
    ]
    times = {title: f"{result['milliseconds'][key]:.0f} ms" for key, title in titles.items()}
    return markdown.table([*rows, {"sound": "a minute takes"} | times])
