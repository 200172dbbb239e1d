"""The committed results of the long checks as a table."""

import json
from collections.abc import Iterator
from pathlib import Path

from experiments import markdown

RESULTS = Path(__file__).resolve().parent / "results"


def update() -> None:
    """Write the pages anew."""
    from experiments import pages

    pages.write()


def table() -> str:
    """A row a figure, and the command that measures it."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        command = f"`{result['command']}`"
        for number, (what, found) in enumerate(ROWS[path.stem](result)):
            rows.append({"what": what, "found": found, "command": "" if number else command})
    return markdown.table(rows)


def _fuzz(result: dict) -> Iterator[tuple[str, str]]:
    counts = result["counts"]
    wrong = result["mutations"] - counts["answered"] - counts["refused"]
    yield "damaged files", f"{result['mutations']:,} (seed {result['seed']})"
    yield "answered; refused in one line", f"{counts['answered']:,}; {counts['refused']:,}"
    yield "tracebacks, crashes, hangs, more than 1 GB", f"{wrong}"
    yield "slowest file", f"{result['slowest_seconds']:.2f} s"
    yield "peak memory of the process", f"{result['megabytes_before']:.0f} MB before, {result['peak_megabytes']:.0f} MB"


def _files(result: dict) -> Iterator[tuple[str, str]]:
    yield "files at once, of them bad", f"{result['files']:,}, {result['bad']:,}; exit code {result['exit_code']}"
    yield "answered; listed as bad", f"{result['answered']:,}; {result['error_lines']:,}"
    yield "in the order of the files", "yes" if result["in_order"] and result["all_bad_listed"] else "no"
    yield (
        "first answer; all of them",
        f"{result['seconds_to_the_first_answer']:.1f} s; {result['seconds']:.0f} s",
    )
    yield "memory early; late", f"{result['megabytes_early']:.0f} MB; {result['megabytes_late']:.0f} MB"


def _kills(result: dict) -> Iterator[tuple[str, str]]:
    yield (
        "kill -9 of one training, of them while it wrote its state",
        f"{result['kills']}, {result['kills_while_writing']}",
    )
    same = result["same_weights"] and result["same_predictions"]
    yield "weights and predictions of the uninterrupted training, bit for bit", "yes" if same else "no"


def _memory(result: dict) -> Iterator[tuple[str, str]]:
    yield "watched", f"{result['seconds'] / 60:.0f} minutes"
    moments = {"after the first minute": result["megabytes_early"]}
    if "megabytes_by_minute" in result:
        moments["in the tenth"] = result["megabytes_by_minute"][9]
    moments |= {"in the last": result["megabytes_late"], "peak": result["megabytes_peak"]}
    yield "memory " + "; ".join(moments), "; ".join(f"{megabytes:.0f} MB" for megabytes in moments.values())


def _hours(result: dict) -> Iterator[tuple[str, str]]:
    for row in result["recordings"]:
        yield (
            f"a recording of {row['minutes']:.0f} minutes, stereo at 48 kHz",
            f"{row['seconds']:.0f} s; memory early, late, at most "
            f"{row['megabytes_early']:.0f}, {row['megabytes_late']:.0f}, {row['megabytes_peak']:.0f} MB",
        )


def _timeline(result: dict) -> Iterator[tuple[str, str]]:
    yield (
        f"a timeline of {result['minutes']:.0f} minutes, stereo MP3 at 48 kHz",
        f"{result['seconds']:.0f} s; memory early, late, at most "
        f"{result['megabytes_early']:.0f}, {result['megabytes_late']:.0f}, {result['megabytes_peak']:.0f} MB",
    )
    yield "the same segments through a pipe", "yes" if result["pipe_gives_the_same"] else "no"
    kept = result["interrupted"]
    same = "as before" if kept["kept_is_the_same"] else "others"
    yield "Ctrl-C after half of it", f"exit code {kept['exit_code']}; {kept['kept_seconds']:.0f} s kept, {same}"


def _speech(result: dict) -> Iterator[tuple[str, str]]:
    for what, share in result["speech_found"].items():
        count = result["noises_of_each_colour"] if what.startswith("noise") else result["clips"]
        yield f"{what}: speech found", f"{share:.1%} of {count:,}"


def _logits(result: dict) -> Iterator[tuple[str, str]]:
    yield "logits of the shipped weights that a test holds to 1e-4", f"{len(result['logits'])} clips"


ROWS = {
    "fuzz": _fuzz,
    "files": _files,
    "hours": _hours,
    "kills": _kills,
    "logits": _logits,
    "memory-prediction": _memory,
    "memory-training": _memory,
    "speech": _speech,
    "timeline": _timeline,
}
