"""RAVDESS speech: official names, download, and published folds."""

import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

ACTORS = tuple(f"{actor:02}" for actor in range(1, 25))
PATTERN = (  # modality-channel-emotion-intensity-statement-repetition-actor
    r"(03|(?P<video>0[12]))-(01|(?P<song>02))-(?P<emotion>0[1-8])-(?P<intensity>0[12])"
    r"-0(?P<statement>[12])-0(?P<repetition>[12])-(?P<speaker>0[1-9]|1\d|2[0-4])"
)

ARCHIVE_URL = "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip"
ARCHIVE_MD5 = "bc696df654c87fed845eb13823edef8a"

# Luna-Jimenez et al., Sensors 21(22), 7665, 2021
ACTORS5_TEST = ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22))
ACTORS5_VALIDATION = ((3, 6), (10, 11), (8, 17), (1, 14), (2, 5))
# EmoBox, Ma et al., Interspeech 2024
ACTORS6_TEST = ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22))


def _named(actors: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"{actor:02}" for actor in sorted(actors))


FOLDS = {
    "actors5": tuple(zip(map(_named, ACTORS5_TEST), map(_named, ACTORS5_VALIDATION), strict=True)),
    "actors6": tuple((_named(test), ()) for test in ACTORS6_TEST),
    # to choose a recipe: the 120 validation clips of `actors5` are too few, three points among them are luck. So the
    # validation actors of all folds, without the fold's test actors, are used: seven to nine
    "search": tuple((_named(test), _named({*chain(*ACTORS5_VALIDATION)}.difference(test))) for test in ACTORS5_TEST),
}


def download(folder: str | Path, *, url: str = ARCHIVE_URL, md5: str = ARCHIVE_MD5, progress: object = False) -> Path:
    """Fetch, check and unpack the official archive; `folder` appears whole, or not at all with an OSError."""
    import pooch  # here: only a download needs them
    import requests

    folder = Path(folder)
    place = folder.with_name(folder.name + ".part")
    fetch = pooch.HTTPDownloader(progressbar=progress, timeout=60)
    shutil.rmtree(place, ignore_errors=True)  # of a download that was killed
    try:
        archive = pooch.retrieve(url, known_hash=f"md5:{md5}", fname="archive.zip", path=place, downloader=fetch)
        shutil.unpack_archive(archive, place / folder.name)
        (place / folder.name).rename(folder)
    except (requests.RequestException, ValueError, OSError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise OSError(f"{url}: download failed, nothing was kept: {first_line}") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return folder
