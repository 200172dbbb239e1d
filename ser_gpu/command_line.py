"""What the commands share: the choice of a device, and one clear line with an exit code for every error."""

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable

DONE, SOME_FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


def device(name: str | None):
    """The torch device of that name; left out, cuda where there is one, else cpu.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return chosen


def positive_int(text: str) -> int:
    """An argparse type: a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"must be a whole number above zero, got {text!r}")
    return int(text)


def run(command: Callable[[], int]) -> int:
    """Run a command; a bad input, an unreadable file or Ctrl-C becomes one line on stderr and an exit code."""
    try:
        return command()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
