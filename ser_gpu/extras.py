"""Libraries of an extra: imported when they are needed, and one clear line where they are not installed."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


class MissingExtraError(ModuleNotFoundError, ValueError):
    """A library that is not installed; the message is one line that says how to install it."""


def extra(module: str, name: str) -> ModuleType:
    """A module of the extra `name`.

    Raises:
        MissingExtraError: it is not installed.

    Example:
        >>> extra("no_such_module", "onnx")
        Traceback (most recent call last):
        ser_gpu.extras.MissingExtraError: no_such_module is not installed: pip install 'ser_gpu[onnx]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise MissingExtraError(f"{module} is not installed: pip install 'ser_gpu[{name}]'") from None


def require(name: str, *modules: str) -> None:
    """Say at once that a module of the extra `name` is missing, rather than after an hour of work.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"{module} is not installed: pip install 'ser_gpu[{name}]'")
