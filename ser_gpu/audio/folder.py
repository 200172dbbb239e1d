"""The audio files of a folder, and what is left out of it."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ser_gpu.audio.formats import FFMPEG_SUFFIXES, SUFFIXES, UNREADABLE_SUFFIXES


@dataclass(frozen=True)
class AudioFolder:
    """What a folder holds.

    Attributes:
        paths: the audio files, in order of their paths.
        skipped: files that look like audio and are left out, each with the reason, in order too.
    """

    paths: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]

    @property
    def skipped_counts(self) -> dict[str, int]:
        """How many files are left out for each reason, the most frequent first."""
        return dict(Counter(reason for _, reason in self.skipped).most_common())


def unread_suffixes() -> dict[str, str]:
    """The suffixes of sound that is not read on this machine, and why."""
    from ser_gpu.audio import ffmpeg  # here, since it imports NumPy, and lists of clips do without

    reasons = {suffix: f"{suffix}: {reason}" for suffix, reason in UNREADABLE_SUFFIXES.items()}
    missing = FFMPEG_SUFFIXES if ffmpeg.program() is None else ()
    return reasons | {suffix: f"{suffix} needs ffmpeg" for suffix in missing}


def audio_files(folder: str | Path) -> AudioFolder:
    """Search a folder and those inside it, by suffix; links to folders are not followed.

    What libsndfile reads is taken always, and what ffmpeg reads where ffmpeg is installed.
    """
    paths: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    unread = unread_suffixes()

    def forbidden(error: OSError) -> None:
        skipped.append((Path(error.filename or folder), "a folder that cannot be read"))

    for parent, _, names in os.walk(folder, onerror=forbidden):
        for name in names:
            path = Path(parent) / name
            suffix = path.suffix.lower()
            if suffix not in SUFFIXES and suffix not in unread:
                continue
            problem = _problem(path, unread.get(suffix))
            if problem is None:
                paths.append(path)
            else:
                skipped.append((path, problem))
    return AudioFolder(tuple(sorted(paths)), tuple(sorted(skipped)))


def _problem(path: Path, unread: str | None) -> str | None:
    if path.name.startswith("."):
        return "a hidden file"
    if unread is None and path.exists() and not path.is_file():  # a broken link is taken: reading it will say so
        return "neither a file nor a folder"
    return unread
