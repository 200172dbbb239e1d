"""What the commands share: the device, the clips with a progress bar, one clear line and an exit code for an error."""

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from ser_gpu.data import ravdess
from ser_gpu.data.ravdess import Clip
from ser_gpu.data.waveform import ClipBank
from ser_gpu.results import console

DONE, SOME_FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


def device(name: str | None) -> torch.device:
    """The torch device of that name; left out, cuda where there is one, else cpu.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
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
    except BrokenPipeError:  # the reader of our output has what it wanted, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Let nothing through to stderr: decoders in C write their doubts about an MP3 file there, line after line.

    For a command with one thread, and around no output of its own.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def find_clips(data: str | None) -> tuple[Clip, ...]:
    """The clips of `data`, or of RAVDESS downloaded; a notice on stderr if some are missing."""
    found = ravdess.scan(ravdess.locate(data, progress=console.DownloadBar("RAVDESS")))
    if found.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(found.left_out.items()))
        console.err.print(f"left out: {reasons}")
    if found.notice:
        console.err.print(f"note: {found.notice}")
    return found.clips


def read_clips(clips: Sequence[Clip], sample_rate: int, device: torch.device) -> ClipBank:
    """Decode clips with a progress bar and move them to the device."""
    with console.progress() as progress:
        task = progress.add_task("Reading clips", total=len(clips))
        bank = ClipBank.read([clip.path for clip in clips], sample_rate, lambda: progress.advance(task))
    return bank.to(device)
