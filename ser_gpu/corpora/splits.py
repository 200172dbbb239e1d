"""Splits into train, validation and test, the same on every machine; docs/protocols.md describes the protocols."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import pairwise

from ser_gpu.corpora.clip import Clip, by_id, ordered
from ser_gpu.corpora.known import CORPORA, Corpus, names
from ser_gpu.errors import InputError, check

RANDOM_PROTOCOLS = ("stratified", "grouped")
ALIASES = {"twin-safe": "grouped", "actors": "test-speakers"}
_BY_CORPUS = ("loco", "test-corpora")
_FOLDS = {"speakers": 5, "test-speakers": 1, "test-corpora": 1, "listed": 1, "all": 1}  # `speakers`: at most


def protocol_names() -> tuple[str, ...]:
    """All protocols, also those of registered corpora, and the aliases."""
    return (*_DEALERS, *(name for corpus in CORPORA.values() for name in corpus.folds), *ALIASES)


def published(name: str) -> Corpus | None:
    """The corpus whose published protocol this is, or None."""
    return next((corpus for corpus in CORPORA.values() if name in corpus.folds), None)


def folds(protocol: str, clips: Sequence[Clip] | None = None) -> int:
    """The number of folds of a protocol. Of `loso` and `loco` it is that of clips; a random protocol has none."""
    name = ALIASES.get(protocol, protocol)
    if clips is not None and name in ("speakers", "loso", "loco"):
        return len(_choices(name, clips))
    return len(corpus.folds[name]) if (corpus := published(name)) else _FOLDS[name]


@dataclass(frozen=True)
class Split:
    """The part of each clip, by id."""

    part_of: dict[str, str]

    def ids(self, part: str) -> list[str]:
        """The ids of one part, sorted."""
        return sorted(name for name, where in self.part_of.items() if where == part)

    @property
    def manifest_hash(self) -> str:
        """SHA-256 of the sorted lines `clip,part`, in hexadecimal."""
        manifest = "".join(f"{name},{part}\n" for name, part in sorted(self.part_of.items()))
        return hashlib.sha256(manifest.encode()).hexdigest()

    def shared(self, key_of: Mapping[str, Hashable]) -> list:
        """The keys, sorted, that clips of more than one part have; `key_of` is by id, None where there is no key."""
        pairs = {(key, self.part_of[name]) for name, key in key_of.items() if key is not None}
        return sorted(key for key, parts in Counter(key for key, _ in pairs).items() if parts > 1)

    def shared_speakers(self, clips: Sequence[Clip]) -> tuple[str, ...]:
        """The speakers who are in more than one part."""
        return tuple(self.shared({clip.id: clip.speaker for clip in clips}))

    def shared_files(self, clips: Sequence[Clip]) -> list[str]:
        """The ids, sorted, of clips that are in another part with the same bytes."""
        sizes = {clip.path: clip.path.stat().st_size for clip in clips if clip.path.is_file()}
        times = Counter(sizes.values())
        same_size = (path for path, size in sizes.items() if times[size] > 1)
        digests = {path: hashlib.sha256(path.read_bytes()).digest() for path in same_size}
        contents = {clip.id: (digests[clip.path], clip.start, clip.end) for clip in clips if clip.path in digests}
        shared = set(self.shared(contents))
        return sorted(name for name in contents if contents[name] in shared)


@dataclass(frozen=True)
class Protocol:
    """A protocol, its fold, and what the user chose to test. Raises InputError where these do not fit together."""

    name: str = "stratified"  # one of `protocol_names()`; an alias is replaced
    fold: int = 0  # of a random protocol, the seed
    test_speakers: tuple[str, ...] = ()  # for `test-speakers` alone; "1" also finds "01"
    corpus: str | None = None  # for the record; None: that of a published protocol
    test_corpora: tuple[str, ...] = ()  # for `test-corpora` alone

    def __post_init__(self):
        name = ALIASES.get(self.name, self.name)
        of_corpus = published(name)
        if name not in _DEALERS and of_corpus is None:
            raise InputError(f"protocol must be one of {', '.join(protocol_names())}, got {self.name!r}")
        object.__setattr__(self, "name", name)
        if of_corpus and self.corpus is None:
            object.__setattr__(self, "corpus", of_corpus.name)
        most = folds(name) if of_corpus or name in _FOLDS else 2**32
        check(0 <= self.fold < most, f"fold of {name} must be 0 to {most - 1}, got {self.fold}")
        for what in ("speakers", "corpora"):
            tested = tuple(map(str, getattr(self, f"test_{what}")))
            object.__setattr__(self, f"test_{what}", tested)
            if (name == f"test-{what}") != bool(tested):
                got = f"got {list(tested)} and {name!r}"
                raise InputError(f"test {what} go with the protocol 'test-{what}' alone, {got}")

    @property
    def speaker_independent(self) -> bool:
        """True where no speaker can be in two parts."""
        return self.name not in (*RANDOM_PROTOCOLS, "listed")

    def split(self, clips: Sequence[Clip]) -> Split:
        """Split `clips`, whose order does not matter, into three parts. Raises InputError where that is impossible."""
        clips = sorted(clips, key=by_id)
        if twice := [clip.id for clip, after in pairwise(clips) if clip.id == after.id]:
            raise InputError(f"two clips have the id {twice[0]}")
        return Split(_DEALERS.get(self.name, _held_out)(self, clips))

    def notice(self, clips: Sequence[Clip]) -> str | None:
        """One line of warning about unknown or shared speakers and files that are in two parts, or None."""
        said, split = [], self.split(clips)
        if not self.speaker_independent and (unknown := sum(clip.speaker is None for clip in clips)):
            so = "this split cannot be speaker-independent, so its figures do not hold for new voices"
            said.append(f"the speaker of {unknown:,} of {len(clips):,} clips is unknown: {so}")
        if self.name == "listed" and (both := split.shared_speakers(clips)):
            said.append(f"not speaker-independent: {_shown(both)} in more than one part")
        if same := split.shared_files(clips):
            said.append(f"{len(same):,} clips are the same files in different parts: {_shown(same)}")
        return "; ".join(said) or None

    @property
    def in_results(self) -> dict:
        """Which protocol this is, and what it tests, as the JSON of a result says it."""
        known = {name: self.as_dict()[name] for name in ("fold", "test_speakers", "test_corpora")}
        return {"protocol": self.name, **known}

    def as_dict(self) -> dict:
        """Plain data, as a checkpoint stores it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: Mapping) -> "Protocol":
        """From plain data, also of older checkpoints. Raises InputError for an unknown key or a wrong value."""
        stored = dict(stored)
        if "test_actors" in stored:  # older checkpoints: the default corpus, its speakers by number
            numbers = stored.pop("test_actors")
            stored |= {"test_speakers": [f"{int(number):02}" for number in numbers], "corpus": names()[0]}
        if unknown := stored.keys() - {field.name for field in fields(cls)}:
            raise InputError(f"a protocol has no {', '.join(sorted(unknown))}")
        return cls(**stored)


def _choices(name: str, clips: Sequence[Clip]) -> list[list[str]]:
    # the test speakers (`loco`: corpora) of each fold
    if name == "loco":
        return [[corpus] for corpus in sorted({clip.corpus for clip in clips})]
    voices = _voices(clips, name)
    if name == "loso":
        return [[speaker] for speaker in voices]
    # in turn, sorted by gender, so that each fold has its share of both
    in_turn = sorted(voices, key=lambda speaker: (voices[speaker] or "", speaker))
    count = min(_FOLDS["speakers"], len(in_turn))
    return [in_turn[k::count] for k in range(count)]


def _tested(protocol: Protocol, clips: Sequence[Clip], there: list[str]) -> tuple[Collection[str], Collection[str]]:
    # test speakers or corpora, and published validation speakers
    name, fold = protocol.name, protocol.fold
    if wanted := protocol.test_corpora or protocol.test_speakers:
        found = _present(wanted, there)
        if missing := [each for each in wanted if each not in found]:
            what = "corpus" if name in _BY_CORPUS else "speaker"
            raise InputError(f"no such {what}: {_shown(missing)}; there are {_shown(there)}")
        return found.values(), ()
    if corpus := published(name):
        test, validation = corpus.folds[name][fold]
        if not (found := _present(test, there)):
            raise InputError(f"fold {fold} of {name} tests {_shown(test)}: none is there, only {_shown(there)}")
        return found.values(), _present(validation, there).values()
    choices = _choices(name, clips)
    if fold >= len(choices):
        count = f"{len(there)} {'corpora' if name in _BY_CORPUS else 'speakers'}"
        raise InputError(f"fold of {name} must be 0 to {len(choices) - 1} with {count}, got {fold}")
    return choices[fold], ()


def _held_out(protocol: Protocol, every: Sequence[Clip]) -> dict[str, str]:
    name, by_corpus, corpus = protocol.name, protocol.name in _BY_CORPUS, published(protocol.name)
    clips = [clip for clip in every if corpus is None or clip.corpus == corpus.name]
    if not clips:
        raise InputError(f"{name} is a protocol of {corpus.title}: there is no clip of that corpus")
    there = sorted({clip.corpus for clip in clips}) if by_corpus else list(_voices(clips, name))
    what, nothing = ("corpora", "nothing") if by_corpus else ("speakers", "nobody")
    check(len(there) >= 2, f"{name} needs two {what} and more, there is only {_shown(there)}")
    test, validation = map(set, _tested(protocol, clips, there))
    left = [clip for clip in clips if (clip.corpus if by_corpus else clip.speaker) not in test]
    check(left, f"the test {what} leave {nothing} to train on; there are {_shown(there)}")
    voices = _voices([clip for clip in left if clip.speaker is not None], name)
    if not validation or validation >= voices.keys():
        validation = _validation_speakers(voices, protocol.fold)
    where = {clip.id: "validation" if clip.speaker in validation else "train" for clip in left}
    # in a protocol of one corpus, clips of others are for training only
    return dict.fromkeys(map(by_id, every), "train") | dict.fromkeys(map(by_id, clips), "test") | where


def _listed(protocol: Protocol, clips: Sequence[Clip]) -> dict[str, str]:
    if without := [clip.id for clip in clips if clip.part is None]:
        why = "listed needs a part for each clip, from a column of a list or folders train, validation and test"
        raise InputError(f"{why}. {len(without):,} of {len(clips):,} clips have none, the first is {without[0]}")
    return {clip.id: clip.part for clip in clips}


def _deal(key: Callable[[Clip], Hashable], protocol: Protocol, clips: Sequence[Clip]) -> dict[str, str]:
    # 80/10/10 by emotion; clips that share a key go to one part, and count as their most frequent emotion
    votes: dict[Hashable, Counter[str]] = {}
    for clip in clips:
        votes.setdefault(key(clip), Counter())[clip.emotion] += 1
    names = ordered(clip.emotion for clip in clips)
    emotion_of = {k: names.index(counts.most_common(1)[0][0]) for k, counts in votes.items()}
    if few := [f"{names[e]} has {n}" for e, n in sorted(Counter(emotion_of.values()).items()) if n < 3]:
        raise InputError(f"too few clips for train, validation and test: {_shown(few)}; each emotion needs 3")
    part_of = _dealt_together(emotion_of, protocol.fold) or _dealt_one_by_one(emotion_of, protocol.fold)
    return {clip.id: part_of[key(clip)] for clip in clips}


_DEALERS = {  # (protocol, clips sorted by id) -> part of each id
    "stratified": partial(_deal, by_id),
    "grouped": partial(_deal, lambda clip: ("clip", clip.id) if clip.group is None else ("group", clip.group)),
    **dict.fromkeys(("speakers", "loso", "test-speakers", *_BY_CORPUS), _held_out),
    "listed": _listed,
    "all": lambda _, clips: dict.fromkeys(map(by_id, clips), "train"),
}


def _dealt_together(emotion_of: Mapping[Hashable, int], seed: int) -> dict[Hashable, str] | None:
    # by scikit-learn; None where a part would lack an emotion
    from sklearn.model_selection import train_test_split  # here: it takes a second

    keys = list(emotion_of)
    try:
        train, rest = train_test_split(keys, test_size=0.2, stratify=[emotion_of[k] for k in keys], random_state=seed)
        halves = {"test_size": 0.5, "stratify": [emotion_of[k] for k in rest], "random_state": seed}
        validation, test = train_test_split(rest, **halves)
    except ValueError:
        return None
    if any({emotion_of[k] for k in part} != set(emotion_of.values()) for part in (train, validation, test)):
        return None
    return dict.fromkeys(train, "train") | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")


def _dealt_one_by_one(emotion_of: Mapping[Hashable, int], seed: int) -> dict[Hashable, str]:
    # for small data: of each emotion a tenth, at least one key, for test, and as many for validation
    part_of = {}
    for emotion in set(emotion_of.values()):
        keys = [k for k in emotion_of if emotion_of[k] == emotion]
        keys.sort(key=lambda k: hashlib.sha256(f"{seed},{k}".encode()).digest())
        tenth = max(1, round(len(keys) / 10))
        part_of |= dict.fromkeys(keys, "train") | dict.fromkeys(keys[: 2 * tenth], "validation")
        part_of |= dict.fromkeys(keys[:tenth], "test")
    return part_of


def _voices(clips: Sequence[Clip], protocol: str) -> dict[str, str | None]:
    # speakers, sorted -> gender
    if without := [clip.id for clip in clips if clip.speaker is None]:
        why = f"{protocol} needs the speakers: without them no split is speaker-independent"
        raise InputError(f"{why}. {len(without):,} of {len(clips):,} clips have none, the first is {without[0]}")
    genders: dict[str, Counter[str]] = {}
    for clip in clips:
        genders.setdefault(clip.speaker, Counter()).update([clip.gender] if clip.gender else [])
    return {s: min(genders[s], key=lambda g: (-genders[s][g], g), default=None) for s in sorted(genders)}


def _present(wanted: Collection[str], voices: Collection[str]) -> dict[str, str]:
    # name -> speaker: matched whole, then without the corpus before it, then as a number
    bare = {speaker: speaker.rpartition("/")[2] for speaker in voices}
    found = {}
    for name in wanted:
        matches = (
            [speaker for speaker in voices if speaker == name]
            or [speaker for speaker in voices if bare[speaker] == name]
            or [s for s in voices if name.isdecimal() and bare[s].isdecimal() and int(bare[s]) == int(name)]
        )
        check(len(matches) <= 1, f"speaker {name} can be {_shown(matches)}: give the whole name")
        if matches:
            found[name] = matches[0]
    return found


def _validation_speakers(voices: Mapping[str, str | None], turn: int) -> set[str]:
    # of each gender one speaker in ten, at least one; each `turn` takes others; someone is always left for training
    chosen = set()
    for gender in set(voices.values()):
        names = _corpora_in_turn([speaker for speaker in voices if voices[speaker] == gender])
        if len(names) > 1:
            size = max(1, round(len(names) / 10))
            chosen |= {names[(turn * size + i) % len(names)] for i in range(size)}
    if not chosen and len(voices) > 1:
        chosen = {list(voices)[turn % len(voices)]}
    return chosen


def _corpora_in_turn(speakers: Sequence[str]) -> list[str]:
    # so that a stretch of them has its share of each corpus, whose name stands before the slash
    of_corpus: dict[str, list[str]] = {}
    for speaker in speakers:
        of_corpus.setdefault(speaker.rpartition("/")[0], []).append(speaker)
    place = {name: (i + 0.5) / len(names) for names in of_corpus.values() for i, name in enumerate(names)}
    return sorted(speakers, key=place.__getitem__)


def _shown(names: Collection[str]) -> str:
    return ", ".join(list(names)[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
