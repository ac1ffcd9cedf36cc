"""Of the schedules that a search met, the one that is the shortest on average when times vary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from operator import itemgetter
from time import perf_counter
from typing import NamedTuple

from ppopt.noise.noise import Noise
from ppopt.noise.under_noise import sampled_makespans
from ppopt.schedules.schedule import Schedule
from reports.numbers import number, percent
from solver.counted import counted
from solver.problem import Orders

MOST_KEPT = 40
"""Number of the shortest schedules kept, beside those that the search started from."""

ALIKE = 3
"""Number kept of each length."""

SCREENED_BY = 100
"""Draws by which all are compared; the best of them, and the shortest, are then compared by all draws."""

MOST_COMPARED = 10

REPLAYED = 2.5 * MOST_KEPT
"""How long replaying and screening takes at most, in multiples of what finishing a schedule takes."""

Replay = Callable[[Orders], Schedule]
"""Replays orders of the search in the pipeline's own terms, and checks them."""


class OfferedSchedules:
    """What a search has met: schedules that fit the memory, the first few of each length.

    Parameters
    ----------
    alike : int
        How many of each length.

    Attributes
    ----------
    starting : bool
        Whether the search is still offered what it starts from: of that, all is kept.
    """

    def __init__(self, alike: int = ALIKE) -> None:
        self.starting = True
        self._alike = alike
        self._starts: list[tuple[int, Orders]] = []
        self._found: list[tuple[int, Orders]] = []

    def __call__(self, length: int, orders: Orders) -> None:
        """Take note of a schedule."""
        kept = self._starts if self.starting else self._found
        if sum(other == length for other, _ in kept) < self._alike:
            kept.append((length, orders))
        if len(self._found) > MOST_KEPT:
            self._found.remove(max(self._found, key=itemgetter(0)))

    def shortest_first(self) -> list[tuple[int, Orders]]:
        """List them with their lengths."""
        return sorted([*self._starts, *self._found], key=itemgetter(0))

    def in_turn(self) -> Iterator[Orders]:
        """List them, one that the search started from and one that it found in turn, each the shorter first."""
        rows = (sorted(each, key=itemgetter(0)) for each in (self._starts, self._found))
        for pair in zip_longest(*rows):
            yield from (each[1] for each in pair if each is not None)


class Choice(NamedTuple):
    """The schedule that was chosen.

    Attributes
    ----------
    schedule : Schedule
        Replayed and checked.
    note : str
        What it gains under noise, and what it gives up without.
    """

    schedule: Schedule
    note: str


def choose_robust(met: OfferedSchedules, best: Schedule, replay: Replay, noise: Noise, deadline: float) -> Choice:
    """Choose the schedule with the least mean makespan.

    Parameters
    ----------
    met : OfferedSchedules
        What the search met.
    best : Schedule
        Its shortest.
    replay : callable
        Makes a schedule of orders.
    noise : Noise
        How times vary.
    deadline : float
        When to be done, on the clock of `time.perf_counter`; the shortest is then chosen from what was replayed.
    """
    candidates = [best]
    for orders in met.in_turn():
        if perf_counter() >= deadline:
            break
        schedule = replay(orders)
        if all(schedule.actions != other.actions for other in candidates):
            candidates.append(schedule)
    screen = replace(noise, samples=min(SCREENED_BY, noise.samples))
    ranked = _ranked(candidates, screen, deadline)[:MOST_COMPARED]
    if all(schedule is not best for schedule, _ in ranked):
        ranked.append((best, 0.0))
    compared = _ranked([schedule for schedule, _ in ranked], noise, deadline)
    chosen, mean = compared[0]
    means = {id(schedule): each for schedule, each in compared}
    return Choice(chosen, _note(chosen, mean, best, means[id(best)], len(candidates), noise))


def _ranked(schedules: Sequence[Schedule], noise: Noise, deadline: float) -> list[tuple[Schedule, float]]:
    """Rank schedules by their means; of equal ones those without noise decide."""
    means = sampled_makespans(schedules, noise, deadline=deadline).mean(axis=1).tolist()
    return sorted(zip(schedules, means, strict=True), key=lambda pair: (pair[1], pair[0].makespan))


def _note(chosen: Schedule, mean: float, best: Schedule, best_mean: float, count: int, noise: Noise) -> str:
    met = f"of the {counted(count, 'schedule')} compared that the search met"
    if chosen is best:
        return f"robust: {met}, the shortest has the least mean under noise ({noise}), too: {number(mean)}"
    lost = chosen.makespan / best.makespan - 1
    return (
        f"robust: {met}, this has the least mean under noise ({noise}): {number(mean)}, where the shortest has "
        f"{number(best_mean)}; without noise it gives up {percent(lost)} ({number(chosen.makespan)} instead of "
        f"{number(best.makespan)})"
    )
