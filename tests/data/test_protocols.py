import hashlib
from collections import Counter

import pytest
import soundfile

from ser_gpu.data import ravdess
from ser_gpu.data.protocols import FOLDS, PARTS, RANDOM_PROTOCOLS, Protocol

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
ACTOR_PROTOCOLS = [
    *(Protocol(name, fold) for name in ("actors5", "actors6", "search", "loso") for fold in range(FOLDS[name])),
    Protocol("actors", 0, (7, 8, 9)),
]
RANDOM = [Protocol(name, seed) for name in RANDOM_PROTOCOLS for seed in range(5)]


@pytest.mark.parametrize("protocol", ACTOR_PROTOCOLS + RANDOM, ids=lambda p: f"{p.name}-{p.fold}")
def test_every_clip_is_in_exactly_one_part(protocol, clips):
    split = protocol.split(clips)
    names = [name for part in PARTS for name in split.names(part)]
    assert sorted(names) == [clip.name for clip in clips]
    assert all(split.names(part) for part in PARTS)


@pytest.mark.parametrize("protocol", ACTOR_PROTOCOLS, ids=lambda p: f"{p.name}-{p.fold}")
def test_no_actor_is_in_two_parts_and_validation_hears_both_sexes(protocol, clips):
    split = protocol.split(clips)
    parts_of = {}
    for clip in clips:
        parts_of.setdefault(clip.actor, set()).add(split.part_of[clip.name])
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert {actor % 2 for actor, parts in parts_of.items() if parts == {"validation"}} == {0, 1}


@pytest.mark.parametrize("name", ["actors5", "actors6", "search", "loso"])
def test_each_actor_is_tested_in_exactly_one_fold(name, clips):
    tested = Counter()
    for fold in range(FOLDS[name]):
        split = Protocol(name, fold).split(clips)
        tested.update({clip.actor for clip in clips if split.part_of[clip.name] == "test"})
    assert tested == dict.fromkeys(ravdess.ACTORS, 1)


def test_search_hears_more_voices_and_none_that_actors5_tests(clips):
    validation = {clip.actor for fold in range(5) for clip in parts(Protocol("actors5", fold), clips)["validation"]}
    for fold in range(5):
        search, actors5 = (parts(Protocol(name, fold), clips) for name in ("search", "actors5"))
        tested = {clip.actor for clip in actors5["test"]}
        assert search["test"] == actors5["test"]
        assert {clip.actor for clip in search["validation"]} == validation - tested


def parts(protocol, clips):
    split = protocol.split(clips)
    return {part: [clip for clip in clips if split.part_of[clip.name] == part] for part in PARTS}


@pytest.mark.parametrize("protocol", RANDOM, ids=lambda p: f"{p.name}-{p.fold}")
def test_each_emotion_is_near_its_share_of_each_part(protocol, clips):
    split = protocol.split(clips)
    tolerance = 1 if protocol.name == "stratified" else 2  # twins come in pairs
    for part, share in SHARES.items():
        counts = Counter(clip.emotion for clip in clips if split.part_of[clip.name] == part)
        for emotion in range(8):
            total = sum(clip.emotion == emotion for clip in clips)
            assert abs(counts[emotion] - share * total) <= tolerance


@pytest.mark.parametrize("seed", range(5))
def test_twin_safe_keeps_twins_on_one_side_and_stratified_does_not(seed, clips):
    def torn(name):
        part_of = Protocol(name, seed).split(clips).part_of
        sides = {}
        for clip in clips:
            sides.setdefault(clip.twins, set()).add(part_of[clip.name])
        return sum(len(parts) > 1 for parts in sides.values())

    assert torn("twin-safe") == 0
    assert torn("stratified") > 100


@pytest.mark.ravdess
def test_twin_safe_keeps_identical_audio_on_one_side(ravdess_dir):
    clips = ravdess.scan(ravdess_dir).clips
    by_sound = {}
    for clip in clips:
        samples, _ = soundfile.read(clip.path, dtype="int16")
        by_sound.setdefault(hashlib.sha256(samples.tobytes()).digest(), []).append(clip.name)
    same = [names for names in by_sound.values() if len(names) > 1]
    assert same == [["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]]
    for seed in range(5):
        part_of = Protocol("twin-safe", seed).split(clips).part_of
        assert all(len({part_of[name] for name in names}) == 1 for names in same)


def test_hashes_hold_whatever_the_order_and_differ_between_splits(clips):
    assert Protocol().split(clips).manifest_hash == Protocol().split(clips[::-1]).manifest_hash
    hashes = {protocol.split(clips).manifest_hash for protocol in ACTOR_PROTOCOLS + RANDOM}
    assert len(hashes) == len(ACTOR_PROTOCOLS + RANDOM)


@pytest.mark.parametrize(
    ("protocol", "start"),
    [
        (Protocol("stratified", 0), "b875f5d674ddfcd6"),
        (Protocol("twin-safe", 0), "67bd2f42e5746155"),
        (Protocol("actors5", 0), "5ace5d3bfc5c3465"),
        (Protocol("actors6", 0), "ffb1d6c70be84363"),
        (Protocol("loso", 0), "d4b313bafb81c9bc"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_protocols_yield_the_same_lists_everywhere(protocol, start, clips):
    assert protocol.split(clips).manifest_hash.startswith(start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("random", 0), "protocol must be one of"),
        (("actors5", 5), "fold of actors5 must be 0 to 4, got 5"),
        (("stratified", -1), "fold of stratified must be 0 to 4294967295, got -1"),
        (("twin-safe", 2**32), "fold of twin-safe must be 0 to 4294967295"),
        (("actors", 0), "test actors"),
        (("actors5", 0, (1,)), "test actors"),
        (("actors", 0, (0, 25)), r"\[0, 25\]"),
        (("actors", 0, tuple(range(1, 24, 2))), "leave two men"),
    ],
)
def test_wrong_protocols_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Protocol(*arguments)


def test_too_few_clips_are_refused_in_one_line(clips):
    with pytest.raises(ValueError, match="too few"):
        Protocol().split(clips[::97])
