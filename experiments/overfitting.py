"""python -m experiments.overfitting: one small network, with and without what keeps it from memorising its clips.

That is augmentation, dropout and global average pooling: taken away one by one, and all together. The spectrograms are
coarse and the clips those of one of the two sentences, so that all trainings together take ten minutes on one core.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from experiments import study
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.cli import console, options
from ser_gpu.config import AugmentConfig, CnnConfig, MelConfig, ModelConfig
from ser_gpu.corpora.clip import Clip
from ser_gpu.corpora.splits import Protocol
from ser_gpu.evaluation.report import environment
from ser_gpu.model import bank_windows, windows_logits
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.dataset import Dataset
from ser_gpu.training.loop import Trainer

PROTOCOL, FOLDS = "actors5", (0, 1)
SMALL = ModelConfig(
    augment=AugmentConfig(frame_width=15),
    mel=MelConfig(hop=512),
    cnn=CnnConfig(width=16, depth=3, members=1, block_dropout=0.1, head_dropout=0.3),
)
_PLAIN, _NO_DROPOUT = {"enabled": False}, {"block_dropout": 0.0, "head_dropout": 0.0}
VARIANTS = {  # the settings of `augment` and of `cnn` in which each differs from `SMALL`
    "all three": ({}, {}),
    "no augmentation": (_PLAIN, {}),
    "no dropout": ({}, _NO_DROPOUT),
    "no global average pooling": ({}, {"head": "flatten"}),
    "none of the three": (_PLAIN, {**_NO_DROPOUT, "head": "flatten"}),
}
SCORES = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.overfitting", description=__doc__.splitlines()[0])
    options.add_data_options(parser)
    parser.add_argument("--epochs", type=options.positive_int, default=20, help="of each (default: %(default)s)")
    parser.add_argument("--device", help=options.DEVICE)
    study.add_output_options(parser, "overfitting")
    args = parser.parse_args(arguments)
    return options.run(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    device = options.device(args.device)
    found = study.clips_of(args)
    clips, bank = options.read_clips(
        [clip for clip in found if clip.get("statement") == "1"], SMALL.audio.sample_rate, device
    )
    with console.progress("variant") as progress:
        task = progress.add_task("Epochs", total=len(VARIANTS) * len(FOLDS) * args.epochs, variant="")
        variants = []
        for name in VARIANTS:
            progress.update(task, variant=name)
            variants.append(train(name, clips, bank, args.epochs, lambda: progress.advance(task)))
    result = {
        "protocol": PROTOCOL,
        "folds": list(FOLDS),
        "epochs": args.epochs,
        "seconds": sum(variant["seconds"] for variant in variants),
        "variants": variants,
        "environment": environment(device),
    }
    study.publish(args, result, show)
    return options.DONE


def train(name: str, clips: Sequence[Clip], bank: ClipBank, epochs: int, on_epoch: Callable[[], None]) -> dict:
    """One variant: clips of each part, parameters, seconds, and `SCORES` by epoch, means over the folds.

    Accuracies are those of clips as they were recorded, also where the training changes them.
    """
    augment, cnn = VARIANTS[name]
    config = replace(SMALL, augment=replace(SMALL.augment, **augment), cnn=replace(SMALL.cnn, **cnn))
    start, histories = time.perf_counter(), []
    for fold in FOLDS:
        dataset = Dataset(clips, bank, Protocol(PROTOCOL, fold).split(clips))
        settings = TrainConfig(
            protocol=PROTOCOL, fold=fold, epochs=epochs, batch_size=16, label_smoothing=0.0, ema_decay=0.97
        )
        trainer = Trainer(settings, config, dataset, bfloat16=False)
        rows = dataset.rows["train"]
        windows = bank_windows(trainer.ema.module, bank, rows)

        def scored(row: dict, trainer=trainer, windows=windows, truth=dataset.targets[rows]) -> None:
            logits = windows_logits(trainer.ema.module.eval(), windows, tta=False)
            row["train_accuracy"] = float((logits.argmax(dim=1) == truth).float().mean())
            on_epoch()

        trainer.fit(scored)
        histories.append(trainer.history)
    epoch_rows = list(zip(*histories, strict=True))
    return {
        "name": name,
        "clips": {part: len(rows) for part, rows in dataset.rows.items() if part != "test"},
        "parameters": sum(each.numel() for each in trainer.model.parameters()),
        "seconds": round(time.perf_counter() - start, 1),
        **{score: [round(fmean(row[score] for row in rows), 4) for rows in epoch_rows] for score in SCORES},
    }


def show(result: dict) -> None:
    """The table in the terminal: share right at the end, on the clips of the training and on new speakers."""
    columns = ("variant", "parameters", "right in training", "right on new speakers")
    shown = console.table(f"{result['epochs']} epochs, {result['seconds']:.0f} s", columns)
    for row in result["variants"]:
        right = (f"{row[score][-1]:.3f}" for score in ("train_accuracy", "validation_accuracy"))
        shown.add_row(row["name"], f"{row['parameters']:,}", *right)
    console.out.print(shown)


if __name__ == "__main__":
    sys.exit(main())
