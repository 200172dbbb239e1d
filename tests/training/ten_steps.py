"""The losses of ten steps and how far the weights came, under torchrun or without."""

import gc
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from ser_gpu import corpora
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import CnnConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.stages import speaker_norm
from ser_gpu.training.distributed import Ranks
from ser_gpu.training.loop import Dataset
from tests.training.conftest import make_trainer, nothing, small_model


def ten_steps(data: str | Path) -> dict:
    """Without dropout; and batch normalisation keeps its statistics, since the ranks of a CPU have no common ones."""
    torch.set_num_threads(1)
    clips = corpora.load(data).clips
    dataset = Dataset(clips, ClipBank.read([clip.path for clip in clips], 16_000), Protocol("actors5").split(clips))
    config = replace(small_model(enabled=False), cnn=CnnConfig(width=8, depth=3, head_dropout=0.0))
    trainer = make_trainer(dataset, config, batch_size=32, epochs=6)
    for layer in speaker_norm.layers(trainer.model.cnn):
        layer.eval().train = lambda mode=True, layer=layer: layer
    before = [each.detach().clone() for each in trainer.model.cnn.parameters()]
    ranks = Ranks.of_torchrun()
    with ranks.joined("gloo"):
        losses = []
        with trainer.distributed(ranks):
            while len(losses) < 10:
                losses += trainer.train_steps(nothing).tolist()
                trainer.history.append({})  # another seed each time
        wrappers = sum(type(each) is DistributedDataParallel for each in gc.get_objects())
    moved = sum(float((a - b.detach()).norm()) for a, b in zip(before, trainer.model.cnn.parameters(), strict=True))
    return {"losses": losses[:10], "moved": moved, "wrappers": wrappers, "rank": ranks.rank}


if __name__ == "__main__":
    if (found := ten_steps(sys.argv[1]))["rank"] == 0:
        print(json.dumps(found))
