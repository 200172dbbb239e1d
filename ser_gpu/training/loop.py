"""The training loop: how the weights are updated."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from ser_gpu import checkpoint
from ser_gpu.config import ModelConfig
from ser_gpu.errors import InputError, check
from ser_gpu.evaluation import metrics, report
from ser_gpu.model import SpeechEmotionModel, bank_windows, windows_logits
from ser_gpu.settings import first_difference
from ser_gpu.stages import speaker_norm
from ser_gpu.stages.spectrogram_augment import Mixup
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.dataset import Dataset
from ser_gpu.training.distributed import ONE, Ranks
from ser_gpu.training.initial import take_weights
from ser_gpu.training.optimizers import MovingAverage, build_optimizers, restore
from ser_gpu.training.sampler import sampler_of
from ser_gpu.voices.plan import posterior

DIVERGED_GUESSES = 10.0  # a guess costs ln C nats; at ten times that the weights can no longer be trained
HEAD_PRIOR = 100.0  # its weight; chosen with 48 clips of SAVEE, URDU or TurEV, which the network had not heard
_ADVICE = "a smaller --lr with another --out may do better"


class Trainer:
    """One training: model, moving average, optimizers, schedules, history. Each epoch is seeded by (seed, epoch), so a
    resumed training goes on as if it had not stopped. `init`: checkpoint with the first weights, else they are drawn.
    Raises InputError where checkpoint or settings do not fit the clips, the network or the ranks."""

    def __init__(
        self,
        config: TrainConfig,
        model_config: ModelConfig,
        dataset: Dataset,
        bfloat16: bool,
        init: str | Path | None = None,
        ranks: Ranks = ONE,
    ):
        self.config, self.dataset, self.bfloat16, self.ranks = config, dataset, bfloat16, ranks
        self.device = dataset.device
        source = None if init is None else checkpoint.load_model(init, "cpu")
        torch.manual_seed(config.seed)
        self.model = SpeechEmotionModel(model_config, dataset.labels).to(self.device)
        self.known_labels = () if source is None else take_weights(self.model, source, init)
        if config.head_only and (source is None or not speaker_norm.last_layers(self.model.cnn)):
            needed = "the features of --init, and a network whose last layer is SpeakerLinear"
            raise InputError(f"--head-only needs {needed}")
        if config.grouped_share > 0 and not speaker_norm.layers(self.model.cnn):
            raise InputError(f"training.grouped_share: the network {model_config.cnn.network!r} has no SpeakerNorm2d")
        self.ema = MovingAverage(self.model, config.ema_decay)
        self.ema.eval()
        self.mixup = Mixup(model_config.augment, len(dataset.labels))
        self.optimizers = build_optimizers(self.model, config)
        self.rows = torch.cat([dataset.rows[part] for part in config.parts])
        self.batch_size = min(config.batch_size, len(self.rows))
        if self.batch_size % ranks.count:
            problem = f"does not fall into {ranks.count} equal parts: --batch-size"
            raise InputError(f"a batch of {self.batch_size} clips {problem}")
        self.steps = len(self.rows) // self.batch_size
        self.sampler = sampler_of(dataset, self.rows, config)
        total, warmup = config.epochs * self.steps, config.warmup
        warmup *= 1.001 if warmup * total == 1.0 else 1.0  # OneCycleLR would divide by zero
        self.schedules = [  # the same warm-up and fall to nothing, each from its own peak
            OneCycleLR(each, each.defaults["lr"], total_steps=total, pct_start=warmup, cycle_momentum=False)
            for each in self.optimizers
        ]
        self.history: list[dict] = []
        self._windows: dict[str, list[Tensor]] = {}
        ranks.synchronise(self.model.cnn)

    def fit(self, after_epoch: Callable[[dict], None], on_step: Callable[[], None] = lambda: None) -> None:
        """Train the epochs left; the first rank gives `after_epoch` each row of history. InputError if it diverges."""
        while len(self.history) < self.config.epochs:
            epoch, start = len(self.history) + 1, time.perf_counter()
            losses = self.train_steps(on_step).tolist()  # all that is read back from the device
            seconds = time.perf_counter() - start
            self._check(epoch, losses)
            row = {"epoch": epoch, "lr": float(self.schedules[0].get_last_lr()[0]), "train_loss": fmean(losses)}
            row |= self.validate() if self.ranks.is_first else {}
            row |= {"seconds": seconds, "clips_per_second": self.steps * self.batch_size / seconds}
            self.history.append(row)
            if self.ranks.is_first:
                after_epoch(row)

    def fit_head(self) -> None:
        """Fit the last layer alone to the mean features of each clip: the maximum a posteriori, with a normal prior
        around the head of the first weights, or zero for an emotion that is new to them; emotions weigh alike."""
        model, last = self.ema.module.eval(), speaker_norm.last_layers(self.ema.module.cnn)
        windows, truth = bank_windows(model, self.dataset.bank, self.rows), self.dataset.targets[self.rows]
        with torch.inference_mode():
            parts = [model.embed(part.to(self.device)) for part in torch.cat(windows).split(model.windows_at_once)]
        features = torch.stack([each.mean(dim=0) for each in torch.cat(parts).split([len(each) for each in windows])])
        spread, mean = torch.std_mean(features, dim=0, correction=0)  # [E]
        spread = spread.clamp(min=1e-6)
        known = torch.tensor([[label in self.known_labels] for label in model.labels], device=self.device)  # [C, 1]
        weight = torch.cat([layer.weight.detach() for layer in last], dim=1) * known / len(last)  # [C, E]
        bias = sum(layer.bias.detach() for layer in last) * known[:, 0] / len(last)
        per_clip = truth.bincount(minlength=len(bias)).float().reciprocal()[truth] * len(truth) / len(bias)
        scaled, logits = F.pad((features - mean) / spread, (0, 1), value=1.0), features @ weight.T + bias
        given = scaled, logits, F.one_hot(truth, len(bias)), per_clip[:, None]
        change = posterior(*(each.double().cpu().numpy() for each in given), HEAD_PRIOR)  # [C, E + 1]
        change = torch.from_numpy(change).to(features)
        moved = change[:, :-1] / spread
        bias = bias + change[:, -1] - moved @ mean
        sizes = [layer.in_features for layer in last]
        for layer, own in zip(last, (weight + moved).split(sizes, dim=1), strict=True):
            layer.weight.data.copy_(own * len(last))  # the model's logits are the mean over members
            layer.bias.data.copy_(bias)

    def train_steps(self, on_step: Callable[[], None]) -> Tensor:
        """Train one epoch without waiting for the device. Shape: -> [steps], losses over all ranks, on the device."""
        seed = self.config.seed * 100_003 + len(self.history) + 1
        random.seed(seed)
        torch.manual_seed(seed)
        self.model.train()
        losses = []
        for batch in self.ranks.parts(self.sampler.batches(self.steps), seed):
            losses.append(self.step(batch.rows, batch.groups))
            for schedule in self.schedules:
                schedule.step()
            on_step()
        losses = torch.stack(losses)
        self.ranks.average([losses])
        return losses

    def step(self, rows: Tensor, groups: int = 1) -> Tensor:
        """Train on one batch by operations on the device alone, which a CUDA graph can hold; only the schedules, which
        fill the learning rates, are the host's. Shape: [B] int64, in equal groups -> [], the loss on this rank."""
        loss = self.loss(rows, groups)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average([each.grad for each in self.model.parameters() if each.grad is not None])
        for optimizer in self.optimizers:
            optimizer.step()
        self.ranks.average([each for each in self.model.cnn.buffers() if each.is_floating_point()])
        self.ema.update()
        return loss.detach()

    def loss(self, rows: Tensor, groups: int = 1) -> Tensor:
        """The loss of a batch, as in `step`."""
        bank, most = self.dataset.bank, 2 * self.model.config.audio.clip_samples
        spectrogram = self.model.spectrogram(*bank.rows(rows, most=most, random=bank.longest > most))
        spectrogram, targets = self.mixup(spectrogram, self.dataset.targets[rows], groups)
        speaker_norm.set_groups(self.model.cnn, groups)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.model.cnn(spectrogram)
        known = None if self.dataset.known is None else self.dataset.known[self.dataset.corpus[rows]]
        return members_loss(logits, targets, self.config.label_smoothing, known)

    @property
    def is_validated(self) -> bool:
        """True where there is a validation part, and it is not trained on."""
        return "validation" not in self.config.parts and len(self.dataset.rows["validation"]) > 0

    def validate(self) -> dict[str, float]:
        """Scores of the moving average on the validation part, for speed without test-time augmentation."""
        if not self.is_validated:
            return {}
        found = self._answers_again("validation", self.dataset.rows["validation"])
        scores, row = found.headline(), {"validation_loss": metrics.log_loss(found.truth, found.logits)}
        row |= {f"validation_{name}": scores[name] for name in ("accuracy", "uar")}
        of = np.array([clip.corpus for clip in found.clips])
        for corpus in np.unique(of) if len(self.dataset.corpora) > 1 else ():
            own = of == corpus
            row[f"validation_uar_{corpus}"] = metrics.headline(found.truth[own], found.predicted[own])["uar"]
        return row

    def answers(self, part: str, tta: bool = True) -> report.Answers:
        """What the moving average answers on one part."""
        model, rows = self.ema.module.eval(), self.dataset.rows[part]
        return report.answers(model, self.dataset.bank, rows, self.dataset.clips_of(part), tta)

    def _answers_again(self, name: str, rows: Tensor) -> report.Answers:
        # called after every epoch: no test-time augmentation, and windows are found once
        model = self.ema.module.eval()
        if name not in self._windows:
            self._windows[name] = bank_windows(model, self.dataset.bank, rows)
        logits = windows_logits(model, self._windows[name], tta=False)
        return report.of_logits(model, logits, [self.dataset.clips[row] for row in rows.tolist()])

    def finish(self, temperature: float | None = None) -> SpeechEmotionModel:
        """The moving average as a model, with this temperature, else fitted on the validation part, else 1."""
        if temperature is None and self.is_validated:
            found = self.answers("validation")
            temperature = metrics.fit_temperature(found.logits, found.truth)
        model = self.ema.module.eval()
        model.temperature.fill_(1.0 if temperature is None else temperature)
        return model

    def state(self) -> dict:
        """What `restore` needs to go on after this epoch."""
        state = {"config": asdict(self.config), "model_config": self.model.config.as_dict(), "bfloat16": self.bfloat16}
        state |= {"split": self.dataset.split.part_of, "history": self.history, "ranks": self.ranks.count}
        state |= {"model": self.model.state_dict(), "ema": self.ema.state_dict()}
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        return state | {"schedules": [schedule.state_dict() for schedule in self.schedules]}

    def restore(self, state: dict) -> None:
        """Go on from a saved state; InputError with the first difference of its settings, ranks or clips."""
        own = self.state()
        if missing := [name for name in own if name not in state]:
            raise InputError(f"the resume file has no {missing[0]}: another version wrote it, name another --out")

        def settings(state: dict) -> dict:
            others = {"bfloat16": state["bfloat16"], "ranks": state["ranks"], "the part of clip": state["split"]}
            return {"training": asdict(TrainConfig.from_dict(state["config"])), **state["model_config"], **others}

        if difference := first_difference(settings(state), settings(own)):
            raise InputError(f"the resume file is of another training: {difference}")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            restore(optimizer, saved)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        self.history = state["history"]

    def _check(self, epoch: int, losses: Sequence[float]) -> None:
        for step, loss in enumerate(losses, start=1):
            check(math.isfinite(loss), f"the loss of epoch {epoch}, step {step} is {loss}; {_ADVICE}")
        found = self._answers_again("first batch", self.rows[: self.batch_size])  # no loss tells of the last step
        means = {"mean loss of": fmean(losses), "loss after": metrics.log_loss(found.truth, found.logits)}
        guess = math.log(len(self.dataset.labels))
        for which, loss in means.items():
            if not loss <= DIVERGED_GUESSES * guess:  # written so that NaN is caught too
                raise InputError(f"the {which} epoch {epoch} is {loss:.3g}, where a guess has {guess:.3g}; {_ADVICE}")


def members_loss(logits: Tensor, targets: Tensor, label_smoothing: float, known: Tensor | None = None) -> Tensor:
    """Cross-entropy with smoothed labels, mean over clips and ensemble members; only `known` labels, those that the
    clip's corpus has, count. Shape: [K, B, C], [B, C], [B, C] bool -> []."""
    if known is not None:
        known = known | (targets > 0)  # mixup can bring a label of another corpus
        targets = torch.lerp(targets, known / known.sum(dim=1, keepdim=True), label_smoothing)
        likelihood = logits.float().masked_fill(~known, -torch.inf).log_softmax(dim=2).masked_fill(~known, 0.0)
        return -(targets * likelihood).sum(dim=2).mean()
    targets = targets.expand_as(logits).flatten(0, 1)
    return F.cross_entropy(logits.float().flatten(0, 1), targets, label_smoothing=label_smoothing)
