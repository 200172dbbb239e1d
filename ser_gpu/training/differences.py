"""How two trainings differ, in words."""

from collections.abc import Sequence


def first_difference(stored, asked, name: str) -> str | None:
    """Where two nested dictionaries of settings differ first, in words; None where they do not."""
    if isinstance(asked, dict):
        for key, value in asked.items():
            if difference := first_difference(stored.get(key), value, key):
                return difference
        return None
    return None if stored == asked else f"{name} is {stored!r} there and {asked!r} here"


def split_difference(stored: dict[str, str], here: dict[str, str]) -> str | None:
    """How two splits differ, in words; None where they do not."""
    gone, new = sorted(stored.keys() - here.keys()), sorted(here.keys() - stored.keys())
    moved = sorted(clip for clip in stored.keys() & here.keys() if stored[clip] != here[clip])
    moved = [f"{clip}: {stored[clip]} there, {here[clip]} here" for clip in moved]
    groups = ((gone, "missing"), (new, "new"), (moved, "in another part"))
    return "; ".join(f"{len(each):,} {what} ({_first(each)})" for each, what in groups if each) or None


def _first(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:2])}{', ...' if len(names) > 2 else ''}"
