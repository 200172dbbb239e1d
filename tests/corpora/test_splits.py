import hashlib
import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, lists, none, permutations, sampled_from, tuples

from ser_gpu import corpora
from ser_gpu.corpora import ravdess
from ser_gpu.corpora.clip import EMOTIONS, PARTS, Clip
from ser_gpu.corpora.splits import ALIASES, RANDOM_PROTOCOLS, Protocol, folds, protocol_names

SPEAKER_PROTOCOLS = [
    *(Protocol(name, fold) for name in ("actors5", "actors6", "search", "speakers") for fold in range(folds(name))),
    *(Protocol("loso", fold) for fold in range(24)),
    Protocol("test-speakers", 0, ("07", "08", "09")),
]
RANDOM = [Protocol(name, seed) for name in RANDOM_PROTOCOLS for seed in range(5)]


def own(count, emotion, *, speaker=None, corpus="own", **others) -> list[Clip]:
    """Clips of one emotion and one speaker, without files."""
    return [Clip(f"{speaker}-{emotion}-{i}", Path("x.wav"), emotion, speaker, corpus, **others) for i in range(count)]


def of_speakers(*names, corpus="own", **genders) -> list[Clip]:
    """Four happy and four sad clips of each speaker; those of `names` have no gender."""
    return [
        clip
        for speaker, gender in (dict.fromkeys(names) | genders).items()
        for emotion in ("happy", "sad")
        for clip in own(4, emotion, speaker=speaker, gender=gender, corpus=corpus)
    ]


def of_corpora(*names) -> list[Clip]:
    """Two speakers a corpus, three clips each."""
    return [clip for name in names for s in "ab" for clip in own(3, "sad", speaker=f"{name}/{s}", corpus=name)]


def parts(protocol, clips):
    part_of = protocol.split(clips).part_of
    return {part: [clip for clip in clips if part_of[clip.id] == part] for part in PARTS}


def speakers(protocol, clips):
    return {part: {clip.speaker for clip in members} for part, members in parts(protocol, clips).items()}


@pytest.mark.parametrize("protocol", SPEAKER_PROTOCOLS + RANDOM, ids=lambda p: f"{p.name}-{p.fold}")
def test_each_clip_is_in_one_part_and_no_speaker_in_two_and_validation_hears_both_sexes(protocol, clips):
    split = protocol.split(clips)
    ids = [split.ids(part) for part in PARTS]
    assert sorted(itertools.chain(*ids)) == [clip.id for clip in clips]
    assert all(ids)
    assert protocol.speaker_independent == (protocol not in RANDOM)
    if protocol.speaker_independent:
        assert split.shared_speakers(clips) == ()
        assert {clip.gender for clip in parts(protocol, clips)["validation"]} == {"male", "female"}


@pytest.mark.parametrize("name", ["actors5", "actors6", "search", "loso", "speakers"])
def test_each_speaker_is_tested_in_exactly_one_fold(name, clips):
    tested = Counter()
    for fold in range(folds(name, clips)):
        tested.update(speakers(Protocol(name, fold), clips)["test"])
    assert tested == dict.fromkeys(ravdess.ACTORS, 1)


def test_search_hears_more_voices_and_none_that_actors5_tests(clips):
    validation = {speaker for fold in range(5) for speaker in speakers(Protocol("actors5", fold), clips)["validation"]}
    for fold in range(5):
        search, actors5 = (speakers(Protocol(name, fold), clips) for name in ("search", "actors5"))
        assert search["test"] == actors5["test"]
        assert search["validation"] == validation - actors5["test"]


@pytest.mark.parametrize("protocol", RANDOM, ids=lambda p: f"{p.name}-{p.fold}")
def test_each_emotion_is_near_its_share_of_each_part_and_grouped_keeps_repetitions_on_one_side(protocol, clips):
    tolerance = 1 if protocol.name == "stratified" else 2  # repetitions come in pairs
    dealt = parts(protocol, clips)
    totals = Counter(clip.emotion for clip in clips)
    for part, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        counts = Counter(clip.emotion for clip in dealt[part])
        assert all(abs(counts[emotion] - share * totals[emotion]) <= tolerance for emotion in EMOTIONS)
    sides = {(clip.group, part) for part, members in dealt.items() for clip in members}
    torn = len(sides) - len({clip.group for clip in clips})
    assert torn == 0 if protocol.name == "grouped" else torn > 100


def sound(clip, **stretch) -> bytes:
    samples, _ = soundfile.read(clip.path, dtype="int16", **stretch)
    return hashlib.sha256(samples.tobytes()).digest()


@pytest.mark.ravdess
def test_grouped_keeps_identical_audio_on_one_side(ravdess_dir):
    clips = corpora.load(ravdess_dir).clips
    piece_of = {clip: sound(clip, start=72_000, frames=4_800) for clip in clips}  # 0.1 s of speech tells most apart
    alike = Counter(piece_of.values())
    whole_of = {clip.id: sound(clip) for clip in clips if alike[piece_of[clip]] > 1}
    alike = Counter(whole_of.values())
    same = [clip_id for clip_id, whole in whole_of.items() if alike[whole] > 1]
    assert same == ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]
    for seed in range(5):
        part_of = Protocol("grouped", seed).split(clips).part_of
        assert part_of[same[0]] == part_of[same[1]]


def test_protocols_differ_and_yield_the_same_lists_everywhere_whatever_the_order(clips):
    every = SPEAKER_PROTOCOLS + RANDOM
    assert len({protocol.split(clips).manifest_hash for protocol in every}) == len(every)
    names = ("stratified", "twin-safe", "actors5", "actors6", "loso")
    starts = ["b875f5d674ddfcd6", "67bd2f42e5746155", "5ace5d3bfc5c3465", "ffb1d6c70be84363", "d4b313bafb81c9bc"]
    assert [Protocol(name).split(clips[::-1]).manifest_hash[:16] for name in names] == starts


def test_validation_speakers_are_a_man_and_a_woman_in_turn_and_chosen_from_those_who_are_there(clips):
    assert speakers(Protocol("actors6", 3), clips)["validation"] == {"08", "13"}
    assert speakers(Protocol("loso", 23), clips)["validation"] == {"23", "04"}
    for train, validation in ({"10", "11", "12"}, "08"), ({"08"}, "03"):
        few = [clip for clip in clips if clip.speaker in {"02", validation, *train}]
        assert speakers(Protocol("actors5"), few) == {"train": train, "validation": {validation}, "test": {"02"}}


def test_in_a_published_protocol_other_corpora_help_in_training_alone(clips):
    joined = [Clip(f"r/{c.id}", c.path, c.emotion, f"r/{c.speaker}", "ravdess", c.gender) for c in clips]
    train, *others = speakers(Protocol("actors5"), joined + of_speakers("02")).values()
    assert others == [{"r/03", "r/06"}, {"r/02", "r/05", "r/14", "r/15", "r/16"}]
    assert "02" in train


def test_whole_corpora_are_held_out():
    clips = of_corpora("c", "a", "b")
    assert folds("loco", clips) == 3
    two = Protocol("test-corpora", test_corpora=("a", "c"))
    for protocol, held_out in *((Protocol("loco", fold), name) for fold, name in enumerate("abc")), (two, "ac"):
        assert {clip.corpus for clip in parts(protocol, clips)["test"]} == set(held_out)
        assert protocol.split(clips).shared_speakers(clips) == ()
    assert Protocol("test-corpora", test_corpora=("a",)).split(clips) == Protocol("loco", 0).split(clips)


RAVDESS_1_3 = of_speakers("01", "03", corpus="ravdess")
TWENTY_FOUR = of_speakers(*ravdess.ACTORS)
FEW = own(2, "happy") + own(1, "odd") + own(9, "sad")
WITHOUT = own(20, "happy") + own(20, "sad")
NO_SPEAKERS = r"without them no split is speaker-independent\. 40 of 40 clips have none"
LISTED = own(2, "sad", speaker="a", part="train") + own(2, "happy", speaker="b", part="test")


@pytest.mark.parametrize(
    ("protocol", "clips", "said"),
    [
        (("stratified",), own(3, "sad") + own(1, "sad"), "two clips have the id None-sad-0"),
        (("stratified",), FEW, r"too few clips .*: happy has 2, odd has 1; each emotion needs 3$"),
        (("actors5", 0), RAVDESS_1_3, "fold 0 of actors5 tests 02, 05, 14, 15, 16: none is there, only 01, 03"),
        (("actors5", 0), WITHOUT, "actors5 is a protocol of RAVDESS speech: there is no clip of that corpus"),
        (("loso", 2), RAVDESS_1_3, "fold of loso must be 0 to 1 with 2 speakers, got 2"),
        (("loso", 0), own(9, "sad", speaker="03"), "loso needs two speakers and more, there is only 03"),
        (("speakers", 3), of_speakers(*"abc"), "fold of speakers must be 0 to 2 with 3 speakers, got 3"),
        *((p, WITHOUT, NO_SPEAKERS) for p in (("speakers",), ("loso",), ("test-speakers", 0, ("a",)))),
        (("test-speakers", 0, ("0", "x", "24")), TWENTY_FOUR, "no such speaker: 0, x; there are 01, .* and 12 more"),
        (("actors", 0, ("1",)), of_speakers("a/1", "b/1"), "speaker 1 can be a/1, b/1: give the whole name"),
        (("actors", 0, ("a", "b")), of_speakers("a", "b"), "leave nobody to train on; there are a, b"),
        (("loco", 3), of_corpora(*"abc"), "fold of loco must be 0 to 2 with 3 corpora, got 3"),
        (("loco", 0), of_corpora("a"), "loco needs two corpora and more, there is only a"),
        (("test-corpora", 0, (), None, ("x",)), of_corpora(*"ab"), "no such corpus: x; there are a, b"),
        (("test-corpora", 0, (), None, ("a", "b")), of_corpora(*"ab"), "the test corpora leave nothing to train on"),
        (("listed",), own(3, "sad"), "listed needs a part for each clip.* 3 of 3 clips have none"),
        (("listed",), LISTED + own(1, "sad"), "1 of 5 clips have none, the first is None-sad-0"),
    ],
)
def test_clips_that_cannot_be_dealt_are_one_line(protocol, clips, said):
    with pytest.raises(ValueError, match=said) as error:
        Protocol(*protocol).split(clips)
    assert "\n" not in str(error.value)


def test_folds_over_any_speakers_are_balanced_by_gender():
    genders = {f"s{i}": "female" if i % 3 == 0 else "male" for i in range(30)}
    clips = of_speakers(**genders)
    for fold in range(5):
        dealt = speakers(Protocol("speakers", fold), clips)
        assert Counter(genders[s] for s in dealt["test"]) == {"female": 2, "male": 4}
        assert Counter(genders[s] for s in dealt["validation"]) == {"female": 1, "male": 2}


@pytest.mark.parametrize("protocol", ["loco", "speakers"])
def test_of_several_corpora_each_has_its_share_of_the_validation_speakers(protocol):
    clips = []
    for name, count in {"big": 40, "small": 20, "third": 10}.items():
        clips += of_speakers(*(f"{name}/{number:02}" for number in range(count)), corpus=name)
    for fold in range(3):
        chosen = speakers(Protocol(protocol, fold), clips)
        left = Counter(name.partition("/")[0] for name in chosen["train"] | chosen["validation"])
        held = Counter(name.partition("/")[0] for name in chosen["validation"])
        assert all(abs(held[name] - left[name] / 10) <= 1 for name in left)


def test_fewer_speakers_make_fewer_folds_and_validation_speakers_change_with_the_fold():
    clips = of_speakers(*"abc")
    assert folds("speakers", clips) == folds("loso", clips) == 3
    assert [speakers(Protocol("speakers", fold), clips)["test"] for fold in range(3)] == [{"a"}, {"b"}, {"c"}]
    clips = of_speakers(*"abcdef")
    assert len({frozenset(speakers(Protocol("speakers", fold), clips)["validation"]) for fold in range(5)}) > 1


def test_test_speakers_by_name_or_number(clips):
    assert Protocol("actors", 0, (7, 8)) == Protocol("test-speakers", 0, ("7", "8"))
    for wanted, found in ((("1", "24"), {"01", "24"}), (("1", "01"), {"01"})):
        assert speakers(Protocol("test-speakers", 0, wanted), clips)["test"] == found
    bare = Protocol("test-speakers", 0, ("OAF",))
    assert speakers(bare, of_speakers("TESS/OAF", "b"))["test"] == {"TESS/OAF"}


def test_files_with_the_same_bytes_in_two_parts_are_a_notice(tmp_path, monkeypatch):
    seen: list[str] = []
    contents = {"a": b"same", "b": b"same", "c": b"same!", "d": b"once", "e": b"once"}
    part_of = {"a": "train", "b": "test", "c": "test", "d": "train", "e": "train"}
    clips = []
    for name, content in contents.items():
        (path := tmp_path / f"{name}.wav").write_bytes(content)
        clips.append(Clip(name, path, "sad", name, "own", part=part_of[name]))
    monkeypatch.setattr(Path, "read_bytes", lambda path, read=Path.read_bytes: seen.append(path.stem) or read(path))
    said = "2 clips are the same files in different parts: a, b"
    assert Protocol("listed").notice(clips) == Protocol("test-speakers", 0, ("b",)).notice(clips) == said
    assert Protocol("all").notice(clips) is None
    assert "c" not in seen, "no other file has its size"
    stretches = [replace(clips[0], id=part, start=start, part=part) for start, part in enumerate(("train", "test"))]
    assert Protocol("listed").notice(stretches) == "not speaker-independent: a in more than one part"


def test_what_a_split_shares_is_said_and_all_trains_on_every_clip():
    said = "the speaker of 40 of 40 clips is unknown: this split cannot be speaker-independent"
    assert Protocol().notice(WITHOUT).startswith(said)
    assert Protocol().notice(of_speakers("a")) is None
    assert [len(members) for members in parts(Protocol("listed"), LISTED).values()] == [2, 0, 2]
    assert Protocol("listed").notice(LISTED) is None
    both = LISTED + own(1, "happy", speaker="a", part="test")
    assert Protocol("listed").notice(both) == "not speaker-independent: a in more than one part"
    some = own(3, "sad") + own(2, "happy", speaker="a")
    assert Protocol("all").split(some).part_of == {clip.id: "train" for clip in some}
    assert Protocol("all").notice(some) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("random", 0), "protocol must be one of"),
        (("actors5", 5), "fold of actors5 must be 0 to 4, got 5"),
        (("stratified", -1), "fold of stratified must be 0 to 4294967295, got -1"),
        (("twin-safe", 2**32), "fold of grouped must be 0 to 4294967295"),
        (("speakers", 5), "fold of speakers must be 0 to 4, got 5"),
        (("listed", 1), "fold of listed must be 0 to 0, got 1"),
        (("actors", 0), "test speakers go with"),
        (("actors5", 0, (1,)), "test speakers go with"),
        (("loco", 0, (), None, ("a",)), "test corpora go with the protocol"),
        (("test-corpora",), "test corpora go with the protocol"),
    ],
)
def test_wrong_protocols_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Protocol(*arguments)


def test_names_for_the_command_line():
    assert {"stratified", "grouped", "speakers", "loso", "test-speakers", "listed", "all"} < set(protocol_names())
    assert {"actors5", "actors6", "search", *ALIASES} < set(protocol_names())
    assert Protocol("twin-safe", 3).name == "grouped"
    assert [folds(name) for name in ("actors5", "actors6", "search", "speakers", "listed", "all")] == [5, 6, 5, 5, 1, 1]


def test_protocols_survive_storage_also_of_older_checkpoints():
    for protocol in SPEAKER_PROTOCOLS + RANDOM + [Protocol("test-corpora", corpus="own", test_corpora=("a", "c"))]:
        assert Protocol.from_dict(json.loads(json.dumps(protocol.as_dict()))) == protocol
        assert (protocol.corpus == "ravdess") == (protocol.name in ravdess.FOLDS)
    with pytest.raises(ValueError, match="a protocol has no seed"):
        Protocol.from_dict({"name": "loso", "seed": 1})
    for (name, fold, actors), protocol in (
        (("twin-safe", 2, []), Protocol("grouped", 2, corpus="ravdess")),
        (("actors", 0, [7, 21]), Protocol("test-speakers", 0, ("07", "21"), "ravdess")),
        (("actors5", 1, ()), Protocol("actors5", 1)),
    ):
        assert Protocol.from_dict({"name": name, "fold": fold, "test_actors": actors}) == protocol
    assert Protocol.from_dict({"name": "loso"}) == Protocol("loso")


@given(
    counts=lists(tuples(integers(1, 6), sampled_from(["male", "female", None]), booleans()), min_size=2, max_size=12),
    fold=integers(0, 11),
    name=sampled_from(["speakers", "loso", "test-speakers"]),
)
@settings(max_examples=80)
def test_any_speakers_are_each_on_one_side(counts, fold, name):
    clips = [
        clip
        for number, (count, gender, sad) in enumerate(counts)
        for clip in own(count, "sad" if sad else "happy", speaker=f"s{number}", gender=gender)
    ]
    tests = []
    for k in range(folds(name, clips)):
        protocol = Protocol(name, k, (f"s{fold % len(counts)}",) if name == "test-speakers" else ())
        split = protocol.split(clips)
        assert sorted(split.part_of) == sorted(clip.id for clip in clips)
        assert split.shared_speakers(clips) == ()
        assert split.ids("test")
        assert split.ids("train")
        assert split.manifest_hash == protocol.split(clips[::-1]).manifest_hash
        tests += split.ids("test")
    if name != "test-speakers":
        assert sorted(tests) == sorted(clip.id for clip in clips)


@given(
    data=lists(
        tuples(sampled_from(["happy", "sad", "bored"]), none() | integers(0, 8)), min_size=9, max_size=60
    ).flatmap(lambda rows: tuples(permutations(range(len(rows))), integers(0, 3), sampled_from([rows]))),
    name=sampled_from(RANDOM_PROTOCOLS),
)
@settings(max_examples=60)
def test_any_clips_are_dealt_alike_whatever_their_order(data, name):
    order, seed, rows = data
    clips = [
        Clip(f"{i:03}", Path(f"{i}.wav"), emotion, None, "own", group=None if group is None else f"{emotion}{group}")
        for i, (emotion, group) in enumerate(rows)
    ]
    protocol = Protocol(name, seed)
    if too_few(clips, name):
        with pytest.raises(ValueError, match="too few clips"):
            protocol.split(clips)
        return
    split = protocol.split(clips)
    assert split == protocol.split([clips[i] for i in order])
    assert sorted(split.part_of) == [clip.id for clip in clips]
    emotions = {clip.emotion for clip in clips}
    assert all({clip.emotion for clip in members} == emotions for members in parts(protocol, clips).values())
    few = own(4, "happy") + own(4, "sad")
    assert len({Protocol(name, seed).split(few).manifest_hash for seed in range(8)}) > 3, "seeds deal differently"
    if name == "grouped":
        sides = {(clip.group, split.part_of[clip.id]) for clip in clips if clip.group}
        assert len(sides) == len({group for group, _ in sides})


def too_few(clips, name) -> bool:
    """Fewer than three clips, or groups, of an emotion."""
    keys = {(clip.emotion, clip.group or clip.id if name == "grouped" else clip.id) for clip in clips}
    return any(count < 3 for count in Counter(emotion for emotion, _ in keys).values())


def test_groups_that_span_emotions_stay_together():
    clips = [
        Clip(f"{group}-{emotion}", Path("x.wav"), emotion, None, "own", group=str(group))
        for group, emotion in itertools.product(range(20), ("happy", "sad"))
    ]
    part_of = Protocol("grouped").split(clips).part_of
    assert all(part_of[f"{group}-happy"] == part_of[f"{group}-sad"] for group in range(20))
