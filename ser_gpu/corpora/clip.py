"""A clip: one recording, who speaks it, and with which emotion; the names of emotions and their aliases."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from ser_gpu.errors import InputError, check

OWN = "own"
PARTS = ("train", "validation", "test")
_PART_NAMES = {"train": "train training", "validation": "validation valid val dev development", "test": "test testing"}
PART_ALIASES = {alias: part for part, aliases in _PART_NAMES.items() for alias in aliases.split()}


@dataclass(frozen=True)
class Clip:
    """One recording and what is known about it; the file need not exist."""

    id: str  # unique within what is loaded; in a known corpus the official file name without suffix
    path: Path
    emotion: str  # one of `EMOTIONS`, or the user's own name in lower case
    speaker: str | None  # None where it is not known
    corpus: str  # a name of the registry, or "own"
    gender: str | None = None  # "male", "female", the user's own word, or None
    group: str | None = None  # shared by repetitions of one utterance
    part: str | None = None  # train, validation or test, where a list says so
    extra: tuple[tuple[str, str], ...] = ()  # further known fields, such as ("intensity", "strong")
    start: float = 0.0  # seconds; what lies before `start` and after `end` is not of this clip
    end: float = math.inf

    def get(self, name: str, default: str | None = None) -> str | None:
        """The extra field of that name."""
        return dict(self.extra).get(name, default)


by_id = attrgetter("id")
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

_OTHER_NAMES = {
    "neutral": "neu n normal",
    "calm": "calmness relaxed",
    "happy": "hap h happiness joy joyful exc excited excitement",
    "sad": "sadness",
    "angry": "ang anger",
    "fearful": "fea fear afraid scared anxiety",
    "disgust": "dis disgusted",
    "surprised": "sur surprise ps pleasant_surprise pleasant_surprised",
    "bored": "bor boredom",
    "frustrated": "fru frustration",
    "contempt": "con contemptuous",
}
# a letter stands here only if all corpora agree on it; others stand in the entry of their corpus
ALIASES = {alias: emotion for emotion, aliases in _OTHER_NAMES.items() for alias in aliases.split()}
# in other languages: they tell which folder is the emotion, and stay as they are
_FOREIGN = {
    "German": "wut ärger zorn freude fröhlich glücklich trauer traurig angst ekel überraschung langeweile",
    "Spanish": "enojo enfado alegría alegria feliz felicidad tristeza triste miedo asco sorpresa neutro",
    "French": "colère colere joie tristesse peur dégoût degout neutre",
    "Italian": "rabbia gioia tristezza paura disgusto neutrale",
}
_KNOWN = ALIASES.keys() | _OTHER_NAMES.keys() | set(" ".join(_FOREIGN.values()).split())
# no names at all: what pandas, R, Excel and others write for what is not known
UNKNOWN = {"", "nan", "-nan", "na", "#n/a", "#na", "nat", "none", "null", "<na>", "n/a"}
_GENDERS = {"m": "male", "man": "male", "f": "female", "w": "female", "woman": "female", "unknown": None, "": None}


def canonical(name: str, aliases: Mapping[str, str] = ALIASES) -> str:
    """The canonical name of an emotion; an unknown one in lower case with _ for spaces and hyphens.

    aliases: of one corpus, in lower case; they go before the general ones. Raises InputError for no name.
    """
    text = unicodedata.normalize("NFC", name.lower()).strip("\"'` ") if isinstance(name, str) else ""
    key = "_".join(re.split(r"[\s_-]+", text.strip("-_ ")))
    check(any(map(str.isalnum, key)), f"an emotion needs a name, got {name!r}")
    return aliases.get(key) or ALIASES.get(key, key)


def is_emotion(name: str) -> bool:
    """True where a known name of an emotion is in `name`, as in "01_happy"; short ones such as "n" stand alone."""
    words = re.split(r"[\W\d_]+", unicodedata.normalize("NFC", name.lower()))
    return any(len(word) > 2 or words == [word] for word in words if word in _KNOWN)


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: the canonical ones in the order of `EMOTIONS`, then the others by alphabet."""
    names = set(names)
    return (*(name for name in EMOTIONS if name in names), *sorted(names.difference(EMOTIONS)))


def subset(wanted: Iterable[str], labels: Sequence[str]) -> tuple[str, ...]:
    """The wanted `labels`, by any alias, in the order of `labels`. Raises InputError where one is no label."""
    names = {canonical(name) for name in wanted}
    if unknown := sorted(names.difference(labels)):
        raise InputError(f"no such emotion: {', '.join(unknown)}; there are {', '.join(labels)}")
    return tuple(label for label in labels if label in names)


def gender(text: str) -> str | None:
    """Male or female for m, f, man, woman and the like; None for unknown; any other word in lower case."""
    key = text.strip().lower()
    return _GENDERS.get(key, key)
