"""python -m experiments.pages: write every generated table and figure of the pages, from the committed JSON.

A page marks the place of a table with `<!-- NAME: begin -->` and `<!-- NAME: end -->`; all other text is written by
hand.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import report as benchmarks
from experiments import enrolment_tables, page_tables, timeline_tables
from ser_gpu.cli import options
from ser_gpu.errors import InputError
from ser_gpu.files import replacing
from tests.long import report as long_checks

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(
    ROOT / name
    for name in (
        "README.md",
        "weights/README.md",
        "experiments/README.md",
        "benchmarks/README.md",
        "tests/README.md",
        "docs/results.md",
        "docs/voices.md",
        "docs/enrolment.md",
        "docs/cross-corpus.md",
        "docs/robustness.md",
        "docs/gender-and-pitch.md",
        "docs/timeline.md",
        "docs/scale.md",
        "docs/settings.md",
    )
)
TABLES: dict[str, Callable[[], str]] = {
    "results": enrolment_tables.results,
    "settings": page_tables.settings,
    "cross-validations": page_tables.cross_validations,
    "actors5-folds": page_tables.actors5_folds,
    "risk-and-coverage": page_tables.risk_and_coverage,
    "trainings": page_tables.trainings,
    "schedules": page_tables.schedules,
    **{
        f"{name}-{table.__name__}": partial(table, name)
        for name in ("ser_ravdess", "ser_ravdess_actors")
        for table in (page_tables.scores, page_tables.emotions, page_tables.groups)
    },
    **{name: partial(page_tables.robustness, name) for name in ("robustness", "robustness-voices")},
    "pitch-bias": page_tables.pitch_bias,
    "pitch-thirds": page_tables.pitch_thirds,
    "pitch-counterfactual": page_tables.pitch_counterfactual,
    **{name: partial(page_tables.ablation, name) for name in page_tables.ABLATIONS},
    "new-speakers": enrolment_tables.new_speakers,
    "new-speakers-voices": enrolment_tables.new_speakers_voices,
    "enrolment": enrolment_tables.enrolment,
    "enrolment-gains": enrolment_tables.enrolment_gains,
    "enrolment-shipped": enrolment_tables.enrolment_shipped,
    **{name: partial(enrolment_tables.cross_corpus, name) for name in ("cross-corpus", "cross-corpus-loco")},
    "any-voice": page_tables.any_voice,
    "new-corpora": enrolment_tables.new_corpora,
    "new-speakers-of-each-corpus": enrolment_tables.new_speakers_of_each_corpus,
    "new-corpora-enrolled": enrolment_tables.new_corpora_enrolled,
    "new-corpora-coverage": enrolment_tables.new_corpora_coverage,
    "any-voice-variants": enrolment_tables.variants,
    "recipes": enrolment_tables.recipes,
    "tta-copies": enrolment_tables.tta_copies,
    "shrinkage": enrolment_tables.shrinkage,
    "head-prior": enrolment_tables.head_prior,
    "enrolment-harm": enrolment_tables.harm,
    "timeline": timeline_tables.timeline,
    "timeline-voices": timeline_tables.timeline_voices,
    "vad": timeline_tables.vad,
    "speed": benchmarks.summary_table,
    "benchmarks": benchmarks.tables,
    "score": partial(benchmarks.tables_of, "score"),
    "long-checks": long_checks.table,
}
_MARKED = re.compile(r"(?P<begin><!-- (?P<name>[\w-]+): begin -->\n).*?(?P<end><!-- (?P=name): end -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the pages."""
    parser = argparse.ArgumentParser(prog="python -m experiments.pages", description=__doc__.splitlines()[0])
    parser.parse_args(arguments)
    return options.run(_write)


def _write() -> int:
    write()
    return options.DONE


def write() -> None:
    """Write all pages, once every table of theirs could be made.

    Raises:
        ValueError: a page marks a table that there is not.
    """
    for page, text in {page: updated(page) for page in PAGES}.items():
        with replacing(page) as temporary:
            temporary.write_text(text, encoding="utf-8")


def updated(page: Path) -> str:
    """The text of a page with every marked table made anew."""

    def replaced(found: re.Match) -> str:
        if found["name"] not in TABLES:
            raise InputError(f"{page}: no such table: {found['name']}; there are {', '.join(TABLES)}")
        return f"{found['begin']}\n{TABLES[found['name']]().strip()}\n\n{found['end']}"

    return _MARKED.sub(replaced, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
