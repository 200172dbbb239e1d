"""Ctrl-C in a command: it comes once, and is not lost."""

import _thread
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_SECONDS = 0.01
_ONCE_SECONDS = 2.0


class _Once:
    """A handler that raises KeyboardInterrupt, and not again for a while."""

    def __init__(self):
        self.raised = -math.inf

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        if time.monotonic() - self.raised > _ONCE_SECONDS:
            self.raised = time.monotonic()
            raise KeyboardInterrupt


_once = _Once()


@contextmanager
def handled() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in a command, once in two seconds.

    It may come twice: torchrun passes on to its processes what they have got from the terminal, and people press the
    keys again. The second one would strike where the command says how to go on, or where Python ends, so the handler
    stays. Only the main thread can have one.

    And Python drops the exceptions of destructors and weak references. Then it is sent again, by a thread, since what
    is raised in the hook itself is dropped too.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _once)
    _once.raised = -math.inf  # that was another command's
    dropped = sys.unraisablehook

    def again() -> None:
        if sys.unraisablehook is hook:  # else the command has ended meanwhile
            _interrupt_main_thread()

    def hook(found: "sys.UnraisableHookArgs") -> None:
        if found.exc_type is KeyboardInterrupt:
            _once.raised = -math.inf
            threading.Timer(AGAIN_SECONDS, again).start()
        else:
            dropped(found)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = dropped


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):  # which also ends a wait in the system, such as for standard input
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    else:
        _thread.interrupt_main()
