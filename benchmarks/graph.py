"""A trial: the training step as one CUDA graph, against the step itself; away from a GPU both are the step."""

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor

from benchmarks import training
from benchmarks.signals import recordings
from benchmarks.tables import TableForm
from benchmarks.timing import Job, failure
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.loop import Trainer

TABLES = {
    "epoch": training.TABLES["epoch"],
    "weights": TableForm(
        "Largest difference of a weight from those of the eager step, after six steps",
        (("step", "step", "{}"), ("difference", "difference", "{:.1e}"), ("note", "note", "{}")),
    ),
    "actors5": TableForm(
        "From the epochs of batches of 32, not run: the steps of 15 trainings of `actors5`",
        (("step", "step", "{}"), ("minutes", "minutes", "{:,.1f}")),
    ),
}
_CLIPS_OF_ACTORS5 = 1_020  # in training, of 17 speakers
_STEPS = 3


def run(job: Job) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each table."""
    if not (job.on_gpu or job.dry):
        return
    count, usually = job.of(8, 0, 1_152), job.of(8, 0, 32)
    waveforms = [clip[:length] for clip, length in zip(*recordings(count), strict=True)]
    for batch in (usually, 256) if job.on_gpu else (usually,):
        ways = {
            "ser_gpu": lambda batch=batch: training.epoch(training.trainer(waveforms, job, batch)),
            "ser_gpu, step as a CUDA graph": lambda batch=batch: _captured(training.trainer(waveforms, job, batch)),
        }
        rows = training.rows(job, ways, batch, count)
        yield "epoch", rows
        if batch != usually:
            continue
        timed = [row for row in rows if "note" not in row]
        share = 15 * TrainConfig().epochs * _CLIPS_OF_ACTORS5 / training.EPOCH / 60
        yield "actors5", [{"step": row["competitor"], "minutes": share * row["epoch_seconds"]} for row in timed]
        yield "weights", _differences(waveforms, job, batch)


def _captured(trainer: Trainer) -> Callable[[], Tensor]:
    """An epoch of such steps."""
    _capture(trainer, trainer.rows[: trainer.batch_size])
    return training.epoch(trainer)


def _capture(trainer: Trainer, rows: Tensor) -> None:
    """Take a few steps on some clips, and from then on replay one."""
    step, given = trainer.step, rows.clone()
    trainer.model.train()
    if trainer.device.type == "cuda":
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            _steps(trainer, [given])
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            loss = step(given)
    else:
        _steps(trainer, [given])

    def replayed(rows: Tensor, groups: int = 1) -> Tensor:
        given.copy_(rows)
        if trainer.device.type != "cuda":
            return step(given)
        graph.replay()
        return loss.clone()

    trainer.step = replayed


def _steps(trainer: Trainer, parts: list[Tensor]) -> None:
    for rows in islice(parts * _STEPS, _STEPS):
        trainer.step(rows)


def _differences(waveforms: list[Tensor], job: Job, batch: int) -> list[dict]:
    """From the same seeds: the eager step again too, since a GPU may add in another order each time."""
    weights, rows = {}, []
    for name in ("eager", "eager again", "one CUDA graph"):
        try:
            trainer = training.trainer(waveforms, job, batch)
            parts = [part for part in trainer.rows.split(batch) if len(part) == batch]
            torch.manual_seed(1)
            trainer.model.train()
            if name == "one CUDA graph":
                _capture(trainer, parts[0])
            else:
                _steps(trainer, parts[:1])
            torch.manual_seed(2)
            _steps(trainer, parts)
            weights[name] = torch.cat([each.detach().flatten() for each in trainer.model.parameters()])
            if name != "eager":
                difference = (weights[name] - weights["eager"]).abs().max()
                rows.append({"step": name, "difference": float(difference)})
        except Exception as error:  # what is known is worth telling
            rows.append({"step": name, "note": failure(error)})
    return rows
