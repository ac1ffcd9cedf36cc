"""Finding the best split, with a proof as far as time allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from solver import jit
from solver.deadline import is_over
from solver.partitioning import loops
from solver.partitioning.annealing import Annealing
from solver.partitioning.descent import Descent, Found
from solver.partitioning.longest_path import Replay
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Numbers, PartitionProblem, Split
from solver.partitioning.second_modes import second_modes
from solver.partitioning.splits import even_start

QUICK_REPLAYS, QUICK_TASKS = 60, 150_000
"""So many splits does a quick answer replay at most, and so many tasks with all of them together."""

FEWEST_REPLAYS = 15
"""So many in any case."""

SECONDS_TO_COMPILE = 15.0
"""With less time than this nothing is compiled at once: the first time takes about 6."""

REPLAYS = 200
"""So many are replayed before branch and cut begins."""


ANNEALING_SECONDS, ANNEALING_SHARE = 12.0, 0.15
"""Where there are limits, annealing takes so many seconds, or this part of the time if that is less."""

NEAR_LIMIT = 0.9
"""Annealing is needed where a limit is used up to this part of it."""

STALE_ROUNDS, CHAINS = 6, 10
"""After so many rounds that find nothing better it begins anew, from another descent: each temperature was met twice,
each price at least once. It ends when it has begun anew so often for nothing."""


@dataclass(frozen=True)
class Answer:
    """What is known of the best split.

    Attributes
    ----------
    split : Split or None
        The best one found that keeps all limits, or is shorter than the cutoff.
    length : int or None
        Its longest path.
    bound : int
        No split that keeps all limits is shorter; with a cutoff, none is shorter than the lesser of both.
    complete : bool
        Whether that is all there is to know: the split is the best, or there is none (below the cutoff).
    nodes, paths : int
        How many parts of all splits were looked at, and how many paths are known.
    """

    split: Split | None
    length: int | None
    bound: int
    complete: bool
    nodes: int = 0
    paths: int = 0


def weights_of(problem: PartitionProblem) -> list[int]:
    """Return about how long an item of each run takes: all that classes of tasks count of it, each once."""
    used = {(term.attribute, term.factor) for forms in problem.lengths for form in forms for term in form}
    return [run.parts * sum(run.modes[0][attribute] * factor for attribute, factor in used) for run in problem.runs]


def quick_split(
    problem: PartitionProblem,
    *,
    seed: int = 0,
    over: Callable[[], bool] | None = None,
    compiled: dict[str, Any] | None = None,
) -> Found:
    """Find a good split in a moment: the same one for the same seed, whether or not numba is there.

    Parameters
    ----------
    problem : PartitionProblem
        What is split.
    seed : int
        Of what is random.
    over : callable or None
        Asked now and then: whether to end with what there is.
    compiled : dict or None
        The compiled loops, if they are there: with them it takes less time.

    Raises
    ------
    InfeasibleSplitError
        If no split keeps to the bins in which items may lie.
    OverflowError
        If lengths are too large.
    """
    replays = max(FEWEST_REPLAYS, min(QUICK_REPLAYS, QUICK_TASKS // max(1, len(problem.tasks))))
    return _descended(problem, Replay(problem, compiled), Pool(len(problem.columns)), seed, replays, over)


def _descended(
    problem: PartitionProblem,
    replay: Replay,
    pool: Pool,
    seed: int,
    replays: int,
    over: Callable[[], bool] | None,
    known: Sequence[Split] = (),
) -> Found:
    """Descend from an even split; where there are limits and second modes, from several, the best one first.

    These are the even one and known ones, each with guesses of what is in its second mode.
    """
    descent = Descent(problem, replay, pool, seed)
    even = descent.place(even_start(problem, weights_of(problem)), _none(problem))
    starts = [even]
    if descent.has_second and problem.limits:
        splits = [*known, problem.split_of(even.amounts)]
        chosen = dict.fromkeys(each for split in splits for each in second_modes(problem, split))
        starts = [descent.placed(each) for each in chosen]
        starts.sort(key=lambda start: descent.judged(start).rank)
        replays += len(starts)
    found = []
    for number, start in enumerate(starts, start=1):
        found.append(descent.run(start, replays=replays * number // len(starts), over=over))
    return min(found, key=lambda each: each.rank)


def _none(problem: PartitionProblem) -> Numbers:
    return np.zeros((problem.bins, len(problem.runs)), dtype=np.int64)


def _fitting(problem: PartitionProblem, splits: Sequence[Split]) -> Iterator[Numbers]:
    """Yield the splits that keep the limits; of others, what they are with so much in the second mode that they do."""
    for split in splits:
        is_fitting = problem.first_in_mode is not None or problem.keeps_limits(problem.amounts_of(split))
        for each in [split] if is_fitting else second_modes(problem, split):
            if problem.keeps_limits(amounts := problem.amounts_of(each)):
                yield amounts


def _limits_bind(problem: PartitionProblem, found: Found) -> bool:
    """Return whether a split comes near a limit."""
    return bool((problem.limit_rows @ found.amounts > NEAR_LIMIT * problem.limit_values).any())


def _annealed(
    annealing: Annealing,
    start: Found,
    another: Callable[[int], Found],
    deadline: float | None,
    take: Callable[[Found], None],
    over: Callable[[], bool],
) -> None:
    """Anneal from a split, round after round from the best so far; where that has settled, from another descent."""
    until = perf_counter() + ANNEALING_SECONDS
    if deadline is not None:
        until = min(until, perf_counter() + (deadline - perf_counter()) * ANNEALING_SHARE)
    best, settled, chains = start, 0, 0
    while settled < CHAINS:
        here, stale = another(chains) if chains else start, 0
        chains += 1
        if here.rank < best.rank:
            best, settled = here, -1
            take(here)
        while stale < STALE_ROUNDS:
            if is_over(until) or over():
                return
            found = annealing.round(here, here.length if here.excess == 0 else None, deadline=until)
            here, stale = (here, stale + 1) if found is None else (found, 0)
            if here.rank < best.rank:
                best, settled = here, -1
                take(here)
        settled += 1


def best_split(
    problem: PartitionProblem,
    *,
    deadline: float | None = None,
    seed: int = 0,
    starts: Sequence[Split] = (),
    cutoff: int | None = None,
    on_solution: Callable[[int, Split], None] | None = None,
    on_bound: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    most_nodes: int | None = None,
) -> Answer:
    """Find the split with the shortest longest path that keeps all limits, and prove it.

    Parameters
    ----------
    problem : PartitionProblem
        What is split.
    deadline : float or None
        On the clock of `time.perf_counter`.
    seed : int
        Of everything random.
    starts : sequence of Split
        Splits that are known; the answer is no longer than those that keep the limits. Of others as much is put in its
        second mode as the limits ask for.
    cutoff : int or None
        Splits that are no shorter are of no interest.
    on_solution : callable or None
        ``on_solution(length, split)`` for each better one.
    on_bound : callable or None
        ``on_bound(bound)`` each time that the bound rises.
    stop : callable or None
        Asked often: whether to end now.
    most_nodes : int or None
        How many parts of all splits are looked at; few are enough for a first bound.

    Raises
    ------
    InfeasibleSplitError
        If no split keeps to the bins in which items may lie.
    OverflowError
        If lengths are too large.
    """
    from solver.partitioning.tree import Tree

    left = float("inf") if deadline is None else deadline - perf_counter()
    replay = Replay(problem, jit.jitted(loops, may_compile=left > SECONDS_TO_COMPILE))
    pool = Pool(len(problem.columns))
    best: Found | None = None

    def take(found: Found) -> None:
        nonlocal best
        if found.excess > 0 or (cutoff is not None and found.length >= cutoff):
            return
        if best is None or found.length < best.length:
            best = found
            if on_solution is not None:
                on_solution(found.length, problem.split_of(found.amounts))

    for amounts in _fitting(problem, starts):
        path = replay.longest(amounts)
        pool.add(path)
        take(Found(path.length, 0.0, amounts))

    def over() -> bool:
        return is_over(deadline) or (stop is not None and stop())

    first = _descended(problem, replay, pool, seed, REPLAYS if cutoff is None else QUICK_REPLAYS, over, starts)
    take(first)
    if over():
        split, length = (None, None) if best is None else (problem.split_of(best.amounts), best.length)
        return Answer(split, length, 0, complete=False, paths=pool.count)
    near: Callable[[Numbers, int | None], Found | None] | None = None
    if replay.compiled is not None and problem.first_in_mode is None and _limits_bind(problem, best or first):
        annealing = Annealing(problem, replay, pool, seed)
        near = annealing.near

        def another(number: int) -> Found:
            return _descended(problem, replay, pool, seed + number, REPLAYS, over)

        _annealed(annealing, best or first, another, deadline, take, over)
    tree = Tree(
        problem,
        replay,
        pool,
        best,
        cutoff=cutoff,
        deadline=deadline,
        on_solution=take,
        on_bound=on_bound,
        near=near,
        stop=stop,
        most_nodes=most_nodes,
    )
    complete = tree.run()
    return Answer(
        None if best is None else problem.split_of(best.amounts),
        None if best is None else best.length,
        tree.bound,
        complete,
        tree.nodes,
        pool.count,
    )
