"""An epoch of training: our trainer, and the same network fed in the usual ways.

All train the same network with the same optimizers, precision and loss on the same clips. The usual ways: librosa in
the workers of a DataLoader, which augment too or leave that to the device, and log-mel computed once before the
training. What the device augments is pitch, tempo, band gain and masks, as in ours; waveforms and mixup are left out.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks import baselines
from benchmarks.signals import SAMPLE_RATE, recordings
from benchmarks.tables import TableForm
from benchmarks.timing import AGAINST_COLUMN, COST_COLUMNS, RATE_COLUMNS, Job, against, interleaved, rates
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import AugmentConfig, ModelConfig
from ser_gpu.corpora.clip import EMOTIONS, Clip
from ser_gpu.corpora.splits import Split
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.prepared import trains_in_bfloat16
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.dataset import Dataset
from ser_gpu.training.loop import Trainer, members_loss
from ser_gpu.training.optimizers import build_optimizers

TABLES = {
    "epoch": TableForm(
        "An epoch of training, the whole processor",
        (
            ("competitor", "", "{}"),
            ("batch", "batch", "{}"),
            *RATE_COLUMNS,
            AGAINST_COLUMN,
            ("epoch_seconds", "epoch of 1,440 clips, s", "{:,.2f}"),
            ("loss", "loss of epoch 3", "{:.2f}"),
            *COST_COLUMNS,
        ),
    ),
}
EPOCH = 1_440


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table: augmented, then plain."""
    count, usually = job.of(8, 512, 1_152), job.of(8, 32, 32)
    waveforms = [clip[:length] for clip, length in zip(*recordings(count), strict=True)]
    ours = {}
    for batch in (usually, 256, 1024) if job.on_gpu else (usually,):
        ways = {"ser_gpu, augmented": lambda batch=batch: epoch(trainer(waveforms, job, batch))}
        ours[batch] = rows(job, ways, batch, count)
        yield "epoch", ours[batch]
    pooled = f"librosa in {job.processes} loader workers"
    usual = {
        "log-mel computed before, augmented on the device": lambda: _Usual(
            _Computed(waveforms, job, usually), job, True
        ),
        f"{pooled}, augmented there": lambda: _Usual(_loader(waveforms, job, usually, augmented=True), job, False),
        f"{pooled}, augmented on the device": lambda: _Usual(_loader(waveforms, job, usually), job, True),
    }
    for name, way in usual.items():
        yield "epoch", rows(job, {name: way}, usually, count, ours[usually][0])
    plain = {
        "ser_gpu, plain": lambda: epoch(trainer(waveforms, job, usually, augmented=False)),
        f"{pooled}, plain": lambda: _Usual(_loader(waveforms, job, usually), job, False),
    }
    yield "epoch", rows(job, plain, usually, count)


def rows(
    job: Job, ways: dict[str, Callable[[], Callable[[], Tensor]]], batch: int, count: int, ours: dict | None = None
) -> list[dict]:
    """A row for each way: what makes a call that trains an epoch and gives its losses. It is made in the warm-up."""
    clips = max(1, count // batch) * batch
    epochs: dict[str, Callable] = {}
    losses: dict[str, list[Tensor]] = {name: [] for name in ways}

    def train(name: str) -> None:
        epochs[name] = epochs.get(name) or ways[name]()
        losses[name].append(epochs[name]())

    calls = {name: lambda name=name: train(name) for name in ways}
    found = []
    for name, taken in interleaved(job, calls, torch.get_num_threads(), rounds=job.of(1, 3, 3)).items():
        row = {"competitor": name, "batch": batch, **rates(taken, clips)}
        if "note" not in row:
            row |= {"epoch_seconds": EPOCH / row["clips_per_second"], "loss": float(losses[name][2].mean())}
        ours = ours or row
        found.append(against(ours, row))
    return found


def epoch(trainer: Trainer) -> Callable[[], Tensor]:
    """A call that trains an epoch, and gives its losses."""
    return lambda: trainer.train_steps(lambda: None)


def trainer(waveforms: list[Tensor], job: Job, batch: int, augmented: bool = True) -> Trainer:
    """A training of clips with made-up emotions."""
    clips = [
        Clip(id=f"{row:05}", path=Path(f"{row:05}.wav"), emotion=_emotion(row), speaker=None, corpus="own")
        for row in range(len(waveforms))
    ]
    dataset = Dataset(
        clips,
        ClipBank.from_waveforms(waveforms, SAMPLE_RATE).to(job.device),
        Split({clip.id: "train" for clip in clips}),
    )
    config = ModelConfig(augment=AugmentConfig(enabled=augmented))
    training = TrainConfig(epochs=10_000, batch_size=batch)  # more than can be timed: the schedule has an end
    return Trainer(training, config, dataset, trains_in_bfloat16(job.device))


def _emotion(row: int) -> str:
    return EMOTIONS[row % len(EMOTIONS)]


class _Features(torch.utils.data.Dataset):
    """Decibels, or what the network sees, of clips; and their labels."""

    def __init__(self, clips: list[np.ndarray], config: ModelConfig, augmented: bool):
        self.clips, self.config, self.augmented = clips, config, augmented

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        clip, label = self.clips[row], row % len(EMOTIONS)
        if self.augmented:
            return baselines.augmented_features(clip, np.random.randint(2**31), self.config)[None], label  # noqa: NPY002
        return baselines.decibels(clip, self.config)[None], label


def _loader(waveforms: list[Tensor], job: Job, batch: int, augmented: bool = False) -> DataLoader:
    """Batches by librosa in workers; in a dry run in this process."""
    workers = {
        "num_workers": job.processes,
        "worker_init_fn": baselines.one_thread,
        "multiprocessing_context": "spawn",
        "persistent_workers": True,
    }
    features = _Features([waveform.numpy() for waveform in waveforms], ModelConfig(), augmented)
    more = {} if job.dry else workers
    return DataLoader(features, batch, shuffle=True, **more, pin_memory=job.on_gpu, drop_last=True)


class _Computed:
    """Batches out of all log-mel, which is on the device."""

    def __init__(self, waveforms: list[Tensor], job: Job, batch: int):
        self._batch = batch
        model = SpeechEmotionModel(ModelConfig()).to(job.device).eval()
        bank = ClipBank.from_waveforms(waveforms, SAMPLE_RATE).to(job.device)
        rows = torch.arange(len(bank), device=job.device)
        with torch.no_grad():
            parts = [model.decibels(model.window(*bank.rows(part))) for part in rows.split(64)]
        self._decibels, self._labels = torch.cat(parts), rows % len(EMOTIONS)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(self._labels), device=self._labels.device).split(self._batch):
            if len(rows) == self._batch:
                yield self._decibels[rows], self._labels[rows]


class _Usual:
    """An epoch of the network on the device by a plain loop over batches."""

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]], job: Job, augmented: bool):
        self.batches, self.job, self.config = batches, job, TrainConfig()
        self.model = SpeechEmotionModel(ModelConfig(augment=AugmentConfig(enabled=augmented))).to(job.device).train()
        self.optimizers = build_optimizers(self.model, self.config)
        self.bfloat16 = trains_in_bfloat16(job.device)
        self.classes = torch.arange(len(EMOTIONS), device=job.device)

    def __call__(self) -> Tensor:
        model, device, losses = self.model, self.job.device, []
        for spectrogram, labels in self.batches:
            x = spectrogram.to(device, non_blocking=True)
            # of what was augmented already, only normalised
            x = model.mask(model.mel.normalised(model.gain(model.warp(x))))
            targets = (labels.to(device, non_blocking=True)[:, None] == self.classes).float()
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
                logits = model.cnn(x)
            loss = members_loss(logits, targets, self.config.label_smoothing)
            model.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)
