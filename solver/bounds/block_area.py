"""Blocks against memory: what is fused saves work, but whatever passes through a block is held for all of its time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise, repeat
from typing import NamedTuple

import numpy as np

from solver.bounds.analysis import Analysis
from solver.bounds.blocks import BlocksCurve
from solver.bounds.bound import Bound
from solver.bounds.ends import Ends, held_on
from solver.bounds.loads import alone_times
from solver.bounds.passages import Passage
from solver.linear_program import quiet_highs
from solver.problem import Key, Problem
from solver.repetition import is_regular

PARTS = 2**24
"""Weights are counted in such parts of the capacity of the largest memory."""

INFINITE = float("inf")

MOST_CUTS = 40
"""So many lines stand for a curve where the weights are chosen."""


class Pair(NamedTuple):
    """Blocks of tasks of two chains.

    Attributes
    ----------
    device : int
        Where they run.
    first, second : int
        The chains of their halves.
    duration : int
        How long each lasts.
    saving : int
        How much less that is than both halves, with the partner of the second, take alone.
    """

    device: int
    first: int
    second: int
    duration: int
    saving: int


@dataclass(frozen=True)
class Trade:
    """What blocks cost in memory on all devices, and what they save on each.

    Attributes
    ----------
    pairs : list of Pair
        What can be fused.
    sizes : list of int
        For each chain how many tasks it has.
    alone : mapping of int to int
        For each device how long its tasks take outside blocks, with the least head before and the least tail behind.
    curves : mapping of int to BlocksCurve
        For each device where they can be listed, what the number of its blocks leaves.
    areas : mapping of int to (int, int, list of int)
        For each device with limited memory: its capacity, the least area without blocks, and what each block of a pair
        adds to it.
    """

    pairs: list[Pair]
    sizes: list[int]
    alone: dict[int, int]
    curves: dict[int, BlocksCurve]
    areas: dict[int, tuple[int, int, list[int]]]

    @cached_property
    def of_device(self) -> dict[int, list[int]]:
        """Return the pairs of each device."""
        found: dict[int, list[int]] = defaultdict(list)
        for number, pair in enumerate(self.pairs):
            found[pair.device].append(number)
        return found


def block_area_bound(
    problem: Problem,
    found: Analysis,
    curves: Iterable[BlocksCurve],
    known: int,
    copies: Mapping[Key, int],
    ends: Mapping[int, tuple[int, int]],
) -> Bound | None:
    """Bound the makespan by the blocks of all devices together, and the memory that they need.

    Let x_q be the number of blocks of each pair q of chains (a first half f, a second half s on one device), N_d the
    sum of those on device d. In a schedule of length T:

    - *Work.* T ≥ c_d(N_d), the curve of `blocks_curve`; and T ≥ A_d − Σ saving_q x_q, the sum over the pairs of d, with
      A_d the time that all tasks of d take outside blocks with the least head before and the least tail behind them.
    - *Holds.* Take a hold, a path of precedences from its take to the task that returns a part of it, all at one place
      of their chains, so that every hold of these chains has such a path. The tasks on it are run by different actions,
      one after the other: what waits for a task waits for the end of its action. (An exception are a second half and
      its partner, which count together.) A task's action lasts at least as long as the task where it is in no block,
      and as the block where it is in one. So the part is held for the length of the path outside blocks, and for each
      of its tasks that is in a block, by (block − task) longer, which may be negative. Summed over all holds of a
      device, a block of pair q adds k_dq to the area, from f wherever a path of the device passes through its chain,
      and from s likewise: area_d ≥ a_d + Σ k_dq x_q, summed over the pairs of *all* devices, since a microbatch is held
      on one device while it passes through blocks of others.
    - *Memory.* The area is no larger than what can be live: capacity_d · T ≥ a_d + free_d + Σ k_dq x_q, where free_d is
      what stays free at the ends (`solver.bounds.ends.Ends`). Tasks that are alike may be exchanged for
      that: neither what is live at a moment nor the sum of the holds' lengths changes.

    With any weights z_d, u_d, y_d ≥ 0 of the three kinds, added up:

        (Σ z + Σ u + Σ capacity y) T ≥ Σ y (a + free) + Σ u A + Σ_d [ z_d c_d(N_d) + Σ_q w_q x_q ],
        w_q = Σ_e y_e k_eq − u_d saving_q.

    What N_d blocks add is at least the N_d least costs of first halves, each with the best of second halves, and so for
    second halves; and the same if a part of the cost, any for each chain, is charged to second halves (`_least_costs`).
    The least of the bracket over N_d bounds T. The weights are chosen by a linear program, in floating point; whichever
    they are, the bound holds, and it is worked out from them in whole numbers.

    Nothing here looks at single tasks beyond the curves and what is free, so tasks that are left out of what is written
    down take part like the others.

    Parameters
    ----------
    problem : Problem
        What is scheduled, or what is written down of it.
    found : Analysis
        Of it.
    curves : iterable of BlocksCurve
        c_d, of devices whose tasks are not too many.
    known : int
        A bound on the makespan, in ticks.
    copies : mapping of Key to int
        For how many tasks each stands.
    ends : mapping of int to (int, int)
        For each device, as for `area_bound`.

    Returns
    -------
    Bound or None
        None where nothing fuses or no memory is limited, where the problem does not repeat or its durations are too
        large for 64 bits, and where it is not above what is known.
    """
    if not is_regular(problem):
        return None
    sizes = [sum(copies[key] for key in chain) for chain in problem.chains]
    listed = {curve.device: curve for curve in curves if curve.possible()}
    pairs = _pairs(problem)
    held = held_on(problem, sizes)
    if not pairs or not any(problem.capacities[device] for device in held):
        return None
    unused = Ends(problem, found, held)
    areas = {
        device: (
            problem.capacities[device] or 0,
            each.area + unused.free(device, known, ends[device]),
            [_longer(each.parts, pair) for pair in pairs],
        )
        for device, each in held.items()
    }
    trade = Trade(pairs, sizes, _alone_loads(problem, found, sizes), listed, areas)
    weights = _Program(trade, max(1, known)).weights()
    value = 0 if weights is None else weights.bound(trade)
    return Bound(value, "block area") if value > known else None


def _alone_loads(problem: Problem, found: Analysis, sizes: Sequence[int]) -> dict[int, int]:
    """Find for each device A_d."""
    loads = {view.device: sum(int(times.min()) for times in found.of(view)) for view in found.views}
    partners = set(problem.partners.values())
    for chain, size in zip(problem.chains, sizes, strict=True):
        if chain[0] not in partners:
            loads[problem.tasks[chain[0]].device] += size * sum(alone_times(problem, chain[0]))
    return loads


def _longer(parts: Sequence[tuple[int, Passage]], pair: Pair) -> int:
    """Compute by how much a block lengthens passages: by what it lasts longer than those of its tasks on them."""
    halves = (pair.first, pair.second)
    return sum(
        part * (pair.duration - passage.counted[half])
        for part, passage in parts
        for half in halves
        if half in passage.counted
    )


def _pairs(problem: Problem) -> list[Pair]:
    fusing = problem.fusing
    heads = list(enumerate(chain[0] for chain in problem.chains))
    found = []
    for first, one in heads:
        for second, other in heads:
            duration = fusing.duration(one, other)
            device = problem.tasks[one].device
            if duration is not None and device == problem.tasks[other].device:
                saving = problem.tasks[one].duration + sum(alone_times(problem, other)) - duration
                found.append(Pair(device, first, second, duration, saving))
    return found


@dataclass(frozen=True)
class Weights:
    """Whole weights of the rows, by device.

    Attributes
    ----------
    curves, loads, areas : mapping of int to int
        z, u and y.
    """

    curves: dict[int, int]
    loads: dict[int, int]
    areas: dict[int, int]

    def bound(self, trade: Trade) -> int:
        """Work out what the weights prove, rounded up to a whole number."""
        total = sum(self.curves.values()) + sum(self.loads.values())
        total += sum(trade.areas[device][0] * weight for device, weight in self.areas.items())
        if not total:
            return 0
        value = sum(trade.areas[device][1] * weight for device, weight in self.areas.items())
        value += sum(trade.alone[device] * weight for device, weight in self.loads.items())
        for device in {*trade.of_device, *self.curves}:
            value += self._least(trade, device)
        return -(-value // total)

    def _least(self, trade: Trade, device: int) -> int:
        """Bound what the blocks of a device add, however many there are."""
        costs = {
            (pair.first, pair.second): sum(trade.areas[other][2][number] * y for other, y in self.areas.items())
            - self.loads.get(device, 0) * pair.saving
            for number in trade.of_device.get(device, ())
            for pair in [trade.pairs[number]]
        }
        weight = self.curves.get(device, 0)
        if not weight:
            return max(sum(min(0, cost) * count for cost, count in runs) for runs in _least_costs(costs, trade.sizes))
        sums = [
            accumulate((c for run in runs for c in repeat(*run)), initial=0)
            for runs in _least_costs(costs, trade.sizes)
        ]
        added: Iterator[int] = map(max, *sums)
        curve = trade.curves[device]
        least: list[int] = curve.least.tolist()
        return min(weight * time + more for time, more in zip(least, added, strict=False) if time < curve.impossible)


def _least_costs(costs: Mapping[tuple[int, int], int], sizes: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Bound what blocks cost one by one, the cheapest first, in three ways, as (cost, count).

    However costs are split between the two sides, cost(f, s) = r(f, s) + e(s): N blocks have N different first halves
    and N different second halves, so they cost at least the N least of min_s r(f, ·) and the N least of e. Here e is 0;
    r is 0; or e is about the mean cost of s, which is exact where the costs of f and of s do not know of each other.
    """
    firsts, seconds = dict.fromkeys(f for f, _ in costs), dict.fromkeys(s for _, s in costs)
    mean = {
        second: sum(found) // len(found)
        for second in seconds
        for found in [[cost for (_, s), cost in costs.items() if s == second]]
    }
    by_first = sorted((min(c for (f, _), c in costs.items() if f == first), sizes[first]) for first in firsts)
    by_second = sorted((min(c for (_, s), c in costs.items() if s == second), sizes[second]) for second in seconds)
    rests = sorted((min(c - mean[s] for (f, s), c in costs.items() if f == first), sizes[first]) for first in firsts)
    means = sorted((mean[second], sizes[second]) for second in seconds)
    return [by_first, by_second, _added(rests, means)]


def _added(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Add the numbers of two runs, place by place, as far as both go."""
    left, queue = [list(run) for run in one], [list(run) for run in other]
    found: list[tuple[int, int]] = []
    while left and queue:
        count = min(left[0][1], queue[0][1])
        found.append((left[0][0] + queue[0][0], count))
        for runs in (left, queue):
            runs[0][1] -= count
            if not runs[0][1]:
                runs.pop(0)
    return found


class _Program:
    """The linear program whose multipliers are the weights: T and the number of blocks of each pair, in floats."""

    def __init__(self, trade: Trade, scale: int) -> None:
        self.trade, self.scale = trade, float(scale)
        self.model = quiet_highs()
        none = np.array([], dtype=np.int32)
        sizes = trade.sizes
        for pair in trade.pairs:
            most = float(min(sizes[pair.first], sizes[pair.second]))
            self.model.addCol(0.0, 0.0, most, 0, none, none.astype(float))
        self.model.addCol(1.0, 0.0, INFINITE, 0, none, none.astype(float))
        self.rows: list[tuple[str, int]] = []
        self._fill()

    def _fill(self) -> None:
        trade = self.trade
        for device, numbers in trade.of_device.items():
            for cut in _cuts(trade.curves[device]) if device in trade.curves else ():
                self._add("curve", device, numbers, [-cut[0]] * len(numbers), cut[1])
            savings = [trade.pairs[number].saving for number in numbers]
            self._add("load", device, numbers, savings, trade.alone[device])
            for half in ("first", "second"):
                self._add_supplies(half, numbers)
        for device, (capacity, area, added) in trade.areas.items():
            if capacity:
                numbers = [number for number, each in enumerate(added) if each]
                self._add("area", device, numbers, [-added[n] / capacity for n in numbers], area / capacity)

    def _add(self, kind: str, device: int, numbers: Sequence[int], factors: Sequence[float], least: float) -> None:
        """Add T + Σ factor x ≥ least."""
        places = np.array([*numbers, len(self.trade.pairs)], dtype=np.int32)
        values = np.array([*(float(factor) / self.scale for factor in factors), 1.0])
        self.model.addRow(float(least) / self.scale, INFINITE, len(places), places, values)
        self.rows.append((kind, device))

    def _add_supplies(self, half: str, numbers: Sequence[int]) -> None:
        by_chain: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            by_chain[getattr(self.trade.pairs[number], half)].append(number)
        for chain, members in by_chain.items():
            places = np.array(members, dtype=np.int32)
            most = float(self.trade.sizes[chain])
            self.model.addRow(-INFINITE, most, len(places), places, np.ones(len(places)))
            self.rows.append(("supply", chain))

    def weights(self) -> Weights | None:
        """Solve it; None where it has no solution."""
        from highspy import HighsModelStatus

        self.model.run()
        if self.model.getModelStatus() != HighsModelStatus.kOptimal:
            return None
        found: dict[str, dict[int, int]] = {"curve": {}, "load": {}, "area": {}, "supply": {}}
        parts = PARTS * max(capacity for capacity, _, _ in self.trade.areas.values())
        for (kind, device), dual in zip(self.rows, self.model.getSolution().row_dual, strict=True):
            size = self.trade.areas[device][0] if kind == "area" else 1
            weight = round(max(0.0, dual) * (parts // size))
            if weight:
                found[kind][device] = found[kind].get(device, 0) + weight
        return Weights(found["curve"], found["load"], found["area"])


def _cuts(curve: BlocksCurve) -> Iterator[tuple[float, float]]:
    """List the lines below a curve that touch it, by slope and value at 0: some of them, where there are many."""
    points = curve.possible()
    hull: list[tuple[int, int]] = []
    for x, y in points:
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) >= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    if len(hull) == 1:
        yield 0.0, float(hull[0][1])
    edges = list(pairwise(hull))
    for (x, y), (further, value) in edges[:: -(-len(edges) // MOST_CUTS) or 1]:
        slope = (value - y) / (further - x)
        yield slope, y - slope * x
