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


def timeline_voices() -> str:
    """Scores of timelines of new speakers by what is known of who speaks."""
    labels = {"accuracy": "accuracy", "UAR": "uar", "EDER": "eder"}
    return markdown.table(
        [
            {"recording": recording, "who speaks": known} | {label: f"{row[key]:.3f}" for label, key in labels.items()}
            for recording, rows in read(study_file("timeline-voices"))["recordings"].items()
            for known, row in rows.items()
        ]
    )


def vad() -> str:
    """In how many of the sounds each detector finds a voice, and how sure silero is of one."""
    result = read(study_file("vad"))
    cuts = "cuts of the timeline"
    named = {"periodicity": "periodicity", "silero": cuts, "cuts": cuts, "third frame": "three frames"}
    titles = {key: title for key, title in named.items() if key in result["milliseconds"]}
    prefixes = {"voices": "voice: ", "no_words": "no words: ", "other_sounds": ""}
    rows = []
    for group, prefix in prefixes.items():
        for name, row in result.get(group, {}).items():
            shares = {title: f"{row[key]:.1%}" for key, title in titles.items()}
            sure = row.get("silero_probability")
            if sure:
                shares["third-highest probability: least, median, most"] = ", ".join(f"{p:.2f}" for p in sure.values())
            rows.append({"sound": f"{prefix}{name}"} | shares)
    for shown, key in (("a minute takes", "milliseconds"), ("the first clip takes", "milliseconds_first_clip")):
        if key in result:
            times = {title: f"{result[key][detector]:.0f} ms" for detector, title in titles.items()}
            rows.append(dict.fromkeys(rows[0], "") | {"sound": shown} | times)
    return markdown.table(rows)
