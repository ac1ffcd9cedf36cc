"""Ctrl-C while numba compiles: it is raised when numba has let go of its lock, rather than within llvmlite."""

from __future__ import annotations

import signal
import threading
from functools import cache
from importlib import import_module
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptsKept:
    """Keeps interrupts while numba holds its lock to compile, or to read what it has compiled.

    LLVM calls back into Python. An exception that a signal's handler raises there is lost: ctypes prints and drops it,
    and numba may fail afterwards because the callback did not end. So meanwhile the handlers run, but what they raise
    is kept until the lock is free. Outside the main thread, where Python delivers no signals, this does nothing.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.handlers: dict[int, Any] = {}
        self.raised: BaseException | None = None

    def notify(self, event: Any) -> None:
        """Take note that numba takes its lock or lets go of it, as a listener of its events."""
        if threading.current_thread() is not threading.main_thread():
            return
        if event.is_start:
            self.begin()
        else:
            self.end()

    def begin(self) -> None:
        """Take over the handlers of signals that raise, unless that was done before."""
        self.depth += 1
        if self.depth > 1:
            return
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self.handlers[number] = handler
                signal.signal(number, self._handle)

    def end(self) -> None:
        """Give the handlers back, and raise what they raised."""
        self.depth -= 1
        if self.depth == 0:
            for number, handler in self.handlers.items():
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, handler)
            self.handlers.clear()
        raised, self.raised = self.raised, None
        if raised is not None:
            raise raised

    def _handle(self, number: int, frame: FrameType | None) -> None:
        try:
            self.handlers[number](number, frame)
        except (KeyboardInterrupt, SystemExit) as error:
            self.raised = error


@cache
def keep_interrupts_while_compiling() -> None:
    """Make numba keep interrupts; further calls change nothing."""
    event = import_module("numba.core.event")
    event.Listener.register(InterruptsKept)
    event.register("numba:compiler_lock", InterruptsKept())
