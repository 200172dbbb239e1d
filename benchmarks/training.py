"""An epoch of training: our trainer, against the usual DataLoader whose workers compute librosa features.

Both train the same CNN with the same optimisers and precision on the same clips; the usual way augments on the CPU, in
its workers.
"""

import subprocess
import threading
import time
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks import baselines
from benchmarks.signals import SAMPLE_RATE, recordings
from benchmarks.tables import TableForm
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import AugmentConfig, ModelConfig
from ser_gpu.corpora.clip import EMOTIONS, Clip
from ser_gpu.corpora.splits import Split
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages.prepared import trains_in_bfloat16
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.loop import Dataset, Trainer
from ser_gpu.training.optimizers import build_optimizers

TABLES = {
    "epoch": TableForm(
        "An epoch of training, the whole processor",
        (
            ("competitor", "", "{}"),
            ("batch", "batch", "{}"),
            ("clips_per_second", "clips/s", "{:,.0f}"),
            ("epoch_seconds", "epoch of 1,440 clips, s", "{:,.2f}"),
            ("ours_against", "ser_gpu, times as fast", "{:.2f}"),
            ("peak_gigabytes", "peak GPU memory, GB", "{:.2f}"),
            ("busy", "GPU computes", "{:.0%}"),
            ("joules_a_million", "J a million clips", "{:,.0f}"),
        ),
    )
}
EPOCH = 1_440


def run(device: torch.device, quick: bool, processes: int) -> dict[str, list[dict]]:
    """Rows of the table; augmented and not, ours and the usual way."""
    count = 32 if quick else 512 if device.type == "cpu" else EPOCH
    waveforms = [clip[:length] for clip, length in zip(*recordings(count), strict=True)]
    rounds = 1 if quick else 3
    rows = []
    for batch in (32,) if device.type == "cpu" else (32, 64, 256, 1024):
        for augmented in (True, False):
            trainer = _trainer(waveforms, device, batch, augmented)
            usual = _UsualWay(waveforms, device, batch, augmented, 0 if quick else processes)
            suffix = "augmented" if augmented else "plain"
            competitors = {f"ser_gpu, {suffix}": lambda trainer=trainer: trainer.train_steps(lambda: None).tolist()}
            if batch == 32:
                competitors[f"librosa in {processes} loader workers, {suffix}"] = usual.train_epoch
            rows += _compare(competitors, device, batch, count, rounds)
    return {"epoch": rows}


def _compare(competitors: dict, device: torch.device, batch: int, count: int, rounds: int) -> list[dict]:
    clips = max(1, count // batch) * batch
    measured = {}
    for name, epoch in competitors.items():
        epoch()
        measured[name] = (*_measure(epoch, device, rounds), _busy(epoch) if device.type == "cuda" else None)
    ours = next(iter(measured.values()))[0]
    return [
        {
            "competitor": name,
            "batch": batch,
            "clips_per_second": clips / seconds,
            "epoch_seconds": EPOCH * seconds / clips,
            "ours_against": seconds / ours,
            "peak_gigabytes": peak and peak / 1e9,
            "busy": kernel_seconds and min(1.0, kernel_seconds / seconds),
            "joules_a_million": watts and watts * 1e6 * seconds / clips,
        }
        for name, (seconds, watts, peak, kernel_seconds) in measured.items()
    ]


def _measure(epoch, device: torch.device, rounds: int) -> tuple[float, float | None, int | None]:
    """Median seconds of an epoch; mean watts and peak bytes of a GPU."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    taken = []
    with _PowerMeter(on_gpu) as meter:
        for _ in range(rounds):
            start = time.perf_counter()
            epoch()
            if on_gpu:
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2], meter.watts, torch.cuda.max_memory_allocated(device) if on_gpu else None


def _busy(epoch) -> float:
    """Seconds in kernels of one profiled epoch."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        epoch()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


class _PowerMeter:
    """Mean power draw of the first GPU while it is open, by `nvidia-smi`; None where there is none."""

    def __init__(self, on_gpu: bool):
        self.watts: float | None = None
        self._samples: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample) if on_gpu else None

    def __enter__(self) -> "_PowerMeter":
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        if self._thread:
            self._thread.join()
        if self._samples:
            self.watts = mean(self._samples)

    def _sample(self) -> None:
        query = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "--id=0"]
        while not self._done.wait(0.1):
            try:
                self._samples.append(float(subprocess.check_output(query, text=True)))
            except (OSError, ValueError, subprocess.CalledProcessError):
                return


def _trainer(waveforms: list[Tensor], device: torch.device, batch: int, augmented: bool) -> Trainer:
    clips = [
        Clip(id=f"{row:05}", path=Path(f"{row:05}.wav"), emotion=_emotion(row), speaker=None, corpus="own")
        for row in range(len(waveforms))
    ]
    dataset = Dataset(
        clips,
        ClipBank.from_waveforms(waveforms, SAMPLE_RATE).to(device),
        Split({clip.id: "train" for clip in clips}),
    )
    config = ModelConfig(augment=AugmentConfig(enabled=augmented))
    training = TrainConfig(epochs=100, batch_size=batch)
    return Trainer(training, config, dataset, trains_in_bfloat16(device))


def _emotion(row: int) -> str:
    return EMOTIONS[row % len(EMOTIONS)]


class _Features(torch.utils.data.Dataset):
    def __init__(self, clips: list[np.ndarray], config: ModelConfig):
        self.clips, self.config = clips, config

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        clip, label = self.clips[row], row % len(EMOTIONS)
        if self.config.augment.enabled:
            return baselines.augmented_features(clip, np.random.randint(2**31), self.config)[None], label  # noqa: NPY002
        return baselines.features(clip, self.config)[None], label


class _UsualWay:
    """Features by librosa in DataLoader workers (0: in this process), then the CNN on the device."""

    def __init__(self, waveforms: list[Tensor], device: torch.device, batch: int, augmented: bool, processes: int):
        config = ModelConfig(augment=AugmentConfig(enabled=augmented))
        arrays = [waveform.numpy() for waveform in waveforms]
        self.device = device
        workers = {
            "num_workers": processes,
            "worker_init_fn": baselines.one_thread,
            "multiprocessing_context": "spawn",
            "persistent_workers": True,
        }
        self.loader = DataLoader(
            _Features(arrays, config),
            batch,
            shuffle=True,
            **(workers if processes else {}),
            pin_memory=device.type == "cuda",
            drop_last=True,
        )
        model = SpeechEmotionModel(config).to(device)
        self.cnn = model.cnn.train()
        self.optimizers = build_optimizers(model, TrainConfig())
        self.bfloat16 = trains_in_bfloat16(device)

    def train_epoch(self) -> None:
        for spectrogram, labels in self.loader:
            x = spectrogram.to(self.device, non_blocking=True)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                logits = self.cnn(x).mean(dim=0)
            loss = F.cross_entropy(logits.float(), labels.to(self.device, non_blocking=True))
            self.cnn.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
