from collections import Counter

import pytest
import torch

from ser_gpu.audio.clip_bank import ClipBank
from ser_gpu.corpora.splits import Split
from ser_gpu.training.config import TrainConfig
from ser_gpu.training.loop import Dataset, members_loss
from ser_gpu.training.sampler import sampler_of
from tests.training.conftest import TINY, dataset_of, make_trainer, nothing


@pytest.fixture(scope="module")
def two_corpora(dataset):
    """Two speakers are a corpus of their own, which has no calm clip."""
    small = ("01", "02")
    calm = {clip.id for clip in dataset.clips if clip.speaker in small and clip.emotion == "calm"}
    split = Split({name: part for name, part in dataset.split.part_of.items() if name not in calm})
    return dataset_of(dataset, split, corpus=lambda clip: "small" if clip.speaker in small else "large")


def batches(dataset, count, seed=0, **settings):
    torch.manual_seed(seed)
    return list(sampler_of(dataset, dataset.rows["train"], TrainConfig(**settings)).batches(count))


def of(dataset, batch, field):
    """The field of each clip, a list for each group."""
    values = [getattr(dataset.clips[row], field) for row in batch.rows.tolist()]
    size = len(values) // batch.groups
    return [values[at : at + size] for at in range(0, len(values), size)]


def test_one_corpus_is_shuffled_as_ever(dataset):
    rows = dataset.rows["train"]
    torch.manual_seed(3)
    expected = rows[torch.randperm(len(rows))][: 4 * 32].split(32)
    drawn = batches(dataset, 4, seed=3)
    assert all(torch.equal(one, batch.rows) and batch.groups == 1 for one, batch in zip(expected, drawn, strict=True))


def test_groups_are_of_one_speaker_and_a_pass_has_every_clip_once(dataset):
    in_pass = sum(clips // 8 for clips in speakers(dataset).values()) // 4
    drawn = batches(dataset, in_pass, grouped_share=1.0)
    for batch in drawn:
        assert batch.groups == 4
        assert all(len(group) == 8 and len({*group}) == 1 for group in of(dataset, batch, "speaker"))
    rows = torch.cat([batch.rows for batch in drawn]).tolist()
    assert len(rows) == len({*rows}) == in_pass * 32
    assert {*rows} <= {*dataset.rows["train"].tolist()}
    assert len(batches(dataset, 3 * in_pass, grouped_share=1.0)) == 3 * in_pass


def speakers(dataset):
    return Counter(clip.speaker for clip in dataset.clips_of("train"))


def test_a_share_of_the_batches_is_grouped(dataset):
    drawn = batches(dataset, 20, grouped_share=0.25)
    assert sum(batch.groups == 4 for batch in drawn) == 5
    ordinary = [batch for batch in drawn if batch.groups == 1]
    assert all(len({*of(dataset, batch, "speaker")[0]}) > 1 for batch in ordinary)


def test_the_same_seed_draws_the_same(two_corpora):
    first, second = (batches(two_corpora, 6, seed=5, grouped_share=1.0) for _ in range(2))
    assert all(torch.equal(one.rows, other.rows) for one, other in zip(first, second, strict=True))
    other = batches(two_corpora, 6, seed=6, grouped_share=1.0)
    assert not all(torch.equal(one.rows, two.rows) for one, two in zip(first, other, strict=True))


def test_corpora_are_drawn_by_their_size_to_a_power(two_corpora):
    sizes = [clip.corpus for clip in two_corpora.clips_of("train")]
    for power in (0.0, 0.5, 1.0):
        drawn = batches(two_corpora, 600, corpus_power=power, corpus_groups=1, batch_size=8)
        named = [of(two_corpora, batch, "corpus")[0] for batch in drawn]
        assert all(len({*group}) == 1 for group in named)
        share = sum(group[0] == "small" for group in named) / len(named)
        small, large = (sizes.count(name) ** power for name in ("small", "large"))
        # four standard deviations of 600 draws
        assert share == pytest.approx(small / (small + large), abs=0.08)


def test_a_batch_has_distinct_corpora_and_distinct_clips(two_corpora):
    for batch in batches(two_corpora, 10):
        assert batch.groups == 2
        assert sorted(group[0] for group in of(two_corpora, batch, "corpus")) == ["large", "small"]
        assert len({*batch.rows.tolist()}) == 32


def test_groups_of_speakers_of_several_corpora(two_corpora):
    drawn = batches(two_corpora, 50, grouped_share=1.0, corpus_power=0.0)
    groups = [group for batch in drawn for group in of(two_corpora, batch, "speaker")]
    assert all(len({*group}) == 1 for group in groups)
    assert {group[0] for group in groups} == {*speakers(two_corpora)}


def test_emotions_are_balanced_within_a_group(dataset):
    """A corpus with one happy clip in ten: balanced, happy is half of a draw of one clip."""
    happy = {clip.id for clip in dataset.clips_of("train")[::10]}
    uneven = dataset_of(
        dataset, emotion=lambda c: "happy" if c.id in happy else "sad", corpus=lambda c: str(int(c.speaker) % 2)
    )
    shares = []
    for balance in (0.0, 1.0):
        drawn = batches(uneven, 400, batch_size=2, corpus_groups=2, emotion_balance=balance)
        named = [group[0] for batch in drawn for group in of(uneven, batch, "emotion")]
        shares.append(named.count("happy") / len(named))
    assert shares[0] == pytest.approx(0.1, abs=0.05)
    assert shares[1] == pytest.approx(0.5, abs=0.08)


def test_a_group_larger_than_its_pool_repeats_clips(two_corpora):
    """Also where there are fewer pools than groups."""
    drawn = batches(two_corpora, 3, batch_size=1_000, corpus_groups=3)
    size = min(1_000, len(two_corpora.rows["train"])) // 3 * 3
    assert all(batch.groups == 3 and len(batch.rows) == size for batch in drawn)


def test_without_speakers_there_are_no_groups(dataset):
    with pytest.raises(ValueError, match="speaker_group=8: no known speaker has 8 clips"):
        batches(dataset_of(dataset, speaker=lambda clip: None), 1, grouped_share=0.5)


def test_labels_that_a_corpus_lacks_are_out_of_its_loss(two_corpora):
    calm = two_corpora.labels.index("calm")
    small = two_corpora.corpora.index("small")
    assert not two_corpora.known[small, calm]
    assert two_corpora.known.sum() == two_corpora.known.numel() - 1
    logits = torch.randn(2, 3, 8, requires_grad=True)
    targets = torch.eye(8)[[0, 2, 3]]
    known = two_corpora.known[torch.tensor([small, small, 1 - small])]
    members_loss(logits, targets, 0.1, known).backward()
    assert (logits.grad[:, :2, calm] == 0).all()
    assert (logits.grad[:, 2, calm] != 0).all()
    every = torch.ones(3, 8, dtype=torch.bool)
    # the same formula by another function
    expected = members_loss(logits, targets, 0.1)
    torch.testing.assert_close(members_loss(logits, targets, 0.1, every), expected, atol=1e-6, rtol=1e-6)
    # a clip of a corpus without calm, mixed with a calm one of another corpus
    mixed = torch.zeros(1, 8)
    mixed[0, calm], mixed[0, 0] = 0.4, 0.6
    assert members_loss(torch.randn(1, 1, 8), mixed, 0.1, two_corpora.known[small][None]).isfinite()


def test_a_training_on_speaker_groups_uses_groups_of_long_clips_too(dataset, monkeypatch):
    noises, seen = [torch.randn(5 * 16_000) / 8 for _ in dataset.clips], []
    long = Dataset(dataset.clips, ClipBank.from_waveforms(noises, 16_000), dataset.split)
    trainer = make_trainer(long, TINY, grouped_share=1.0, batch_size=32)
    mixup = trainer.mixup.forward
    monkeypatch.setattr(trainer.mixup, "forward", lambda *given: seen.append(given[2]) or mixup(*given))
    assert trainer.train_steps(nothing).isfinite().all()
    assert set(seen) == {4}
