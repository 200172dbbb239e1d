"""The audio files of a folder, and what is left out of it."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ser_gpu.audio.formats import FFMPEG_SUFFIXES, SUFFIXES, UNREADABLE_SUFFIXES


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
    """Search a folder and its subfolders, by suffix, for what can be read here; links to folders are not followed."""
    reasons: dict[Path, str] = {}
    unread = unread_suffixes()

    def forbidden(error: OSError) -> None:
        reasons[Path(error.filename or folder)] = "a folder that cannot be read"

    paths = []
    for parent, _, names in os.walk(folder, onerror=forbidden):
        for path in (Path(parent, name) for name in names):
            suffix = path.suffix.lower()
            if suffix not in SUFFIXES and suffix not in unread:
                continue
            if path.name.startswith("."):
                reasons[path] = "a hidden file"
            elif suffix in unread:
                reasons[path] = unread[suffix]
            elif path.exists() and not path.is_file():  # a broken link is taken: reading it will say so
                reasons[path] = "neither a file nor a folder"
            else:
                paths.append(path)
    return AudioFolder(tuple(sorted(paths)), tuple(sorted(reasons.items())))
