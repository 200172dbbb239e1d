from dataclasses import replace

import pytest

from ser_gpu import corpora, train
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import AudioConfig, AugmentConfig, CnnConfig, ModelConfig
from ser_gpu.corpora.splits import Protocol
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.distributed import ONE
from ser_gpu.training.loop import Dataset, Trainer

TINY = ModelConfig(AudioConfig(clip_seconds=0.5), cnn=CnnConfig(width=4, depth=2, members=1))


@pytest.fixture(scope="session")
def dataset(tiny_ravdess):
    clips = corpora.load(tiny_ravdess).clips
    return Dataset(clips, ClipBank.read([clip.path for clip in clips], 16_000), Protocol().split(clips))


def dataset_of(dataset, split=None, **fields_of):
    """The same recordings with another split, or other facts about the clips, each a function of the clip."""
    clips = [replace(clip, **{name: of(clip) for name, of in fields_of.items()}) for clip in dataset.clips]
    return Dataset(clips, dataset.bank, split or dataset.split)


def small_model(**augment):
    return ModelConfig(AudioConfig(clip_seconds=1.0), augment=AugmentConfig(**augment), cnn=CnnConfig(width=8, depth=3))


def make_trainer(dataset, model_config=None, ranks=ONE, **changes):
    config = TrainConfig(**{"epochs": 2, "batch_size": 64} | changes)
    return Trainer(config, model_config or small_model(), dataset, bfloat16=False, ranks=ranks)


def nothing(*_):
    pass


def interrupted(arguments, monkeypatch, after=1):
    """The command of a training that Ctrl-C stops after some epochs."""
    steps = Trainer.train_steps

    def stop(trainer, on_step):
        if len(trainer.history) == after:
            raise KeyboardInterrupt
        return steps(trainer, on_step)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_steps", stop)
        assert train.main(arguments) == 130
