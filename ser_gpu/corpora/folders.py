"""Own recordings in folders: which of the folders around a recording name its emotion, its speaker and its part."""

from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path

from ser_gpu.corpora.clip import EMOTIONS, OWN, PART_ALIASES, UNKNOWN, Clip, canonical, gender, is_emotion


def understood(folder: Path, paths: Sequence[Path]) -> tuple[dict[Path, Clip], str | None]:
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
        is_sure = 2 * len(names) > len(every) or len(kinds) > 1 or {*map(str.lower, names)} <= {*EMOTIONS}
        return (len(names), len(kinds)) if is_sure else (0, 0)

    depth = max(map(len, every), default=0)
    return max([*range(depth), *range(-1, -depth - 1, -1)], key=known, default=0)
