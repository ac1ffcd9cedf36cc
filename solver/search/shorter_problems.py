"""The search of a problem that repeats by way of shorter ones."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from time import sleep

from solver.deadline import OutOfTimeError
from solver.repetition import LONG
from solver.search.long_search import SHORTEST, LongSearch, Starts, UnwrittenSearch, Write, repeats
from solver.search.state import Search
from solver.search.tool_threads import POLL_SECONDS, running_in_threads
from solver.search.tools import are_compiled


def long_search_of(
    search: Search, seed: int, starts: Starts = lambda _: (), write: Write | None = None
) -> LongSearch | None:
    """Prepare a search of shorter problems; None where the problem does not repeat, or its span is minimised."""
    lengths = {len(chain) for chain in search.problem.chains}
    if search.objective != "makespan" or len(lengths) != 1 or min(lengths) < SHORTEST:
        return None
    if not repeats(search.problem if write is None else write(SHORTEST)):
        return None
    return LongSearch(search, seed, starts, write)


def begin_unwritten(search: UnwrittenSearch, seed: int, starts: Starts, write: Write) -> LongSearch | None:
    """Prepare the search of a problem of which only the first tasks are written down, and stretch what it starts from.

    None if its precedences do not join equal places of its chains, or the chains have several lengths or are short.
    """
    lengths = {len(chain) + more for chain, more in zip(search.problem.chains, search.repetition.more, strict=True)}
    length = min(lengths)
    if len(lengths) > 1 or length < LONG * search.problem.devices or not repeats(search.problem):
        return None
    made = LongSearch(search, seed, starts, write, length=length)
    made.begin()
    return made


def run_unwritten(search: UnwrittenSearch, first: LongSearch, workers: int) -> None:
    """Go on with the search of a problem of which only the first tasks are written down, on some cores.

    Parameters
    ----------
    search : UnwrittenSearch
        Where all report.
    first : LongSearch
        What `begin_unwritten` has made of it.
    workers : int
        How many cores are used.
    """
    lanes = workers if are_compiled() else 1

    def search_beside(number: int) -> None:
        with suppress(OutOfTimeError):
            first.beside(number, lanes).run()

    first.lane = 0, lanes
    with running_in_threads(search, [partial(search_beside, number) for number in range(1, lanes)]):
        with suppress(OutOfTimeError):
            first.run()
        while not search.done():
            sleep(POLL_SECONDS)
