"""Tools that run in parallel with a search's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from solver.search.state import Search

SECONDS_TO_END = 10.0
"""Seconds to wait for a tool to end before its thread is abandoned; the thread then ends with the program."""

POLL_SECONDS = 0.05
"""How often a thread that has nothing to do looks whether the others are done."""


@contextmanager
def running_in_threads(search: Search, tools: Sequence[Callable[[], None]]) -> Iterator[Callable[[], bool]]:
    """Run tools in separate threads for as long as the body of this context runs.

    A tool must check `Search.done` at least every few hundredths of a second, and release the interpreter lock most of
    the time. Signals and progress are handled in the thread of the body.

    Parameters
    ----------
    search : Search
        The search that the tools report to.
    tools : sequence of callable
        Each works until the search is done.

    Yields
    ------
    callable
        Returns whether any tool is still running.
    """
    failures: list[BaseException] = []

    def run(tool: Callable[[], None]) -> None:
        try:
            tool()
        except BaseException as error:  # passed to the waiting thread
            failures.append(error)
            search.closing = True

    threads = [threading.Thread(target=run, args=(tool,), name="search", daemon=True) for tool in tools]
    for thread in threads:
        thread.start()
    try:
        yield lambda: any(thread.is_alive() for thread in threads)
    finally:
        search.closing = True
        for thread in threads:
            thread.join(SECONDS_TO_END)
        search.closing = False
    if failures:
        raise failures[0]
