"""Own recordings in folders: which of the folders around a recording name its emotion, its speaker and its part."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from ser_gpu.corpora.clip import OWN, PART_ALIASES, Clip, canonical, gender, is_emotion


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
    unused = []
    while _is_wrapped(names_of.values()):
        unused.append(max(names_of.values())[0])
        names_of = {path: names[1:] for path, names in names_of.items()}
    level = _emotion_level([names for names in names_of.values() if names])
    strict = any(part_of.values())  # beside folders of parts, a folder of unknown name is something else
    emotion_of = {
        path: names[level]
        for path, names in names_of.items()
        if _has(names, level) and (part_of[path] or not strict or is_emotion(names[level]))
    }
    others = {path: names_of[path][:level] + names_of[path][level:][1:] for path in emotion_of}
    roles: dict[str, int] = {}  # of the other levels
    for place, column in enumerate(zip(*others.values(), strict=False)):  # those that all clips have
        if {gender(name) for name in column} <= {"male", "female"}:
            roles.setdefault("gender", place)
        elif len(set(column)) > 1:
            roles.setdefault("speaker", place)
    clips = {}
    for path, emotion in emotion_of.items():
        known = {role: others[path][place] for role, place in roles.items()}
        clips[path] = Clip(
            id=path.relative_to(folder).with_suffix("").as_posix(),
            path=path,
            emotion=canonical(emotion),
            speaker=known.get("speaker"),
            corpus=OWN,
            gender=gender(known.get("gender", "")),
            part=part_of[path],
        )
    example = max(clips, key=lambda path: len(others[path]), default=None)
    if example is None or not (unused or others[example]):
        return clips, None
    meant = {"emotion": emotion_of[example]} | {role: others[example][place] for role, place in roles.items()}
    unused += [name for place, name in enumerate(others[example]) if place not in roles.values()]
    said = [f"{role}s by folder {name}/" for role, name in meant.items()] + [f"{name}/ not used" for name in unused]
    return clips, ", ".join(said)


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
    def clearness(level: int) -> tuple[int, bool]:
        there = [names[level] for names in every if _has(names, level)]
        known = [name for name in there if is_emotion(name)]
        if 2 * len(known) > len(every) or len({canonical(name) for name in known}) > 1:
            return len(known), True
        # one known name may be a speaker who is called Joy; names with numbers are seldom emotions
        return 0, len(there) == len(every) and not all(re.search(r"\d", name) for name in there)

    depth = max(map(len, every), default=0)
    return max([*range(depth), *range(-1, -depth - 1, -1)], key=clearness, default=0)
