"""Steady states of jobs that go out and back through a row of devices whose memory is enough for few of them.

Where memory is short, each device's is a row of *slots*: job k + c takes the slot that job k leaves. A period of c jobs
then is about as long as one job is under way, and what decides it is where the jobs that go out meet those that come
back: each pair meets on one link, and waits unless it comes there at the right moment. So a steady state is made from
where jobs start on the line, in whole links (its *places*):

1. Jobs a < b that start n places apart meet n links from the far end: job a runs back first on the last n devices.
2. Near the beginning of the row they may not be as far apart as their places say: a slot that has become free is taken
   at once. Device d is not run back on before c − d jobs more have run out there than back.

So the order of each device is fixed, and the least period of an order is exact. c jobs are spread evenly over some
number of places, which is as large as is best; then single jobs are moved to other places as long as no period gets
longer. What is left to be done late on a device is put one by one into the gaps of that period.

No durations enter into the orders, so they may differ from device to device; then better orders may exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from solver.search import jit, turns
from solver.search.compiled import CompiledProblem, Tokens
from solver.search.stretching import Runner
from solver.search.turns import NEVER, Line, Turns

MOVES_PER_JOB = 40
"""So often each job of a period is moved to another place, on average."""

SLOWER = 20
"""In plain Python so many times fewer moves are made."""

BATCHES = 20
"""Between so many parts of the moves it looks whether to stop."""

WORSE = 2
"""After so many numbers of places in vain no more are tried."""

LOOSER = tuple(1 + step / 400 for step in range(9))
"""Periods at which late tasks are put into gaps, in multiples of the least one."""


@dataclass(frozen=True)
class Row:
    """Chains that go out and back through a row of devices.

    Attributes
    ----------
    out, back : list of int
        For each rank, the chain that runs on the way out, and on the way back.
    late : list of int
        For each rank, the chain that nothing waits for, or −1.
    slots : list of int
        For how many jobs each device has memory.
    """

    out: list[int]
    back: list[int]
    late: list[int]
    slots: list[int]


@dataclass(frozen=True)
class SteadyTurns:
    """A steady state of several jobs.

    Attributes
    ----------
    period : int
        After which the same is done for the next jobs.
    jobs : int
        How many jobs a period has.
    times : dict of int to list of int
        For each chain, when its tasks of one period start.
    missing : int
        How many late tasks found no gap; those start when what they wait for ends.
    """

    period: int
    jobs: int
    times: dict[int, list[int]]
    missing: int


def row_of(compiled: CompiledProblem) -> Row | None:
    """Read a problem as a row of devices through which jobs go out and back; None if it is not one.

    On each device one chain takes memory, and waits for the one that does so on the device before, the first one for
    none; one waits for it and for the one on the device behind; and at most one more, that nothing waits for, waits for
    that. They return what was taken. No others are there.
    """
    if len(compiled.modes) != len(compiled.chains) or any(len(local) not in (2, 3) for local in compiled.local_chains):
        return None
    waits = [{compiled.chain[other] for other, _ in compiled.predecessors[tasks[0]]} for tasks in compiled.chains]
    out = [chain for chain in range(len(waits)) if compiled.modes[chain].take]
    out.sort(key=lambda chain: compiled.topological.index(compiled.chains[chain][0]))
    devices = [compiled.modes[chain].device for chain in out]
    if len(out) != compiled.devices or len(set(devices)) != len(out):
        return None
    if any(waits[chain] != set(out[place - 1 : place]) for place, chain in enumerate(out)):
        return None
    return _row(compiled, waits, out)


def _row(compiled: CompiledProblem, waits: Sequence[set[int]], out: list[int]) -> Row | None:
    """Find the chains on the way back, from the last device on, and the late ones."""
    back: list[int] = []
    late: list[int] = []
    for chain in reversed(out):
        others = [other for other in compiled.local_chains[compiled.modes[chain].device] if other != chain]
        behind = set(back[-1:])
        here = [other for other in others if waits[other] in ({chain} | behind, behind or {chain})]
        rest = [other for other in others if other not in here[:1]]
        if not here or any(waits[other] != {here[0]} for other in rest):
            return None
        back.append(here[0])
        late.append(rest[0] if rest else -1)
    back.reverse()
    late.reverse()
    modes = compiled.modes
    for taker, giver, rest_giver in zip(out, back, late, strict=True):
        returned = modes[giver].give + (modes[rest_giver].give if rest_giver >= 0 else 0)
        if modes[taker].give or modes[taker].take != returned:
            return None
    slots = [compiled.capacities[modes[chain].device] // modes[chain].take for chain in out]
    return Row(out, back, late, slots) if min(slots) >= 1 else None


class SlotSearch:
    """Finds steady states of jobs that go out and back.

    Parameters
    ----------
    runner : Runner
        Of the problem.
    seed : int
        Of all that is drawn.
    may_compile : bool
        Whether numba may take its time.
    stop : callable
        Asked again and again whether to end with what there is.

    Attributes
    ----------
    row : Row or None
        None where nothing is to be found: the problem is not such a row, or memory for all the jobs that are under way
        in a period as long as the work of the busiest device.
    """

    def __init__(
        self, runner: Runner, seed: int, *, may_compile: bool = True, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.runner, self.stop = runner, stop
        self.compiled = runner.compiled
        functions = jit.jitted(turns, may_compile=may_compile)
        self.is_jitted = functions is not None
        self.functions = functions or jit.interpreted(turns)
        self.random = seed % 2147483646 + 1
        row = row_of(self.compiled)
        self.load, self.tightest = 0, 0
        self.row: Row | None = None
        if row is not None:
            self._look(row)

    def _look(self, row: Row) -> None:
        """Find the device whose slots allow least, and whether they allow less than its work does."""
        duration = [mode.duration for mode in self.compiled.modes]
        loads = [sum(duration[chain] for chain in local) for local in self.compiled.local_chains]
        self.load = max(loads)
        holds = least_holds(self.runner, row)
        ranks = range(len(holds))
        self.tightest = max(ranks, key=lambda rank: (holds[rank] / row.slots[rank], -rank))
        if holds[self.tightest] > self.load * row.slots[self.tightest]:
            self.row = row

    @property
    def jobs(self) -> int:
        """How many jobs a period has: as many as the device whose slots allow least has slots."""
        assert self.row is not None
        return self.row.slots[self.tightest]

    def found(self) -> Iterator[SteadyTurns]:
        """Find steady states, each with a period that is no longer than those before, or for fewer missing tasks."""
        line, state = self._line(), self._turns()
        low = self.load * self.jobs
        spread = self._spread(line, state, low)
        if spread is None:
            return
        period, places = spread
        yield from self._settled(line, state, period, places)
        tries = MOVES_PER_JOB * self.jobs // (1 if self.is_jitted else SLOWER)
        self._place(state, places)
        best = period
        for batch in range(BATCHES):
            if self.stop():
                break
            count = tries * (batch + 1) // BATCHES - tries * batch // BATCHES
            best = int(self.functions["moved_places"](line, state, count, low, best))
        if best < period:
            yield from self._settled(line, state, best, [int(place) for place in state.place])

    def _spread(self, line: Any, state: Any, low: int) -> tuple[int, list[int]] | None:
        """Spread the jobs of a period evenly over as many places as is best."""
        assert self.row is not None
        about = len(self.row.out) - self.tightest
        found: list[tuple[int, list[int]]] = []
        for direction in (1, -1):
            best, worse, number = min(found)[0] if found else NEVER, 0, about - (direction < 0)
            while worse < WORSE and number > 0 and not self.stop():
                places = [job * number // self.jobs for job in range(self.jobs)] + [number]
                self._place(state, places)
                if self.functions["put_in_order"](line, state):
                    period = int(self.functions["least_period"](line, state, low, NEVER - 1))
                    if period < NEVER:
                        found.append((period, places))
                        worse = worse + 1 if period >= best else 0
                        best = min(best, period)
                    else:
                        worse += 1
                else:
                    worse += 1
                number += direction
        return min(found) if found else None

    def _settled(self, line: Any, state: Any, period: int, places: list[int]) -> Iterator[SteadyTurns]:
        """Put late tasks into the gaps of a period, or of a longer one."""
        fewest: int | None = None
        for looser in LOOSER:
            if self.stop():
                return
            longer = int(period * looser)
            self._place(state, places)
            self.functions["put_in_order"](line, state)
            if self.functions["settle_times"](line, state, longer):
                continue
            missing = int(self.functions["put_all_late"](line, state, longer))
            if fewest is None or missing < fewest:
                fewest = missing
                yield self._steady(state, longer, missing)
            if not missing:
                return

    def _steady(self, state: Any, period: int, missing: int) -> SteadyTurns:
        assert self.row is not None
        jobs, ranks = self.jobs, len(self.row.out)
        times: dict[int, list[int]] = {}
        for number, chain in enumerate([*self.row.out, *self.row.back, *self.row.late]):
            nodes = range(number * jobs, (number + 1) * jobs)
            if chain < 0:
                continue
            times[chain] = [int(state.time[node]) for node in nodes]
            if number >= 2 * ranks:
                ahead = self.row.back[number - 2 * ranks]
                end = self.compiled.modes[ahead].duration
                times[chain] = [
                    start if state.follow[node] >= 0 else times[ahead][job] + end
                    for job, (node, start) in enumerate(zip(nodes, times[chain], strict=True))
                ]
        return SteadyTurns(period, jobs, times, missing)

    def unrolled(self, steady: SteadyTurns, tasks: int, first: int = 0) -> Tokens | None:
        """Write a steady state out as strings with so many tasks a chain, from some job of the period on.

        None if they cannot be made to run.
        """
        planned: list[list[tuple[int, int]]] = []
        numbers = np.arange(first, first + tasks)
        for local in self.compiled.local_chains:
            times = [
                np.array(steady.times[chain])[numbers % steady.jobs] + numbers // steady.jobs * steady.period
                for chain in local
            ]
            starts: Any = np.concatenate(times)
            tokens: Any = np.repeat(np.array(local), tasks)
            order = np.argsort(starts, kind="stable")
            planned.append([*zip(starts[order].tolist(), tokens[order].tolist(), strict=True)])
        return self.runner.repaired(planned)

    def _packed(self, numbers: Sequence[int]) -> Any:
        return np.array(numbers, dtype=np.int64) if self.is_jitted else list(numbers)

    def _place(self, state: Any, places: Sequence[int]) -> None:
        state.place[:] = self._packed(places)

    def _line(self) -> Any:
        assert self.row is not None
        row, compiled, lattice = self.row, self.compiled, self.runner.lattice
        chains = [*row.out, *row.back, *row.late]
        number = {chain: place for place, chain in enumerate(chains) if chain >= 0}
        waiting: list[list[tuple[int, int]]] = [[] for _ in chains]
        for chain, place in number.items():
            for index in range(int(lattice.wait_start[chain]), int(lattice.wait_start[chain + 1])):
                waiting[number[int(lattice.wait_chain[index])]].append((place, int(lattice.wait_lag[index])))
        modes = compiled.modes
        tight = self.tightest
        return Line(
            duration=self._packed([modes[chain].duration if chain >= 0 else 0 for chain in chains]),
            wait_start=self._packed([0, *accumulate(map(len, waiting))]),
            wait_chain=self._packed([other for each in waiting for other, _ in each]),
            wait_lag=self._packed([lag for each in waiting for _, lag in each]),
            take=self._packed([modes[chain].take for chain in row.out]),
            back_give=self._packed([modes[chain].give for chain in row.back]),
            late_give=self._packed([modes[chain].give if chain >= 0 else 0 for chain in row.late]),
            capacity=self._packed([compiled.capacities[modes[chain].device] for chain in row.out]),
            slots=self._packed(row.slots),
            least=self._packed([max(1, row.slots[tight] + tight - rank) for rank in range(len(row.out))]),
            late=self._packed([int(chain >= 0) for chain in row.late]),
        )

    def _turns(self) -> Any:
        assert self.row is not None
        jobs, ranks = self.jobs, len(self.row.out)
        nodes = 3 * ranks * jobs
        sizes = dict.fromkeys(Turns._fields, nodes)
        sizes |= {"place": jobs + 1, "due": ranks * jobs, "due_step": ranks * jobs, "queue": nodes + 1, "random": 1}
        sizes |= dict.fromkeys(("place_node", "place_step", "place_need"), 3 * jobs)
        made = Turns(**{name: self._packed([0] * size) for name, size in sizes.items()})
        made.random[0] = self.random
        return made


def least_holds(runner: Runner, row: Row) -> list[int]:
    """Compute for each rank how long a job holds its memory there at least, where nothing is waited for."""
    modes, lattice = runner.compiled.modes, runner.lattice
    ends = [0] * len(modes)
    starts = [0] * len(modes)
    for chain in [*row.out, *reversed(row.back), *(chain for chain in row.late if chain >= 0)]:
        for index in range(int(lattice.wait_start[chain]), int(lattice.wait_start[chain + 1])):
            arrival = ends[int(lattice.wait_chain[index])] + int(lattice.wait_lag[index])
            starts[chain] = max(starts[chain], arrival)
        ends[chain] = starts[chain] + modes[chain].duration
    return [
        ends[last if last >= 0 and modes[last].give else back] - starts[out]
        for out, back, last in zip(row.out, row.back, row.late, strict=True)
    ]
