"""Find clips: in a known corpus, a list, folders that name emotion, speaker and part, or several of these."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from ser_gpu.audio.folder import HIDDEN, AudioFolder, audio_files
from ser_gpu.audio.formats import LOSSY_SUFFIXES
from ser_gpu.corpora import manifest
from ser_gpu.corpora.clip import OWN, PART_ALIASES, PARTS, UNKNOWN, Clip, by_id, canonical, gender, is_emotion, ordered
from ser_gpu.corpora.known import CORPORA, Corpus, get, names, registered_name, usual_name
from ser_gpu.errors import InputError, check, require

_OF_CORPUS = ("id", "speaker", "group")  # unique within a corpus alone


@dataclass(frozen=True)
class Loaded:
    """What `load` found."""

    clips: tuple[Clip, ...]  # sorted by id
    description: str  # one line for the user
    left_out: dict[str, int]  # reason -> number of other files
    notice: str | None = None  # one line about missing clips, or what folders or columns are taken for


def load(data: str | Path | None = None, corpus: str | None = None, progress: object = False) -> Loaded:
    """Find clips in a list (CSV or TSV), a folder per emotion, or the folder of a registered corpus.

    data: None locates or downloads `corpus`, or the default one.
    corpus: a registered name, or "own" for a list or a folder per emotion; None recognises it by the file names.
    progress: the progress bar of a download, as pooch takes it.
    Raises InputError where no clip is found, OSError for files and downloads.
    """
    if not data:
        check(corpus != OWN, "own recordings need a folder or a CSV")
        corpus = corpus or names()[0]
        data = locate(get(corpus), progress)
    data = Path(data)
    known = get(corpus) if corpus not in (None, OWN) else None
    if data.is_file():
        clips, left_out = manifest.read(data)
        unused = ", ".join(dict.fromkeys(name for clip in clips for name, _ in clip.extra))
        notice = f"columns not used: {unused}" if unused else None
        return Loaded(clips, _described(f"the list {data.name}", clips, own=True), left_out, notice)
    check(data.is_dir(), f"{data}: no such folder or CSV file")
    found = audio_files(data)
    if known is None and corpus != OWN:
        paths = [*found.paths, *(path for path, why in found.skipped if why != HIDDEN)]
        known = next((each for each in CORPORA.values() if 2 * sum(map(each.owns, paths)) > len(paths)), None)
    if known is None:
        clips_of, notice = _understood(data, found.paths)
        nothing = f"{data}: neither a folder per emotion (such as happy/a.wav) nor official names of a corpus"
        clips, left_out = _gather(found, lambda path: clips_of.get(path, "not in a folder of an emotion"), nothing)
        return Loaded(clips, _described("a folder per emotion", clips, own=True), left_out, notice)
    clips, left_out = _gather(found, known.parse, f"{data}: no {known.title} clip found (names like {known.example})")
    so = "figures from a part of the data do not compare with published ones"
    notice = f"{len(clips):,} of the {known.clips or 0:,} {known.title} clips found: {so}"
    notice = None if known.clips in (None, len(clips)) else notice
    return Loaded(clips, _described(known.title, clips), left_out, notice)


def load_many(places: Mapping[str, str | Path | None]) -> Loaded:
    """Several corpora: name, any for own recordings -> folder, or None for that of `locate`.

    Ids, speakers and groups get the name as a prefix, such as "TESS/OAF". InputError for one that is there twice.
    """
    if len({registered_name(name) or name for name in places}) < len(places):
        raise InputError(f"a corpus is named twice: {', '.join(places)}")
    # ids and their order, and so the splits, do not depend on how a user spells a name
    parts = {usual_name(name): load(folder, registered_name(name)) for name, folder in places.items()}
    if len(parts) == 1:
        return next(iter(parts.values()))

    def prefixed(name: str, clip: Clip) -> Clip:
        known = {key: value and f"{name}/{value}" for key, value in vars(clip).items() if key in _OF_CORPUS}
        return replace(clip, **known, corpus=name if clip.corpus == OWN else clip.corpus)

    clips = tuple(sorted((prefixed(name, clip) for name, part in parts.items() for clip in part.clips), key=by_id))
    left_out = dict(sum((Counter(part.left_out) for part in parts.values()), Counter()))
    notice = "; ".join(part.notice for part in parts.values() if part.notice) or None
    return Loaded(clips, _described(f"{len(parts)} corpora ({', '.join(parts)})", clips), left_out, notice)


def _understood(folder: Path, paths: Sequence[Path]) -> tuple[dict[Path, Clip], str | None]:
    """The clips of the recordings that are in a folder of an emotion, and one line that says what folders mean.

    A folder of a part, such as train, may be at any level; folders around everything mean nothing. Of the other levels,
    the one with most known names of emotions is the emotion, or the outermost one where none is known. The next one
    that all clips have, with names that differ, is the speaker, or the gender where all its names are genders.
    """
    names_of, part_of = {}, {}  # the folders around a recording, the outermost first
    for path in paths:
        names = path.relative_to(folder).parts[:-1]
        part_of[path] = next(filter(None, map(_part, names)), None)
        names_of[path] = tuple(name for name in names if not _part(name))
    around = []
    while _is_wrapped(names_of.values()):
        around.append(max(names_of.values())[0])
        names_of = {path: names[1:] for path, names in names_of.items()}
    level = _emotion_level([names for names in names_of.values() if names])
    strict = any(part_of.values())  # beside folders of parts, a folder of unknown name is something else
    emotion_of = {
        path: names[level]
        for path, names in names_of.items()
        if _has(names, level)
        and names[level].lower() not in UNKNOWN
        and (part_of[path] or not strict or is_emotion(names[level]))
    }
    others = {path: names_of[path][:level] + names_of[path][level:][1:] for path in emotion_of}
    said = [f"emotions by folder {name}/" for name in sorted(emotion_of.values())[:1]]
    roles: dict[str, int] = {}  # what a level of `others` is
    for place, column in enumerate(zip_longest(*others.values(), fillvalue="")):
        genders = {gender(name) for name in column} <= {"male", "female"}
        role = "gender" if genders else "speaker" if all(column) and len(set(column)) > 1 else "other"
        name = min(filter(None, column))
        said.append(f"{name}/ not used" if role == "other" or role in roles else f"{role}s by folder {name}/")
        roles.setdefault(role, place)
    clips = {}
    for path, emotion in emotion_of.items():
        speaker, sex = (others[path][roles[role]] if role in roles else None for role in ("speaker", "gender"))
        name, part = path.relative_to(folder).with_suffix("").as_posix(), part_of[path]
        clips[path] = Clip(name, path, canonical(emotion), speaker, OWN, sex and gender(sex), part=part)
    said += [f"{name}/ not used" for name in around]
    said += ["no name is a known emotion"] * (len(said) > 1 and not any(map(is_emotion, emotion_of.values())))
    return clips, ", ".join(said) if len(said) > 1 else None


def _part(name: str) -> str | None:
    return PART_ALIASES.get(name.lower())


def _has(names: Sequence[str], level: int) -> bool:
    return -len(names) <= level < len(names)


def _is_wrapped(every: Collection[Sequence[str]]) -> bool:
    tops = {names[0] for names in every if names}
    most_are_deeper = 2 * sum(len(names) > 1 for names in every) > len(every)
    return len(tops) == 1 and most_are_deeper and not any(map(is_emotion, tops))


def _emotion_level(every: Collection[Sequence[str]]) -> int:
    # counted from the outermost folder, or from the recording: -1, -2, ...
    def known(level: int) -> tuple[int, int]:
        names = [names[level] for names in every if _has(names, level) and is_emotion(names[level])]
        kinds = set(map(canonical, names))
        # one name that few clips have may be a speaker who is called Joy
        is_sure = 2 * len(names) > len(every) or len(kinds) > 1 or kinds == {*map(str.lower, names)}
        return (len(names), len(kinds)) if is_sure else (0, 0)

    depth = max(map(len, every), default=0)
    return max([*range(depth), *range(-1, -depth - 1, -1)], key=known, default=0)


def _gather(folder: AudioFolder, read: Callable[[Path], Clip | str], nothing: str):
    # the clips, and reason -> number of other paths; `nothing` is the error where there is no clip
    found: dict[str, Clip] = {}
    left_out = Counter(reason for _, reason in folder.skipped)
    for path in folder.paths:
        clip = read(path)
        if isinstance(clip, str):
            left_out[clip] += 1
            continue
        if clip.id in found:  # lossless before lossy, then the first path
            left_out["duplicate"] += 1
            clip = min(found[clip.id], clip, key=lambda choice: choice.path.suffix.lower() in LOSSY_SUFFIXES)
        found[clip.id] = clip
    if not found:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
        raise InputError(nothing + (f"; left out: {counts}" if left_out else ""))
    return tuple(sorted(found.values(), key=by_id)), dict(left_out)


def locate(corpus: Corpus, progress: object = False) -> Path:
    """The folder of a corpus: of its variable, under `SER_CORPORA_DIR`, or downloaded. Raises InputError, OSError."""
    if named := os.environ.get(corpus.variable or ""):
        check(Path(named).is_dir(), f"{corpus.variable}={named}: no such folder")
        return Path(named)
    home = os.environ.get("SER_CORPORA_DIR")
    if home and (folder := Path(home, corpus.folder or corpus.title)).is_dir():
        return folder
    check(corpus.download is not None, f"{corpus.title} cannot be downloaded from here: name its folder")
    require("train", "filelock", "pooch", "requests")
    import pooch  # here: only a download needs them
    from filelock import FileLock

    folder = Path(pooch.os_cache("ser_gpu")) / corpus.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{corpus.name}.lock")):  # parallel trainings wait for one download
        if not folder.is_dir():
            corpus.download(folder, progress=progress)
    return folder


def _described(what: str, clips: tuple[Clip, ...], own: bool = False) -> str:
    speakers, emotions = {clip.speaker for clip in clips} - {None}, ordered(clip.emotion for clip in clips)
    counts = {"clip": len(clips), "speaker": len(speakers), "emotion": len(emotions)}
    said = [f"{count:,} {thing}{'s' * (count > 1)}" for thing, count in counts.items() if count]
    if own:
        said[-1] += f" ({', '.join(emotions[:12])}{', ...' if len(emotions) > 12 else ''})"
    if unknown := sum(clip.speaker is None for clip in clips):
        said.append(f"the speaker of {unknown:,} clip{'s' * (unknown > 1)} unknown" if speakers else "speakers unknown")
    if stretches := sum(clip.start > 0 or clip.end < float("inf") for clip in clips):
        said.append(f"{stretches:,} of the clips are stretches of files")
    parts = Counter(clip.part for clip in clips if own and clip.part)
    dealt = ", ".join(f"{parts[part]:,} {part}" for part in PARTS if part in parts)
    return f"{what}: {', '.join(said)}" + (f"; parts: {dealt}" if dealt else "")
