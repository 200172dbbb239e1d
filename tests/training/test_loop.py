import math
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ser_gpu import checkpoint, model
from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.config import CnnConfig
from ser_gpu.corpora.splits import Split
from ser_gpu.errors import InputError
from ser_gpu.training.loop import Dataset
from tests.training.conftest import dataset_of, make_trainer, nothing, small_model


def weights(trainer):
    return trainer.ema.module.state_dict()


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_labels_are_those_that_occur_in_canonical_order(dataset):
    of_two = dataset_of(dataset, emotion=lambda clip: "bored" if int(clip.speaker) % 2 else "sad")
    assert of_two.labels == make_trainer(of_two).model.labels == ("sad", "bored")
    assert of_two.targets.tolist() == [int(clip.speaker) % 2 for clip in dataset.clips]


def test_a_part_may_be_empty_but_for_training(dataset):
    every = Split({clip.id: "train" for clip in dataset.clips})
    trainer = make_trainer(dataset_of(dataset, every), epochs=1)
    trainer.fit(nothing)
    assert not any(name.startswith("validation") for name in trainer.history[0])
    assert float(trainer.finish().temperature) == 1.0
    for there, lost in (("test", "train"), ("train", "test")):  # its clips cannot be used, so they are not here
        split = Split({clip.id: there for clip in dataset.clips} | {"silence": lost})
        with pytest.raises(ValueError, match=f"no clip is left in the {lost} part"):
            dataset_of(dataset, split)
    with pytest.raises(ValueError, match="all clips are sad"):
        dataset_of(dataset, emotion=lambda clip: "sad")


def test_clips_that_the_split_does_not_name_are_left_out(dataset):
    some = Split({name: part for name, part in dataset.split.part_of.items() if part != "test"})
    smaller = dataset_of(dataset, some)
    assert len(smaller.rows["test"]) == 0
    assert torch.equal(smaller.rows["train"], dataset.rows["train"])


def test_the_same_seed_gives_the_same_weights(dataset):
    first, second, other = (make_trainer(dataset, seed=seed, epochs=1) for seed in (0, 0, 1))
    for trainer in (first, second, other):
        trainer.fit(nothing)
    assert_same(weights(first), weights(second))
    assert not torch.equal(*(next(trainer.model.cnn.parameters()) for trainer in (first, other)))


@pytest.mark.parametrize("corpora", [1, 2])
def test_a_training_that_goes_on_from_its_state_ends_with_the_same_weights(corpora, dataset, tmp_path):
    dataset = dataset_of(dataset, corpus=lambda clip: str(int(clip.speaker) % corpora))
    whole, resumed = (make_trainer(dataset, grouped_share=(corpora - 1) / 2) for _ in range(2))
    whole.fit(lambda row: torch.save(whole.state(), tmp_path / f"{row['epoch']}.pth"))
    state = checkpoint.read(tmp_path / "1.pth")
    for group in (group for optimizer in state["optimizers"] for group in optimizer["param_groups"]):
        group |= {"lr": float(group["lr"]), "fused": None, "capturable": True}  # as earlier versions or a GPU wrote it
    resumed.restore(state)
    resumed.fit(nothing)
    assert_same(weights(whole), weights(resumed))
    assert [row["train_loss"] for row in resumed.history] == [row["train_loss"] for row in whole.history]


def test_the_network_learns(dataset):
    """Without augmentation, twelve epochs tell eight pure tones apart."""
    config = replace(small_model(enabled=False), cnn=CnnConfig(width=8, depth=3, members=1))
    trainer = make_trainer(dataset, config, epochs=12, batch_size=16, lr=1e-2, ema_decay=0.5)
    trainer.fit(nothing)
    assert trainer.history[-1]["train_loss"] < 0.75 * trainer.history[0]["train_loss"]
    assert trainer.history[-1]["validation_accuracy"] > 0.8


def test_a_step_reads_a_random_stretch_of_twice_the_window_of_a_long_clip(dataset, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    noises = [torch.randn(seconds * 16_000, generator=generator) / 8 for seconds in (1, 1, 20, 20)]
    clips = [replace(dataset.clips[row], emotion=("sad", "happy")[row % 2]) for row in range(4)]
    bank = ClipBank.from_waveforms(noises, 16_000)
    trainer = make_trainer(Dataset(clips, bank, Split({clip.id: "train" for clip in clips})), batch_size=4)
    seen, spectrogram = [], trainer.model.spectrogram
    monkeypatch.setattr(trainer.model, "spectrogram", lambda *batch: seen.append(batch) or spectrogram(*batch))
    trainer.train_steps(nothing)
    trainer.history.append({})  # the next epoch
    trainer.train_steps(nothing)
    (first, lengths), (second, _) = seen
    assert first.shape == second.shape == (4, 32_000)
    assert lengths.sort().values.tolist() == [16_000, 16_000, 32_000, 32_000]
    longest = [batch[length == 32_000] for batch, length in seen]
    assert not torch.equal(*(each.sort(dim=0).values for each in longest)), "another stretch in another epoch"


class Recorded(TorchDispatchMode):
    """As a CUDA graph does, it keeps the operations of a step, refuses those that read a value, and repeats all in the
    same memory: a number that the host computed stays as it was."""

    reads = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal")

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation.name() not in self.reads, f"{operation} waits for the device"
        given = self.views((args, kwargs or {}))
        result = operation(*args, **(kwargs or {}))
        self.calls.append((operation, given, self.views(result)))
        return result

    def views(self, values):
        """The same memory, in the shape that it has now."""
        return tree_map_only(torch.Tensor, torch.Tensor.detach, values)

    @torch.no_grad()
    def replay(self):
        for operation, given, result in self.calls:
            args, kwargs = self.views(given)
            again = operation(*args, **kwargs)
            for kept, value in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(kept, torch.Tensor) and kept.data_ptr() != value.data_ptr():
                    kept.copy_(value)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_step_that_is_recorded_once_trains_as_the_loop_does(dataset, optimizer, monkeypatch):
    monkeypatch.setattr(model, "_checked_lengths", lambda lengths, _: lengths)  # which reads on a CPU alone
    usual, replayed = (make_trainer(dataset, batch_size=32, optimizer=optimizer) for _ in range(2))
    assert usual.steps == 4
    losses = usual.train_steps(nothing)
    torch.manual_seed(100_003 * usual.config.seed + 1)
    replayed.model.train()
    first, second, *others = (batch.rows for batch in replayed.sampler.batches(4))
    rows, recorded, seen = second.clone(), Recorded(), []

    def step(train):
        seen.append(train().clone())
        for schedule in replayed.schedules:
            schedule.step()

    step(lambda: replayed.step(first))  # makes the state of the optimizers
    with recorded:
        loss = replayed.step(rows)
    step(lambda: loss)
    for each in others:
        rows.copy_(each)
        step(lambda: recorded.replay() or loss)
    assert torch.equal(torch.stack(seen), losses)
    assert_same(weights(replayed), weights(usual))


def test_short_clips_draw_no_stretch(dataset, monkeypatch):
    """So a corpus of short clips trains as if there were no long ones anywhere: the same draws."""
    drawn = []
    rows = dataset.bank.rows
    monkeypatch.setattr(dataset.bank, "rows", lambda *index, random=False, **most: drawn.append(random) or rows(*index))
    make_trainer(dataset).train_steps(nothing)
    assert set(drawn) == {False}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 1e30}, r"the loss of epoch \d, step \d is (nan|inf); a smaller --lr with another --out may do better"),
        ({"lr": 1e4, "optimizer": "adamw"}, r"loss (of|after) epoch 1 is [\d.e+]+, where a guess has 2\.08"),
    ],
)
def test_a_loss_that_explodes_stops_the_training(settings, message, dataset):
    trainer = make_trainer(dataset, **settings)
    with pytest.raises(InputError, match=message):
        trainer.fit(nothing)
    assert trainer.history == []


@pytest.mark.parametrize("spoilt", [math.nan, 1e6])
def test_what_the_last_step_did_is_seen(spoilt, dataset, monkeypatch):
    """No loss of a step tells of the step after it."""
    trainer = make_trainer(dataset, epochs=1)
    steps = trainer.train_steps

    def spoil(on_step):
        losses = steps(on_step)
        with torch.no_grad():
            for parameter in trainer.ema.module.cnn.parameters():
                parameter.mul_(spoilt)
        return losses

    monkeypatch.setattr(trainer, "train_steps", spoil)
    with pytest.raises(InputError, match="the loss after epoch 1 is"):
        trainer.fit(nothing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 1e-4}, "training.lr is 0.002 there and 0.0001 here"),
        ({"model_config": small_model(enabled=False)}, "augment.enabled is True there and False here"),
        ({"grouped_share": 0.5}, r"grouped_share is 0\.0 there and 0\.5 here"),
    ],
)
def test_a_state_of_other_settings_is_refused(dataset, change, message):
    state = make_trainer(dataset).state()
    with pytest.raises(ValueError, match=message):
        make_trainer(dataset, **change).restore(state)


def test_a_state_of_another_version_of_other_ranks_or_of_other_clips(dataset):
    trainer = make_trainer(dataset)
    state = trainer.state()
    name, here = next(iter(state["split"].items()))
    for part in (None, "another"):
        there = {**state, "split": {**state["split"], name: part}}
        with pytest.raises(ValueError, match=f"the part of clip.{name} is {part!r} there and {here!r} here"):
            trainer.restore(there)
    with pytest.raises(ValueError, match="ranks is 2 there and 1 here"):
        trainer.restore(state | {"ranks": 2})
    with pytest.raises(ValueError, match="the resume file has no split: another version wrote it"):
        trainer.restore({key: value for key, value in state.items() if key != "split"})
    for later in ("grouped_share", "speaker_group", "corpus_power", "corpus_groups", "emotion_balance"):
        del state["config"][later]
    trainer.restore(state)
    with pytest.raises(ValueError, match=r"grouped_share is 0\.0 there and 0\.5 here"):
        make_trainer(dataset, grouped_share=0.5).restore(state)


def test_a_refit_trains_on_every_clip_outside_the_test_part(dataset):
    trainer = make_trainer(dataset, refit=True)
    trained = {dataset.clips[row].id for row in trainer.rows.tolist()}
    assert trained == {clip.id for part in ("train", "validation") for clip in dataset.clips_of(part)}
    assert not trained & {clip.id for clip in dataset.clips_of("test")}


def test_a_warm_up_of_one_step_is_no_division_by_zero(dataset):
    make_trainer(dataset, epochs=1, batch_size=len(dataset.rows["train"]) // 2, warmup=0.5).fit(nothing)
