"""The losses of ten steps and how far the weights came, under torchrun or without."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from ser_gpu import corpora
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import CnnConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.stages import speaker_norm
from ser_gpu.training.distributed import Ranks
from ser_gpu.training.loop import Dataset
from tests.training.conftest import make_trainer, nothing, small_model


def ten_steps(data: str | Path) -> dict:
    """Twice, and whether the weights are the same then; of all ranks, what this one saw."""
    torch.set_num_threads(1)
    clips = corpora.load(data).clips
    dataset = Dataset(clips, ClipBank.read([clip.path for clip in clips], 16_000), Protocol("actors5").split(clips))
    ranks = Ranks.of_torchrun()
    with ranks.joined("gloo", print):
        (first, losses, moved), (second, *_) = _train(dataset, ranks), _train(dataset, ranks)
    again = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    return {"losses": losses, "moved": moved, "same_again": again, "rank": ranks.rank}


def _train(dataset: Dataset, ranks: Ranks) -> tuple[list[torch.Tensor], list[float], float]:
    """The weights in the end, ten losses, and the way of the weights. Without dropout; and batch normalisation keeps
    its statistics, since the ranks of a CPU have no common ones."""
    config = replace(small_model(enabled=False), cnn=CnnConfig(width=8, depth=3, head_dropout=0.0))
    trainer = make_trainer(dataset, config, ranks, batch_size=32, epochs=6)
    for layer in speaker_norm.layers(trainer.model.cnn):
        layer.eval().train = lambda mode=True, layer=layer: layer
    before = [each.detach().clone() for each in trainer.model.cnn.parameters()]
    losses = []
    while len(losses) < 10:
        losses += trainer.train_steps(nothing).tolist()
        trainer.history.append({})  # another seed each time
    after = [each.detach().clone() for each in trainer.model.cnn.parameters()]
    return after, losses[:10], sum(float((a - b).norm()) for a, b in zip(before, after, strict=True))


if __name__ == "__main__":
    if (found := ten_steps(sys.argv[1]))["rank"] == 0:
        print(json.dumps(found))
