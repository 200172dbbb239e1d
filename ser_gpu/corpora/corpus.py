"""What a corpus is here: official file names that become clips, and the facts around them; how a folder is scanned."""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_gpu.corpora.clip import Clip, by_id
from ser_gpu.errors import InputError

_LOSSLESS = (
    ".wav .wave .flac .aif .aiff .aifc .au .snd .caf .w64 .rf64 .sph .nist .voc .avr .htk .paf .pvf .sd2 .sds .sf"
)
_VIDEO = ".mp4 .avi .mov .mkv .flv .mpg .mpeg .wmv .m4v"
_OTHER_AUDIO = ".m4a .aac .webm .3gp .amr .wma .ape .mka .ac3 .shn .spx .wv"
LOSSLESS_SUFFIXES = frozenset(_LOSSLESS.split())
AUDIO_SUFFIXES = LOSSLESS_SUFFIXES | {".opus", ".ogg", ".oga", ".mp3", ".mp2"}
"""What libsndfile reads. A corpus that comes as WAV may lie there in any of these."""
VIDEO_SUFFIXES = frozenset(_VIDEO.split())
MEDIA_SUFFIXES = AUDIO_SUFFIXES | VIDEO_SUFFIXES | frozenset(_OTHER_AUDIO.split())

CORPORA_VARIABLE = "SER_CORPORA_DIR"


class LeftOutError(InputError):
    """A file of the corpus that is none of its clips: a song, a video. Its text is the reason, in a word."""


@dataclass(frozen=True)
class Fold:
    """Test and validation speakers of a published fold; validation None: chosen here."""

    test: tuple[str, ...]
    validation: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Corpus:
    """A corpus that is known by its official file names.

    Attributes:
        name: of the registry.
        title: as a user reads it.
        language: spoken.
        licence: of the recordings.
        citation: of the publication.
        example: an official file name.
        parse: official path -> `Clip`; raises `ValueError` for a foreign name, `LeftOutError` for what is no clip.
        folder: the folder that it has under `SER_CORPORA_DIR`; left out, its title.
        suffixes: of the files that hold clips.
        clips: how many there are when it is complete, None where copies differ.
        folds: published folds, by the name of their protocol.
        variable: the environment variable that names its folder.
        download: fills a folder; takes it and `progress`.
    """

    name: str
    title: str
    language: str
    licence: str
    citation: str
    example: str
    parse: Callable[[str | Path], Clip]
    folder: str | None = None
    suffixes: frozenset[str] = AUDIO_SUFFIXES
    clips: int | None = None
    folds: Mapping[str, tuple[Fold, ...]] | None = None
    variable: str | None = None
    download: Callable[..., Path] | None = None

    def owns(self, path: Path) -> bool:
        """True if the name is one of this corpus, be it a clip or not."""
        try:
            self.parse(path)
        except LeftOutError:
            return True
        except ValueError:
            return False
        return True


@dataclass(frozen=True)
class Scan:
    """The clips of a folder, by id; how many other files were left out, by reason; one line if clips are missing."""

    clips: tuple[Clip, ...]
    left_out: dict[str, int]
    notice: str | None = None


def name_fields(pattern: re.Pattern, path: str | Path, title: str, example: str) -> dict[str, str]:
    """The named groups of an official file name.

    Raises:
        ValueError: the name does not match.
    """
    match = pattern.fullmatch(Path(path).stem)
    if match is None:
        raise InputError(f"{path}: not a name of {title}, such as {example}")
    return match.groupdict()


def scan(folder: str | Path, corpus: Corpus) -> Scan:
    """Find the clips of a corpus under `folder`, in any nesting.

    A clip found twice counts once: a lossless file goes before a lossy one, then the first path in sorted order.

    Raises:
        ValueError: the folder does not exist or holds no clip of the corpus.
    """
    found: dict[str, Clip] = {}
    left_out: Counter[str] = Counter()
    for path in media_files(folder):
        try:
            if reason := unreadable(path, corpus.suffixes):
                raise LeftOutError(reason)
            clip = corpus.parse(path)
        except LeftOutError as error:
            left_out[str(error)] += 1
        except ValueError:
            left_out["foreign"] += 1
        else:
            left_out["duplicate"] += clip.id in found
            found[clip.id] = preferred(clip, found.get(clip.id))
    left_out += Counter()  # drops the zeros
    if not found:
        instead = f"; left out: {counted(left_out)}" if left_out else ""
        raise InputError(f"{folder}: no {corpus.title} clip found (names like {corpus.example}){instead}")
    notice = None
    if corpus.clips is not None and len(found) != corpus.clips:
        notice = (
            f"{len(found):,} of the {corpus.clips:,} {corpus.title} clips found: "
            "figures from a part of the data do not compare with published ones"
        )
    return Scan(tuple(sorted(found.values(), key=by_id)), dict(left_out), notice)


def media_files(folder: str | Path) -> list[Path]:
    """All audio and video under `folder`, links followed, sorted by path.

    Raises:
        ValueError: the folder does not exist.
        OSError: a folder inside cannot be read.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder")

    def fail(error: OSError):
        raise error

    paths, seen = [], set()
    for inside, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(inside)
        if real in seen:  # a link in a circle, or to a neighbour
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        paths += [Path(inside, name) for name in names if os.path.splitext(name)[1].lower() in MEDIA_SUFFIXES]  # noqa: PTH122
    return sorted(paths)


def unreadable(path: Path, suffixes: frozenset[str] = AUDIO_SUFFIXES) -> str | None:
    """Why a media file cannot be a clip, whatever its name says; None where it can."""
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return "hidden"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    if suffix not in suffixes:
        return f"{suffix} (a format that is not read)"
    return None if path.is_file() else "broken link"


def preferred(clip: Clip, other: Clip | None) -> Clip:
    """Of two files of one clip the lossless one, else the first."""
    if other is None:
        return clip
    return min(other, clip, key=lambda choice: choice.path.suffix.lower() not in LOSSLESS_SUFFIXES)


def counted(left_out: Mapping[str, int]) -> str:
    """What was left out, in one line.

    >>> counted({"song": 3, "duplicate": 1_440})
    '1,440 duplicate, 3 song'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))


def locate(corpus: Corpus, progress: object = False) -> Path:
    """The folder of a corpus that nobody named: by its variable, under `SER_CORPORA_DIR`, else downloaded to the cache.

    Args:
        progress: a bar for the download, as pooch takes it, or False for none.

    Raises:
        ValueError: no folder is known and there is no download, or a variable names a folder that is not there.
        OSError: the download failed.
    """
    named = corpus.variable and os.environ.get(corpus.variable)
    if named:
        if not Path(named).is_dir():
            raise InputError(f"{corpus.variable}={named}: no such folder")
        return Path(named)
    if home := os.environ.get(CORPORA_VARIABLE):
        folder = Path(home) / (corpus.folder or corpus.title)
        if folder.is_dir():
            return folder
    if corpus.download is None:
        raise InputError(f"{corpus.title} cannot be downloaded from here: name its folder")
    return _cached(corpus, progress)


def _cached(corpus: Corpus, progress: object) -> Path:
    try:
        import pooch
        from filelock import FileLock
    except ImportError as error:
        raise InputError(
            f"to download {corpus.title}, install pooch, requests and filelock ({error.name} is missing); "
            "or name a folder"
        ) from None
    folder = Path(pooch.os_cache("ser_gpu")) / corpus.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{corpus.name}.lock")):  # trainings side by side wait for one download
        if not folder.is_dir():
            corpus.download(folder, progress=progress)
    return folder
