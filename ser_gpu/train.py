"""python -m ser_gpu.train: train a model by a protocol, resumable, and score its test part once at the end."""

import argparse
import csv
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ser_gpu import checkpoint, command_line
from ser_gpu.atomic import replacing, write_json
from ser_gpu.checkpoint import Provenance
from ser_gpu.config import AugmentConfig, CnnConfig, ModelConfig, TrainConfig
from ser_gpu.data.protocols import PROTOCOLS, Protocol
from ser_gpu.data.ravdess import Clip
from ser_gpu.data.waveform import ClipBank
from ser_gpu.evaluate import collect_logits, find_clips, read_clips, report
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.results import console, environment, figures, metrics
from ser_gpu.stages.augment import Mixup


@dataclass(frozen=True)
class Material:
    """The clips on the device, their labels, and the rows of each part."""

    clips: tuple[Clip, ...]
    bank: ClipBank
    labels: Tensor
    rows: dict[str, Tensor]
    manifest_hash: str

    @classmethod
    def gather(cls, clips: tuple[Clip, ...], protocol: Protocol, sample_rate: int, device: torch.device) -> "Material":
        """Split and decode `clips`."""
        split = protocol.split(clips)
        rows = {
            part: torch.tensor([i for i, clip in enumerate(clips) if split.part_of[clip.name] == part], device=device)
            for part in ("train", "validation", "test")
        }
        if empty := [part for part, index in rows.items() if len(index) == 0]:
            raise ValueError(f"{protocol.name}, fold {protocol.fold}: no clip in {' and '.join(empty)}")
        labels = torch.tensor([clip.emotion for clip in clips], device=device)
        return cls(clips, read_clips(clips, sample_rate, device), labels, rows, split.manifest_hash)

    def clips_of(self, part: str) -> list[Clip]:
        """The clips of one part, in the order of its rows."""
        return [self.clips[row] for row in self.rows[part].tolist()]


class Trainer:
    """One training from its first step to its last: model, moving average, optimiser, schedule, history.

    Everything random in an epoch is seeded by (seed, epoch), so a training that is resumed after an epoch goes on as
    if it had not stopped.
    """

    def __init__(
        self, config: TrainConfig, model_config: ModelConfig, material: Material, device: torch.device, amp: bool
    ):
        self.config = config
        self.material = material
        self.device = device
        self.amp = amp
        torch.manual_seed(config.seed)
        self.model = SpeechEmotionModel(model_config).to(device)
        self.model.cnn.to(memory_format=torch.channels_last)
        self.ema = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
        self.mixup = Mixup(model_config.augment, len(self.model.labels))
        self.optimizer = torch.optim.AdamW(_decay_groups(self.model, config.weight_decay), lr=config.lr)
        self.batch_size = min(config.batch_size, len(material.rows["train"]))
        self.steps = len(material.rows["train"]) // self.batch_size
        self.schedule = OneCycleLR(
            self.optimizer, config.lr, total_steps=config.epochs * self.steps, pct_start=config.warmup
        )
        self.history: list[dict] = []

    def train_epoch(self, on_step: Callable[[], None]) -> float:
        """One pass over the training part; the mean loss."""
        self._seed_epoch()
        self.model.train()
        rows = self.material.rows["train"]
        order = rows[torch.randperm(len(rows), device=self.device)]
        total = torch.zeros((), device=self.device)
        for batch in order[: self.steps * self.batch_size].split(self.batch_size):
            spectrogram = self.model.spectrogram(*self.material.bank.batch(batch))
            spectrogram, targets = self.mixup(spectrogram, self.material.labels[batch])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                logits = self.model.cnn(spectrogram.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.config.label_smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.ema.update_parameters(self.model)
            total += loss.detach()
            on_step()
        return total.item() / self.steps

    def fit(self, after_epoch: Callable[[dict], None], on_step: Callable[[], None] = lambda: None) -> None:
        """Train the epochs that are left; `after_epoch` gets the epoch's row of history.

        Raises:
            ValueError: the loss is no longer finite; what was saved before stays.
        """
        while len(self.history) < self.config.epochs:
            start = time.perf_counter()
            loss = self.train_epoch(on_step)
            if not torch.isfinite(torch.tensor(loss)):
                raise ValueError(f"the loss of epoch {len(self.history) + 1} is not finite; try a smaller --lr")
            seconds = time.perf_counter() - start
            row = {
                "epoch": len(self.history) + 1,
                "lr": self.schedule.get_last_lr()[0],
                "train_loss": loss,
                **self.validate(),
                "seconds": seconds,
                "clips_per_second": self.steps * self.batch_size / seconds,
            }
            self.history.append(row)
            after_epoch(row)

    def validate(self) -> dict[str, float]:
        """Loss, accuracy and UAR of the moving average on the validation part."""
        logits, labels = self.logits("validation")
        scores = metrics.headline(labels.cpu().numpy(), logits.argmax(dim=1).cpu().numpy())
        return {
            "validation_loss": F.cross_entropy(logits, labels).item(),
            "validation_accuracy": scores["accuracy"],
            "validation_uar": scores["uar"],
        }

    def finish(self) -> SpeechEmotionModel:
        """The moving average as a model, with the temperature fitted on validation."""
        logits, labels = self.logits("validation")
        model = self.ema.module
        model.temperature.fill_(metrics.fit_temperature(logits.cpu().numpy(), labels.cpu().numpy()))
        return model.eval()

    def logits(self, part: str) -> tuple[Tensor, Tensor]:
        """Logits of the moving average, and labels, of one part.

        Shape: -> [N, C] float32, [N] int64.
        """
        rows = self.material.rows[part]
        return collect_logits(self.ema.module, self.material.bank, rows), self.material.labels[rows]

    def state(self) -> dict:
        """What `restore` needs to go on after this epoch."""
        return {
            "config": asdict(self.config),
            "model_config": self.model.config.as_dict(),
            "manifest_hash": self.material.manifest_hash,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
        }

    def restore(self, state: dict) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: the state is of a training with other settings or other clips; names the first difference.
        """
        own = self.state()
        for part in ("config", "model_config", "manifest_hash"):
            if part not in state:
                raise ValueError(f"the resume file has no {part}")
            if difference := _first_difference(state[part], own[part], part):
                raise ValueError(f"the resume file is of another training: {difference}")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.history = state["history"]

    def _seed_epoch(self) -> None:
        seed = self.config.seed * 100_003 + len(self.history) + 1
        random.seed(seed)
        torch.manual_seed(seed)


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
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
    )
    model_config = ModelConfig(augment=AugmentConfig(enabled=not args.no_augment), cnn=CnnConfig(head=args.head))
    out = Path(args.out or f"runs/{protocol.name}-fold{protocol.fold}-seed{args.seed}")
    if (out / "result.json").exists():
        raise ValueError(f"{out}: holds a finished training; name another folder with --out")
    resume_file = out / "resume.pth"
    if resume_file.exists() and not args.resume:
        raise ValueError(f"{out}: holds an unfinished training; --resume goes on with it, --out names another folder")

    clips = find_clips(args.data)
    material = Material.gather(clips, protocol, model_config.audio.sample_rate, device)
    trainer = Trainer(config, model_config, material, device, amp=_use_bfloat16(args.amp, device))
    if args.resume and resume_file.exists():
        trainer.restore(checkpoint.read(resume_file))
    if args.compile:
        trainer.model.cnn.compile()
    write_json(out / "config.json", {"training": asdict(config), "model": model_config.as_dict()})
    _fit_with_progress(trainer, out, resume_file)
    _finish(trainer, protocol, out)
    resume_file.unlink(missing_ok=True)
    return command_line.DONE


def _fit_with_progress(trainer: Trainer, out: Path, resume_file: Path) -> None:
    config = trainer.config
    with console.progress("status") as progress:
        total = config.epochs * trainer.steps
        task = progress.add_task("Training", total=total, completed=len(trainer.history) * trainer.steps, status="")

        def after_epoch(row: dict) -> None:
            with replacing(resume_file) as temporary:
                torch.save(trainer.state(), temporary)
            _write_csv(out / "metrics.csv", trainer.history)
            status = (
                f"epoch {row['epoch']}/{config.epochs}  loss {row['train_loss']:.3f}  "
                f"validation accuracy {row['validation_accuracy']:.3f}  UAR {row['validation_uar']:.3f}  "
                f"{row['clips_per_second']:.0f} clips/s"
            )
            progress.update(task, status=status)
            if not console.err.is_terminal:
                console.err.print(status)

        trainer.fit(after_epoch, on_step=lambda: progress.advance(task))


def _finish(trainer: Trainer, protocol: Protocol, out: Path) -> None:
    """Fit the temperature, score the test part once, and write checkpoint, result and figure."""
    model = trainer.finish()
    scores = {}
    for part in ("validation", "test"):
        logits, _ = trainer.logits(part)
        scores[part] = report(model, logits, trainer.material.clips_of(part), protocol.speaker_independent)
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
        "bfloat16": trainer.amp,
        "seconds": sum(row["seconds"] for row in trainer.history),
        "temperature": float(model.temperature),
        "environment": environment.describe(trainer.device),
        "config": {"training": asdict(trainer.config), "model": model.config.as_dict()},
        **scores,
    }
    write_json(out / "result.json", result)
    console.show_report(f"{title}, test part", scores["test"], model.labels)
    console.err.print(f"written: {out}/last.pth, result.json, metrics.csv, config.json, curves.png")


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for convolution and linear kernels; none for biases and batch normalisation."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _use_bfloat16(choice: str, device: torch.device) -> bool:
    """`auto`: on a GPU, and on a processor that multiplies bfloat16 in hardware."""
    if choice != "auto":
        return choice == "on"
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cuda" or bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _first_difference(stored, asked, name: str) -> str | None:
    if isinstance(asked, dict):
        for key, value in asked.items():
            if difference := _first_difference(stored.get(key), value, key):
                return difference
        return None
    return None if stored == asked else f"{name} is {stored!r} there and {asked!r} here"


def _write_csv(path: Path, rows: list[dict]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _parser() -> argparse.ArgumentParser:
    defaults = TrainConfig()
    parser = argparse.ArgumentParser(
        prog="python -m ser_gpu.train",
        description="Train a speech emotion model on RAVDESS; the .pth file that comes out takes raw audio.",
    )
    add = parser.add_argument
    count = command_line.positive_int
    shown = "(default: %(default)s)"
    protocols = [name for name in PROTOCOLS if name != "actors"]
    add("--data", help="RAVDESS folder (default: $RAVDESS_DIR, else downloaded)")
    add("--protocol", choices=protocols, default=defaults.protocol, help=f"who is in which part {shown}")
    add("--fold", type=int, default=defaults.fold, help=f"fold, or seed of a random split {shown}")
    add("--test-actors", type=int, nargs="+", metavar="ACTOR", help="hold these actors out, instead of --protocol")
    add("--seed", type=int, default=defaults.seed, help=f"seed of weights, order and augmentation {shown}")
    add("--epochs", type=count, default=defaults.epochs, help=f"passes over the training part {shown}")
    add("--batch-size", type=count, default=defaults.batch_size, help=f"clips a step {shown}")
    add("--lr", type=float, default=defaults.lr, help=f"peak learning rate of the one-cycle schedule {shown}")
    add("--head", choices=("gap", "flatten"), default="gap", help=f"global average pooling or flatten {shown}")
    add("--no-augment", action="store_true", help="train without augmentation, masks and mixup")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--amp", choices=("auto", "on", "off"), default="auto", help="bfloat16 for the CNN (default: where it is fast)")
    add("--compile", action="store_true", help="torch.compile the CNN")
    add("--out", help="folder to write (default: runs/PROTOCOL-foldK-seedS)")
    add("--resume", action="store_true", help="go on with the unfinished training in --out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
