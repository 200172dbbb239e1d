"""RAVDESS speech: download and check the archive, read a file name, find the clips in a folder.

Livingstone SR, Russo FA (2018), The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS),
PLoS ONE 13(5): e0196391. Licence of the recordings: CC BY-NC-SA 4.0.
"""

import os
import re
import shutil
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
ACTORS = tuple(range(1, 25))
CLIPS = 1_440

ARCHIVE_URL = "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip"
ARCHIVE_MD5 = "bc696df654c87fed845eb13823edef8a"
UNPACKED_BYTES_LIMIT = 1_000_000_000

_FIELD = r"(0[1-9]|[1-9]\d)"
_NAME = re.compile("-".join([_FIELD] * 7))
_AUDIO_SUFFIXES = {".wav", ".flac"}
_MEDIA_SUFFIXES = _AUDIO_SUFFIXES | {".mp4", ".mp3", ".ogg", ".aif", ".aiff", ".m4a"}
_SPEECH, _AUDIO_ONLY = 1, 3


@dataclass(frozen=True, order=True)
class Clip:
    """One recording: its official name, what the name says, and where the file is. `emotion` indexes `EMOTIONS`."""

    name: str
    emotion: int
    intensity: int
    statement: int
    repetition: int
    actor: int
    path: Path

    @property
    def sex(self) -> str:
        """Odd actors are male, even actors female."""
        return "male" if self.actor % 2 else "female"

    @property
    def twins(self) -> tuple[int, int, int, int]:
        """What both repetitions of one sentence share: actor, emotion, intensity, statement."""
        return self.actor, self.emotion, self.intensity, self.statement


@dataclass(frozen=True)
class Scan:
    """The clips of a folder, sorted by name, and how many other files were left out, by reason."""

    clips: tuple[Clip, ...]
    left_out: dict[str, int]

    @property
    def notice(self) -> str | None:
        """One line if clips are missing, else None."""
        if len(self.clips) == CLIPS:
            return None
        return (
            f"{len(self.clips):,} of the {CLIPS:,} RAVDESS speech clips found: "
            "figures from a part of the data do not compare with published ones"
        )


def scan(folder: str | Path) -> Scan:
    """Find the speech clips under `folder`, in `.wav` or `.flac`, in any nesting.

    A clip found twice (Kaggle's copy nests a second tree) counts once: the first path in sorted order. Song, video
    and foreign media files are left out and counted.

    Raises:
        ValueError: the folder does not exist or holds no speech clip.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found: dict[str, Clip] = {}
    left_out: Counter[str] = Counter()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _MEDIA_SUFFIXES or path.name.startswith("."):
            continue
        reason = _why_left_out(path)
        if reason is None and path.stem in found:
            reason = "duplicate"
        if reason is None:
            found[path.stem] = parse(path)
        else:
            left_out[reason] += 1
    if not found:
        raise ValueError(f"{folder}: no RAVDESS speech clip found (names like 03-01-06-01-02-01-12.wav)")
    return Scan(tuple(sorted(found.values())), dict(left_out))


def parse(path: str | Path) -> Clip:
    """Read the official name modality-channel-emotion-intensity-statement-repetition-actor.

    >>> parse("Actor_12/03-01-06-01-02-01-12.wav").emotion
    5

    Raises:
        ValueError: the name is not that of a RAVDESS speech recording.
    """
    path = Path(path)
    if not _NAME.fullmatch(path.stem):
        raise ValueError(f"{path}: not a RAVDESS name, such as 03-01-06-01-02-01-12.wav")
    modality, channel, emotion, intensity, statement, repetition, actor = map(int, path.stem.split("-"))
    limits = ((modality, 3), (channel, 2), (emotion, 8), (intensity, 2), (statement, 2), (repetition, 2), (actor, 24))
    if any(value > limit for value, limit in limits):
        raise ValueError(f"{path}: a RAVDESS name with a field out of range")
    return Clip(path.stem, emotion - 1, intensity, statement, repetition, actor, path)


def _why_left_out(path: Path) -> str | None:
    try:
        parse(path)
    except ValueError:
        return "foreign"
    modality, channel = path.stem.split("-")[:2]
    if int(modality) != _AUDIO_ONLY or path.suffix.lower() not in _AUDIO_SUFFIXES:
        return "video"
    return None if int(channel) == _SPEECH else "song"


def locate(data: str | Path | None, progress: object = False) -> Path:
    """The folder to scan: `data` if given, else `$RAVDESS_DIR`, else the cache folder, filled by download.

    Args:
        progress: as in `download`.

    Raises:
        ValueError: a folder was named and does not exist.
        OSError: the download failed.
    """
    named = data or os.environ.get("RAVDESS_DIR")
    if named:
        if not Path(named).is_dir():
            raise ValueError(f"{named}: no such folder (leave out --data to download RAVDESS)")
        return Path(named)
    import pooch

    folder = Path(pooch.os_cache("ser_gpu")) / "ravdess"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name("ravdess.lock")):  # trainings side by side wait for one download
        if not folder.is_dir():
            download(folder, progress=progress)
    return folder


def download(folder: str | Path, *, url: str = ARCHIVE_URL, md5: str = ARCHIVE_MD5, progress: object = False) -> Path:
    """Fetch the official archive, check its MD5, and unpack it to `folder`, which appears whole or not at all.

    Args:
        progress: a bar as pooch takes it (attribute `total`; methods `update`, `reset`, `close`), or False for none.

    Raises:
        OSError: the server did not answer, broke off, or sent a file with another checksum.
    """
    import pooch
    import requests

    folder = Path(folder)
    archive = folder.with_name(folder.name + ".zip")
    fetch = pooch.HTTPDownloader(progressbar=progress, timeout=60)
    try:
        pooch.retrieve(url, known_hash=f"md5:{md5}", fname=archive.name, path=archive.parent, downloader=fetch)
    except (requests.RequestException, ValueError, OSError) as error:
        archive.unlink(missing_ok=True)
        raise OSError(f"{url}: download failed, nothing was kept: {_first_line(error)}") from None
    try:
        _unpack(archive, folder)
    finally:
        archive.unlink(missing_ok=True)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack beside `folder` and rename, so that an interruption leaves no half-filled folder of that name."""
    unpacking = folder.with_name(folder.name + ".unpacking")
    shutil.rmtree(unpacking, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as members:
            infos = [m for m in members.infolist() if _NAME.fullmatch(PurePosixPath(m.filename).stem)]
            if sum(m.file_size for m in infos) > UNPACKED_BYTES_LIMIT:
                raise OSError(f"{archive.name}: unpacks to more than {UNPACKED_BYTES_LIMIT:,} bytes")
            members.extractall(unpacking, infos)
        unpacking.rename(folder)
    except zipfile.BadZipFile as error:
        raise OSError(f"{archive.name}: not a whole zip archive: {error}") from None
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
