"""Settings: frozen dataclasses of plain scalars whose fields know their rules and the help of their flag."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from difflib import get_close_matches
from typing import Any

from ser_gpu.errors import InputError, check

Rule = tuple[Callable[[Any], bool], str]  # a test of a value, and the words for what it must be

POSITIVE: Rule = (lambda value: value > 0, "positive")
NOT_NEGATIVE: Rule = (lambda value: value >= 0, "zero or more")
PROBABILITY: Rule = (lambda value: 0 <= value <= 1, "between 0 and 1")
EVEN: Rule = (lambda value: value % 2 == 0, "even")


def at_least(limit: float) -> Rule:
    return (lambda value: value >= limit), f"{limit:,} or more"


def at_most(limit: float) -> Rule:
    """A limit far above any use: the configuration in a file must not ask for all the memory."""
    return (lambda value: value <= limit), f"at most {limit:,}"


def setting(default: object, *rules: Rule, help: str | None = None, choices: tuple[str, ...] | None = None) -> Any:
    """A field of `Settings`: its default, what it must be, and the help of its flag, if it has one."""
    if choices:
        rules = (*rules, (lambda value: value in choices, f"one of {', '.join(choices)}"))
    return field(default=default, metadata={"rules": rules, "help": help, "choices": choices})


class Settings:
    """The base of a frozen dataclass that is checked when it is built."""

    def __post_init__(self):
        for each in fields(self):
            for holds, words in each.metadata.get("rules", ()):
                self.require(holds(getattr(self, each.name)), each.name, words)

    def require(self, holds: bool, name: str, words: str) -> None:
        """Raise InputError that names a value, unless something holds."""
        check(holds, f"{type(self).__name__}.{name} must be {words}, got {getattr(self, name)!r}")


def _flags(kind: type[Settings]) -> dict[str, Any]:
    return {f"--{each.name.replace('_', '-')}": each for each in fields(kind) if each.metadata.get("help")}


def add_flags(add: Callable, kind: type[Settings]) -> None:
    """A flag for each field that has a help; None where it is left out."""
    for flag, each in _flags(kind).items():
        help = each.metadata["help"] + ("" if "(default" in each.metadata["help"] else f" (default: {each.default})")
        add(flag, type=each.type, choices=each.metadata["choices"], help=help)


def given(args: Namespace, part: str, kind: type[Settings]) -> dict[str, object]:
    """The values of these flags, by the full name of the setting; None where a flag is left out."""
    return {f"{part}.{each.name}": getattr(args, each.name) for each in _flags(kind).values()}


def parsed(text: str, parts: Mapping[str, object]) -> tuple[str, bool | int | float | str]:
    """Name and value of a text `PART.NAME=VALUE`: "cnn.width=48" gives ("cnn.width", 48). `parts` are all dataclasses
    by name. Raises InputError at an unknown part or name, or a value of another kind."""
    name, _, value = text.partition("=")
    part, _, key = name.partition(".")
    if part not in parts:
        raise InputError(f"no such setting: {name!r}; a setting is PART.NAME, with PART one of {', '.join(parts)}")
    kinds = {each.name: each.type for each in fields(parts[part])}
    if key not in kinds:
        known = ", ".join(dict.fromkeys([*get_close_matches(key, kinds), *kinds]))  # as many as fit into a line
        known = known if len(known) < 120 else f"{known[:120].rpartition(',')[0]}, ..."
        raise InputError(f"no such setting: {name!r}; {part} has {known}")
    kind = kinds[key]
    try:
        return name, {"true": True, "false": False}[value] if kind is bool else kind(value)
    except (KeyError, ValueError):
        words = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise InputError(f"{text}: the value must be {words}") from None


def flat(nested: Mapping[str, object]) -> dict[str, object]:
    """Nested dictionaries as one: `{"cnn": {"width": 4}}` is `{"cnn.width": 4}`."""
    found: dict[str, object] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": each for key, each in flat(value).items()}
        else:
            found[name] = value
    return found


def first_difference(there: Mapping[str, object], here: Mapping[str, object]) -> str | None:
    """The first difference of two nested dictionaries, such as "cnn.width is 4 there and 8 here"; None without one."""
    there, here = flat(there), flat(here)
    differing = (name for name in there | here if there.get(name) != here.get(name))
    return next((f"{name} is {there.get(name)!r} there and {here.get(name)!r} here" for name in differing), None)
