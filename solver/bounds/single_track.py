"""What little memory costs in a row of devices beyond the area of its holds: trains that meet on a single track."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import accumulate, pairwise

from solver.bounds.analysis import Analysis
from solver.bounds.slot_turns import SlotTurns
from solver.problem import Key, Problem
from solver.repetition import Place, is_regular, places_of
from solver.round_trips import round_trip_of

LARGEST_TURNS = 2
"""Tails are raised by this many numbers of turns each, the largest ones; of the others little more comes."""


ENDS = 3
"""From so many turns at one end to so many at the other slots are followed."""


GROUPS = 32
"""Of more slots than this, only so many numbers of them are tried."""


@dataclass(frozen=True)
class Row:
    """Devices in a row through which jobs go forth and back, with memory on the first one for a few of them.

    Job k runs F on devices 0, 1, … p − 1 and I on p − 1, … 1, 0, each of them after a lag behind the one before, and
    then W on device 0. There it holds memory from the start of F to the end of W, or a part of it until then.

    Attributes
    ----------
    forwards, to_inputs : tuple of int
        How long F and I take on devices 0, 1, … p − 1, in ticks.
    lags : tuple of int
        By link, from that of devices 0 and 1 on: the lags of both ways together. 2l each if they are alike.
    to_weight : int
        How long W takes on device 0.
    live : int
        c: job k + c starts on device 0 no earlier than W of job k ends there.
    chain : int
        The chain of the F of device 0.
    amount : int
        What a job holds there from F to W, if it holds all of it; else 0.
    """

    forwards: tuple[int, ...]
    to_inputs: tuple[int, ...]
    lags: tuple[int, ...]
    to_weight: int
    live: int
    chain: int
    amount: int

    @property
    def forward(self) -> int:
        """How long F takes on device 0, so how far apart jobs start at least."""
        return self.forwards[0]

    @property
    def is_loose(self) -> bool:
        """Whether the work of c jobs on device 0 is longer than R + (c − 1)D, and so than what slots show."""
        load = self.forwards[0] + self.to_inputs[0] + self.to_weight
        return self.live * load > self.turn + (self.live - 1) * max(0, self.turns.behind)

    @property
    def turn(self) -> int:
        """R: the least time from the start of F to the end of W on device 0."""
        return sum(self.forwards) + sum(self.to_inputs) + sum(self.lags) + self.to_weight

    @property
    def is_even(self) -> bool:
        """Whether all F, all I and all lags are alike."""
        return all(len(set(each)) <= 1 for each in (self.forwards, self.to_inputs, self.lags))

    @cached_property
    def wastes(self) -> bool:
        """Whether turns are known to waste anything."""
        return self.wasted_in_thirds > 0 or bool(self.turns.best(self.live))

    def head(self, job: int) -> int:
        """Bound the start of F of a job on device 0; see `raise_by_turns`."""
        turns, slot = divmod(job, self.live)
        wasted = self.wasted_by_each(turns, slot + 1)
        before = job - self.live + 1
        by_all = (self.live - 1) * self.forward + self.turns_of_all(before) // self.live if before > 0 else 0
        return max(slot * self.forward + turns * self.turn + wasted, by_all)

    def wasted_by_each(self, turns: int, slots: int, *, preceded: bool = False) -> int:
        """Bound the mean waste of so many neighbouring slots in so many turns of each: by pairs and by all of them.

        Two slots have 2h − 2 half-meetings in h turns of each, so (h − 1)µ on average, and so has any mean of pairs.
        """
        if turns < 2 or slots < 2:
            return 0
        by_all = self.turns.wasted_by_each(turns, slots, preceded=preceded)[1]
        return max(0, (turns - 1) * self.wasted_in_thirds // 3, by_all)

    def turns_of_all(self, count: int) -> int:
        """Bound how long so many successive turns take together, all slots added up."""
        return count * self.turn + self.turns.wasted(count)

    @cached_property
    def turns(self) -> SlotTurns:
        """What all slots show together.

        If stages are not alike, let T(n) be the sum of F + I of the last n devices and of the lags of the links above
        each of them, with the least one, 2l, above device 0. High and low then hold with T(n) in place of nQ, and with
        the lags above device p − n in place of the 2l of low; R = T(p) − 2l + W. Let Q = T(p) ÷ p and x(n) = T(n) − nQ,
        so that x(0) = x(p) = 0. With D′ ≤ D − max x, where max x ≥ 0, a step still shows what `SlotTurns` says, since
        T(p) − T(n) + D ≥ (p − n)Q + D′; the step from turn k − c to turn k shows more, which is not made use of. A hop
        loses, instead of 4l, at most twice the largest lags − x, and max x.
        """
        lags = [*self.lags[::-1], min(self.lags, default=0)]
        stages = zip(self.forwards[::-1], self.to_inputs[::-1], lags, strict=True)
        sums = list(accumulate(sum(each) for each in stages))
        meeting = Fraction(sums[-1], len(sums))
        beyond = [each - n * meeting for n, each in enumerate(sums, 1)]
        most, least = max(beyond), max(lag - each for lag, each in zip(lags, beyond, strict=True))
        behind = self.to_weight - lags[-1]
        return SlotTurns(meeting, behind, min(behind - most, Fraction(self.forward)), 2 * least + most, self.live)

    @cached_property
    def wasted_in_thirds(self) -> int:
        """Three times µ, the least waste of two slots at each half-meeting.

        Number the jobs in the order of their F on device 0, with W in the same order. Job k + c starts behind the end
        of job k: say they use one *slot* of the memory. With A_k the start of F_k on device 0, let the *waste* of a
        turn of the slot be A_{k+c} − A_k − R: the waits of job k and the idle time of the slot behind it. Let
        Q = F + I + 2l, D = W − 2l, C = F + I − W.

        The phases of job k are f_k(d), the start of F_k on device d less d(F + l), and i_k(d), the start of I_k on d
        plus d(I + l) less F + (p − 1)Q. They never fall along the job (f from d = 0 to p − 1, then i from p − 1 to 0),
        and rise by what it waits; and A_{k+c} ≥ i_k(0) + pQ + D.

        For jobs a < b let n be the number of devices on which I_a comes before F_b. These are the last n: if it does so
        on d, then on d + 1 I_a is earlier and F_b later. Where F_b is ahead on d = p − 1 − n (*high*, n < p),
        i_a(d) ≥ f_b(d) − nQ; where I_a is ahead on d = p − n (*low*, n > 0), f_b(d) ≥ i_a(d) + nQ − 2l.

        Let y_0 < y_1 < … be the jobs of two slots, by turns from the one and the other; so y_{t+1} = y_{t−1} + c. The
        *half-meeting* t is about n of (y_{t−1}, y_t) and n' of (y_t, y_{t+1}).

        - n + n' ≤ p, both below p: by high twice, with A of y_{t+1} in between, y_t waits at least
          (p − n − n')Q + D ≥ D between its F on p − 1 − n and its I on p − 1 − n'.
        - n = p and n' = 0: on the last device F of y_{t+1} lies between F and I of y_t, which waits at least F. n = 0
          and n' = p: I of y_{t−1} lies there, and it waits at least I.
        - n + n' > p (a *hop*; both above 0): by low twice, the slot of y_{t−1} and y_{t+1} wastes at least
          (n + n' − p)Q − D − 4l ≥ C from the I of y_{t−1} on p − n to the F of y_{t+1} on p − n'.

        What is wasted in the first two cases lies within y_t, between F and I. What a hop wastes lies behind an I of
        y_{t−1}, in front of an F of y_{t+1}, and in between, so that hops share none of it with one another; they may
        share it with the half-meetings t − 1 and t + 1. So of N successive half-meetings with E hops among them, the
        waste is at least EC + max(0, N − 3E) min(D, F, I), which is at least Nµ for µ = min(D, F, I, C ÷ 3). Where D or
        C is not positive, or stages are not alike, nothing is said.
        """
        if not self.is_even:
            return 0
        least = min(self.to_weight - min(self.lags, default=0), self.forward, self.to_inputs[0])
        return max(0, min(3 * least, self.forward + self.to_inputs[0] - self.to_weight))


def row_of(problem: Problem) -> Row | None:
    """Read a problem as a row of devices with jobs that go forth and back; None if it is not one.

    Blocks and merged pairs are not looked at, nor is memory for so many jobs that device 0 has more to do in c jobs
    than their turn takes with D wasted for each other slot: nothing here shows more than that.
    """
    if problem.fusing.firsts or problem.merged_durations or len(problem.chains) != 3 * problem.devices:
        return None
    if problem.devices < 2 or not is_regular(problem):
        return None
    places = places_of(problem)
    waits: list[dict[int, int]] = [{} for _ in problem.chains]
    for before, after, lag in problem.precedences:
        first, second = places[before][0], places[after][0]
        if first != second:
            waits[second][first] = lag
    tasks = [problem.tasks[chain[0]] for chain in problem.chains]
    trip = round_trip_of([task.device for task in tasks], [set(each) for each in waits])
    if trip is None or trip.late[0] < 0:
        return None
    live, amount = _live(problem, places, trip.out[0], trip.late[0])
    if live < 2:
        return None
    ways = zip(pairwise(trip.out), pairwise(trip.back), strict=True)
    row = Row(
        forwards=tuple(tasks[chain].duration for chain in trip.out),
        to_inputs=tuple(tasks[chain].duration for chain in trip.back),
        lags=tuple(waits[there[1]][there[0]] + waits[back[0]][back[1]] for there, back in ways),
        to_weight=tasks[trip.late[0]].duration,
        live=live,
        chain=trip.out[0],
        amount=amount,
    )
    return None if row.is_loose else row


def _live(problem: Problem, places: Mapping[Key, Place], first: int, last: int) -> tuple[int, int]:
    """Count how many jobs the memory of the first device is enough for, and what each holds in a slot of its own.

    If I returns a part, a job has no memory of its own from F to W: 0. But while c jobs have not ended W, each holds
    what W returns, and one more that starts takes all. If that is too much, job k + c starts behind job k's W.

    Returns
    -------
    (int, int)
        0 jobs where memory is not limited, or held in another way.
    """
    device = problem.tasks[problem.chains[first][0]].device
    capacity = problem.capacities[device]
    holds = [hold for hold in problem.holds if problem.tasks[hold.take].device == device]
    kinds = {
        (hold.amount, sum(part for task, part in hold.returns if places[task][0] == last))
        for hold in holds
        if places[hold.take][0] == first
    }
    if capacity is None or len(kinds) != 1 or any(places[hold.take][0] != first for hold in holds):
        return 0, 0
    ((amount, kept),) = kinds
    if kept <= 0:
        return 0, 0
    return (capacity // amount, amount) if kept == amount else ((capacity - amount) // kept + 1, 0)


def device_of(problem: Problem, row: Row) -> int:
    """Return the device of a row at which jobs turn: device 0 of the argument."""
    return problem.tasks[problem.chains[row.chain][0]].device


def raise_by_turns(problem: Problem, found: Analysis, row: Row | None) -> None:
    """Raise heads and tails by what the slots of a row waste while they turn.

    Of the slots of jobs b − 1 and b < c, 2h − 2 half-meetings are over when jobs b − 1 + hc and b + hc start, all they
    waste lying before. So A_{b−1+hc} + A_{b+hc} ≥ A_{b−1} + A_b + 2hR + (2h − 2)µ, the first two starts are at least
    (2b − 1)F together, and the last is at least F behind the one before it: A_{b+hc} ≥ bF + hR + (h − 1)µ. For b = 0,
    and for h < 2, without µ, since no turn takes less than R and jobs start in order.

    In the same way, with a = k + hc, the ends of jobs a and a + 1 and what lies behind the starts of these (the times
    τ from their starts to the end of the schedule): T − A_k ≥ (F + 2hR + (2h − 2)µ + τ_a + τ_{a+1}) ÷ 2.

    In the same way for q slots instead of two, which waste ω each in h turns on average (`SlotTurns.wasted_by_each`):
    for b ≥ q − 1, A_{b+hc} ≥ bF + hR + ω, and T − A_k ≥ (q − 1)F ÷ 2 + hR + ω + the mean of τ over the q jobs from
    k + hc on.

    And for all slots, with ω the waste of n successive turns (`SlotTurns.wasted`): the starts of jobs n, … n + c − 1
    are nR + ω later than those of jobs 0, … c − 1, all added up. The first ones are at least F apart, and so are the
    last: A_{n+c−1} ≥ (c − 1)F + (nR + ω) ÷ c. With n = m − c − k, T − A_k ≥ (c − 1)F ÷ 2 + (nR + ω + the sum of τ over
    the last c jobs) ÷ c.
    """
    thinned = found.network.thinned
    if row is None or not row.wastes:
        return
    tasks = [thinned.number[key] for key in problem.chains[row.chain]]
    for job, task in enumerate(tasks):
        found.heads[task] = max(found.heads[task], row.head(job))
    behind = [row.forward + found.tails[task] for task in tasks]
    for job in reversed(range(len(tasks))):
        behind[job] = max(behind[job], *_behind(row, job, behind))
        found.tails[tasks[job]] = behind[job] - row.forward
    found.heads = found.network.heads(found.heads)
    found.tails = found.network.tails(found.tails)
    found.keep("slot turns")


def _behind(row: Row, job: int, behind: list[int]) -> Iterator[int]:
    """Bound the time from the start of a job to the end of the schedule by those of later jobs."""
    count = len(behind)
    yield 0
    for turns, last in _last_turns(job, row.live, count):
        twice = row.forward + 2 * turns * row.turn + 2 * (turns - 1) * row.wasted_in_thirds // 3
        yield (twice + behind[last] + behind[last + 1]) // 2
        slots, wasted = row.turns.wasted_by_each(turns, count - last, preceded=job >= row.live)
        apart = slots * (slots - 1) * row.forward // 2
        yield (apart + slots * (turns * row.turn + wasted) + sum(behind[last : last + slots])) // slots
    left = count - row.live - job
    if left > 0:
        apart = row.live * (row.live - 1) * row.forward // 2
        yield (apart + row.turns_of_all(left) + sum(behind[-row.live :])) // row.live


def _last_turns(job: int, live: int, count: int) -> Iterator[tuple[int, int]]:
    """List the largest numbers of turns behind a job with another job behind the last, and the last."""
    most = (count - 2 - job) // live
    for turns in range(most, max(1, most - LARGEST_TURNS), -1):
        yield turns, job + turns * live


def turns_bound(problem: Problem, found: Analysis, row: Row | None, more: int = 0) -> int:
    """Bound the makespan by q neighbouring slots of a row, from their first turns to their last ones.

    With A the starts of q successive jobs on device 0, and τ the times from the starts of the jobs h turns later to the
    end of the schedule, the sum of A + hR + τ is qT less what the slots waste in these turns, ω each on average
    (`Row.wasted_by_each`): T ≥ the mean of A + hR + ω + the mean of τ. Heads and tails bound A and τ. Near the ends
    they show more than that jobs start F apart, which is all that `raise_by_turns` makes use of.

    Parameters
    ----------
    problem : Problem
        What is written down.
    found : Analysis
        Of it.
    row : Row or None
        None for no bound: 0.
    more : int
        How many jobs are left out: heads are then those of the first jobs, tails those of the last.
    """
    thinned = found.network.thinned
    if row is None or not row.wastes:
        return 0
    tasks = [thinned.number[key] for key in problem.chains[row.chain]]
    heads = [0, *accumulate(found.heads[task] for task in tasks)]
    behind = [0, *accumulate(found.tails[task] + row.forward for task in tasks)]
    wasted = cache(row.wasted_by_each)
    highest = 0
    for first, last, turns, slots in _windows(row, len(tasks), more):
        ends = heads[first + slots] - heads[first] + behind[last + slots] - behind[last]
        highest = max(highest, ends // slots + turns * row.turn + wasted(turns, slots, preceded=first >= row.live))
    return highest


def _windows(row: Row, count: int, more: int) -> Iterator[tuple[int, int, int, int]]:
    """List the first job, the last one of its slot that is looked at, the turns between them, and how many slots."""
    for first in range(min(ENDS * row.live, count)):
        nearest = max(count - ENDS * row.live, 0, first + 1 - more)
        for last in range(nearest + (first - more - nearest) % row.live, count, row.live):
            most = min(row.live, count - max(first, last))
            for slots in range(most, 1, -max(1, row.live // GROUPS)):
                yield first, last, (last + more - first) // row.live, slots


def area_wasted(row: Row | None, count: int) -> int:
    """Compute the area of memory that the slots of a row waste in all, rounded down.

    Two slots with M jobs have M − 2 half-meetings, so they waste (M − 2)µ. Summed over all pairs of the c slots, each
    slot being in c − 1 of them, that is (c − 1) times all waste on one side and (c − 1)(m − c)µ on the other. None of
    it lies before a slot's first job or behind its last, where the area is counted that the ends leave unused. All
    slots together waste at least what `SlotTurns.wasted` says of their m − c turns; the larger of the two is taken.

    Parameters
    ----------
    row : Row or None
        None for nothing.
    count : int
        m, how many jobs there are.
    """
    if row is None or count <= row.live:
        return 0
    turns = count - row.live
    return row.amount * max(turns * row.wasted_in_thirds // 3, row.turns.wasted(turns, ended=True))
