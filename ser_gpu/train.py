"""ser-gpu train: train a model by a protocol, resumable, and score its test part once at the end."""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ser_gpu import checkpoint
from ser_gpu.checkpoint import Provenance
from ser_gpu.cli import console, options, train_flags
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Split
from ser_gpu.errors import InputError, require
from ser_gpu.evaluation import figures, predictions
from ser_gpu.evaluation.report import environment
from ser_gpu.files import only_one, write_csv, write_json
from ser_gpu.training import initial
from ser_gpu.training.config import completed
from ser_gpu.training.differences import first_difference
from ser_gpu.training.distributed import Ranks
from ser_gpu.training.loop import Dataset, DivergedError, Trainer
from ser_gpu.training.plan import Plan

_IN_CHECKPOINT = ("clips", "accuracy", "uar", "macro_f1", "ece")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and train."""
    args = train_flags.parser().parse_args(arguments)
    return options.run(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Train, from the start or from where the training in --out stopped, score, and write all files."""
    require("train", "nnAudio", "torch_audiomentations", "scipy", "sklearn", "matplotlib")
    ranks = Ranks.of_torchrun()
    if not ranks.is_first:
        console.be_quiet()
    device = _device(args.device, ranks)
    with ranks.joined("nccl" if device.type == "cuda" else "gloo"), ExitStack() as held:
        with options.uncollected():
            trainer, plan, out, temperature = ranks.agree(lambda: _prepared(args, device, ranks, held))
        with trainer.distributed(ranks):
            if args.compile:
                trainer.model.cnn.compile()
            _fit(trainer, out)
        if ranks.is_first:
            _finish(trainer, plan, out, temperature)
            _resume_file(out).unlink(missing_ok=True)
    return options.DONE


def _device(name: str | None, ranks: Ranks) -> torch.device:
    """Each rank of a machine has a GPU of its own."""
    device = options.device(name)
    if ranks.count > 1 and device.type == "cuda" and device.index is None:
        return options.device(f"cuda:{ranks.local}")
    return device


def _resume_file(out: Path) -> Path:
    return out / "resume.pth"


def _prepared(
    args: argparse.Namespace, device: torch.device, ranks: Ranks, held: ExitStack
) -> tuple[Trainer, Plan, Path, float | None]:
    """The training as it begins or goes on, its plan and folder, which this process now holds, and the temperature
    that it is to have, if it has one already.
    """
    out = Path(args.out or train_flags.default_out(args))
    if (out / "result.json").exists():
        raise InputError(f"{out}: holds a finished training; name another folder with --out")
    resume_file = _resume_file(out)
    if resume_file.exists() and not args.resume:
        raise InputError(f"{out}: holds an unfinished training; --resume goes on with it, --out names another folder")
    stored = Plan.read(out) if args.resume else None
    if args.resume and stored is None:
        console.err.print(f"note: {out}: there is no training to go on with, so one begins")
    plan = train_flags.resumed_plan(args, stored, out) if stored else train_flags.new_plan(args, device)
    if ranks.is_first:
        held.enter_context(only_one(out))
    first = _first_training(Path(plan.refit), plan) if plan.refit else None
    trainer = _trainer(plan, device, first, resumed=resume_file.exists())
    trainer.ranks = ranks
    ranks.check(trainer.batch_size)
    if resume_file.exists():
        trainer.restore(checkpoint.read(resume_file))
    if ranks.is_first:
        plan.write(out)
    return trainer, plan, out, first["temperature"] if first else plan.temperature


def _trainer(plan: Plan, device: torch.device, first: dict | None, resumed: bool) -> Trainer:
    """Find and read the clips, and build what trains on them."""
    clips = options.find_clips(plan.data, plan.corpus, plan.corpora)
    split = plan.protocol.split(clips)
    if notice := plan.protocol.notice(clips):
        console.err.print(f"note: {notice}")
    if plan.training.protocol != "listed" and any(clip.part for clip in clips):
        console.err.print("note: the list names parts, which --protocol listed uses")
    if first and first["manifest_hash"] != split.manifest_hash:
        raise InputError(f"{plan.refit}: a training on other clips or another split; a refit goes on with the same")
    bank = options.read_clips(clips, plan.model.audio.sample_rate, device)
    if plan.init and not resumed and (notice := _overlap(plan, split, clips)):
        console.err.print(f"note: {notice}")
    init = None if resumed else plan.init  # a training that goes on has weights of its own
    return Trainer(plan.training, plan.model, Dataset(clips, bank, split), plan.bfloat16, init)


def _overlap(plan: Plan, split: Split, clips: Sequence[Clip]) -> str | None:
    """One line where the first weights may have been trained on clips that are to be tested, or None."""
    tested = {clip.corpus for clip in clips if split.part_of.get(clip.id) == "test"}
    shared = sorted(tested.intersection(plan.init_corpora or initial.corpora(plan.init)))
    if not shared or checkpoint.load(plan.init, "cpu")[1].manifest_hash == split.manifest_hash:
        return None
    return (
        f"{plan.init} was trained on {', '.join(shared)} by another split, so it may know clips or speakers of the "
        "test part"
    )


def _first_training(folder: Path, plan: Plan) -> dict:
    """The result of the training that a refit repeats.

    Raises:
        ValueError: it is not finished, or has other settings than the seed; names the first difference.
    """
    path = folder / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{folder}: holds no finished training to repeat") from None
    except ValueError:
        raise InputError(f"{path}: is not JSON") from None
    if not isinstance(result, dict) or not {"config", "manifest_hash", "temperature"} <= result.keys():
        raise InputError(f"{path}: is not the result of a training")
    stored = result["config"] | {"init_sha256": result.get("init_sha256")}
    stored["training"] = completed(stored["training"])
    own = {"training": asdict(replace(plan.training, refit=False)), "model": plan.model.as_dict()}
    own["init_sha256"] = plan.init_sha256
    if stored["training"]["seed"] != plan.training.seed:  # another seed may begin with other weights, too
        own["training"]["seed"], own["init_sha256"] = stored["training"]["seed"], stored["init_sha256"]
    if difference := first_difference(stored, own, "config"):
        raise InputError(f"{folder}: a training with other settings: {difference}")
    return result


def _fit(trainer: Trainer, out: Path) -> None:
    """Train with a progress bar, and write the state after each epoch. The first rank speaks for all."""
    config, resume_file = trainer.config, _resume_file(out)
    with console.progress("status") as progress:
        total = config.epochs * trainer.steps
        task = progress.add_task("Training", total=total, completed=len(trainer.history) * trainer.steps, status="")

        def after_epoch(row: dict) -> None:
            checkpoint.write(resume_file, trainer.state())
            write_csv(out / "metrics.csv", trainer.history)
            status = _status(row, config.epochs)
            progress.update(task, status=status)
            if not console.err.is_terminal:
                console.err.print(status)

        try:
            with _explained(trainer, out):
                trainer.fit(after_epoch, on_step=lambda: progress.advance(task))
        except KeyboardInterrupt:  # outside, since the end of another rank may come first
            if not trainer.ranks.is_first:
                raise SystemExit(options.INTERRUPTED) from None
            console.err.print(f"stopped {_how_it_goes_on(trainer, out)}")
            raise


@contextmanager
def _explained(trainer: Trainer, out: Path) -> Iterator[None]:
    """One line, on the first rank, for a training that cannot go on."""
    try:
        yield
    except DivergedError as error:
        if not trainer.ranks.is_first:
            raise SystemExit(options.WRONG_USE) from None
        file = _resume_file(out)
        kept = f"{file} holds epoch {len(trainer.history)}, " if file.exists() else ""
        raise InputError(f"{error}; {kept}a smaller --lr with another --out may do better") from None
    except RuntimeError as error:
        if not trainer.ranks.lost(error):
            raise
        raise InputError(f"another rank has ended {_how_it_goes_on(trainer, out)}") from None


def _how_it_goes_on(trainer: Trainer, out: Path) -> str:
    how = f"{trainer.ranks.command} --resume --out {shlex.quote(str(out))}"
    return f"after epoch {len(trainer.history)}; {how} goes on"


def _status(row: dict, epochs: int) -> str:
    validation = (
        f"validation accuracy {row['validation_accuracy']:.3f}  UAR {row['validation_uar']:.3f}  "
        if "validation_uar" in row
        else ""
    )
    speed = f"{row['clips_per_second']:.0f} clips/s"
    return f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.3f}  {validation}{speed}"


def _finish(trainer: Trainer, plan: Plan, out: Path, temperature: float | None) -> None:
    """Fit the temperature, unless there is one, score each part once, write checkpoint, result, answers and figure."""
    config, dataset, protocol = trainer.config, trainer.dataset, plan.protocol
    held_out = [part for part in ("validation", "test") if part not in config.parts and len(dataset.rows[part])]
    if temperature is None and not trainer.is_validated:
        console.err.print("note: nothing is validated, so the temperature stays 1; --temperature sets it")
    model = trainer.finish(temperature)
    answers = {part: trainer.answers(part) for part in held_out if plan.test or part != "test"}
    scores = {part: found.report(by_speaker=protocol.speaker_independent) for part, found in answers.items()}
    trained_on = sorted({*plan.init_corpora, *(clip.corpus for clip in dataset.clips)})
    provenance = Provenance(
        protocol={**protocol.as_dict(), "corpus": ", ".join(trained_on)},
        manifest_hash=dataset.split.manifest_hash,
        seed=config.seed,
        metrics={part: {name: scores[part][name] for name in _IN_CHECKPOINT} for part in scores},
        training=asdict(config) | {"init_sha256": plan.init_sha256},
    )
    checkpoint.save(out / "last.pth", model, provenance)
    title = f"{protocol.name}, fold {protocol.fold}, seed {config.seed}"
    figures.save(figures.training_curves(trainer.history, f"Training: {title}"), out / "curves.png")
    result = {
        "protocol": protocol.name,
        "fold": protocol.fold,
        "test_speakers": list(protocol.test_speakers),
        "test_corpora": list(protocol.test_corpora),
        "seed": config.seed,
        "manifest_hash": dataset.split.manifest_hash,
        "parameters": sum(p.numel() for p in model.parameters()),
        "bfloat16": trainer.bfloat16,
        "seconds": sum(row["seconds"] for row in trainer.history),
        "temperature": float(model.temperature),
        "environment": environment(trainer.device),
        "config": {"training": asdict(config), "model": model.config.as_dict()},
        "init_sha256": plan.init_sha256,
        **scores,
    }
    if answers:
        rows = [row for part, found in answers.items() for row in predictions.rows(found, part)]
        predictions.write(out / "predictions.csv", rows)
    write_json(out / "result.json", result)
    for part in list(scores)[-1:]:
        console.show_report(f"{title}, {part} part", scores[part], model.labels)
    names = ("last.pth", "result.json", "predictions.csv", "metrics.csv", "config.json", "curves.png")
    console.err.print(f"written: {out}/{', '.join(name for name in names if (out / name).exists())}")


if __name__ == "__main__":
    sys.exit(main())
