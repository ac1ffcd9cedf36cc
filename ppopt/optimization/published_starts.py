"""Published schedules that a search starts from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from time import perf_counter

from ppopt.optimization.starts import as_searched, one_at_a_time, published_orders
from ppopt.process.time_limit import MOMENT, TimeLimit
from ppopt.schedules.schedule import Schedule
from solver.counted import listed
from solver.search.state import Search
from strategies.language.registry import Strategy
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

OVERRUN, QUICK = 1.0, 0.25
"""Seconds. While nothing fits, published schedules are still offered when the time is up: slow ones, of which one took
longer than QUICK, only for OVERRUN more."""

OFFERS_TO_ANSWER = 3.0
"""Rough time of the final replay, check, figures and bound, in offers, before any of them has been measured."""


def offer_published(
    search: Search,
    pipeline: Pipeline,
    strategies: Sequence[Strategy],
    limit: TimeLimit,
    longest: float = 0.0,
    given: Collection[str] = (),
) -> list[str]:
    """Start from the published schedules: the result is never worse than one that was offered.

    Of each, first the variants until one does not deadlock; then the others. Until something has been found that fits
    the memory, there is time for the next, even a little after the time is up; always, if they are quick.

    Parameters
    ----------
    search, pipeline, strategies, limit
        What is searched, and the clock.
    longest : float
        How many seconds one offer has taken, if any has.
    given : collection of str
        The labels of schedules that the search has started from before.

    Returns
    -------
    list of str
        What there was no time for, if so.
    """
    untried: list[str] = []
    begun = dict(_begun(given))
    others: list[tuple[Strategy, Iterator[dict[str, int]]]] = [
        (each, islice(each.variants(pipeline), begun[each.name], None)) for each in strategies if each.name in begun
    ]
    for strategy in (each for each in strategies if each.name not in begun):
        if _is_too_late(search, longest):
            untried.append(strategy.name)
            continue
        began = perf_counter()
        variants = strategy.variants(pipeline)
        for options in variants:
            orders = published_orders(search.problem, pipeline, strategy, options)
            if orders is not None and search.offer(orders):
                break
        others.append((strategy, variants))
        longest = max(longest, perf_counter() - began)
    if untried:
        return [f"the search did not start from {listed(untried)}: {limit.used_up}"]
    for strategy, variants in others:
        for options in variants:
            if search.seconds_left <= (1 + OFFERS_TO_ANSWER) * longest:
                return [f"the time was up before all proposed options of {strategy.name} had been tried"]
            orders = published_orders(search.problem, pipeline, strategy, options)
            if orders is not None:
                search.offer(orders)
    return []


def _begun(given: Iterable[str]) -> Iterator[tuple[str, int]]:
    """List the strategies of given schedules, with how many of their variants have been tried: the default or none."""
    for label in given:
        name, _, options = label.partition(":")
        yield name, int(all(option.startswith("stages=") for option in options.split(",") if option))


def _is_too_late(search: Search, offering: float) -> bool:
    """Return whether another offer, which takes ``offering`` seconds, would leave too little time to answer."""
    if search.best is None:
        return offering > QUICK and perf_counter() > search.deadline + OVERRUN
    return search.seconds_left + MOMENT < (1 + OFFERS_TO_ANSWER) * offering


def offer_given(search: Search, pipeline: Pipeline, placement: Placement, starts: Sequence[Schedule]) -> frozenset[str]:
    """Start from given schedules, the shortest first, until none that is left can be shorter than the best.

    Returns
    -------
    frozenset of str
        The labels of those on this placement and cut.
    """
    here = [each for each in starts if each.layout.homes == placement.homes and each.pipeline == pipeline]
    taken: list[str] = []
    for given in sorted(here, key=lambda each: (each.makespan, *each.memory_taken)):
        length = (Fraction(given.makespan) - pipeline.after) * search.problem.ticks_per_unit
        is_plain = search.objective == "makespan" and not pipeline.streams  # what runs beside it makes it longer
        if is_plain and search.best is not None and length > search.best:
            taken.append(given.strategy)
            continue
        orders = as_searched(search.problem, given.actions)
        if orders is not None and search.offer(orders):
            taken.append(given.strategy)
    return frozenset(taken)


def offer_something(search: Search, placement: Placement, follows: Iterable[int] = ()) -> None:
    """Where nothing fits yet, do one microbatch after the other."""
    if search.best is None:
        search.offer(one_at_a_time(placement, search.problem, follows))
