"""python -m experiments.card: every table of a measured result, from its JSON, between the markers of the pages."""

import re
import sys
from pathlib import Path

from experiments import sections
from ser_gpu import command_line
from ser_gpu.atomic import replacing

PAGES = tuple(sections.ROOT / name for name in ("README.md", "weights/README.md", "experiments/README.md"))
SECTIONS = {
    "cross-validations": sections.cross_validations,
    "folds-of-new-voices": sections.folds_of_new_voices,
    "headline": sections.headline,
    "trainings": sections.trainings,
    "evaluations": sections.evaluations,
    "robustness": sections.robustness,
    "pitch-counterfactual": sections.pitch_counterfactual,
    "pitch-bias": sections.pitch_bias,
    "ablation": sections.ablation,
    "ablation-full-length": sections.ablation_full_length,
    "ablation-pictures": sections.ablation_pictures,
}
_MARKED = re.compile(r"(?P<begin><!-- (?P<name>[\w-]+): begin -->\n).*?(?P<end><!-- (?P=name): end -->)", re.DOTALL)


def main() -> int:
    """Write the pages anew."""
    return command_line.run(_write)


def _write() -> int:
    for page, text in {page: updated(page) for page in PAGES}.items():
        with replacing(page) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return command_line.DONE


def updated(page: Path) -> str:
    """A page with what stands between the markers of each section replaced; other markers are not ours."""

    def replaced(found: re.Match) -> str:
        if found["name"] not in SECTIONS:
            return found[0]
        return f"{found['begin']}\n{SECTIONS[found['name']]()}\n\n{found['end']}"

    return _MARKED.sub(replaced, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
