"""python -m ser_gpu.train: train a model by a protocol, resumable, and score its test part once at the end."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ser_gpu import checkpoint, command_line
from ser_gpu.atomic import only_one, replacing, write_csv, write_json
from ser_gpu.checkpoint import Provenance
from ser_gpu.config import (
    EPOCHS_FOR_NEW_VOICES,
    HEADS,
    AugmentConfig,
    CnnConfig,
    ModelConfig,
    TrainConfig,
    with_settings,
)
from ser_gpu.data.protocols import NAMED_PROTOCOLS, Protocol
from ser_gpu.results import console, environment, figures
from ser_gpu.scoring import prediction_rows, report
from ser_gpu.trainer import DivergedError, Material, Trainer, first_difference, parts_to_learn, use_bfloat16


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and train."""
    args = _parser().parse_args(arguments)
    return command_line.run(lambda: _train(args))


def _train(args: argparse.Namespace) -> int:
    device = command_line.device(args.device)
    protocol = (
        Protocol("actors", 0, tuple(args.test_actors)) if args.test_actors else Protocol(args.protocol, args.fold)
    )
    config = TrainConfig(
        protocol=protocol.name,
        fold=protocol.fold,
        seed=args.seed,
        epochs=args.epochs or _epochs(protocol),
        batch_size=args.batch_size,
        lr=args.lr,
    )
    model_config = ModelConfig(augment=AugmentConfig(enabled=not args.no_augment), cnn=CnnConfig(head=args.head))
    config, model_config = with_settings(config, model_config, args.set)
    if args.refit:
        config = replace(config, refit=True)
    again = "-refit" if args.refit else ""
    out = Path(args.out or f"runs/{protocol.name}-fold{protocol.fold}-seed{args.seed}{again}")
    with only_one(out):
        return _train_into(out, args, device, protocol, config, model_config)


def _epochs(protocol: Protocol) -> int:
    return EPOCHS_FOR_NEW_VOICES if protocol.speaker_independent else TrainConfig.epochs


def _train_into(
    out: Path,
    args: argparse.Namespace,
    device: torch.device,
    protocol: Protocol,
    config: TrainConfig,
    model_config: ModelConfig,
) -> int:
    if (out / "result.json").exists():
        raise ValueError(f"{out}: holds a finished training; name another folder with --out")
    resume_file = out / "resume.pth"
    if resume_file.exists() and not args.resume:
        raise ValueError(f"{out}: holds an unfinished training; --resume goes on with it, --out names another folder")

    first = _first_training(Path(args.refit), config, model_config) if args.refit else None
    write_json(out / "config.json", {"training": asdict(config), "model": model_config.as_dict()})
    clips = command_line.find_clips(args.data)
    split = protocol.split(clips)
    if first and first["manifest_hash"] != split.manifest_hash:
        raise ValueError(f"{args.refit}: a training on other clips or another split; a refit goes on with the same")
    bank = command_line.read_clips(clips, model_config.audio.sample_rate, device)
    trainer = Trainer(config, model_config, Material(clips, bank, split), bfloat16=use_bfloat16(args.amp, device))
    if args.resume and resume_file.exists():
        trainer.restore(checkpoint.read(resume_file))
    if args.compile:
        trainer.model.cnn.compile()
    try:
        _fit_with_progress(trainer, out, resume_file)
    except KeyboardInterrupt:
        console.err.print(f"stopped after epoch {len(trainer.history)}; --resume --out {out} goes on")
        raise
    except DivergedError as error:
        raise ValueError(
            f"{error}; {resume_file} holds epoch {len(trainer.history)}, "
            f"a smaller --lr with another --out may do better"
        ) from None
    parts = [part for part in ("validation", "test") if part not in parts_to_learn(config)]
    _finish(trainer, protocol, out, parts[:-1] if args.no_test else parts, first and first["temperature"])
    resume_file.unlink(missing_ok=True)
    return command_line.DONE


def _first_training(folder: Path, config: TrainConfig, model_config: ModelConfig) -> dict:
    """The result of the training that a refit repeats.

    Raises:
        ValueError: it is not finished, or has other settings; names the first difference.
    """
    path = folder / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(f"{folder}: holds no finished training to repeat") from None
    except ValueError:
        raise ValueError(f"{path}: is not JSON") from None
    if not isinstance(result, dict) or not {"config", "manifest_hash", "temperature"} <= result.keys():
        raise ValueError(f"{path}: is not the result of a training")
    own = {"training": asdict(replace(config, refit=False)), "model": model_config.as_dict()}
    if difference := first_difference(result["config"], own, "config"):
        raise ValueError(f"{folder}: a training with other settings: {difference}")
    return result


def _fit_with_progress(trainer: Trainer, out: Path, resume_file: Path) -> None:
    config = trainer.config
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

        trainer.fit(after_epoch, on_step=lambda: progress.advance(task))


def _status(row: dict, epochs: int) -> str:
    validation = (
        f"validation accuracy {row['validation_accuracy']:.3f}  UAR {row['validation_uar']:.3f}  "
        if "validation_uar" in row
        else ""
    )
    speed = f"{row['clips_per_second']:.0f} clips/s"
    return f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.3f}  {validation}{speed}"


def _finish(
    trainer: Trainer, protocol: Protocol, out: Path, parts: Sequence[str], temperature: float | None = None
) -> None:
    """Fit the temperature, unless there is one, score each part once, write checkpoint, result, answers and figure."""
    model = trainer.finish(temperature)
    scores, predictions = {}, []
    for part in parts:
        logits, _ = trainer.logits(part)
        clips = trainer.material.clips_of(part)
        scores[part] = report(model, logits, clips, protocol.speaker_independent)
        predictions += prediction_rows(model, logits, clips, part)
    names = ("clips", "accuracy", "uar", "macro_f1", "calibration_error")
    provenance = Provenance(
        protocol=protocol,
        manifest_hash=trainer.material.manifest_hash,
        seed=trainer.config.seed,
        metrics={part: {name: scores[part][name] for name in names} for part in scores},
        training=asdict(trainer.config),
    )
    checkpoint.save(out / "last.pth", model, provenance)
    title = f"{protocol.name}, fold {protocol.fold}, seed {trainer.config.seed}"
    with replacing(out / "curves.png") as temporary:
        figures.training_curves(trainer.history, f"Training: {title}").savefig(temporary, dpi=150)
    result = {
        "protocol": protocol.name,
        "fold": protocol.fold,
        "test_actors": list(protocol.test_actors),
        "seed": trainer.config.seed,
        "manifest_hash": trainer.material.manifest_hash,
        "parameters": sum(p.numel() for p in model.parameters()),
        "bfloat16": trainer.bfloat16,
        "seconds": sum(row["seconds"] for row in trainer.history),
        "temperature": float(model.temperature),
        "environment": environment.describe(trainer.device),
        "config": {"training": asdict(trainer.config), "model": model.config.as_dict()},
        **scores,
    }
    write_csv(out / "predictions.csv", predictions)
    write_json(out / "result.json", result)
    for part in parts[-1:]:
        console.show_report(f"{title}, {part} part", scores[part], model.labels)
    console.err.print(f"written: {out}/last.pth, result.json, predictions.csv, metrics.csv, config.json, curves.png")


def _parser() -> argparse.ArgumentParser:
    defaults = TrainConfig()
    parser = argparse.ArgumentParser(
        prog="python -m ser_gpu.train",
        description="Train a speech emotion model on RAVDESS; the .pth file that comes out takes raw audio.",
    )
    add = parser.add_argument
    count = command_line.positive_int
    shown = "(default: %(default)s)"
    add("--data", help="RAVDESS folder (default: $RAVDESS_DIR, else downloaded)")
    add("--protocol", choices=NAMED_PROTOCOLS, default=defaults.protocol, help=f"who is in which part {shown}")
    add("--fold", type=int, default=defaults.fold, help=f"fold, or seed of a random split {shown}")
    add("--test-actors", type=int, nargs="+", metavar="ACTOR", help="hold these actors out, instead of --protocol")
    add("--seed", type=int, default=defaults.seed, help=f"seed of weights, order and augmentation {shown}")
    add(
        "--epochs",
        type=count,
        help=f"passes over the training part (default: {defaults.epochs}, or {EPOCHS_FOR_NEW_VOICES} where its voices "
        "are in no other part)",
    )
    add("--batch-size", type=count, default=defaults.batch_size, help=f"clips a step {shown}")
    add("--lr", type=float, default=defaults.lr, help=f"peak learning rate of the one-cycle schedule {shown}")
    add("--head", choices=HEADS, default="gap", help=f"how the last feature maps are pooled {shown}")
    add("--no-augment", action="store_true", help="train without augmentation, masks and mixup")
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="any setting, such as cnn.width=48")
    add(
        "--refit",
        metavar="RUN",
        help="once the settings are chosen: train again on the training and validation parts together, with the "
        "settings and the temperature of this finished training's folder",
    )
    add("--no-test", action="store_true", help="do not score the test part: for a comparison on validation")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--amp", choices=("auto", "on", "off"), default="auto", help="bfloat16 for the CNN (default: where it is fast)")
    add("--compile", action="store_true", help="torch.compile the CNN")
    add("--out", help="folder to write (default: runs/PROTOCOL-foldK-seedS)")
    add("--resume", action="store_true", help="go on with the unfinished training in --out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
