"""Errors that are no bugs of ours: bad input, a bad recording, a missing library. Each message is one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

LONGEST_MESSAGE = 199


class InputError(ValueError):
    """Input of a user that cannot be used; any other `ValueError` is a bug and keeps its traceback."""

    def __init__(self, message: str = ""):
        super().__init__(printable(str(message)))  # a file name may contain a line break


def check(holds: object, message: str, kind: type[InputError] = InputError) -> None:
    """Raise an error of this kind with this message, unless something holds."""
    if not holds:
        raise kind(message)


@contextmanager
def refusing(what: object, *kinds: type[Exception], problem: str | None = None) -> Iterator[None]:
    """Raise InputError `what: problem` for an error of these kinds; without a problem, the error's own reason."""
    try:
        yield
    except kinds as error:
        raise InputError(f"{what}: {problem or reason(error).lower()}") from None


class AudioError(InputError):
    """Audio that cannot be used; the message is one line under 200 characters that names the recording."""

    @classmethod
    def of(cls, name: str, problem: str) -> "AudioError":
        """The error `name: problem`; what cannot be printed is escaped, and of a long name the end is kept."""
        problem = shortened(printable(problem), 150)
        name, room = printable(name), LONGEST_MESSAGE - len(problem) - 2
        return cls(f"{name if len(name) <= room else '...' + name[3 - room :]}: {problem}")


class NoSpeechError(AudioError):
    """A recording in which nobody speaks."""


class UnexpectedError(AudioError):
    """A recording on which this package failed for an unknown reason: a bug."""

    @classmethod
    def at(cls, name: str, error: Exception) -> "UnexpectedError":
        """The error to report for a recording."""
        why = shortened(" ".join(f"{type(error).__name__}: {error}".split()), 100)
        return cls.of(name, f"unexpected error, please report it ({why})")


class MissingExtraError(ModuleNotFoundError, InputError):
    """A library that is not installed; the message says how to install it."""


def extra(module: str, name: str) -> ModuleType:
    """Import a module of the extra `name`; raises MissingExtraError where it is not installed, or InputError."""
    try:
        return import_module(module)
    except OSError as error:  # a library of the system is missing
        raise InputError(f"{module} cannot be loaded ({reason(error)})") from None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):  # not this module or its package
            raise
        raise MissingExtraError(f"{error.name} is not installed: pip install 'ser_gpu[{name}]'") from None


def require(name: str, *modules: str) -> None:
    """Raise MissingExtraError if a module of the extra `name` is missing: at once, not after an hour of work."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"{module} is not installed: pip install 'ser_gpu[{name}]'")


def printable(text: str) -> str:
    """The text on one line: what cannot be printed, such as a line break or a byte that is no UTF-8, is escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def reason(error: Exception) -> str:
    """The first line of another library's error message, at most 80 characters."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    lines = str(text).strip().splitlines() or [type(error).__name__]
    return shortened(" ".join(lines[0].split()).rstrip("."), 80)


def shortened(text: str, length: int) -> str:
    """At most `length` characters; where something is cut off, the end is '...'."""
    return text if len(text) <= length else f"{text[: length - 3]}..."
