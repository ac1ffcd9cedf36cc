"""Ctrl-C while numba compiles."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest

from solver.interrupts_kept import InterruptsKept, keep_interrupts_while_compiling

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def _as_python_handles_it() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_within_a_callback_of_c() -> None:
    """Press Ctrl-C where LLVM calls back into Python, as when it hands over what it has compiled."""
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))()


def test_without_numbas_lock_an_interrupt_in_a_callback_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    press_within_a_callback_of_c()
    assert [each.exc_type for each in dropped] == [KeyboardInterrupt]


def test_an_interrupt_while_numba_compiles_is_raised_when_it_lets_go_of_its_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_interrupts_while_compiling()
    lock = import_module("numba.core.compiler_lock").global_compiler_lock
    dropped: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    reached: list[str] = []

    def compiles() -> None:
        with lock:
            with lock:
                press_within_a_callback_of_c()
                reached.append("the inner end")
            reached.append("the outer end")

    with pytest.raises(KeyboardInterrupt):
        compiles()
    assert reached == ["the inner end"]
    assert not dropped
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with lock:  # and nothing is kept for the next one
        pass


def test_a_handler_that_puts_an_interrupt_off_is_called_at_once_and_nothing_is_raised() -> None:
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    kept = InterruptsKept()
    kept.begin()
    press_within_a_callback_of_c()
    assert pressed == [signal.SIGINT]
    kept.end()


def test_other_threads_and_signals_that_are_not_handled_are_left_alone() -> None:
    kept = InterruptsKept()
    found: list[bool] = []

    def run() -> None:
        event = import_module("numba.core.event")
        with suppress(ValueError):
            kept.notify(event.Event("numba:compiler_lock", event.EventStatus.START))
            found.append(kept.depth == 0)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [True]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kept.begin()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    kept.end()
