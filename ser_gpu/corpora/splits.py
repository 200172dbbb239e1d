"""Who is in train, validation and test. A protocol is code that yields the same lists everywhere; its hash proves it.

| name            | fold              | what                                                               |
|-----------------|-------------------|--------------------------------------------------------------------|
| `stratified`    | seed of the split | 80/10/10 by emotion; a speaker is on every side                    |
| `grouped`       | seed of the split | the same, with repetitions of an utterance on one side             |
| `speakers`      | 0 to 4            | the speakers dealt to five folds (fewer where there are fewer)     |
| `loso`          | one a speaker     | leave one speaker out                                              |
| `test-speakers` | 0                 | any test speakers                                                  |
| `loco`          | one a corpus      | leave one corpus out                                               |
| `test-corpora`  | 0                 | any test corpora                                                   |
| `listed`        | 0                 | the part that the manifest gives to each clip                      |
| `all`           | 0                 | train on every clip, for a first or a last training; test nothing  |

Protocols that were published for one corpus stand in its file. Validation speakers, where nobody published them, are
one in ten of each gender, at least one, and others in each fold; too few speakers leave the part empty.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise

from ser_gpu import corpora
from ser_gpu.corpora.clip import PARTS, Clip, by_id, ordered
from ser_gpu.corpora.corpus import Fold
from ser_gpu.errors import InputError

RANDOM_PROTOCOLS = ("stratified", "grouped")
ALIASES = {"twin-safe": "grouped", "actors": "test-speakers"}
_OLD_KEYS = {"test_actors": "test_speakers"}
SPEAKER_FOLDS = 5

_SEEDS = 2**32
_CORPUS_PROTOCOLS = ("loco", "test-corpora")
_OWN_PROTOCOLS = (*RANDOM_PROTOCOLS, "speakers", "loso", "test-speakers", *_CORPUS_PROTOCOLS, "listed", "all")
_SHOWN = 12
_FEWEST = 3


def published(name: str) -> tuple[str, tuple[Fold, ...]] | None:
    """The corpus that publishes a protocol, and its folds; None where no corpus does."""
    for corpus in corpora.names():
        if folds_of := (corpora.get(corpus).folds or {}).get(name):
            return corpus, folds_of
    return None


def protocol_names() -> tuple[str, ...]:
    """All protocols, those of the registered corpora among them, and the aliases."""
    of_corpora = [name for corpus in corpora.names() for name in corpora.get(corpus).folds or {}]
    return (*_OWN_PROTOCOLS, *of_corpora, *ALIASES)


PROTOCOL_NAMES = protocol_names()


@dataclass(frozen=True)
class Split:
    """Which part each clip is in, by id."""

    part_of: dict[str, str]

    def ids(self, part: str) -> list[str]:
        """The clips of one part, sorted."""
        return sorted(name for name, where in self.part_of.items() if where == part)

    @property
    def manifest(self) -> str:
        """The sorted lines `clip,part`."""
        return "".join(f"{name},{part}\n" for name, part in sorted(self.part_of.items()))

    @property
    def manifest_hash(self) -> str:
        """SHA-256 of the manifest, in hexadecimal."""
        return hashlib.sha256(self.manifest.encode()).hexdigest()

    def shared_speakers(self, clips: Sequence[Clip]) -> tuple[str, ...]:
        """The speakers who are in more than one part."""
        parts: dict[str, set[str]] = {}
        for clip in clips:
            if clip.speaker is not None:
                parts.setdefault(clip.speaker, set()).add(self.part_of[clip.id])
        return tuple(sorted(speaker for speaker, where in parts.items() if len(where) > 1))


@dataclass(frozen=True)
class Protocol:
    """A protocol's name, its fold (for the random ones: the seed of the split), and the speakers a user chose to test.

    Attributes:
        name: one of `PROTOCOL_NAMES`; an alias becomes the name that it stands for.
        fold: from 0.
        test_speakers: for `test-speakers` alone; a number finds a speaker with zeros before it.
        corpus: what the clips are, for the record; a published protocol names its corpus where nothing else is given.
        test_corpora: for `test-corpora` alone.

    Raises:
        ValueError: an unknown name, a fold that the protocol does not have, or test speakers without their protocol.
    """

    name: str = "stratified"
    fold: int = 0
    test_speakers: tuple[str, ...] = ()
    corpus: str | None = None
    test_corpora: tuple[str, ...] = ()

    def __post_init__(self):
        name = ALIASES.get(self.name, self.name)
        of_corpus = published(name)
        if name not in _OWN_PROTOCOLS and of_corpus is None:
            raise InputError(f"protocol must be one of {', '.join(protocol_names())}, got {self.name!r}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "test_speakers", tuple(str(speaker) for speaker in self.test_speakers))
        if of_corpus and self.corpus is None:
            object.__setattr__(self, "corpus", of_corpus[0])
        if isinstance(self.fold, bool) or not isinstance(self.fold, int):
            raise InputError(f"fold must be a whole number, got {self.fold!r}")
        most = _SEEDS if name in ("loso", "loco", *RANDOM_PROTOCOLS) else folds(name)
        if not 0 <= self.fold < most:
            raise InputError(f"fold of {name} must be 0 to {most - 1}, got {self.fold}")
        if (name == "test-speakers") != bool(self.test_speakers):
            raise InputError(
                f"test speakers go with the protocol 'test-speakers' alone, got {list(self.test_speakers)} and {name!r}"
            )
        object.__setattr__(self, "test_corpora", tuple(self.test_corpora))
        if (name == "test-corpora") != bool(self.test_corpora):
            raise InputError(
                f"test corpora go with the protocol 'test-corpora' alone, got {list(self.test_corpora)} and {name!r}"
            )

    @property
    def speaker_independent(self) -> bool:
        """True where no speaker can be in two parts, whatever the clips."""
        return self.name not in (*RANDOM_PROTOCOLS, "listed")

    def split(self, clips: Sequence[Clip]) -> Split:
        """Deal `clips` into the three parts; the order of the clips does not matter.

        Raises:
            ValueError: too few clips or speakers, unknown speakers where they are needed, or nothing to test.
        """
        clips = sorted(clips, key=by_id)
        if not clips:
            raise InputError("there is no clip to split")
        if twice := [clip.id for clip, after in pairwise(clips) if clip.id == after.id]:
            raise InputError(f"two clips have the id {twice[0]}")
        if self.name == "listed":
            return Split(_listed(clips))
        if self.name == "all":
            return Split({clip.id: "train" for clip in clips})
        if self.name in RANDOM_PROTOCOLS:
            return Split(_deal(clips, _group if self.name == "grouped" else by_id, self.fold))
        if self.name in _CORPUS_PROTOCOLS:
            return Split(self._by_corpus(clips))
        return Split(self._by_speaker(clips))

    def notice(self, clips: Sequence[Clip]) -> str | None:
        """One line on what this split of `clips` does not show, or None."""
        if self.name == "all":
            return None
        unknown = sum(clip.speaker is None for clip in clips)
        if unknown and not self.speaker_independent:
            return (
                f"the speaker of {unknown:,} of {len(clips):,} clips is unknown: "
                "this split cannot be speaker-independent, so its figures do not hold for new voices"
            )
        if self.name == "listed" and (both := self.split(clips).shared_speakers(clips)):
            return f"not speaker-independent: {_shown(both)} in more than one part"
        return None

    def as_dict(self) -> dict:
        """Plain data, as a checkpoint stores it."""
        lists = {"test_speakers": list(self.test_speakers), "test_corpora": list(self.test_corpora)}
        return asdict(self) | lists

    @classmethod
    def from_dict(cls, stored: Mapping) -> "Protocol":
        """From plain data, that of older checkpoints too.

        Raises:
            ValueError: an unknown key or a wrong value.
        """
        stored = _from_numbered_speakers(dict(stored))
        if unknown := stored.keys() - {field.name for field in fields(cls)}:
            raise InputError(f"a protocol has no {', '.join(sorted(unknown))}")
        return cls(**stored | {key: tuple(stored.get(key, ())) for key in ("test_speakers", "test_corpora")})

    def _by_speaker(self, clips: Sequence[Clip]) -> dict[str, str]:
        of_corpus = published(self.name)
        of_folds = clips if of_corpus is None else [clip for clip in clips if clip.corpus == of_corpus[0]]
        if not of_folds:
            raise InputError(
                f"{self.name} is a protocol of {corpora.get(of_corpus[0]).title}: there is no clip of that corpus"
            )
        voices = _voices(of_folds, self.name)
        if len(voices) < 2:
            raise InputError(f"{self.name} needs two speakers and more, there is only {_shown(voices)}")
        if of_corpus is None:
            test, validation = self._test_speakers(voices), set()
        else:
            fold = of_corpus[1][self.fold]
            test = set(_present(fold.test, voices).values())
            validation = set(_present(fold.validation or (), voices).values())
            if not test:
                raise InputError(
                    f"fold {self.fold} of {self.name} tests {_shown(fold.test)}: none is there, only {_shown(voices)}"
                )
        left = {speaker: gender for speaker, gender in voices.items() if speaker not in test}
        if not left:
            raise InputError(f"the test speakers leave nobody to train on; there are {_shown(voices)}")
        if not validation or validation >= left.keys():
            validation = _validation_speakers(left, self.fold)
        part_of = dict.fromkeys(left, "train") | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
        asked = {clip.id for clip in of_folds}  # clips of other corpora only help in training
        return {clip.id: part_of[clip.speaker] if clip.id in asked else "train" for clip in clips}

    def _by_corpus(self, clips: Sequence[Clip]) -> dict[str, str]:
        names = sorted({clip.corpus for clip in clips})
        if len(names) < 2:
            raise InputError(f"{self.name} needs two corpora and more, there is only {_shown(names)}")
        if self.name == "loco" and self.fold >= len(names):
            raise InputError(f"fold of loco must be 0 to {len(names) - 1} with {len(names)} corpora, got {self.fold}")
        test = {names[self.fold]} if self.name == "loco" else {*self.test_corpora}
        if missing := sorted(test.difference(names)):
            raise InputError(f"no such corpus: {_shown(missing)}; there are {_shown(names)}")
        left = [clip for clip in clips if clip.corpus not in test]
        if not left:
            raise InputError(f"the test corpora leave nothing to train on; there are {_shown(names)}")
        known = [clip for clip in left if clip.speaker is not None]
        validation = _validation_speakers(_voices(known, self.name), self.fold)
        where = {clip.id: "validation" if clip.speaker in validation else "train" for clip in left}
        return {clip.id: where.get(clip.id, "test") for clip in clips}

    def _test_speakers(self, voices: Mapping[str, str | None]) -> set[str]:
        if self.name == "test-speakers":
            found = _present(self.test_speakers, voices)
            if missing := [speaker for speaker in self.test_speakers if speaker not in found]:
                raise InputError(f"no such speaker: {_shown(missing)}; there are {_shown(voices)}")
            return set(found.values())
        choices = [[speaker] for speaker in sorted(voices)] if self.name == "loso" else _speaker_folds(voices)
        if self.fold >= len(choices):
            raise InputError(
                f"fold of {self.name} must be 0 to {len(choices) - 1} with {len(voices)} speakers, got {self.fold}"
            )
        return set(choices[self.fold])


def folds(protocol: str, clips: Sequence[Clip] | None = None) -> int:
    """How many folds a protocol has.

    Args:
        protocol: its name; a random one has seeds and no folds.
        clips: what it deals; left out, `speakers` has five, `loso` and `loco` cannot tell.

    Raises:
        ValueError: an unknown or random protocol, `loso` or `loco` without clips, or clips without speakers.
    """
    name = ALIASES.get(protocol, protocol)
    if of_corpus := published(name):
        return len(of_corpus[1])
    if name in ("test-speakers", "test-corpora", "listed", "all"):
        return 1
    if name == "speakers" and clips is None:
        return SPEAKER_FOLDS
    if name == "loco" and clips is not None:
        return len({clip.corpus for clip in clips})
    if name in ("speakers", "loso") and clips is not None:
        speakers = len(_voices(clips, name))
        return min(SPEAKER_FOLDS, speakers) if name == "speakers" else speakers
    raise InputError(
        f"the number of folds of {protocol} is not known" + (" without clips" if name in ("loso", "loco") else "")
    )


def _from_numbered_speakers(stored: dict) -> dict:
    """Checkpoints that knew one corpus, the default one, and its speakers by number."""
    for old, new in _OLD_KEYS.items():
        if old in stored:
            numbers = stored.pop(old)
            stored |= {new: tuple(f"{int(number):02}" for number in numbers), "corpus": corpora.names()[0]}
    return stored


def _listed(clips: Sequence[Clip]) -> dict[str, str]:
    without = [clip.id for clip in clips if clip.part is None]
    if len(without) == len(clips):
        raise InputError("no clip has a part: 'listed' needs a CSV with a column part")
    if without:
        raise InputError(f"{len(without):,} clips have no part, the first is {without[0]}")
    return {clip.id: clip.part for clip in clips}


def _group(clip: Clip) -> tuple[str, str]:
    return ("clip", clip.id) if clip.group is None else ("group", clip.group)


def _deal(clips: Sequence[Clip], key: Callable[[Clip], Hashable], seed: int) -> dict[str, str]:
    """80/10/10 by emotion; clips that share a key go to one part. A key counts as its most frequent emotion."""
    votes: dict[Hashable, Counter[str]] = {}
    for clip in clips:
        votes.setdefault(key(clip), Counter())[clip.emotion] += 1
    names = ordered(clip.emotion for clip in clips)
    emotion_of = {k: names.index(votes[k].most_common(1)[0][0]) for k in votes}
    few = [f"{names[e]} has {n}" for e, n in sorted(Counter(emotion_of.values()).items()) if n < _FEWEST]
    if few:
        raise InputError(f"too few clips for train, validation and test: {_shown(few)}; each emotion needs {_FEWEST}")
    part_of_key = _dealt_together(emotion_of, seed) or _dealt_one_by_one(emotion_of, seed)
    return {clip.id: part_of_key[key(clip)] for clip in clips}


def _dealt_together(emotion_of: Mapping[Hashable, int], seed: int) -> dict[Hashable, str] | None:
    """Part of each key by scikit-learn; None where that leaves an emotion out of a part."""
    from sklearn.model_selection import train_test_split

    keys = list(emotion_of)
    try:
        train, rest = train_test_split(keys, test_size=0.2, stratify=[emotion_of[k] for k in keys], random_state=seed)
        validation, test = train_test_split(
            rest, test_size=0.5, stratify=[emotion_of[k] for k in rest], random_state=seed
        )
    except ValueError:
        return None
    emotions = set(emotion_of.values())
    if any({emotion_of[k] for k in members} != emotions for members in (train, validation, test)):
        return None
    return {k: part for part, members in zip(PARTS, (train, validation, test), strict=True) for k in members}


def _dealt_one_by_one(emotion_of: Mapping[Hashable, int], seed: int) -> dict[Hashable, str]:
    """A tenth of each emotion's keys, at least one, for test and as many for validation: for small data."""
    part_of = {}
    for emotion in sorted(set(emotion_of.values())):
        keys = [k for k in emotion_of if emotion_of[k] == emotion]
        keys.sort(key=lambda k: hashlib.sha256(f"{seed},{k}".encode()).digest())
        tenth = max(1, round(len(keys) / 10))
        part_of |= dict.fromkeys(keys[:tenth], "test") | dict.fromkeys(keys[tenth : 2 * tenth], "validation")
        part_of |= dict.fromkeys(keys[2 * tenth :], "train")
    return part_of


def _voices(clips: Sequence[Clip], protocol: str) -> dict[str, str | None]:
    """Gender of each speaker, where it is known; speakers sorted."""
    without = [clip.id for clip in clips if clip.speaker is None]
    if without:
        raise InputError(
            f"{protocol} needs the speakers: without them no split is speaker-independent. "
            f"{len(without):,} of {len(clips):,} clips have none, the first is {without[0]}"
        )
    genders: dict[str, Counter[str]] = {}
    for clip in clips:
        genders.setdefault(clip.speaker, Counter()).update([clip.gender] if clip.gender else [])
    return {s: min(genders[s], key=lambda g: (-genders[s][g], g), default=None) for s in sorted(genders)}


def _present(wanted: Collection[str], voices: Collection[str]) -> dict[str, str]:
    """Those of the wanted names that are there -> the speakers.

    A name is matched whole, then without the corpus before it, then as a number.
    """
    found = {}
    for name in wanted:
        for same in (_is, _is_bare, _is_number):
            matches = [speaker for speaker in voices if same(speaker, name)]
            if len(matches) > 1:
                raise InputError(f"speaker {name} can be {_shown(matches)}: give the whole name")
            if matches:
                found[name] = matches[0]
                break
    return found


def _is(speaker: str, name: str) -> bool:
    return speaker == name


def _is_bare(speaker: str, name: str) -> bool:
    return speaker.rpartition("/")[2] == name


def _is_number(speaker: str, name: str) -> bool:
    bare = speaker.rpartition("/")[2]
    return bare.isdecimal() and name.isdecimal() and int(bare) == int(name)


def _speaker_folds(voices: Mapping[str, str | None]) -> list[list[str]]:
    """Speakers dealt in turn, gender after gender, so that each fold has its share of both."""
    in_turn = sorted(voices, key=lambda speaker: (voices[speaker] or "", speaker))
    count = min(SPEAKER_FOLDS, len(in_turn))
    return [in_turn[fold::count] for fold in range(count)]


def _validation_speakers(voices: Mapping[str, str | None], turn: int) -> set[str]:
    """One speaker in ten of each gender, at least one, others at each turn; someone is always left for training."""
    chosen = set()
    for gender in set(voices.values()):
        names = sorted(speaker for speaker in voices if voices[speaker] == gender)
        if len(names) > 1:
            size = max(1, round(len(names) / 10))
            chosen |= {names[(turn * size + i) % len(names)] for i in range(size)}
    if not chosen and len(voices) > 1:
        chosen = {sorted(voices)[turn % len(voices)]}
    return chosen


def _shown(names: Collection[str]) -> str:
    """Some names in one line."""
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
