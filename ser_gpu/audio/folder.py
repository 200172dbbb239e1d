"""The audio files of a folder, and what is left out of it."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ser_gpu.audio.formats import FFMPEG_SUFFIXES, SUFFIXES, UNREADABLE_SUFFIXES

HIDDEN = "a hidden file"


class AudioFolder(NamedTuple):
    """The audio files of a folder."""

    paths: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]  # files that look like audio, with the reason

    @property
    def skipped_counts(self) -> dict[str, int]:
        """How many files are left out for each reason, the most frequent first."""
        return dict(Counter(reason for _, reason in self.skipped).most_common())


def unread_suffixes() -> dict[str, str]:
    """The suffixes of sound that this machine cannot read, and why."""
    from ser_gpu.audio import ffmpeg  # here, since it imports NumPy, and lists of clips do without

    reasons = {suffix: f"{suffix}: {reason}" for suffix, reason in UNREADABLE_SUFFIXES.items()}
    missing = FFMPEG_SUFFIXES if ffmpeg.program() is None else ()
    return reasons | {suffix: f"{suffix} needs ffmpeg" for suffix in missing}


def audio_files(folder: str | Path) -> AudioFolder:
    """Search a folder and its subfolders, links followed, by suffix, for what can be read here."""
    reasons: dict[Path, str] = {}
    unread = unread_suffixes()

    def forbidden(error: OSError) -> None:
        reasons[Path(error.filename or folder)] = "a folder that cannot be read"

    paths, seen = [], set()
    for parent, folders, names in os.walk(folder, onerror=forbidden, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:  # a link to a folder that was seen
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for path in (Path(parent, name) for name in names):
            suffix = path.suffix.lower()
            if suffix not in SUFFIXES and suffix not in unread:
                continue
            if path.name.startswith("."):
                reasons[path] = HIDDEN
            elif suffix in unread:
                reasons[path] = unread[suffix]
            elif not path.is_file():
                reasons[path] = "a special file" if path.exists() else "a broken link"
            else:
                paths.append(path)
    return AudioFolder(tuple(sorted(paths)), tuple(sorted(reasons.items())))
