"""Ctrl-C during a search: the first press ends it, with the best so far."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_noted(note: Callable[[], None]) -> Iterator[None]:
    """Call ``note`` before Ctrl-C raises KeyboardInterrupt.

    The exception alone is not enough: if raised in a callback of compiled code, it is lost. Outside the main thread,
    where Python delivers no signals, this does nothing.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        note()
        raise KeyboardInterrupt

    with _handled(handle):
        yield


@contextmanager
def interrupt_put_off(note: Callable[[], None]) -> Iterator[None]:
    """Call ``note`` at Ctrl-C and continue, for short work that an answer needs; a second press raises."""
    pressed = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        note()
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    with _handled(handle):
        yield


@contextmanager
def _handled(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a function handle Ctrl-C; outside the main thread, where Python delivers no signals, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
