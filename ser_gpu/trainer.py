"""The training loop: Material, the clips and who is in which part; Trainer, the weights and how they move."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ser_gpu.config import ModelConfig, TrainConfig
from ser_gpu.data.protocols import PARTS, Split
from ser_gpu.data.ravdess import Clip
from ser_gpu.data.waveform import ClipBank
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.results import metrics
from ser_gpu.scoring import collect_logits
from ser_gpu.stages.augment import Mixup


class DivergedError(ValueError):
    """A training whose loss is no longer a number."""


class Material:
    """What a training is about: the clips on a device, their labels, and the rows of each part.

    Args:
        clips: in the order of the bank.
        bank: their waveforms.
        split: who is in which part.

    Raises:
        ValueError: a part without a clip.
    """

    def __init__(self, clips: Sequence[Clip], bank: ClipBank, split: Split):
        device = bank.lengths.device
        self.clips = tuple(clips)
        self.bank = bank
        self.manifest_hash = split.manifest_hash
        self.labels = torch.tensor([clip.emotion for clip in clips], device=device)
        self.rows: dict[str, Tensor] = {}
        for part in PARTS:
            rows = [row for row, clip in enumerate(clips) if split.part_of[clip.name] == part]
            if not rows:
                raise ValueError(f"no clip in the {part} part")
            self.rows[part] = torch.tensor(rows, device=device)

    @property
    def device(self) -> torch.device:
        """Where the clips are."""
        return self.labels.device

    def clips_of(self, part: str) -> list[Clip]:
        """The clips of one part, in the order of its rows."""
        return [self.clips[row] for row in self.rows[part].tolist()]


class Trainer:
    """One training from its first step to its last: model, moving average, optimiser, schedule, history.

    Everything random in an epoch is seeded by (seed, epoch), so a training that is resumed after an epoch goes on as
    if it had not stopped.

    Args:
        config: schedule, seed, optimiser.
        model_config: the network, its front end and its augmentation.
        material: the clips; their device is the training's.
        bfloat16: in the CNN.
    """

    def __init__(self, config: TrainConfig, model_config: ModelConfig, material: Material, bfloat16: bool):
        self.config = config
        self.material = material
        self.device = material.device
        self.bfloat16 = bfloat16
        torch.manual_seed(config.seed)
        self.model = SpeechEmotionModel(model_config).to(self.device)
        self.ema = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
        self.mixup = Mixup(model_config.augment, len(self.model.labels))
        self.optimizer = torch.optim.AdamW(_decay_groups(self.model, config.weight_decay), lr=config.lr)
        self.batch_size = min(config.batch_size, len(material.rows["train"]))
        self.steps = len(material.rows["train"]) // self.batch_size
        self.schedule = OneCycleLR(
            self.optimizer, config.lr, total_steps=config.epochs * self.steps, pct_start=config.warmup
        )
        self.history: list[dict] = []

    def train_epoch(self, on_step: Callable[[], None] = lambda: None) -> float:
        """One pass over the training part; the mean loss. The losses are all that is read back from the device.

        Raises:
            DivergedError: a loss that is not finite; names epoch and step.
        """
        losses = self.train_steps(on_step).tolist()
        for step, loss in enumerate(losses, start=1):
            if not math.isfinite(loss):
                raise DivergedError(f"the loss of epoch {len(self.history) + 1}, step {step} is {loss}")
        return fmean(losses)

    def train_steps(self, on_step: Callable[[], None]) -> Tensor:
        """The steps of an epoch, none of which waits for the device; their losses, still there.

        Shape: -> [steps].
        """
        self._seed_epoch()
        self.model.train()
        rows = self.material.rows["train"]
        order = rows[torch.randperm(len(rows), device=self.device)]
        losses = []
        for batch in order[: self.steps * self.batch_size].split(self.batch_size):
            spectrogram = self.model.spectrogram(*self.material.bank.batch(batch))
            spectrogram, targets = self.mixup(spectrogram, self.material.labels[batch])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                logits = self.model.cnn(spectrogram)
            loss = members_loss(logits, targets, self.config.label_smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.ema.update_parameters(self.model)
            losses.append(loss.detach())
            on_step()
        return torch.stack(losses)

    def fit(self, after_epoch: Callable[[dict], None], on_step: Callable[[], None] = lambda: None) -> None:
        """Train the epochs that are left; `after_epoch` gets the epoch's row of history.

        Raises:
            DivergedError: as in `train_epoch`; what was saved before stays.
        """
        while len(self.history) < self.config.epochs:
            start = time.perf_counter()
            loss = self.train_epoch(on_step)
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
            "bfloat16": self.bfloat16,
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
        for part in ("config", "model_config", "bfloat16", "manifest_hash"):
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


def members_loss(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy with smoothed labels, the mean over clips and over the members of the ensemble.

    Shape: [K, B, C], [B, C] -> [].
    """
    targets = targets.expand_as(logits).flatten(0, 1)
    return F.cross_entropy(logits.float().flatten(0, 1), targets, label_smoothing=label_smoothing)


def use_bfloat16(choice: str, device: torch.device) -> bool:
    """ "on", "off", or "auto": on a GPU, and on a processor that multiplies bfloat16 in hardware."""
    if choice != "auto":
        return choice == "on"
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cuda" or bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for convolution and linear kernels; none for biases and batch normalisation."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _first_difference(stored, asked, name: str) -> str | None:
    if isinstance(asked, dict):
        for key, value in asked.items():
            if difference := _first_difference(stored.get(key), value, key):
                return difference
        return None
    return None if stored == asked else f"{name} is {stored!r} there and {asked!r} here"
