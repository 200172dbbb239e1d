"""Corpora: who speaks, and with which emotion. A new corpus is one small file and one line in `REGISTRY`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from ser_gpu.corpora.clip import OWN, PARTS, Clip, by_id, ordered
from ser_gpu.corpora.corpus import Corpus, locate, media_files, scan
from ser_gpu.errors import InputError

REGISTRY = {  # the first is the default
    "ravdess": "ser_gpu.corpora.ravdess",
    "crema_d": "ser_gpu.corpora.crema_d",
    "emo_db": "ser_gpu.corpora.emo_db",
    "emovo": "ser_gpu.corpora.emovo",
    "tess": "ser_gpu.corpora.tess",
    "savee": "ser_gpu.corpora.savee",
    "nemo": "ser_gpu.corpora.nemo",
    "ased": "ser_gpu.corpora.ased",
    "turev": "ser_gpu.corpora.turev",
    "urdu": "ser_gpu.corpora.urdu",
    "kes": "ser_gpu.corpora.kes",
}
_LISTED_EMOTIONS = 12


@dataclass(frozen=True)
class Loaded:
    """What `load` found.

    Attributes:
        clips: by id.
        description: one line for the user.
        left_out: how many other files there were, by reason.
        notice: one line if clips are missing.
    """

    clips: tuple[Clip, ...]
    description: str
    left_out: dict[str, int]
    notice: str | None = None

    @property
    def emotions(self) -> tuple[str, ...]:
        """The labels of the clips: canonical ones first, others by alphabet."""
        return ordered(clip.emotion for clip in self.clips)


def names() -> tuple[str, ...]:
    """The registered corpora; the first is the default."""
    return tuple(REGISTRY)


def get(name: str) -> Corpus:
    """The corpus of that name, however it is spelt.

    >>> get("EMO-DB").title
    'EMO-DB'

    Raises:
        ValueError: a name that is not registered.
    """
    registered = registered_name(name)
    if registered is None:
        raise InputError(f"no such corpus: {name!r}; known are {', '.join(names())}, and {OWN} for your own recordings")
    return import_module(REGISTRY[registered]).CORPUS


def registered_name(name: str) -> str | None:
    """The registry's spelling of a corpus' name, or None."""

    def letters(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    return next((known for known in REGISTRY if letters(known) == letters(name)), None)


def load(data: str | Path | None = None, corpus: str | None = None, progress: object = False) -> Loaded:
    """Find clips, and find out what `data` is unless `corpus` says so.

    A CSV or TSV file is a manifest. A folder where most audio files have the official names of a registered corpus is
    that corpus. Any other folder holds a folder per emotion.

    Args:
        data: a folder or a manifest; left out, the folder of `corpus`, or of the default corpus, by its environment
            variable or downloaded.
        corpus: a registered name, or "own" for a manifest or a folder per emotion.
        progress: a bar for a download, as pooch takes it.

    Raises:
        ValueError: an unknown corpus, nothing there, or a wrong line in a manifest.
        OSError: a file cannot be read, or a download failed.
    """
    from ser_gpu.corpora import manifest

    if data in (None, ""):
        if corpus == OWN:
            raise InputError("own recordings need a folder or a CSV")
        known = get(corpus or names()[0])
        return _of_corpus(locate(known, progress), known)
    data = Path(data)
    known = get(corpus) if corpus not in (None, OWN) else None
    if data.is_file():
        if known is not None:
            raise InputError(f"{data}: {known.title} is read from its folder, not from a file")
        return _own(manifest.read(data), f"the list {data.name}")
    if not data.is_dir():
        raise InputError(f"{data}: no such folder or CSV file")
    if known is None and corpus != OWN:
        known = detect(data)
    return _own(manifest.folder_per_emotion(data), "a folder per emotion") if known is None else _of_corpus(data, known)


def load_many(folders: Mapping[str, str | Path | None]) -> Loaded:
    """Several corpora together, each from its folder, or None for the one that its variable names.

    Where there are several, ids, speakers and groups get their name as a prefix, such as "TESS/OAF". A name that is
    not registered is the user's own for what its folder holds.

    Raises:
        ValueError: no corpus at all, one of them has no clips, or a name is there twice.
    """
    if not folders:
        raise InputError("no corpus is named")
    if len({registered_name(name) or name for name in folders}) < len(folders):
        raise InputError(f"a corpus is named twice: {', '.join(folders)}")
    parts = {name: load(folder, registered_name(name)) for name, folder in folders.items()}
    if len(parts) == 1:
        return next(iter(parts.values()))
    left_out: dict[str, int] = {}
    for part in parts.values():
        for reason, count in part.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + count
    clips = tuple(sorted((_prefixed(c, name) for name, part in parts.items() for c in part.clips), key=by_id))
    return Loaded(
        clips=clips,
        description=f"{len(parts)} corpora ({', '.join(parts)}): {_counts(clips)}",
        left_out=left_out,
        notice="; ".join(part.notice for part in parts.values() if part.notice) or None,
    )


def detect(folder: str | Path) -> Corpus | None:
    """The registered corpus whose names most of the recordings in `folder` have, or None."""
    paths = media_files(folder)
    for name in REGISTRY:
        known = get(name)
        if 2 * sum(known.owns(path) for path in paths) > len(paths):
            return known
    return None


def _of_corpus(folder: Path, known: Corpus) -> Loaded:
    found = scan(folder, known)
    return Loaded(found.clips, f"{known.title}: {_counts(found.clips)}", found.left_out, found.notice)


def _own(found, what: str) -> Loaded:
    emotions = ordered(clip.emotion for clip in found.clips)
    shown = ", ".join(emotions[:_LISTED_EMOTIONS]) + (", ..." if len(emotions) > _LISTED_EMOTIONS else "")
    description = f"{what}: {_counts(found.clips, f' ({shown})')}"
    parts = [clip.part for clip in found.clips if clip.part]
    if parts:
        description += "; parts: " + ", ".join(f"{parts.count(part):,} {part}" for part in PARTS if part in parts)
    return Loaded(found.clips, description, found.left_out, found.notice)


def _counts(clips: Iterable[Clip], emotion_names: str = "") -> str:
    clips = tuple(clips)
    speakers = {clip.speaker for clip in clips} - {None}
    emotions = {clip.emotion for clip in clips}
    unknown = sum(clip.speaker is None for clip in clips)
    said = [_many(len(clips), "clip")]
    said += [_many(len(speakers), "speaker")] if speakers else []
    said += [_many(len(emotions), "emotion") + emotion_names]
    if unknown:
        said += [f"the speaker of {_many(unknown, 'clip')} unknown" if speakers else "speakers unknown"]
    return ", ".join(said)


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _prefixed(clip: Clip, name: str) -> Clip:
    def under(text: str | None) -> str | None:
        return None if text is None else f"{name}/{text}"

    return replace(
        clip,
        id=f"{name}/{clip.id}",
        speaker=under(clip.speaker),
        group=under(clip.group),
        corpus=name if clip.corpus == OWN else clip.corpus,
    )
