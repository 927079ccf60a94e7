"""Ctrl-C while other people's code runs that would swallow the exception, or be left half-imported by it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Within, the first Ctrl-C only sets a flag; the function that is given, and the end, raise KeyboardInterrupt.

    A second Ctrl-C ends the process at once, whatever it is doing. Nothing changes where Ctrl-C is ignored, as for a
    shell's background job, and in a thread other than the main one, where Python handles no signals.
    """
    interrupted = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def check() -> None:
        if interrupted:
            raise KeyboardInterrupt

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, before)
