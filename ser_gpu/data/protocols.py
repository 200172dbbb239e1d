"""Who is in train, validation and test. A protocol is code that yields the same lists everywhere; its hash proves it.

| name         | fold               | what                                                            |
|--------------|--------------------|-----------------------------------------------------------------|
| `stratified` | seed of the split  | 80/10/10 by emotion; a speaker is on every side                 |
| `twin-safe`  | seed of the split  | the same, with both repetitions of a sentence on one side       |
| `actors5`    | 0 to 4             | test actors of Luna-Jimenez et al., Sensors 21(22), 7665, 2021  |
| `actors6`    | 0 to 5             | test actors of EmoBox, Ma et al., Interspeech 2024              |
| `search`     | 0 to 4             | `actors5`; all its validation actors are kept from training     |
| `loso`       | 0 to 23            | actor fold + 1 is the test speaker                              |
| `actors`     | 0                  | any test actors                                                 |

`search` is for choosing a recipe. A fold of `actors5` has two validation actors, 120 clips, among which three points
are luck. Here the validation actors of all folds, less the fold's own test actors, are its validation part: seven to
nine voices for eleven or twelve in training.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from ser_gpu.data.ravdess import ACTORS, Clip

PARTS = ("train", "validation", "test")
RANDOM_PROTOCOLS = ("stratified", "twin-safe")

ACTORS5_TEST = ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22))
ACTORS5_VALIDATION = ((3, 6), (10, 11), (8, 17), (1, 14), (2, 5))
ACTORS6_TEST = (
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)
FOLDS = {
    "actors5": len(ACTORS5_TEST),
    "actors6": len(ACTORS6_TEST),
    "search": len(ACTORS5_TEST),
    "loso": len(ACTORS),
    "actors": 1,
}
PROTOCOLS = (*RANDOM_PROTOCOLS, *FOLDS)
NAMED_PROTOCOLS = PROTOCOLS[:-1]


@dataclass(frozen=True)
class Protocol:
    """A protocol's name, its fold (for the random ones: the seed of the split), and the actors a user chose to test.

    Raises:
        ValueError: an unknown name, a fold that the protocol does not have, or test actors that leave too few.
    """

    name: str = "stratified"
    fold: int = 0
    test_actors: tuple[int, ...] = ()

    def __post_init__(self):
        if self.name not in PROTOCOLS:
            raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {self.name!r}")
        folds = FOLDS.get(self.name, 2**32)
        if not 0 <= self.fold < folds:
            raise ValueError(f"fold of {self.name} must be 0 to {folds - 1}, got {self.fold}")
        if (self.name == "actors") != bool(self.test_actors):
            raise ValueError(f"test actors go with the protocol 'actors' and no other, got {self.test_actors}")
        _check_test_actors(self.test_actors)

    @property
    def speaker_independent(self) -> bool:
        """True where no actor is in two parts."""
        return self.name not in RANDOM_PROTOCOLS

    def split(self, clips: Sequence[Clip]) -> "Split":
        """Deal `clips` into the three parts."""
        if self.speaker_independent:
            part_of = self._part_of_actor()
            return Split({clip.name: part_of[clip.actor] for clip in clips})
        key = (lambda clip: clip.twins) if self.name == "twin-safe" else (lambda clip: clip.name)
        return Split(_deal(clips, key, seed=self.fold))

    def _part_of_actor(self) -> dict[int, str]:
        test, validation = self._held_out_actors()
        return {a: "test" if a in test else "validation" if a in validation else "train" for a in ACTORS}

    def _held_out_actors(self) -> tuple[Sequence[int], Sequence[int]]:
        if self.name == "actors5":
            return ACTORS5_TEST[self.fold], ACTORS5_VALIDATION[self.fold]
        if self.name == "search":
            return ACTORS5_TEST[self.fold], sorted({*chain(*ACTORS5_VALIDATION)} - {*ACTORS5_TEST[self.fold]})
        tests = {"actors6": ACTORS6_TEST, "loso": [(actor,) for actor in ACTORS], "actors": [self.test_actors]}
        test = tests[self.name][self.fold]
        return test, _man_and_woman([actor for actor in ACTORS if actor not in test], self.fold)


@dataclass(frozen=True)
class Split:
    """Which part each clip is in, by clip name."""

    part_of: dict[str, str]

    def names(self, part: str) -> list[str]:
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


def _deal(clips: Sequence[Clip], key, seed: int) -> dict[str, str]:
    """80/10/10 by emotion; clips that share a key go to one part. Every key holds clips of one emotion."""
    from sklearn.model_selection import train_test_split

    emotion_of = {key(clip): clip.emotion for clip in sorted(clips)}
    keys = list(emotion_of)
    try:
        train, rest = train_test_split(keys, test_size=0.2, stratify=[emotion_of[k] for k in keys], random_state=seed)
        validation, test = train_test_split(
            rest, test_size=0.5, stratify=[emotion_of[k] for k in rest], random_state=seed
        )
    except ValueError:
        raise ValueError(f"{len(clips)} clips are too few to hold every emotion in three parts") from None
    part_of_key = {k: part for part, members in zip(PARTS, (train, validation, test), strict=True) for k in members}
    return {clip.name: part_of_key[key(clip)] for clip in clips}


def _man_and_woman(actors: Sequence[int], turn: int) -> tuple[int, int]:
    """One actor of each sex for validation, others at each turn."""
    men, women = [a for a in actors if a % 2], [a for a in actors if a % 2 == 0]
    return men[turn % len(men)], women[turn % len(women)]


def _check_test_actors(actors: tuple[int, ...]) -> None:
    if unknown := [a for a in actors if a not in ACTORS]:
        raise ValueError(f"test actors must be between 1 and 24, got {unknown}")
    left = [a for a in ACTORS if a not in actors]
    if sum(a % 2 for a in left) < 2 or sum(a % 2 == 0 for a in left) < 2:
        raise ValueError("test actors must leave two men and two women, for training and validation")
