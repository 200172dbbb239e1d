"""python -m experiments.enrolment TRAINED: how much enrolment helps, of a checkpoint or of a whole cross-validation.

Each speaker is enrolled with some of their clips and scored on their other ones. Enrolled clips are not scored, but
where all clips are enrolled, and a voice is made of clips of its own speaker alone. Beside each score stands that of
the same clips without a voice.
"""

import argparse
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch

from experiments import study
from ser_gpu import checkpoint, evaluate
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.checkpoint import CheckpointError
from ser_gpu.cli import console, options
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Protocol
from ser_gpu.errors import InputError
from ser_gpu.evaluation import metrics
from ser_gpu.evaluation.report import environment
from ser_gpu.files import write_json
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.voices import enrol
from ser_gpu.voices import plan as plans
from ser_gpu.voices.voice import Voice

ALL = "all"
KINDS = ("unlabelled", "neutral", "labelled", ALL)
COUNTS = (0, 1, 2, 4, 8, 16, 32)
SCORES = (*metrics.HEADLINE, "ece")
FILE = "enrolment.pth"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, enrol, score, and print the table."""
    args = _parser().parse_args(arguments)
    return options.run(lambda: _measure(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.enrolment", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="TRAINED",
        help="a .pth file that ser-gpu train wrote, or the folder of a cross-validation, such as runs/actors5",
    )
    add("--counts", type=int, nargs="+", default=COUNTS[1:], metavar="N", help="clips to enrol (default: 1 2 ... 32)")
    add(
        "--kinds",
        nargs="+",
        choices=KINDS,
        default=KINDS,
        help="which clips to enrol: any; neutral ones; with their labels, of all emotions alike; or every clip of the "
        "speaker, those that are scored (default: all of these)",
    )
    add("--draws", type=options.positive_int, default=5, help="draws of the enrolled clips (default: %(default)s)")
    evaluate.add_options(parser)
    add(
        "--out",
        help="JSON file (default: NAME.enrolment.json beside the checkpoint); of a cross-validation its table, which "
        "gets the scores (default: table.json in the folder)",
    )
    add("--json", action="store_true", help="print the JSON instead of tables")
    return parser


def _measure(args: argparse.Namespace) -> int:
    path, device = Path(args.checkpoint), options.device(args.device)
    if path.is_dir():
        out = Path(args.out or path / "table.json")
        result = _of_folder(args, path, out, device)
        tables = {f"Enrolment, {which}": rows for which, rows in result["enrolment"].items()}
    else:
        out = Path(args.out or path.with_suffix(".enrolment.json"))
        model, provenance = checkpoint.load(path, device)
        clips, result, _ = evaluate.asked(args, model.labels, provenance)
        rows = table([_with_progress(args, model, clips, device)])
        tables = {f"Enrolment, {evaluate.title(result)}": rows}
        result |= {"environment": environment(device), "enrolment": rows}
    write_json(out, result)
    if args.json:
        console.print_json(result)
    else:
        for title, rows in tables.items():
            show(title, rows)
        console.err.print(f"written: {out}")
    return options.DONE


def _of_folder(args: argparse.Namespace, folder: Path, path: Path, device: torch.device) -> dict:
    """The table of a cross-validation with the scores of all its trainings taken together, and of several of a fold
    also as one model.

    The answers of each training are kept in its folder, so that they are computed once.
    """
    if args.protocol or args.fold is not None or args.test_speakers or args.allow_trained:
        raise InputError(
            f"{folder}: --protocol, --fold, --test-speakers and --allow-trained are for a single checkpoint"
        )
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        rows, parts = stored["rows"], [*stored["summary"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: no table of a cross-validation; --out names it") from None
    if not parts:
        raise InputError(f"{path}: its trainings held nothing out")
    found = study.clips_of(args)
    of_fold: dict[int, list[dict]] = {}
    for row in rows:
        training = folder / f"fold{row['fold']}-seed{row['seed']}"
        of_fold.setdefault(row["fold"], []).append(_of_training(args, training, args.part or parts[-1], found, device))
    every = [content for contents in of_fold.values() for content in contents]
    tables = {"all answers": table(every)}
    if len(every) > len(of_fold):
        tables["seeds together"] = table([together(contents) for contents in of_fold.values()])
    return stored | {"enrolment": tables}


def _of_training(
    args: argparse.Namespace, folder: Path, part: str, found: Sequence[Clip], device: torch.device
) -> dict:
    path = folder / "last.pth"
    weights = hashlib.sha256(path.read_bytes()).hexdigest()
    asked = {"kinds": [*args.kinds], "counts": [*args.counts], "draws": args.draws, "part": part, "weights": weights}
    try:
        stored = checkpoint.read(folder / FILE)
        if stored.get("asked") == asked:
            return stored["answers"]
    except CheckpointError:  # there are none yet
        pass
    model, provenance = checkpoint.load(path, device)
    split = Protocol.from_dict(provenance.protocol).split(found)
    if split.manifest_hash != provenance.manifest_hash:
        raise InputError(f"{folder}: was trained on other clips than these {len(found):,}")
    clips = [clip for clip in found if split.part_of[clip.id] == part]
    content = _with_progress(args, model, clips, device)
    checkpoint.write(folder / FILE, {"asked": asked, "answers": content})
    return content


def _with_progress(
    args: argparse.Namespace, model: SpeechEmotionModel, clips: Sequence[Clip], device: torch.device
) -> dict:
    clips, bank = options.read_clips(clips, model.sample_rate, device)
    with console.progress() as progress:
        task = progress.add_task("Enrolling", total=len(speakers(clips)))
        advance = lambda: progress.advance(task)  # noqa: E731
        return answers(model, bank, clips, args.kinds, args.counts, args.draws, on_speaker=advance)


def answers(
    model: SpeechEmotionModel,
    bank: ClipBank,
    clips: Sequence[Clip],
    kinds: Sequence[str] = KINDS,
    counts: Sequence[int] = COUNTS,
    draws: int = 5,
    tta: bool = True,
    on_speaker: Callable[[], None] = lambda: None,
) -> dict:
    """What a model answers with and without voices, as plain data and tensors.

    Args:
        bank, clips: to enrol and to score, in the same order; clips of nobody known are left out.
        kinds: which clips are enrolled: "unlabelled", any; "neutral", neutral ones, and that is said; "labelled", with
            their emotions, of which each has as many clips as the others, as far as that goes; "all", every clip of
            the speaker, which are also those that are scored, whatever the count.
        counts: of clips to enrol of a speaker; 0 is the answer without a voice, which is always there.
        draws: of the enrolled clips, the same for every model.
        on_speaker: called after each speaker, `len(speakers(clips))` times.

    Raises:
        ValueError: no speaker is known, or nobody has as many clips and one more.
    """
    model = model.snapshot()
    rows_of = speakers(clips)
    if not rows_of:
        raise InputError("no speaker is known, so nobody can be enrolled")
    without = torch.zeros(len(clips), len(model.labels))
    found: dict[tuple[str, int, int], list[tuple[list[int], torch.Tensor]]] = {}
    for rows in rows_of.values():
        speaker = SpeakerClips(model, bank, clips, rows, tta)
        without[rows] = speaker.probabilities(rows)
        for kind, count, draw in plan(kinds, counts, draws):
            enrolled = chosen(clips, rows, kind, count, draw)
            scored = rows if kind == ALL else sorted({*rows} - {*(enrolled or ())})
            if enrolled is None or not scored:
                continue
            voice = speaker.voice(enrolled, is_labelled=kind in ("neutral", "labelled"))
            found.setdefault((kind, count, draw), []).append((scored, speaker.probabilities(scored, voice)))
        on_speaker()
    every = sorted(row for rows in rows_of.values() for row in rows)
    entries = [{"kind": "none", "count": 0, "draw": 0, "rows": torch.tensor(every), "probabilities": without[every]}]
    for (kind, count, draw), parts in found.items():
        scored, answered = [row for rows, _ in parts for row in rows], torch.cat([answer for _, answer in parts])
        entry = {"kind": kind, "count": count, "draw": draw}
        entries.append(entry | {"rows": torch.tensor(scored), "probabilities": answered})
    if len(entries) == 1 and any(counts):
        raise InputError(f"nobody has {min(filter(None, counts))} clips to enrol and one more to score")
    index = {label: i for i, label in enumerate(model.labels)}
    return {
        "labels": list(model.labels),
        "clips": [clip.id for clip in clips],
        "speakers": [clip.speaker or "" for clip in clips],
        "truth": [index[clip.emotion] for clip in clips],
        "without": without,
        "entries": entries,
    }


def speakers(clips: Sequence[Clip]) -> dict[str, list[int]]:
    """The rows of each speaker who is known."""
    rows_of: dict[str, list[int]] = {}
    for row, clip in enumerate(clips):
        if clip.speaker is not None:
            rows_of.setdefault(clip.speaker, []).append(row)
    return rows_of


class SpeakerClips:
    """The clips of one speaker as the network sees them, computed once for all draws."""

    def __init__(self, model: SpeechEmotionModel, bank: ClipBank, clips: Sequence[Clip], rows: list[int], tta: bool):
        self.model = model
        windows = [torch.from_numpy(model.clip_windows(bank.waveform(row).cpu().numpy())) for row in rows]
        self.windows_of, at = {}, 0
        for row, its in zip(rows, windows, strict=True):
            self.windows_of[row] = range(at, at + len(its))
            at += len(its)
        self.emotions = [clips[row].emotion for row in rows for _ in self.windows_of[row]]
        with torch.inference_mode():
            parts = [model.spectrogram(part.to(model.device), tta=tta) for part in torch.cat(windows).split(64)]
            shaped = [part.unflatten(0, (-1, n)) for part, n in zip(parts, _sizes(at, 64), strict=True)]
            self.spectrogram = torch.cat(shaped, dim=1)  # [V, W, 1, M, F]

    def voice(self, rows: Sequence[int], is_labelled: bool) -> Voice:
        """The voice that those clips give."""
        chosen = [i for row in rows for i in self.windows_of[row]]
        said = [self.emotions[i] for i in chosen] if is_labelled else None
        plan = plans.plan([1] * len(chosen), said, self.model.labels)
        kept = self.spectrogram[:, chosen][:, torch.from_numpy(plan.kept)]
        measured = self.model.measured(kept.flatten(0, 1), plan)
        return enrol.of_measured(self.model, plan, measured, len(rows), float(len(chosen)))

    @torch.inference_mode()
    def probabilities(self, rows: Sequence[int], voice: Voice | None = None) -> torch.Tensor:
        """The mean over the windows of each clip, as `Recognizer.predict` answers it.

        Shape: -> [N, C] on the CPU.
        """
        chosen = [i for row in rows for i in self.windows_of[row]]
        model, together = self.model.with_voice(voice), self.model.windows_at_once
        parts = [chosen[at : at + together] for at in range(0, len(chosen), together)]
        seen = [self.spectrogram[:, part].flatten(0, 1) for part in parts]
        of_copies = (
            model.cnn(each).mean(dim=0).unflatten(0, (-1, len(part))) for each, part in zip(seen, parts, strict=True)
        )
        logits = torch.cat([each.mean(dim=0) for each in of_copies])
        answers = model.probabilities(logits).split([len(self.windows_of[row]) for row in rows])
        return torch.stack([each.mean(dim=0) for each in answers]).cpu()


def _sizes(total: int, most: int) -> list[int]:
    return [min(most, total - at) for at in range(0, total, most)]


def plan(kinds: Sequence[str], counts: Sequence[int], draws: int) -> list[tuple[str, int, int]]:
    """Kind, count and number of each draw; there is nothing to draw for no clips, nor where all are enrolled."""
    drawn = [(kind, count, draw) for kind in kinds if kind != ALL for count in counts if count for draw in range(draws)]
    return drawn + ([(ALL, 0, 0)] if ALL in kinds else [])


def chosen(clips: Sequence[Clip], rows: Sequence[int], kind: str, count: int, draw: int) -> list[int] | None:
    """The rows of a speaker that are enrolled in a draw; None where there are too few.

    Args:
        rows: of this speaker.
    """
    if kind == ALL:
        return list(rows)
    speaker = clips[rows[0]].speaker or ""
    generator = np.random.default_rng([draw, count, KINDS.index(kind), zlib.crc32(speaker.encode())])
    rows = sorted(rows, key=lambda row: clips[row].id)
    if kind == "neutral":
        rows = [row for row in rows if clips[row].emotion == "neutral"]
    shuffled = [rows[i] for i in generator.permutation(len(rows))]
    if kind == "labelled":
        turn: dict[str, int] = {}
        order = []
        for row in shuffled:
            emotion = clips[row].emotion
            order.append(turn.setdefault(emotion, 0))
            turn[emotion] += 1
        shuffled = [shuffled[i] for i in np.argsort(order, kind="stable")]
    return shuffled[:count] if len(shuffled) >= count else None


def table(contents: Sequence[dict]) -> list[dict]:
    """Scores of each kind and count over the answers of one or several trainings taken together.

    Each score has its mean and its standard deviation over the draws; `without` are the same clips without a voice.
    """
    rows = []
    settings = dict.fromkeys((e["kind"], e["count"]) for content in contents for e in content["entries"])
    for kind, count in settings:
        own = [(c, e) for c in contents for e in c["entries"] if (e["kind"], e["count"]) == (kind, count)]
        draws = sorted({entry["draw"] for _, entry in own})
        with_voice = [_scores([(c, e["rows"], e["probabilities"]) for c, e in own if e["draw"] == d]) for d in draws]
        without = [_scores([(c, e["rows"], c["without"][e["rows"]]) for c, e in own if e["draw"] == d]) for d in draws]
        speakers = {c["speakers"][row] for c, e in own for row in e["rows"].tolist()}
        rows.append(
            {
                "kind": kind,
                "count": count,
                "draws": len(draws),
                "speakers": len(speakers),
                "clips": with_voice[0]["clips"],
                **{name: _over_draws([each[name] for each in with_voice]) for name in SCORES},
                "without": {name: fmean(each[name] for each in without) for name in SCORES},
            }
        )
    return rows


def together(contents: Sequence[dict]) -> dict:
    """Several trainings of one fold as one model: the mean of their probabilities.

    Raises:
        ValueError: they did not answer the same clips.
    """
    first = contents[0]
    if any(each["clips"] != first["clips"] or each["labels"] != first["labels"] for each in contents):
        raise InputError("trainings of one fold that answered other clips")
    entries = [
        {**entry, "probabilities": torch.stack([each["entries"][i]["probabilities"] for each in contents]).mean(dim=0)}
        for i, entry in enumerate(first["entries"])
    ]
    return {**first, "without": torch.stack([each["without"] for each in contents]).mean(dim=0), "entries": entries}


def _scores(parts: Sequence[tuple[dict, torch.Tensor, torch.Tensor]]) -> dict:
    """Headline scores and calibration error of answers to some rows of each content."""
    truth = np.concatenate([np.array(content["truth"])[rows.numpy()] for content, rows, _ in parts])
    probabilities = np.concatenate([each.numpy() for _, _, each in parts]).astype(np.float64)
    ece = metrics.calibration_error(metrics.reliability(truth, probabilities))
    return {"clips": len(truth), **metrics.headline(truth, probabilities.argmax(axis=1)), "ece": ece}


def _over_draws(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}


def show(title: str, rows: Sequence[dict]) -> None:
    """What enrolled clips give, a row for each kind and number of them."""
    shown = console.table(title, ("enrolled", "clips", "voices", "scored", "UAR", "ECE", "without"))
    for row in rows:
        cells = [row["kind"], str(row["count"]), str(row["speakers"]), str(row["clips"])]
        for name in ("uar", "ece"):
            spread = "" if row[name]["sd"] is None else f" ±{row[name]['sd']:.3f}"
            cells.append(f"{row[name]['mean']:.3f}{spread}")
        shown.add_row(*cells, f"{row['without']['uar']:.3f}")
    console.out.print(shown)


if __name__ == "__main__":
    sys.exit(main())
