"""The audio files of a folder, and what is left out of it."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ser_gpu.audio import ffmpeg
from ser_gpu.audio.formats import FFMPEG_SUFFIXES, SUFFIXES, UNREADABLE_SUFFIXES


@dataclass(frozen=True)
class AudioFolder:
    """The audio files of a folder, and those that look like audio and are left out, each with the reason; by path."""

    paths: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]

    @property
    def skipped_counts(self) -> dict[str, int]:
        """How many files are left out for each reason, the most frequent first."""
        return dict(Counter(reason for _, reason in self.skipped).most_common())


def audio_files(folder: str | Path) -> AudioFolder:
    """Search a folder and those inside it, by suffix; links to folders are not followed.

    What libsndfile reads is taken always, and what ffmpeg reads where ffmpeg is installed.
    """
    reasons: dict[Path, str] = {}

    def forbidden(error: OSError) -> None:
        reasons[Path(error.filename or folder)] = "a folder that cannot be read"

    walk = os.walk(folder, onerror=forbidden)
    paths = [path for parent, _, names in walk for path in (Path(parent, name) for name in names) if _is_audio(path)]
    has_ffmpeg = ffmpeg.program() is not None
    for path in paths:
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            reasons[path] = "a hidden file"
        elif suffix in UNREADABLE_SUFFIXES:
            reasons[path] = f"{suffix}: {UNREADABLE_SUFFIXES[suffix]}"
        elif path.exists() and not path.is_file():  # a broken link is taken: reading it will say so
            reasons[path] = "neither a file nor a folder"
        elif suffix in FFMPEG_SUFFIXES and not has_ffmpeg:
            reasons[path] = f"{suffix} needs ffmpeg"
    return AudioFolder(tuple(sorted(set(paths) - reasons.keys())), tuple(sorted(reasons.items())))


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or path.suffix.lower() in UNREADABLE_SUFFIXES
