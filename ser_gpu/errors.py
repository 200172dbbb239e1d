"""Errors that are not our bugs: what a user gave, a recording, a library that is missing. Each message is one line."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

LONGEST_MESSAGE = 199


class InputError(ValueError):
    """What a user gave and what cannot be used; any other `ValueError` is a bug and keeps its traceback."""

    def __init__(self, message: str = ""):
        super().__init__(printable(str(message)))  # the name of a file may have a line break


class AudioError(InputError):
    """Audio that cannot be used; the message is one line under 200 letters that names the recording."""

    @classmethod
    def of(cls, name: str, problem: str) -> "AudioError":
        """The error `name: problem`; what cannot be printed is escaped, and a long name keeps its end."""
        problem = shortened(printable(problem), 150)
        name, room = printable(name), LONGEST_MESSAGE - len(problem) - 2
        return cls(f"{name if len(name) <= room else '...' + name[3 - room :]}: {problem}")


class NoSpeechError(AudioError):
    """A recording in which nobody speaks."""


class UnexpectedError(AudioError):
    """A recording on which this package failed in a way that it does not know: a bug."""


class MissingExtraError(ModuleNotFoundError, InputError):
    """A library that is not installed; the message says how to install it."""


def extra(module: str, name: str) -> ModuleType:
    """A module of the extra `name`; raises MissingExtraError where it is not installed.

    >>> extra("no_such_module", "onnx")
    Traceback (most recent call last):
    ser_gpu.errors.MissingExtraError: no_such_module is not installed: pip install 'ser_gpu[onnx]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):  # the module or the package of it
            raise
        raise MissingExtraError(f"{error.name} is not installed: pip install 'ser_gpu[{name}]'") from None


def require(name: str, *modules: str) -> None:
    """Raise MissingExtraError where a module of the extra `name` is missing: at once, not after an hour of work."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"{module} is not installed: pip install 'ser_gpu[{name}]'")


def printable(text: str) -> str:
    """The same text on one line: what is no letter, mark or space is escaped, such as bytes that are no UTF-8."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def reason(error: Exception) -> str:
    """The first line of what another library says about its error."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    lines = str(text).strip().splitlines() or [type(error).__name__]
    return shortened(" ".join(lines[0].split()).rstrip("."), 80)


def shortened(text: str, length: int) -> str:
    """At most `length` letters; what is cut off is said by three full stops."""
    return text if len(text) <= length else f"{text[: length - 3]}..."
