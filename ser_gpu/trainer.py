"""The training loop: Material, the clips and who is in which part; Trainer, the weights and how they move."""

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ser_gpu.config import ModelConfig, TrainConfig
from ser_gpu.data.protocols import PARTS, Split
from ser_gpu.data.ravdess import Clip
from ser_gpu.data.waveform import ClipBank
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.muon import Muon
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
        self.optimizers = build_optimizers(self.model, config)
        self.rows = torch.cat([material.rows[part] for part in parts_to_learn(config)])
        self.batch_size = min(config.batch_size, len(self.rows))
        self.steps = len(self.rows) // self.batch_size
        self.schedules = [self._one_cycle(optimizer) for optimizer in self.optimizers]
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
        order = self.rows[torch.randperm(len(self.rows), device=self.device)]
        losses = []
        for batch in order[: self.steps * self.batch_size].split(self.batch_size):
            spectrogram = self.model.spectrogram(*self.material.bank.batch(batch))
            spectrogram, targets = self.mixup(spectrogram, self.material.labels[batch])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                logits = self.model.cnn(spectrogram)
            loss = members_loss(logits, targets, self.config.label_smoothing)
            self.model.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
                optimizer.step()
                schedule.step()
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
                "lr": self.schedules[0].get_last_lr()[0],
                "train_loss": loss,
                **({} if self.config.refit else self.validate()),
                "seconds": seconds,
                "clips_per_second": self.steps * self.batch_size / seconds,
            }
            self.history.append(row)
            after_epoch(row)

    def validate(self) -> dict[str, float]:
        """Loss, accuracy and UAR of the moving average on the validation part, by one view of each clip, for speed."""
        logits, labels = self.logits("validation", views=False)
        scores = metrics.headline(labels.cpu().numpy(), logits.argmax(dim=1).cpu().numpy())
        return {
            "validation_loss": F.cross_entropy(logits, labels).item(),
            "validation_accuracy": scores["accuracy"],
            "validation_uar": scores["uar"],
        }

    def finish(self, temperature: float | None = None) -> SpeechEmotionModel:
        """The moving average as a model, with this temperature, else with that which fits the validation part."""
        model = self.ema.module
        if temperature is None:
            logits, labels = self.logits("validation")
            temperature = metrics.fit_temperature(logits.cpu().numpy(), labels.cpu().numpy())
        model.temperature.fill_(temperature)
        return model.eval()

    def logits(self, part: str, views: bool = True) -> tuple[Tensor, Tensor]:
        """Logits of the moving average, and labels, of one part.

        Shape: -> [N, C] float32, [N] int64.
        """
        rows = self.material.rows[part]
        return collect_logits(self.ema.module, self.material.bank, rows, views), self.material.labels[rows]

    def state(self) -> dict:
        """What `restore` needs to go on after this epoch."""
        return {
            "config": asdict(self.config),
            "model_config": self.model.config.as_dict(),
            "bfloat16": self.bfloat16,
            "manifest_hash": self.material.manifest_hash,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
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
            if difference := first_difference(state[part], own[part], part):
                raise ValueError(f"the resume file is of another training: {difference}")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for own, saved in zip(self.optimizers, state["optimizers"], strict=True):
            own.load_state_dict(saved)
        for own, saved in zip(self.schedules, state["schedules"], strict=True):
            own.load_state_dict(saved)
        self.history = state["history"]

    def _one_cycle(self, optimizer: Optimizer) -> OneCycleLR:
        """The same warm-up and the same fall to nothing for every optimiser, from its own peak learning rate."""
        return OneCycleLR(
            optimizer,
            optimizer.defaults["lr"],
            total_steps=self.config.epochs * self.steps,
            pct_start=self.config.warmup,
            cycle_momentum=False,
        )

    def _seed_epoch(self) -> None:
        seed = self.config.seed * 100_003 + len(self.history) + 1
        random.seed(seed)
        torch.manual_seed(seed)


def parts_to_learn(config: TrainConfig) -> tuple[str, ...]:
    """The parts of the split whose clips move the weights."""
    return ("train", "validation") if config.refit else ("train",)


def members_loss(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy with smoothed labels, the mean over clips and over the members of the ensemble.

    Shape: [K, B, C], [B, C] -> [].
    """
    targets = targets.expand_as(logits).flatten(0, 1)
    return F.cross_entropy(logits.float().flatten(0, 1), targets, label_smoothing=label_smoothing)


def use_bfloat16(choice: str, device: torch.device) -> bool:
    """ "on", "off", or "auto": on a GPU, and on a processor that multiplies in bfloat16."""
    if choice != "auto":
        return choice == "on"
    if device.type == "cuda":
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def build_optimizers(model: SpeechEmotionModel, config: TrainConfig) -> list[Optimizer]:
    """AdamW for all weights; with "muon", Muon for the kernels of the residual blocks and AdamW for the others."""
    decay = config.weight_decay
    blocks = [kernel for member in model.cnn.members for kernel in member.blocks.parameters() if kernel.ndim == 4]
    if config.optimizer == "adamw":
        return [AdamW(_decay_groups(model.parameters(), decay), lr=config.lr)]
    inside = {id(kernel) for kernel in blocks}
    others = [each for each in model.parameters() if id(each) not in inside]
    return [
        AdamW(_decay_groups(others, decay), lr=config.lr),
        Muon(blocks, lr=config.kernel_lr, weight_decay=decay),
    ]


def _decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    """Weight decay for convolution and linear kernels; none for biases and batch normalisation."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for each in parameters:
        (decayed if each.ndim > 1 else spared).append(each)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]


def first_difference(stored, asked, name: str) -> str | None:
    """Where two nested dictionaries of settings differ first, in words; None where they do not."""
    if isinstance(asked, dict):
        for key, value in asked.items():
            if difference := first_difference(stored.get(key), value, key):
                return difference
        return None
    return None if stored == asked else f"{name} is {stored!r} there and {asked!r} here"
