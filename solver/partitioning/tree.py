"""Branch and cut over splits: a lower bound for all of them, and better splits on the way.

The longest path of a fixed order is the maximum of finitely many linear functions of the bins' contents, one per path.
A linear program over some of the paths bounds all splits from below; a replay of its point, including fractions, finds
the path that it violates most. It remains to make the numbers of items integral: the search branches first on sums over
the bins of one machine, then on the contents of single bins. An exact certificate
(`solver.partitioning.multipliers`) justifies every node that is discarded, and proves the bound of every open node.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter

import numpy as np

from solver.deadline import is_over
from solver.partitioning.descent import FoundSplit
from solver.partitioning.longest_path import Replay
from solver.partitioning.multipliers import Certificate, tightened
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Numbers, PartitionProblem
from solver.partitioning.relaxation import Floats, Node, Relaxation, Solved
from solver.partitioning.rows import BIN, LOAD, MOST_RUNS, PART, POSITION, SECOND, order_rows, side_rows, sums, totals
from solver.partitioning.splits import held_between, settled_second, windows_of_cuts

FRACTION = 5040
"""Points are replayed in units of 1 over this; many fractions are whole multiples of that."""

ROOT_ROUNDS, NODE_ROUNDS, TRIAL_ROUNDS = 300, 12, 3
"""The most rounds of cuts at the root, at a node, and for trying a branch."""

ROUNDS_WITHOUT_GAIN = 5
"""Rounds end when the bound has not risen by `LEAST_GAIN` for this many rounds."""

LEAST_GAIN = 2e-4
"""The relative rise of the bound that counts as progress."""

ROWS_A_ROUND = 20
"""The most known paths, violated by a point, that are added at a time."""

WHOLE = 1e-6
"""Numbers closer than this to a whole number count as whole."""

NEAR_SHARE = 0.15
"""Largest share of the time for finding better splits near rounded points."""

CANDIDATES = 4
"""The number of branches tried before one is chosen."""


@dataclass(order=True)
class Open:
    """A node still to be examined."""

    bound: int
    number: int
    node: Node = field(compare=False)


@dataclass
class Branch:
    """A column or a sum to split at a value: at most ``below``, or at least one step more."""

    is_sum: bool
    place: int
    value: float
    step: int = 1
    parts: list[tuple[Node, int, Solved] | None] = field(default_factory=list)

    @property
    def below(self) -> int:
        """The largest number of the lower part."""
        return int(np.floor(self.value / self.step)) * self.step

    @property
    def above(self) -> int:
        """The least number of the upper part."""
        return self.below + self.step

    @property
    def shares(self) -> tuple[float, float]:
        """How far the value is from both parts, in steps."""
        return (self.value - self.below) / self.step, (self.above - self.value) / self.step


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
        ``on_solution(found)`` is called for each better split.
    on_bound : callable or None
        ``on_bound(bound)`` is called whenever the bound of all splits rises.
    near : callable or None
        ``near(amounts, best)`` looks for a split near a rounded point that is shorter than the best; it may take long.
    stop : callable or None
        Called at every node; the search ends when it returns True.
    most_nodes : int or None
        The most nodes to examine.
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
        near: Callable[[Numbers, int | None], FoundSplit | None] | None = None,
        stop: Callable[[], bool] | None = None,
        most_nodes: int | None = None,
    ) -> None:
        self.most_nodes = most_nodes
        self.problem, self.replay, self.pool, self.best = problem, replay, pool, best
        self.deadline, self.on_solution, self.on_bound, self.stop = deadline, on_solution, on_bound, stop
        self.cutoff, self.near = cutoff, near
        self.near_seconds = 0.0
        self.began = perf_counter()
        self.bound = 0
        self.nodes = 0
        self.sums, self.ranks, self.places, self.steps = sums(problem)
        self.bins = np.array([column.bin for column in problem.columns])
        self.plain = np.array([not c.mode and len(problem.runs[c.run].modes) > 1 for c in problem.columns])
        self.ends = problem.counts.cumsum()
        self.positions = np.cumsum([0, *(problem.runs[run].parts for run in problem.run_of_item), 1])  # and one beyond
        self.many_runs = sum(run.first < run.last for run in problem.runs) > MOST_RUNS
        runs = np.arange(len(problem.runs))[:, None] == problem.column_runs
        self.before = [(runs & (self.bins < place)).astype(float) for place in range(problem.bins)]
        scale = best.length if best is not None else cutoff or replay.longest(self._middle()).length
        self.relaxation = Relaxation(problem, pool, totals(problem), self.sums, side_rows(problem), scale)
        self.heap: list[Open] = []
        self.numbers = count()
        self.gains = np.zeros((2, 2, len(problem.columns) + len(self.sums.low)))
        self.windows = windows_of_cuts(problem)
        self._know_chains()

    def _know_chains(self) -> None:
        """Start with the path through all work of each group, with the longest ways to it and from it."""
        even = self.best.amounts if self.best is not None else self._middle()
        for group in self.problem.groups:
            amounts = np.where(np.isin(self.bins, group), FRACTION * self._middle(), even)
            self.relaxation.add_path(self.pool.add(self.replay.longest(amounts)))

    def _middle(self) -> Numbers:
        """Return amounts that show the approximate lengths of paths."""
        return self.problem.counts[self.problem.column_runs]

    @property
    def target(self) -> int:
        """The greatest length of the splits to look for."""
        lengths = [each for each in (self.cutoff, self.best.length if self.best else None) if each is not None]
        return min(lengths) - self.problem.step if lengths else 1 << 60

    @property
    def is_over(self) -> bool:
        """Whether time is up, or a stop was requested."""
        return is_over(self.deadline) or (self.stop is not None and self.stop())

    def root(self) -> Node:
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
        node: Open | None = Open(0, next(self.numbers), self.root())
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
        if self.nodes == 1 and solved.point is not None:
            node = self._probed(node, solved.point)
            if node.is_empty:
                return None
        if solved.point is not None:
            self._round(solved.point)
        if bound > self.target:
            return None
        branch = self._branch(node, solved)
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
        at = np.flatnonzero(self.ranks == POSITION)
        if not at.size or self.target >= 1 << 60:
            return node
        node = _copied(node)
        for place in at.tolist():
            here = float(self.sums.factors[place] @ point)
            for up in (False, True):
                self._probe(node, place, here, up)
            self._position_to_columns(node, place)
            if self.is_over:
                break
        rows = order_rows(self.problem, self.places[at], node.sum_low[at], node.sum_high[at])
        self.relaxation.more_sides(rows)
        return node

    def _probe(self, node: Node, at: int, here: float, up: bool) -> None:
        """Bisect how far a cut can move, until that is known to within one part."""
        near = int(np.ceil(here - WHOLE)) if up else int(np.floor(here + WHOLE))
        far = int(node.sum_high[at] if up else node.sum_low[at])
        while (near < far) if up else (far < near):
            middle = (near + far + 1) // 2 if up else (near + far) // 2
            part = _copied(node)
            (part.sum_low if up else part.sum_high)[at] = middle
            self._position_to_columns(part, at)
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

    def _bounded(self, node: Node, bound: int, rounds: int) -> tuple[Node, int, Solved] | None:
        """Solve a node with cuts; None if no split in it is short enough."""
        if node.is_empty:
            return None
        self.relaxation.forget_old()
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
                node = self._shrunk(node, proof)
                if node.is_empty:
                    return None
            if solved.point is None:
                break
            if not self._separate(solved) or self.is_over:
                break
            stale = 0 if solved.length > last * (1 + LEAST_GAIN) else stale + 1
            last = max(last, solved.length)
            if stale >= ROUNDS_WITHOUT_GAIN:
                break
        return node, bound, solved

    def _shrunk(self, node: Node, proof: Certificate) -> Node:
        if self.target >= 1 << 60:
            return node
        fixed = len(self.relaxation.totals.low)
        size = fixed + len(self.sums.low)
        part = Certificate(proof.weight, proof.value, proof.reduced, proof.multipliers[fixed:size])
        box, sides = tightened(part, self.target, (node.low, node.high), (node.sum_low, node.sum_high))
        low, high = -(-sides[0] // self.steps) * self.steps, sides[1] // self.steps * self.steps
        return Node(box[0], box[1], low, high)

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
        least = solved.length * (1 + 1e-9)
        lengths = self.pool.lengths(point)
        worst = np.argsort(-lengths)[:ROWS_A_ROUND]
        known = [int(place) for place in worst if lengths[place] > least + 1e-6 * self.problem.step]
        found = False
        for place in known:
            found |= self.relaxation.add_path(place)
        if not found:
            path = self.replay.longest(np.rint(point * FRACTION).astype(np.int64), FRACTION)
            if path.length > (least + 1e-6 * self.problem.step) * FRACTION:
                added |= self.relaxation.add_path(self.pool.add(path))
        return added or found

    def _round(self, point: Floats) -> None:
        """Replay the split that is nearest to a point."""
        amounts = self._nearest(point)
        if amounts is None:
            return
        if self.problem.keeps_limits(amounts):
            path = self.replay.longest(amounts)
            self.pool.add(path)
            self._take(FoundSplit(path.length, 0.0, amounts))
        if self.near is not None and self.near_seconds < NEAR_SHARE * (perf_counter() - self.began):
            started = perf_counter()
            found = self.near(amounts, self.target + self.problem.step if self.target < 1 << 60 else None)
            self.near_seconds += perf_counter() - started
            if found is not None:
                self._take(found)

    def _take(self, found: FoundSplit) -> None:
        """Keep a split if it is better than all before."""
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

    def _branch(self, node: Node, solved: Solved) -> Branch | None:
        """Choose the branch that splits a node; None if nothing is left to split."""
        point = solved.point
        if point is None:
            return self._widest(node)
        mixed = self._mixed(node, point)
        if mixed is not None and self.many_runs:
            return mixed
        values = self.sums.factors @ point
        unsettled = self._unsettled(node, point, values)
        if unsettled is not None:
            return unsettled
        in_steps = values / self.steps
        away = (np.abs(in_steps - np.rint(in_steps)) > WHOLE) & (node.sum_low < node.sum_high)
        for rank in (LOAD, PART, BIN):
            places = np.flatnonzero(away & (self.ranks == rank))
            if places.size:
                loads = [Branch(True, int(at), float(values[at]), int(self.steps[at])) for at in places]
                return self._best_of(node, solved, loads, mixed)
        if mixed is not None:
            return mixed
        away = (np.abs(point - np.rint(point)) > WHOLE) & (node.low < node.high)
        places = np.flatnonzero(away)
        if places.size:
            return self._best_of(node, solved, [Branch(False, int(at), float(point[at])) for at in places])
        return self._widest(node)

    def _unsettled(self, node: Node, point: Floats, values: Floats) -> Branch | None:
        """Find a bin with parts that should be in the second mode: branch on whether it holds fewer than prescribed."""
        first = self.problem.first_in_mode
        if first is None:
            return None
        best, chosen = WHOLE, None
        for at in np.flatnonzero((self.ranks == SECOND) & (node.sum_low < first) & (node.sum_high >= first)).tolist():
            plain = float(point[self.plain & (self.bins == self.places[at])].sum())
            amount = min(plain, first - float(values[at]))
            if amount > best:
                best, chosen = amount, Branch(True, at, first - 0.5)
        return chosen

    def _mixed(self, node: Node, point: Floats) -> Branch | None:
        """Find a cut before which a run is incomplete though a later one has started: branch on its being complete."""
        best, chosen = 100 * WHOLE, None
        for at in np.flatnonzero(self.ranks == POSITION).tolist():
            before = self.before[int(self.places[at])] @ point
            missing = self.problem.counts - before
            # the most that an earlier run lacks, compared with what a later run has
            for second in np.flatnonzero(before > WHOLE).tolist():
                first = int(missing[:second].argmax()) if second else 0
                amount = min(float(missing[first]), float(before[second])) if second else 0.0
                if amount > best:
                    best = amount
                    end = int(self.ends[first])
                    here = int(np.floor(before.sum()))
                    # with many runs, branch at the cut's own place; but not twice, since that gives nothing new
                    if self.many_runs and node.sum_low[at] <= here < node.sum_high[at]:
                        end = here
                    chosen = Branch(True, at, end + 0.5)
        return chosen

    def _best_of(self, node: Node, solved: Solved, candidates: list[Branch], another: Branch | None = None) -> Branch:
        """Try the most promising candidates, and another one."""
        ranked = sorted(candidates, key=self._promise, reverse=True)[:CANDIDATES]
        if another is not None:
            ranked = [another, *ranked[: CANDIDATES - 1]]
        if len(ranked) == 1:
            return ranked[0]
        best, score = ranked[0], -1.0
        for each in ranked:
            tried = self._tried(node, solved, each)
            if tried > score:
                best, score = each, tried
            if any(part is None for part in each.parts):
                return each
        return best

    def _promise(self, branch: Branch) -> float:
        """Return how much a branch raised the bound when it was tried before; branches never tried come first."""
        at = self._at(branch)
        score = 1.0
        for up, share in enumerate(branch.shares):
            total, times = self.gains[up][:, at]
            known, tries = self.gains[up].sum(axis=1)
            mean = total / times if times else known / tries if tries else 1.0
            score *= max(mean * share, 1e-6)
        return score

    def _at(self, branch: Branch) -> int:
        return branch.place + (len(self.problem.columns) if branch.is_sum else 0)

    def _tried(self, node: Node, solved: Solved, branch: Branch) -> float:
        """Examine both parts of a branch for a few rounds, and record the results."""
        score = 1.0
        for up, part in enumerate(self._halves(node, branch)):
            tried = self._bounded(part, 0, TRIAL_ROUNDS)
            branch.parts.append(tried)
            gain = max(0.0, self.reach - solved.length if tried is None else tried[2].length - solved.length)
            self.gains[up][:, self._at(branch)] += gain / max(branch.shares[up], 0.05), 1
            score *= max(gain, 1e-6 * solved.length)
        return score

    @property
    def reach(self) -> float:
        """The approximate distance that bounds can rise."""
        return float(self.target) if self.target < 1 << 60 else 2 * self.relaxation.scale

    def _widest(self, node: Node) -> Branch | None:
        """Halve the widest range; None if everything is fixed."""
        width = node.high - node.low
        place = int(width.argmax())
        if width[place] <= 0:
            return None
        return Branch(False, place, (int(node.low[place]) + int(node.high[place])) // 2 + 0.5)

    def _halves(self, node: Node, branch: Branch) -> tuple[Node, Node]:
        below, above = _copied(node), _copied(node)
        for part, is_above in ((below, False), (above, True)):
            low, high = (part.sum_low, part.sum_high) if branch.is_sum else (part.low, part.high)
            if is_above:
                low[branch.place] = max(int(low[branch.place]), branch.above)
            else:
                high[branch.place] = min(int(high[branch.place]), branch.below)
            if branch.is_sum and self.ranks[branch.place] == POSITION:
                self._position_to_columns(part, branch.place)
            if branch.is_sum and self.ranks[branch.place] == SECOND and not is_above:
                # fewer than prescribed are in the second mode, so no part that has one is left in the first
                part.high[self.plain & (self.bins == self.places[branch.place])] = 0
        return below, above

    def _position_to_columns(self, node: Node, at: int) -> None:
        """Move the sides of a cut's position to ends of items, and tighten the columns accordingly."""
        place = int(self.places[at])
        low, high = node.sum_low[at], node.sum_high[at]
        node.sum_low[at] = self.positions[np.searchsorted(self.positions, low)]
        node.sum_high[at] = self.positions[np.searchsorted(self.positions, high, side="right") - 1]
        starts = self.ends - self.problem.counts
        least = np.clip(node.sum_low[at] - starts, 0, self.problem.counts)
        most = np.clip(node.sum_high[at] - starts, 0, self.problem.counts)
        is_before = self.bins < place
        runs = self.problem.column_runs
        allowed = np.where(is_before, most[runs], self.problem.counts[runs] - least[runs])
        np.minimum(node.high, allowed, out=node.high)

    def _open_parts(self, node: Node, bound: int, branch: Branch) -> list[Open]:
        """Make open nodes from the non-empty parts of a branch, the more promising one first."""
        if not branch.parts:
            halves = [Open(bound, next(self.numbers), part) for part in self._halves(node, branch)]
            return halves[::-1] if branch.shares[0] > 0.5 else halves
        kept = sorted((part for part in branch.parts if part is not None), key=lambda part: part[2].length)
        return [Open(max(bound, low), next(self.numbers), part) for part, low, _ in kept]


def _copied(node: Node) -> Node:
    return Node(*(each.copy() for each in node))
