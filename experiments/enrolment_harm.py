"""python -m experiments.enrolment_harm CHECKPOINTS: what enrolment does with clips that should not be enrolled.

The speakers of the checkpoints' test parts are enrolled with clips of one emotion only, with another speaker's clips,
or with their own in noise, and scored on the clips that were not enrolled.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
import torch

from experiments import sounds, study
from experiments.enrolment import SpeakerClips, chosen, speakers
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.evaluation import metrics
from ser_gpu.evaluation.report import environment
from ser_gpu.model import SpeechEmotionModel

COUNT = 8
OF_ONE_EMOTION = 6  # a speaker of RAVDESS has eight, and some must be left to score
SNR_DB = 10.0
EMOTIONS = ("calm", "happy", "sad", "angry", "fearful")


@dataclass(frozen=True)
class Case:
    """Clips to enrol: of whom, with which emotion, in which sound; and whether their emotions are named."""

    name: str
    emotion: str | None = None
    who: str = "the speaker"
    in_noise: bool = False
    named: bool = False

    @property
    def count(self) -> int:
        """How many clips are enrolled."""
        return COUNT if self.emotion is None else OF_ONE_EMOTION


CASES = (
    Case(f"{COUNT} varied clips"),
    *(Case(f"{OF_ONE_EMOTION} clips, all {emotion}", emotion) for emotion in EMOTIONS),
    *(
        Case(f"{OF_ONE_EMOTION} clips, all {emotion}, which is said", emotion, named=True)
        for emotion in ("sad", "angry")
    ),
    Case(f"{COUNT} varied clips of another speaker of the same gender", who="same gender"),
    Case(f"{COUNT} varied clips of a speaker of the other gender", who="other gender"),
    Case(f"{COUNT} varied clips in white noise at {SNR_DB:g} dB", in_noise=True),
)


@dataclass(frozen=True)
class Voices:
    """The test speakers of one training: their clips clean and in noise."""

    clips: Sequence[Clip]
    rows: dict[str, list[int]]
    clean: dict[str, SpeakerClips]
    noisy: dict[str, SpeakerClips]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, model: SpeechEmotionModel, bank: ClipBank, clips: Sequence[Clip]) -> "Voices":
        """Read once for all cases."""
        add, generator = sounds.in_noise(0.0, SNR_DB), torch.Generator().manual_seed(0)
        waveforms = [add(bank.waveform(row).cpu(), model.sample_rate, generator)[0] for row in range(len(clips))]
        waveforms = [each / each.abs().max() for each in waveforms]  # the bank holds up to full scale
        in_noise = ClipBank.from_waveforms(waveforms, model.sample_rate)
        rows = speakers(clips)
        clean, noisy = (
            {name: SpeakerClips(model, each, clips, own, tta=True) for name, own in rows.items()}
            for each in (bank, in_noise)
        )
        return cls(clips, rows, clean, noisy, model.labels)

    def answers(self, case: Case, draw: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of each speaker the truth, and the answers without and with a voice, for the clips that are not enrolled.

        Shape: -> [N], [N], [N] int64.
        """
        for name, rows in self.rows.items():
            source = self._source(case, name, draw)
            if source is None:
                continue
            pool = [r for r in self.rows[source] if case.emotion in (None, self.clips[r].emotion)]
            if len(pool) < case.count:
                continue
            enrolled = chosen(self.clips, pool, "unlabelled", case.count, draw)
            voice = (self.noisy if case.in_noise else self.clean)[source].voice(enrolled, case.named)
            scored = sorted({*rows} - {*enrolled})
            truth = np.array([self.labels.index(self.clips[row].emotion) for row in scored])
            own = self.clean[name]
            found = (own.probabilities(scored, each).argmax(dim=1).numpy() for each in (None, voice))
            yield (truth, *found)

    def _source(self, case: Case, name: str, draw: int) -> str | None:
        """Whose clips are enrolled; None where there is nobody."""
        if case.who == "the speaker":
            return name
        gender = {speaker: self.clips[rows[0]].gender for speaker, rows in self.rows.items()}
        same = case.who == "same gender"
        others = sorted(each for each in gender if each != name and (gender[each] == gender[name]) == same)
        return others[draw % len(others)] if others else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, enrol, score, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    trained = []
    for path in args.checkpoints:
        model, provenance, clips = study.load(path, args, device)
        clips, bank = options.read_clips(clips, model.sample_rate, device)
        trained.append((provenance, Voices.of(model, bank, clips)))
    with console.progress() as progress:
        found = [row(case, [voices for _, voices in trained], args.draws) for case in progress.track(CASES)]
    result = {
        "trainings": [
            {"protocol": provenance.protocol, "seed": provenance.seed, "manifest_hash": provenance.manifest_hash}
            for provenance, _ in trained
        ],
        "draws": args.draws,
        "environment": environment(device),
        "rows": [each for each in found if each is not None],
    }
    study.publish(args, result, show)
    return options.DONE


def row(case: Case, trained: Sequence[Voices], draws: int) -> dict | None:
    """UAR over the answers of all trainings, with its spread over draws; and the recall of the enrolled emotion. None
    where nobody has such clips."""
    with_voice, without, recalls = [], [], []
    for draw in range(draws):
        parts = [part for voices in trained for part in voices.answers(case, draw)]
        if not parts:
            return None
        truth, before, after = (np.concatenate(each) for each in zip(*parts, strict=True))
        with_voice.append(metrics.headline(truth, after)["uar"])
        without.append(metrics.headline(truth, before)["uar"])
        if case.emotion:
            own = truth == trained[0].labels.index(case.emotion)
            recalls.append([float((found[own] == truth[own]).mean()) for found in (before, after)])
    recall = {"without": fmean(r[0] for r in recalls), "with": fmean(r[1] for r in recalls)} if recalls else None
    return {
        "name": case.name,
        "uar": {"mean": fmean(with_voice), "sd": stdev(with_voice) if draws > 1 else None},
        "without": {"uar": fmean(without)},
        "recall": recall,
    }


def show(result: dict) -> None:
    """A row a case."""
    shown = console.table("Enrolment with wrong clips", ("enrolled", "UAR", "without a voice"))
    for each in result["rows"]:
        shown.add_row(each["name"], f"{each['uar']['mean']:.3f}", f"{each['without']['uar']:.3f}")
    console.out.print(shown)


def _parser() -> argparse.ArgumentParser:
    return study.enrolment_parser(
        "enrolment_harm",
        __doc__.splitlines()[0],
        "one a fold, such as RUNS/actors5-refit/fold*-seed0/last.pth",
        draws=3,
    )


if __name__ == "__main__":
    sys.exit(main())
