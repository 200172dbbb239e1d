"""Errors that are not our bugs: what a user gave, a recording, a library that is missing. Each message is one line."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

LONGEST_MESSAGE = 199


class InputError(ValueError):
    """What a user gave and what cannot be used: an argument, an option or a file, which the one line names.

    A command prints it and ends with exit code 2; any other `ValueError` is a bug and keeps its traceback.
    """

    def __init__(self, message: str = ""):
        super().__init__(printable(str(message)))  # the name of a file may have a line break


class AudioError(InputError):
    """Audio that cannot be used; the message is one line under 200 letters that names the recording."""

    @classmethod
    def of(cls, name: str, problem: str) -> "AudioError":
        """The error `name: problem`; what cannot be printed is escaped, and a long name keeps its end.

        Example:
            >>> AudioError.of("a\\nb.wav", "is empty")
            AudioError('a\\\\nb.wav: is empty')
        """
        problem = _shortened(printable(problem), 150)
        name, room = printable(name), LONGEST_MESSAGE - len(problem) - 2
        return cls(f"{name if len(name) <= room else '...' + name[3 - room :]}: {problem}")


class NoSpeechError(AudioError):
    """A recording in which nobody speaks; the message is one line that names the file."""


class UnexpectedError(AudioError):
    """A recording on which this package failed in a way that it does not know: a bug; one line that names the file."""


class MissingExtraError(ModuleNotFoundError, InputError):
    """A library that is not installed; the message is one line that says how to install it."""


def extra(module: str, name: str) -> ModuleType:
    """A module of the extra `name`.

    Raises:
        MissingExtraError: it is not installed.

    Example:
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
    """Say at once that a module of the extra `name` is missing, rather than after an hour of work.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"{module} is not installed: pip install 'ser_gpu[{name}]'")


def printable(text: str) -> str:
    """The same text on one line: what is no letter, mark or space is escaped, such as bytes that are no UTF-8."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def reason(error: Exception) -> str:
    """The first line of what another library says about its error."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    lines = str(text).strip().splitlines() or [type(error).__name__]
    return _shortened(" ".join(lines[0].split()).rstrip("."), 80)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
