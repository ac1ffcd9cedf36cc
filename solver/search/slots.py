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

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, count
from typing import Any, NamedTuple

import numpy as np

from solver import jit
from solver.round_trips import RoundTrip, round_trip_of
from solver.search import turns
from solver.search.compiled import CompiledProblem, Tokens
from solver.search.stretching import Periodic, Runner, periods
from solver.search.turns import NEVER, Line, TurnState

WORSE = 2
"""After so many numbers of places in vain no more are tried."""

LOOSER = (1.0, 1.0025, 1.005, 1.01, 1.02, 1.04)
"""Periods at which late tasks are put into gaps, in multiples of the least one."""

LONGER = 1.01
"""What has a longer period than this multiple of the present one's is not looked at further."""

STALE = 25
"""After so many moves for each job of a period in vain it begins again with the jobs spread evenly."""

TURNED = 0.1
"""The part of the moves that begin with another job of the period, in place of moving jobs."""

LARGEST_PLAIN = 1000
"""With more nodes than this nothing is done in plain Python: a period takes too long."""

LEAST_PERIODS = 6
"""A schedule of so many periods shows what a longer one is like."""

LARGEST_RUN = 30_000
"""A schedule of more tasks is not run to value a steady state, but one of some periods less."""


@dataclass(frozen=True)
class Track(RoundTrip):
    """A row of devices through which jobs go out and back.

    Attributes
    ----------
    slots : list of int
        For how many jobs each device has memory.
    """

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


def track_of(compiled: CompiledProblem) -> Track | None:
    """Read a problem as a row of devices through which jobs go out and back; None if it is not one.

    On each device the chain on the way out takes memory, and the others return it.
    """
    if len(compiled.modes) != len(compiled.chains):
        return None
    modes = compiled.modes
    waits = [{compiled.chain[other] for other, _ in compiled.predecessors[tasks[0]]} for tasks in compiled.chains]
    trip = round_trip_of([mode.device for mode in modes], waits)
    if trip is None or len(trip.out) != compiled.devices:
        return None
    for taker, giver, rest_giver in zip(trip.out, trip.back, trip.late, strict=True):
        returned = modes[giver].give + (modes[rest_giver].give if rest_giver >= 0 else 0)
        if modes[taker].give or not modes[taker].take or modes[taker].take != returned:
            return None
    slots = [compiled.capacities[modes[chain].device] // modes[chain].take for chain in trip.out]
    return Track(trip.out, trip.back, trip.late, slots) if min(slots) >= 1 else None


class Turned(NamedTuple):
    """A steady state, and the schedule that is made of it.

    Attributes
    ----------
    length : int
        How long the schedule is; of a very long one, what fewer periods take, and the period for each of the others.
    steady : SteadyTurns
        The steady state.
    first : int
        With which job of the period it begins.
    places : list of int
        Where the jobs of the period start on the line, and by how many places a period is longer.
    """

    length: int
    steady: SteadyTurns
    first: int
    places: list[int]


class SlotSearch:
    """Finds steady states of jobs that go out and back.

    Parameters
    ----------
    runner : Runner
        Of the problem, with any number of tasks of each chain.
    tasks : int
        How many tasks of each chain the schedule is to have.
    seed : int
        Of all that is drawn.
    may_compile : bool
        Whether numba may take its time.
    stop : callable
        Asked again and again whether to end with what there is.

    Attributes
    ----------
    track : Track or None
        None where nothing is to be found: the problem is not such a row, or memory is enough for all jobs that are
        under way while the busiest device does its work for them, even if each waits once to let another pass; or for
        all there are.
    load : int
        The work of the busiest device for one job.
    needed : Fraction
        No period is shorter than this for each of its jobs: the memory of the tightest device.
    best : Turned or None
        The shortest schedule that was found.
    """

    def __init__(
        self,
        runner: Runner,
        tasks: int,
        seed: int,
        *,
        may_compile: bool = True,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.runner, self.tasks, self.stop = runner, tasks, stop
        self.compiled = runner.compiled
        functions = jit.jitted(turns, may_compile=may_compile)
        self.is_jitted = functions is not None and runner.is_jitted
        self.functions = functions if functions is not None and self.is_jitted else jit.interpreted(turns)
        self.random = random.Random(seed)  # noqa: S311
        self.best: Turned | None = None
        self.now: Turned | None = None
        self.spread: Turned | None = None
        track = track_of(self.compiled)
        self.load, self.tightest, self.needed = 0, 0, Fraction(0)
        self.track: Track | None = None
        if track is not None:
            self._look(track)

    def _look(self, track: Track) -> None:
        """Find the device whose slots allow least, and whether that may be less than the work of the busiest."""
        duration = [mode.duration for mode in self.compiled.modes]
        loads = [sum(duration[chain] for chain in local) for local in self.compiled.local_chains]
        self.load = max(loads)
        needed = least_periods(self.runner, track)
        self.tightest = needed.index(max(needed))
        self.needed = needed[self.tightest]
        modes, slots = self.compiled.modes, track.slots[self.tightest]
        meeting = modes[track.out[self.tightest]].duration + modes[track.back[self.tightest]].duration
        is_short = slots < len(track.out) - self.tightest and self.needed + Fraction(meeting, slots) > self.load
        if self.tasks > slots and (self.needed > self.load or is_short):
            self.track = track
            self.line, self.state = self._line(), self._turns()

    @property
    def jobs(self) -> int:
        """How many jobs a period has: as many as the device whose slots allow least has slots."""
        assert self.track is not None
        return self.track.slots[self.tightest]

    @property
    def is_possible(self) -> bool:
        """Whether there is anything to be found, in the time that plain Python takes if need be."""
        return self.track is not None and (self.is_jitted or len(self.state.time) <= LARGEST_PLAIN)

    def run(self) -> Iterator[Turned]:
        """Find shorter and shorter schedules until it is time to stop; it goes on from there when it is called again.

        A move shifts some jobs in a row by a place, or begins with another job. It is kept if the schedule gets no
        longer.
        """
        if self.now is None:
            self.now = None if self.track is None else self._spread()
            if self.now is None:
                return
            self.best = self.spread = self.now
            yield self.now
        stale = 0
        while not self.stop():
            places, first = self._moved(self.now)
            tried = None if places is None else self._valued(places, first)
            stale = 0 if tried is not None and tried.length < self.now.length else stale + 1
            if stale > STALE * self.jobs:
                self.now, stale = self.spread or self.now, 0
                continue
            if tried is None or tried.length > self.now.length:
                continue
            self.now = tried
            if self.best is None or tried.length < self.best.length:
                self.best = tried
                yield tried

    def _moved(self, now: Turned) -> tuple[list[int] | None, int]:
        """Shift some jobs, or begin with another one; None for places that are out of order."""
        jobs, draw = self.jobs, self.random
        if jobs == 1 or draw.random() < TURNED:
            return now.places, draw.randrange(jobs)
        places, by = list(now.places), draw.choice((1, -1))
        begin, count = draw.randrange(jobs), draw.randrange(1, jobs)
        for job in range(begin, begin + count):
            places[job % jobs] += by
        least = min(places[:jobs])
        shifted = [place - least for place in places[:jobs]]
        ahead = [*shifted[1:], shifted[0] + places[jobs]]
        in_order = all(here <= then for here, then in zip(shifted, ahead, strict=True))
        return [*shifted, places[jobs]] if in_order else None, now.first

    def _spread(self) -> Turned | None:
        """Spread the jobs of a period evenly over as many places as is best."""
        assert self.track is not None
        jobs, about = self.jobs, len(self.track.out) - self.tightest
        found: list[tuple[int, list[int]]] = []
        for numbers in (count(about), range(about - 1, 0, -1)):
            worse = 0
            for number in numbers:
                places = [*(job * number // jobs for job in range(jobs)), number]
                period = self._least_period(places, NEVER - 1)
                worse = worse + 1 if period >= min(found, default=(NEVER,))[0] else 0
                if period < NEVER:
                    found.append((period, places))
                if worse > WORSE or (self.stop() and found):
                    break
        return self._valued(min(found)[1], 0) if found else None

    def _least_period(self, places: Sequence[int], most: int) -> int:
        self._place(places)
        if not self.functions["put_in_order"](self.line, self.state):
            return NEVER
        return int(self.functions["least_period"](self.line, self.state, self.load * self.jobs, most))

    def _valued(self, places: list[int], first: int) -> Turned | None:
        """Make a schedule of places; None if its period is too long."""
        most = NEVER - 1 if self.now is None else int(self.now.steady.period * LONGER)
        period = self._least_period(places, most)
        if period > most:
            return None
        steady = self._steady(places, period)
        left_out = max(0, self.tasks * len(self.compiled.chains) - LARGEST_RUN)
        periods = -(-left_out // (self.jobs * len(self.compiled.chains)))
        periods = min(periods, max(0, self.tasks // self.jobs - LEAST_PERIODS))
        tokens = self.unrolled(steady, first, periods)
        length = None if tokens is None else self.runner.makespan(tokens)
        return None if length is None else Turned(length + periods * steady.period, steady, first, places)

    def _steady(self, places: list[int], period: int) -> SteadyTurns:
        """Put late tasks into the gaps of a period, or of a longer one."""
        best: SteadyTurns | None = None
        for looser in LOOSER:
            longer = int(period * looser)
            self._place(places)
            self.functions["put_in_order"](self.line, self.state)
            if self.functions["settle_times"](self.line, self.state, longer):
                continue
            missing = int(self.functions["put_all_late"](self.line, self.state, longer))
            if best is None or missing < best.missing:
                best = self._read(longer, missing)
            if not missing:
                break
        assert best is not None
        return best

    def _read(self, period: int, missing: int) -> SteadyTurns:
        assert self.track is not None
        state = self.state
        jobs, ranks = self.jobs, len(self.track.out)
        times: dict[int, list[int]] = {}
        for number, chain in enumerate([*self.track.out, *self.track.back, *self.track.late]):
            nodes = range(number * jobs, (number + 1) * jobs)
            if chain < 0:
                continue
            times[chain] = [int(state.time[node]) for node in nodes]
            if number >= 2 * ranks:
                ahead = self.track.back[number - 2 * ranks]
                end = self.compiled.modes[ahead].duration
                times[chain] = [
                    start if state.follow[node] != node else times[ahead][job] + end
                    for job, (node, start) in enumerate(zip(nodes, times[chain], strict=True))
                ]
        return SteadyTurns(period, jobs, times, missing)

    def unrolled(self, steady: SteadyTurns, first: int, less: int = 0) -> Tokens | None:
        """Write a steady state out as strings, from some job of the period on and with some periods less.

        None if they cannot be made to run.
        """
        planned: list[list[tuple[int, int]]] = []
        count = self.tasks - less * steady.jobs
        numbers = np.arange(first, first + count)
        for local in self.compiled.local_chains:
            times = [
                np.array(steady.times[chain])[numbers % steady.jobs] + numbers // steady.jobs * steady.period
                for chain in local
            ]
            starts: Any = np.concatenate(times)
            tokens: Any = np.repeat(np.array(local), count)
            order = np.argsort(starts, kind="stable")
            planned.append([*zip(starts[order].tolist(), tokens[order].tolist(), strict=True)])
        return self.runner.repaired(planned)

    def periodic(self, turned: Turned) -> tuple[Periodic, int] | None:
        """Write a schedule with one period that repeats, and how often; None if no period can be cut out of it."""
        steady, less = turned.steady, max(0, self.tasks // self.jobs - 2 * LEAST_PERIODS)
        tokens = self.unrolled(steady, turned.first, less)
        timed = None if tokens is None else self.runner.timed(tokens)
        if tokens is None or timed is None:
            return None
        if not less:
            empty: Tokens = [[] for _ in tokens]
            return Periodic(tokens, empty, empty, 1), 0
        asked = count()

        def stop() -> bool:
            return next(asked) > 0 and self.stop()  # one cut at least is tried

        found = periods(self.runner, timed, less * self.jobs, turned.length, stop, steady.jobs)
        return None if found is None else found[1:]

    def _packed(self, numbers: Sequence[int]) -> Any:
        return np.array(numbers, dtype=np.int64) if self.is_jitted else list(numbers)

    def _place(self, places: Sequence[int]) -> None:
        self.state.place[:] = self._packed(places)

    def _line(self) -> Any:
        assert self.track is not None
        track, compiled, lattice = self.track, self.compiled, self.runner.lattice
        chains = [*track.out, *track.back, *track.late]
        number = {chain: place for place, chain in enumerate(chains) if chain >= 0}
        waiting: list[list[tuple[int, int]]] = [[] for _ in chains]
        for chain, place in number.items():
            for index in range(int(lattice.wait_start[chain]), int(lattice.wait_start[chain + 1])):
                waiting[number[int(lattice.wait_chain[index])]].append((place, int(lattice.wait_lag[index])))
        modes = compiled.modes
        tight, ranks = self.tightest, len(track.out)
        duration = [modes[chain].duration if chain >= 0 else 0 for chain in chains]
        late = [0] * ranks + duration[2 * ranks :] + [0] * ranks
        return Line(
            duration=self._packed(duration),
            with_late=self._packed([sum(both) for both in zip(duration, late, strict=True)]),
            wait_start=self._packed([0, *accumulate(map(len, waiting))]),
            wait_chain=self._packed([other for each in waiting for other, _ in each]),
            wait_lag=self._packed([lag for each in waiting for _, lag in each]),
            take=self._packed([modes[chain].take for chain in track.out]),
            back_give=self._packed([modes[chain].give for chain in track.back]),
            late_give=self._packed([modes[chain].give if chain >= 0 else 0 for chain in track.late]),
            capacity=self._packed([compiled.capacities[modes[chain].device] for chain in track.out]),
            slots=self._packed(track.slots),
            least=self._packed([max(1, track.slots[tight] + tight - rank) for rank in range(ranks)]),
            late=self._packed([int(chain >= 0) for chain in track.late]),
        )

    def _turns(self) -> Any:
        assert self.track is not None
        jobs, ranks = self.jobs, len(self.track.out)
        nodes = 3 * ranks * jobs
        sizes = dict.fromkeys(TurnState._fields, nodes)
        sizes |= {"place": jobs + 1, "queue": nodes + 1}
        sizes |= dict.fromkeys(("place_node", "place_step", "place_need"), 3 * jobs)
        return TurnState(**{name: self._packed([0] * size) for name, size in sizes.items()})


def least_periods(runner: Runner, track: Track) -> list[Fraction]:
    """Bound for each rank how much time the memory there needs for each job, if none ever waits.

    A job holds all that it takes until it has run back, so its slot is taken for that long; where all is held until the
    late task has ended, for the time of that, too. And what jobs hold, times how long, is no more than the capacity
    times the period.
    """
    modes, lattice = runner.compiled.modes, runner.lattice
    ends = [0] * len(modes)
    starts = [0] * len(modes)
    for chain in [*track.out, *reversed(track.back)]:
        for index in range(int(lattice.wait_start[chain]), int(lattice.wait_start[chain + 1])):
            arrival = ends[int(lattice.wait_chain[index])] + int(lattice.wait_lag[index])
            starts[chain] = max(starts[chain], arrival)
        ends[chain] = starts[chain] + modes[chain].duration
    needed: list[Fraction] = []
    for out, back, late, slots in zip(track.out, track.back, track.late, track.slots, strict=True):
        under_way = ends[back] - starts[out]
        left, rest = (modes[late].duration, modes[late].give) if late >= 0 else (0, 0)
        area = modes[out].take * under_way + rest * left
        capacity = runner.compiled.capacities[modes[out].device]
        whole = under_way + (left if rest == modes[out].take else 0)
        needed.append(max(Fraction(whole, slots), Fraction(area, capacity)))
    return needed
