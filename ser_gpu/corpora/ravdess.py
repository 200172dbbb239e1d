"""RAVDESS speech: official names, the archive's download, and the folds that were published for it.

Livingstone SR, Russo FA (2018), The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS),
PLoS ONE 13(5): e0196391. Licence of the recordings: CC BY-NC-SA 4.0.

| protocol  | folds | what                                                                |
|-----------|-------|---------------------------------------------------------------------|
| `actors5` | 5     | test actors of Luna-Jimenez et al., Sensors 21(22), 7665, 2021      |
| `actors6` | 6     | test actors of EmoBox, Ma et al., Interspeech 2024                  |
| `search`  | 5     | `actors5`; all its validation actors are kept from training         |

`search` is for choosing a recipe. A fold of `actors5` has two validation actors, 120 clips, among which three points
are luck. Here the validation actors of all folds, less the fold's own test actors, are its validation part: seven to
nine voices for eleven or twelve in training.
"""

import re
import shutil
import zipfile
from itertools import chain
from pathlib import Path, PurePosixPath

from ser_gpu.corpora.clip import EMOTIONS, Clip
from ser_gpu.corpora.corpus import Corpus, Fold, LeftOutError
from ser_gpu.errors import InputError

ACTORS = tuple(f"{actor:02}" for actor in range(1, 25))
CLIPS = 1_440

ARCHIVE_URL = "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip"
ARCHIVE_MD5 = "bc696df654c87fed845eb13823edef8a"
UNPACKED_BYTES_LIMIT = 1_000_000_000

_FIELD = r"(0[1-9]|[1-9]\d)"
_NAME = re.compile("-".join([_FIELD] * 7))
_LIMITS = (3, 2, 8, 2, 2, 2, 24)
_SPEECH, _AUDIO_ONLY = "01", "03"
_INTENSITIES = {"01": "normal", "02": "strong"}

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


def parse(path: str | Path) -> Clip:
    """Read the official name modality-channel-emotion-intensity-statement-repetition-actor.

    >>> clip = parse("Actor_12/03-01-06-01-02-01-12.wav")
    >>> clip.emotion, clip.speaker, clip.gender, clip.get("intensity")
    ('fearful', '12', 'female', 'normal')

    Raises:
        LeftOutError: a video or a song.
        ValueError: the name is not that of a RAVDESS recording.
    """
    path = Path(path)
    if not _NAME.fullmatch(path.stem):
        raise InputError(f"{path}: not a RAVDESS name, such as 03-01-06-01-02-01-12.wav")
    fields = path.stem.split("-")
    if any(int(field) > limit for field, limit in zip(fields, _LIMITS, strict=True)):
        raise InputError(f"{path}: a RAVDESS name with a field out of range")
    modality, channel, emotion, intensity, statement, repetition, actor = fields
    if modality != _AUDIO_ONLY:
        raise LeftOutError("video")
    if channel != _SPEECH:
        raise LeftOutError("song")
    return Clip(
        id=path.stem,
        path=path,
        emotion=EMOTIONS[int(emotion) - 1],
        speaker=actor,
        corpus="ravdess",
        gender="male" if int(actor) % 2 else "female",
        group=f"{actor}-{emotion}-{intensity}-{statement}",
        extra=(
            ("intensity", _INTENSITIES[intensity]),
            ("statement", str(int(statement))),
            ("repetition", str(int(repetition))),
        ),
    )


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


def _named(actors) -> tuple[str, ...]:
    return tuple(f"{actor:02}" for actor in sorted(actors))


_EVERY_VALIDATION = set(chain(*ACTORS5_VALIDATION))

CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS speech",
    folder="RAVDESS",
    language="English",
    licence="CC BY-NC-SA 4.0",
    citation="Livingstone and Russo (2018), PLoS ONE 13(5): e0196391",
    example="03-01-06-01-02-01-12.wav",
    parse=parse,
    clips=CLIPS,
    folds={
        "actors5": tuple(
            Fold(_named(test), _named(validation))
            for test, validation in zip(ACTORS5_TEST, ACTORS5_VALIDATION, strict=True)
        ),
        "actors6": tuple(Fold(_named(test)) for test in ACTORS6_TEST),
        "search": tuple(Fold(_named(test), _named(_EVERY_VALIDATION.difference(test))) for test in ACTORS5_TEST),
    },
    variable="RAVDESS_DIR",
    download=download,
)
