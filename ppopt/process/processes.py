"""Child processes of a command: they end when the command does, for any reason, and leave Ctrl-C to it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from types import FrameType

SECONDS_BETWEEN_LOOKS = 0.5


def end_with(parent: int) -> None:
    """End this process soon after its parent has ended or was killed: nobody needs its answers then.

    Parameters
    ----------
    parent : int
        The id of the process that started this one.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


@contextmanager
def starting_processes() -> Iterator[None]:
    """Keep Ctrl-C from all processes started in this context, from their first moment on; here it is only delayed.

    A blocked signal stays blocked in a child, and in children that a thread started here creates later. SIGTERM, if
    handled, is delayed as well: an aborted start would leave a child that prints errors.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing.resource_tracker import ensure_running  # here, since every command loads this file

    ensure_running()  # before 3.13, starting Python's tracker of shared memory unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _termination_put_off():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _termination_put_off() -> Iterator[None]:
    handle = signal.getsignal(signal.SIGTERM)
    if not callable(handle) or threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGTERM, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handle)
        for number, frame in caught[:1]:
            handle(number, frame)


def take_termination_as_interrupt() -> None:
    """Treat SIGTERM like Ctrl-C: show the results so far, and end all processes. A second one ends at once."""

    def handle(_number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):  # ignored, as in the background of a script
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    signal.signal(signal.SIGTERM, handle)
