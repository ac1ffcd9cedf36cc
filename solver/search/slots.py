"""Steady states of jobs that go out and back through a row of devices with memory for only a few of them.

If memory is short, each device's memory is a row of *slots*: job k + c takes the slot that job k leaves. A period of c
jobs is then about as long as one job is in progress, and it depends on where the jobs that go out meet those that come
back: each pair meets on one link, and waits unless it arrives there at the right moment. So a steady state is made from
the positions where jobs start on the line, in whole links (its *places*):

1. Jobs a < b that start n places apart meet n links from the far end: job a runs back first on the last n devices.
2. Near the beginning of the row, jobs may be closer together than their places say: a free slot is taken at once. On
   device d, no job runs back before c − d more jobs have run out there than back.

So the order of each device is fixed, and the least period of an order is exact. c jobs are spread evenly over the best
number of places; then single jobs are moved to other places as long as the period does not get longer. Late tasks of a
device are put one by one into the gaps of that period.

The orders do not depend on durations, so durations may differ between devices; better orders may then exist.
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
from solver.search import trips
from solver.search.compiled import CompiledProblem, Tokens
from solver.search.stretching import Periodic, Runner, periods
from solver.search.trips import NEVER, Line, TripState

WORSE = 2
"""The search for the number of places stops after more than this many numbers without improvement."""

LOOSER = (1.0, 1.0025, 1.005, 1.01, 1.02, 1.04)
"""Periods to try when putting late tasks into gaps, in multiples of the least one."""

LONGER = 1.01
"""Candidates with a period longer than this multiple of the current one are dropped."""

STALE = 25
"""Failed moves per job of a period before the search restarts with the jobs spread evenly."""

TURNED = 0.1
"""Share of the moves that choose another first job of the period instead of moving jobs."""

LARGEST_PLAIN = 1000
"""Above this many nodes, nothing is done in plain Python: a period takes too long."""

LEAST_PERIODS = 6
"""The least number of periods in a schedule that represents longer ones."""

LARGEST_RUN = 30_000
"""Above this many tasks, a steady state is valued on a schedule with fewer periods."""


@dataclass(frozen=True)
class Track(RoundTrip):
    """A row of devices through which jobs go out and back.

    Attributes
    ----------
    slots : list of int
        The number of jobs that fit in each device's memory.
    """

    slots: list[int]


@dataclass(frozen=True)
class SteadyTrips:
    """A steady state of several jobs.

    Attributes
    ----------
    period : int
        The time after which the schedule repeats with the next jobs.
    jobs : int
        The number of jobs in a period.
    times : dict of int to list of int
        For each chain, the starts of its tasks in one period.
    missing : int
        The number of late tasks that found no gap; they start when their predecessors end.
    """

    period: int
    jobs: int
    times: dict[int, list[int]]
    missing: int


def track_of(compiled: CompiledProblem) -> Track | None:
    """Read a problem as a row of devices through which jobs go out and back; None if it is not such a row.

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


class TripSchedule(NamedTuple):
    """A steady state, and the schedule made of it.

    Attributes
    ----------
    length : int
        The length of the schedule; if it is very long, the length with fewer periods, plus the period for each of the
        others.
    steady : SteadyTrips
        The steady state.
    first : int
        The job of the period that comes first.
    places : list of int
        Where the jobs of the period start on the line; and the number of places that a period advances.
    """

    length: int
    steady: SteadyTrips
    first: int
    places: list[int]


class SlotSearch:
    """Finds steady states of jobs that go out and back.

    Parameters
    ----------
    runner : Runner
        Runs the problem, with any number of tasks of each chain.
    tasks : int
        The number of tasks of each chain in the wanted schedule.
    seed : int
        Seed of all random numbers.
    may_compile : bool
        Whether numba may take time to compile.
    stop : callable
        Called regularly; the search ends with its results so far when it returns True.

    Attributes
    ----------
    track : Track or None
        None if nothing can be found: the problem is not such a row; or memory suffices for all jobs, or for all that
        are in progress while the busiest device does its work for them, even if each waits once to let another pass.
    load : int
        The work of the busiest device for one job.
    needed : Fraction
        A lower bound of the period per job, from the memory of the tightest device.
    best : TripSchedule or None
        The shortest schedule found.
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
        functions = jit.jitted(trips, may_compile=may_compile)
        self.is_jitted = functions is not None and runner.is_jitted
        self.functions = functions if functions is not None and self.is_jitted else jit.interpreted(trips)
        self.random = random.Random(seed)  # noqa: S311
        self.best: TripSchedule | None = None
        self.now: TripSchedule | None = None
        self.spread: TripSchedule | None = None
        track = track_of(self.compiled)
        self.load, self.tightest, self.needed = 0, 0, Fraction(0)
        self.track: Track | None = None
        if track is not None:
            self._look(track)

    def _look(self, track: Track) -> None:
        """Find the device with the most restrictive slots, and whether they may matter more than the largest load."""
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
        """The number of jobs in a period: the number of slots of the most restrictive device."""
        assert self.track is not None
        return self.track.slots[self.tightest]

    @property
    def is_possible(self) -> bool:
        """Whether anything can be found, even in the time that plain Python would take if nothing is compiled."""
        return self.track is not None and (self.is_jitted or len(self.state.time) <= LARGEST_PLAIN)

    def run(self) -> Iterator[TripSchedule]:
        """Yield shorter and shorter schedules until stopped; a further call continues from there.

        A move shifts some consecutive jobs by a place, or chooses another first job. It is kept if the schedule gets no
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

    def _moved(self, now: TripSchedule) -> tuple[list[int] | None, int]:
        """Shift some jobs, or choose another first one; None for places that are out of order."""
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

    def _spread(self) -> TripSchedule | None:
        """Spread the jobs of a period evenly over the best number of places."""
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

    def _valued(self, places: list[int], first: int) -> TripSchedule | None:
        """Make a schedule from places; None if its period is too long."""
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
        return None if length is None else TripSchedule(length + periods * steady.period, steady, first, places)

    def _steady(self, places: list[int], period: int) -> SteadyTrips:
        """Put late tasks into the gaps of a period, or of a longer one."""
        best: SteadyTrips | None = None
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

    def _read(self, period: int, missing: int) -> SteadyTrips:
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
        return SteadyTrips(period, jobs, times, missing)

    def unrolled(self, steady: SteadyTrips, first: int, less: int = 0) -> Tokens | None:
        """Write a steady state as strings, from some job of the period on and with some periods fewer.

        Return None if the strings cannot be made to run.
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

    def periodic(self, turned: TripSchedule) -> tuple[Periodic, int] | None:
        """Write a schedule with one repeating period, and the number of copies; None if no period can be cut out."""
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
            return next(asked) > 0 and self.stop()  # at least one cut is tried

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
        sizes = dict.fromkeys(TripState._fields, nodes)
        sizes |= {"place": jobs + 1, "queue": nodes + 1}
        sizes |= dict.fromkeys(("place_node", "place_step", "place_need"), 3 * jobs)
        return TripState(**{name: self._packed([0] * size) for name, size in sizes.items()})


def least_periods(runner: Runner, track: Track) -> list[Fraction]:
    """For each rank, bound the time per job that its memory requires, if no job ever waits.

    A job holds everything that it takes until it has run back, so its slot is occupied for that long; if everything is
    held until the late task has ended, the slot is occupied for the late task's time as well. And the sum of held
    memory times holding time is at most the capacity times the period.
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
