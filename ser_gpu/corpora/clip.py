"""A clip: one recording, who speaks it, and with which emotion."""

from dataclasses import dataclass
from pathlib import Path

OWN = "own"
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Clip:
    """One recording and what is known about it; the file need not exist.

    Attributes:
        id: unique within what is loaded; in a named corpus the official file name without suffix.
        path: the file.
        emotion: a canonical name of `labels`, or the user's own name in lower case.
        speaker: any text; None where nobody is named.
        corpus: a name of the registry, or "own".
        gender: "male", "female", another word of the user's, or None.
        group: repetitions of one utterance share it; None where the clip stands alone.
        part: train, validation or test, where a manifest says so.
        extra: further known fields, such as ("intensity", "strong").
    """

    id: str
    path: Path
    emotion: str
    speaker: str | None
    corpus: str
    gender: str | None = None
    group: str | None = None
    part: str | None = None
    extra: tuple[tuple[str, str], ...] = ()

    def get(self, name: str, default: str | None = None) -> str | None:
        """The extra field of that name.

        >>> Clip("a", Path("a.wav"), "sad", None, "own", extra=(("intensity", "strong"),)).get("intensity")
        'strong'
        """
        return dict(self.extra).get(name, default)


def by_id(clip: Clip) -> str:
    """Sort key: clips are ordered by id."""
    return clip.id
