"""Branch and cut over splits: a lower bound for all of them, and better splits on the way.

The longest path of a fixed order is the maximum of finitely many linear functions of the bins' contents, one per path.
A linear program over some of the paths bounds all splits from below; a replay of its point, including fractions, finds
the path that it violates most. It remains to make the numbers of items integral: the search branches first on sums over
the bins of one machine, then on the contents of single bins. An exact certificate
(`solver.partitioning.multipliers`) justifies every node that is discarded, and proves the bound of every open node.

What it is worth: rows `probing`, `paths-between` and `roundings` of docs/development/ablation.md.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from solver.deadline import is_over
from solver.partitioning.branching import WHOLE, Bounded, Branch, Branching, copied
from solver.partitioning.descent import FoundSplit
from solver.partitioning.longest_path import Replay
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Numbers, PartitionProblem
from solver.partitioning.relaxation import Floats, Node, Relaxation, Solved
from solver.partitioning.roundings import Roundings
from solver.partitioning.rows import POSITION, order_rows, side_rows, totals
from solver.partitioning.splits import held_between, settled_second, windows_of_cuts

FRACTION = 5040
"""Points are replayed in units of 1 over this; many fractions are whole multiples of that."""

ROOT_ROUNDS, NODE_ROUNDS, TRIAL_ROUNDS = 300, 12, 3
"""The most rounds of cuts at the root, at a node, and for trying a branch."""

ROUNDS_WITHOUT_GAIN = 20
"""Rounds end when the bound has not risen by `LEAST_GAIN` for this many rounds."""

LEAST_GAIN = 2e-4
"""The relative rise of the bound that counts as progress."""

ROWS_A_ROUND = 20
"""The most known paths, violated by a point, that are added at a time."""

SHARE_OF_CENTRE = 0.7
"""Paths are looked for at this share of the way from a point to the centre: the point with the shortest longest path.

At the point itself, a linear program of many paths with equal ends moves from vertex to vertex without rising.
"""

NEAR = 0.1
"""Rounds end when the longest path of the centre, which the bound cannot pass, is near: by this share of what the bound
lacks to the target."""

ROUNDINGS_A_ROUND = 10
"""The most roundings of limits that are added at a time."""


@dataclass(order=True)
class Open:
    """A node still to be examined."""

    bound: int
    number: int
    node: Node = field(compare=False)


class Tree:
    """The search.

    Parameters
    ----------
    problem : PartitionProblem
        The problem.
    replay : Replay
        Finds longest paths.
    pool : Pool
        Known paths; it grows.
    best : FoundSplit or None
        The best split known, if any keeps the limits.
    cutoff : int or None
        Only splits shorter than this are of interest.
    deadline : float or None
        On the clock of `time.perf_counter`.
    on_solution : callable or None
        ``on_solution(found)`` is called for each split that keeps the limits.
    on_bound : callable or None
        ``on_bound(bound)`` is called whenever the bound of all splits rises.
    stop : callable or None
        Called at every node; the search ends when it returns True.
    most_nodes : int or None
        The most nodes to examine.
    within : Node or None
        Only splits in this node are of interest.

    Attributes
    ----------
    bound, first_bound : int
        The bound of all splits, and that of the first node.
    nodes : int
        The number of nodes examined.
    within : Node
        Contains all splits that are short enough, as far as probing has shown.
    """

    def __init__(
        self,
        problem: PartitionProblem,
        replay: Replay,
        pool: Pool,
        best: FoundSplit | None,
        *,
        cutoff: int | None = None,
        deadline: float | None = None,
        on_solution: Callable[[FoundSplit], None] | None = None,
        on_bound: Callable[[int], None] | None = None,
        stop: Callable[[], bool] | None = None,
        most_nodes: int | None = None,
        within: Node | None = None,
    ) -> None:
        self.most_nodes = most_nodes
        self.problem, self.replay, self.pool, self.best = problem, replay, pool, best
        self.deadline, self.on_solution, self.on_bound, self.stop = deadline, on_solution, on_bound, stop
        self.cutoff = cutoff
        self.bound = 0
        self.nodes = 0
        self.branching = Branching(problem, lambda node: self._bounded(node, 0, TRIAL_ROUNDS), lambda: self.reach)
        self.sums, self.steps = self.branching.sums, self.branching.steps
        scale = best.length if best is not None else cutoff or replay.longest(self._middle()).length
        self.relaxation = Relaxation(problem, pool, totals(problem), self.sums, side_rows(problem), scale)
        self.numbers = count()
        self.windows = windows_of_cuts(problem)
        self.within = within or self._all()
        self.first_bound = 0
        self.roundings = Roundings(problem.limit_rows, problem.limit_values)
        self.centre: Floats | None = None
        self.centre_length = float("inf")
        self.heap = [Open(0, next(self.numbers), self.within)]
        self._know_chains()

    def _know_chains(self) -> None:
        """Start with the path through all work of each group, with the longest ways to it and from it."""
        even = self.best.amounts if self.best is not None else self._middle()
        for group in self.problem.groups:
            amounts = np.where(np.isin(self.branching.bins, group), FRACTION * self._middle(), even)
            self.relaxation.add_path(self.pool.add(self.replay.longest(amounts)))

    def _middle(self) -> Numbers:
        """Return amounts that show the approximate lengths of paths."""
        return self.problem.counts[self.problem.column_runs]

    @property
    def target(self) -> int:
        """The greatest length of the splits to look for."""
        lengths = [each for each in (self.cutoff, self.best.length if self.best else None) if each is not None]
        return min(lengths) - self.problem.step if lengths else 1 << 60

    def missing(self, bound: int) -> int:
        """Return what a bound lacks to the best split, or to the cutoff; 0 if there is neither."""
        return self.target + self.problem.step - bound if self.target < 1 << 60 else 0

    @property
    def is_over(self) -> bool:
        """Whether time is up, or a stop was requested."""
        return is_over(self.deadline) or (self.stop is not None and self.stop())

    def _all(self) -> Node:
        """Return the node of all splits."""
        high = self._middle()
        low = np.zeros_like(high)
        alone = np.bincount(self.problem.column_runs, minlength=len(self.problem.runs)) == 1
        low[alone[self.problem.column_runs]] = high[alone[self.problem.column_runs]]
        return Node(low, high, self.sums.low.copy(), self.sums.high.copy())

    def run(self) -> bool:
        """Search until the best split is proven, or none is left, or time is up.

        Returns
        -------
        bool
            Whether the search is complete: no split is shorter than the best.
        """
        node: Open | None = None
        while True:
            if node is None:
                while self.heap and self.heap[0].bound > self.target:
                    heapq.heappop(self.heap)
                if not self.heap:
                    break
                node = heapq.heappop(self.heap)
            self._tell(node.bound)
            if self.is_over or self.nodes == self.most_nodes:
                heapq.heappush(self.heap, node)
                return False
            self.nodes += 1
            node = self._explore(node)
        if self.target < 1 << 60:
            self._raise_to(self.target + self.problem.step)
        return True

    def _tell(self, bound: int) -> None:
        """Record the bound of all splits: the least of all open nodes."""
        least = min([bound, *([self.heap[0].bound] if self.heap else [])])
        self._raise_to(min(least, self.target + self.problem.step))

    def _raise_to(self, bound: int) -> None:
        if bound > self.bound:
            self.bound = bound
            if self.on_bound is not None:
                self.on_bound(bound)

    def _explore(self, open_: Open) -> Open | None:
        """Bound a node and split it; return the part to continue with."""
        rounds = ROOT_ROUNDS if self.nodes == 1 else NODE_ROUNDS
        bounded = self._bounded(open_.node, open_.bound, rounds)
        if bounded is None:
            return None
        node, bound, solved = bounded
        if self.nodes == 1:
            self.first_bound = bound
        if self.nodes == 1 and solved.point is not None:
            node = self._probed(node, solved.point)
            if node.is_empty:
                return None
        if solved.point is not None:
            self._round(solved.point)
        if bound > self.target:
            return None
        branch = self.branching.choose(node, solved)
        if branch is None:
            self._leaf(node)
            return None
        parts = self._open_parts(node, bound, branch)
        for part in parts[1:]:
            heapq.heappush(self.heap, part)
        return parts[0] if parts else None

    def _probed(self, node: Node, point: Floats) -> Node:
        """Find how far each cut can move at the root, and add the rows that follow for the order of the runs.

        A split with a cut further away is proven to be too long. This stays true, since the target only falls.
        """
        at = np.flatnonzero(self.branching.ranks == POSITION)
        if not at.size or self.target >= 1 << 60:
            return node
        node = self.within = copied(node)
        for place in at.tolist():
            here = float(self.sums.factors[place] @ point)
            for up in (False, True):
                self._probe(node, place, here, up)
            self.branching.position_to_columns(node, place)
            if self.is_over:
                break
        rows = order_rows(self.problem, self.branching.places[at], node.sum_low[at], node.sum_high[at])
        self.relaxation.more_sides(rows)
        return node

    def _probe(self, node: Node, at: int, here: float, up: bool) -> None:
        """Bisect how far a cut can move, until that is known to within one part."""
        near = int(np.ceil(here - WHOLE)) if up else int(np.floor(here + WHOLE))
        far = int(node.sum_high[at] if up else node.sum_low[at])
        while (near < far) if up else (far < near):
            middle = (near + far + 1) // 2 if up else (near + far) // 2
            part = copied(node)
            (part.sum_low if up else part.sum_high)[at] = middle
            self.branching.position_to_columns(part, at)
            proof = None if part.is_empty else self.relaxation.solve(part).proof
            if part.is_empty or (
                proof is not None and (proof.is_contradiction or proof.bound(self.problem.step) > self.target)
            ):
                far = middle - 1 if up else middle + 1
                (node.sum_high if up else node.sum_low)[at] = far
            else:
                near = middle

    def _leaf(self, node: Node) -> None:
        """Replay a node's split if it contains only one."""
        amounts = node.low
        held = self._nearest(amounts.astype(float))
        if held is not None and np.array_equal(held, amounts):
            self._round(amounts.astype(float))

    def _bounded(self, node: Node, bound: int, rounds: int) -> Bounded | None:
        """Solve a node with cuts; None if no split in it is short enough."""
        if node.is_empty:
            return None
        self.relaxation.forget_old()
        self.centre, self.centre_length = None, float("inf")
        stale = 0
        last = 0.0
        solved = Solved(None, 0.0, None)
        for _ in range(rounds):
            solved = self.relaxation.solve(node)
            proof = solved.proof
            if proof is not None:
                if proof.is_contradiction:
                    return None
                bound = max(bound, proof.bound(self.problem.step))
                if bound > self.target:
                    return None
            if solved.point is None:
                break
            if not self._separate(solved) or self.is_over:
                break
            if self.centre_length - solved.length < NEAR * max(0.0, self.reach - solved.length):
                break
            stale = 0 if solved.length > last * (1 + LEAST_GAIN) else stale + 1
            last = max(last, solved.length)
            if stale >= ROUNDS_WITHOUT_GAIN:
                break
        return node, bound, solved

    def _separate(self, solved: Solved) -> bool:
        """Add rows that a point violates; return whether there are any."""
        point = solved.point
        assert point is not None
        added = False
        if len(self.relaxation.sides.low):
            over = (self.relaxation.sides.low - self.relaxation.sides.factors @ point) / np.maximum(
                1, np.abs(self.relaxation.sides.low)
            )
            for place in np.argsort(-over)[:5].tolist():
                if over[place] > WHOLE:
                    added |= self.relaxation.add_side(place)
        least = solved.length * (1 + 1e-9) + 1e-6 * self.problem.step
        lengths = self.pool.lengths(point)
        worst = np.argsort(-lengths)[:ROWS_A_ROUND]
        for place in worst.tolist():
            if lengths[place] > least:
                added |= self.relaxation.add_path(place)
        return added or self._separate_rounded(point) or self._separate_between(point, least)

    def _separate_rounded(self, point: Floats) -> bool:
        """Add the roundings of limits that a point violates most; return whether there are any."""
        added = False
        for factors, low in self.roundings.violated(point, self.within.high, ROUNDINGS_A_ROUND):
            added |= self.relaxation.add_rounding(factors, low)
        return added

    def _separate_between(self, point: Floats, least: float) -> bool:
        """Add a path that a point violates, the longest one at a place as near to the centre as possible."""
        share = SHARE_OF_CENTRE
        while True:
            between = point if self.centre is None else share * self.centre + (1 - share) * point
            path = self.replay.longest(np.rint(between * FRACTION).astype(np.int64), FRACTION)
            if path.length < self.centre_length * FRACTION:
                self.centre, self.centre_length = between, path.length / FRACTION
            if float(path.factors @ point) + path.constant > least:
                return self.relaxation.add_path(self.pool.add(path))
            if not share:
                return False
            share = share / 2 if share > SHARE_OF_CENTRE / 4 else 0.0

    def _round(self, point: Floats) -> None:
        """Replay the split that is nearest to a point."""
        amounts = self._nearest(point)
        if amounts is None:
            return
        if self.problem.keeps_limits(amounts):
            path = self.replay.longest(amounts)
            self.pool.add(path)
            self._take(FoundSplit(path.length, 0.0, amounts))

    def _take(self, found: FoundSplit) -> None:
        """Tell of a split, and keep it if it is short enough."""
        if found.length <= self.target:
            self.best = found
        if self.on_solution is not None:
            self.on_solution(found)

    def _nearest(self, point: Floats) -> Numbers | None:
        """Round the positions of the cuts, and with them the second modes."""
        problem = self.problem
        held = np.zeros((problem.bins, len(problem.runs), 2))
        for column, amount in zip(problem.columns, point.tolist(), strict=True):
            held[column] = amount
        cuts = np.rint((held.sum(axis=2) / problem.parts).sum(axis=1).cumsum()).astype(int).tolist()
        least = 0 if problem.empty else 1
        settled = [0]
        for place in range(1, problem.bins):
            low, high = self.windows[place]
            settled.append(min(max(cuts[place - 1], low, settled[-1] + least), high))
        settled.append(len(problem.run_of_item))
        whole = held_between(problem, settled)
        second = settled_second(problem, whole, np.rint(held[:, :, 1]).astype(np.int64))
        return np.array(
            [second[b, r] if mode else whole[b, r] - second[b, r] for b, r, mode in problem.columns], dtype=np.int64
        )

    @property
    def reach(self) -> float:
        """The approximate distance that bounds can rise."""
        return float(self.target) if self.target < 1 << 60 else 2 * self.relaxation.scale

    def _open_parts(self, node: Node, bound: int, branch: Branch) -> list[Open]:
        """Make open nodes from the non-empty parts of a branch, the more promising one first."""
        if not branch.parts:
            halves = [Open(bound, next(self.numbers), part) for part in self.branching.halves(node, branch)]
            return halves[::-1] if branch.shares[0] > 0.5 else halves
        kept = sorted((part for part in branch.parts if part is not None), key=lambda part: part[2].length)
        return [Open(max(bound, low), next(self.numbers), part) for part, low, _ in kept]
