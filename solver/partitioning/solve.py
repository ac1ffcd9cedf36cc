"""Finds the best split, with a proof if time allows.

What proving it in steps is worth: row `steps` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from solver import jit
from solver.deadline import is_over
from solver.partitioning import loops
from solver.partitioning.descent import Descent, FoundSplit
from solver.partitioning.longest_path import Replay
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Numbers, PartitionProblem, Split
from solver.partitioning.second_modes import second_modes
from solver.partitioning.splits import even_start

if TYPE_CHECKING:
    from solver.partitioning.relaxation import Node
    from solver.partitioning.tree import Tree

QUICK_REPLAYS, QUICK_TASKS = 60, 150_000
"""The most splits that a quick answer replays, and the most tasks in all these replays."""

FEWEST_REPLAYS = 15
"""The least number of splits that a quick answer replays, whatever their size."""

SECONDS_TO_COMPILE = 15.0
"""With less time than this nothing is compiled at once: the first time takes about 6."""

REPLAYS = 200
"""The most splits replayed before branch and cut begins."""

SHARE_OF_DESCENT = 0.5
"""The most of the time that these replays take: without branch and cut there is no bound."""

SHARE_OF_FIRST = 0.25
"""After this share of the remaining time, a search that has not raised the bound half of its way is interrupted."""

STEP = 3
"""Each step raises the bound by what it lacks, divided by this."""

LAST_STEP = 8
"""Steps end when what the bound lacks is what it lacked at the root, divided by this."""


@dataclass(frozen=True)
class Answer:
    """The best split found, and a bound.

    Attributes
    ----------
    split : Split or None
        The best split found that keeps all limits and is shorter than the cutoff, if there is one.
    length : int or None
        Its longest path.
    bound : int
        No split that keeps all limits is shorter; with a cutoff, none is shorter than the smaller of bound and cutoff.
    complete : bool
        Whether the search is finished: the split is the best, or there is none (below the cutoff).
    nodes, paths : int
        The number of nodes examined, and the number of known paths.
    """

    split: Split | None
    length: int | None
    bound: int
    complete: bool
    nodes: int = 0
    paths: int = 0


def weights_of(problem: PartitionProblem) -> list[int]:
    """Return the approximate time of an item of each run: the sum of all terms of the classes' forms, each once."""
    used = {(term.attribute, term.factor) for forms in problem.lengths for form in forms for term in form}
    return [run.parts * sum(run.modes[0][attribute] * factor for attribute, factor in used) for run in problem.runs]


def quick_split(
    problem: PartitionProblem,
    *,
    seed: int = 0,
    over: Callable[[], bool] | None = None,
    compiled: dict[str, Any] | None = None,
) -> FoundSplit:
    """Find a good split quickly: the same one for the same seed, with or without numba.

    Parameters
    ----------
    problem : PartitionProblem
        The problem.
    seed : int
        Seed of everything random.
    over : callable or None
        Called occasionally; the search ends with its best so far when it returns True.
    compiled : dict or None
        The compiled loops, if available: they save time.

    Raises
    ------
    InfeasibleSplitError
        If no split respects the bins in which items may lie.
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
) -> FoundSplit:
    """Descend from an even split; if there are limits and second modes, from several splits, best first.

    These are the even split and known ones, each with guesses of its second modes.
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
    """Yield the splits that keep the limits; change others so that enough parts are in the second mode to keep them."""
    for split in splits:
        is_fitting = problem.first_in_mode is not None or problem.keeps_limits(problem.amounts_of(split))
        for each in [split] if is_fitting else second_modes(problem, split):
            if problem.keeps_limits(amounts := problem.amounts_of(each)):
                yield amounts


@dataclass
class _Known:
    """What is known while a problem is solved."""

    problem: PartitionProblem
    cutoff: int | None
    on_solution: Callable[[int, Split], None] | None
    on_bound: Callable[[int], None] | None
    best: FoundSplit | None = None
    bound: int = 0

    def take(self, found: FoundSplit) -> None:
        """Keep a split if it is better than all before."""
        if found.excess > 0 or (self.cutoff is not None and found.length >= self.cutoff):
            return
        if self.best is None or found.length < self.best.length:
            self.best = found
            if self.on_solution is not None:
                self.on_solution(found.length, self.problem.split_of(found.amounts))

    def rise(self, bound: int) -> None:
        """Keep a bound if it is better than all before."""
        if bound > self.bound:
            self.bound = bound
            if self.on_bound is not None:
                self.on_bound(bound)

    def answer(self, *, complete: bool, nodes: int = 0, paths: int = 0) -> Answer:
        """Return what is known in the end."""
        best = self.best
        split = None if best is None else self.problem.split_of(best.amounts)
        return Answer(split, None if best is None else best.length, self.bound, complete, nodes, paths)


def _run_in_steps(
    whole: Tree,
    tree: Callable[[int, Node], Tree],
    descend: Callable[[int], None],
    over: Callable[[], bool],
) -> tuple[bool, int]:
    """Search, and if that is slow, prove by steps that no split is much shorter than the best.

    A search for splits below a length leaves out what is longer: cuts can move less far, and its dives end earlier. So
    half of what the bound lacks is often gained where a search for all that is shorter than the best gains little.

    Parameters
    ----------
    whole : Tree
        The search for all splits that are shorter than the best; it has a deadline.
    tree : callable
        ``tree(below, within)`` makes a search for splits below a length, within a node.
    descend : callable
        ``descend(step)`` looks for better splits before a step, each time others.
    over : callable
        Whether time is up.

    Returns
    -------
    bool
        Whether no split is shorter than the best.
    int
        The number of nodes examined.
    """
    now, deadline, nodes = perf_counter(), whole.deadline, 0
    assert deadline is not None
    whole.deadline = now + SHARE_OF_FIRST * (deadline - now)
    complete, bound = whole.run(), whole.bound
    whole.deadline, step = deadline, 0
    way = whole.missing(whole.first_bound)
    least = way / 2
    while not complete and 0 < least < (missing := whole.missing(bound)) and not over():
        step += 1
        descend(step)
        part = tree(bound + max(1, missing // STEP), whole.within)
        part.run()
        bound, nodes, least = max(bound, part.bound), nodes + part.nodes, way / LAST_STEP
        whole.best = part.best
        complete = whole.missing(bound) <= 0
    if not complete and not over():
        complete = whole.run()
    return complete, nodes + whole.nodes


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
        The problem.
    deadline : float or None
        On the clock of `time.perf_counter`.
    seed : int
        Seed of everything random.
    starts : sequence of Split
        Known splits; the answer is never longer than those that keep the limits. In others, as many parts are put in
        the second mode as the limits require.
    cutoff : int or None
        Only splits shorter than this are of interest.
    on_solution : callable or None
        ``on_solution(length, split)`` is called for each better split.
    on_bound : callable or None
        ``on_bound(bound)`` is called whenever the bound rises.
    stop : callable or None
        Called often; the search ends when it returns True.
    most_nodes : int or None
        The most nodes to examine; few are enough for a first bound.

    Raises
    ------
    InfeasibleSplitError
        If no split respects the bins in which items may lie.
    OverflowError
        If lengths are too large.
    """
    from solver.partitioning.tree import Tree

    left = float("inf") if deadline is None else deadline - perf_counter()
    replay = Replay(problem, jit.jitted(loops, may_compile=left > SECONDS_TO_COMPILE))
    pool = Pool(len(problem.columns))
    known = _Known(problem, cutoff, on_solution, on_bound)
    for amounts in _fitting(problem, starts):
        path = replay.longest(amounts)
        pool.add(path)
        known.take(FoundSplit(path.length, 0.0, amounts))

    def over() -> bool:
        return is_over(deadline) or (stop is not None and stop())

    now = perf_counter()
    enough = None if deadline is None else now + SHARE_OF_DESCENT * (deadline - now)

    def descended_enough() -> bool:
        return is_over(enough) or over()

    replays = REPLAYS if cutoff is None else QUICK_REPLAYS

    def descend(number: int, enough: Callable[[], bool]) -> None:
        found = [] if known.best is None or not number else [problem.split_of(known.best.amounts)]
        known.take(_descended(problem, replay, pool, seed + number, replays, enough, [*starts, *found]))

    descend(0, descended_enough)
    if over():
        return known.answer(complete=False, paths=pool.count)

    def tree(below: int | None, within: Node | None) -> Tree:
        return Tree(
            problem,
            replay,
            pool,
            known.best,
            cutoff=below,
            deadline=deadline,
            on_solution=known.take,
            on_bound=known.rise,
            stop=stop,
            most_nodes=most_nodes,
            within=within,
        )

    whole = tree(cutoff, None)
    in_steps = deadline is not None and most_nodes is None
    complete, nodes = (
        _run_in_steps(whole, tree, lambda step: descend(step, over), over) if in_steps else (whole.run(), whole.nodes)
    )
    return known.answer(complete=complete, nodes=nodes, paths=pool.count)
