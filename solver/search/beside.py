"""Tools that work beside a search's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from solver.search.state import Search

PATIENCE = 10.0
"""How long a tool may take to end, in seconds, before its thread is left to itself; it ends with the program."""

POLL_SECONDS = 0.05
"""How often a thread that has nothing to do looks whether the others are done."""


@contextmanager
def running_beside(search: Search, tools: Sequence[Callable[[], None]]) -> Iterator[Callable[[], bool]]:
    """Run tools in threads of their own for as long as the body of this context runs.

    A tool asks `Search.done` whether to end, at least every few hundredths of a second, and lets go of the interpreter
    lock most of the time. Signals and progress are left to the thread of the body.

    Parameters
    ----------
    search : Search
        Where the tools report.
    tools : sequence of callable
        Each works until the search is done.

    Yields
    ------
    callable
        Tells whether any of them is still at work.
    """
    failures: list[BaseException] = []

    def run(tool: Callable[[], None]) -> None:
        try:
            tool()
        except BaseException as error:  # told to the thread that waits
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
            thread.join(PATIENCE)
        search.closing = False
    if failures:
        raise failures[0]
