"""What the first tasks of a problem that repeats show of the whole, whatever the number of the rest.

Let a problem that is regular (`solver.repetition.is_regular`) have chains of some lengths, and the small problem the
first n tasks of each. Take any schedule of the whole, of length T, with the tasks of each chain in order and alike
tasks exchanged as `solver.bounds.alike` says; neither makes a schedule longer.

- *Front.* Delete all but the first n tasks of each chain, and move nothing. What is left keeps all precedences among
  its tasks, overlaps nothing, and holds at any time at most as much memory as before, since a hold goes with its take
  and all its returns. So it is a schedule of the small problem, and whatever is true of every one of those is true of
  it: the memory edges, the heads, and that at least front(t) of [0, t] is not covered by its work. A task that was
  deleted starts no earlier than the n-th of its chain, so no earlier than t*, the least head of those on its device. So
  the device is idle for front(t) of [0, t] for every t ≤ t*, in the whole schedule.
- *Back.* The last n tasks of each chain are joined by the same precedences and holds, so what is left when all but they
  are deleted is, renumbered, a schedule of the small problem, too. Looked at from T backwards: tails, and back(u) of
  the last u idle for u ≤ u*, the least tail of the first tasks of the chains on the device.
- *Window.* Each of the two is true of the one schedule, whether or not what it looks at overlaps. So they add as in
  `joined`: T ≥ load + front(t) + back(u) − max(0, t + u − T), the load that of all tasks, left out or not.
- *Path.* Let x be one of the last n tasks of a chain. In the small problem, some of a chain c on x's device precede it;
  of the whole, these (in their new numbers) and all ahead of them in their chain, which are so many more as are left
  out. They are all done before x starts, so x starts at the least τ with τ − front(τ) ≥ their work, and the longest
  paths from there through the last n tasks, with the tails of these, end at T or before. In the same way the work
  behind a task of the first n raises its tail.
- *Turns.* Any n tasks in a row of each chain, not only the first or the last ones, are such a schedule when all others
  are deleted. So if the longest path of the small problem from the start of the task at place i of a chain to that at
  place i + r takes D, the starts of the tasks at places j and j + r of the whole lie at least D apart for each j from i
  to i + the number of tasks left out. From one of the first n tasks to one of the last n, such steps follow one
  another: T ≥ its head + D for each step + the work and the tail of the last. Where memory is short, a path through the
  memory that one task after another takes and returns grows faster than any device's work.
- *Blocks.* As in `blocks_curve`, the head of a task that is left out being that of the last of its chain, the tail that
  of the first; and as in `block_area_bound`, whose ends are looked at up to t* and u*.

Where nothing is left out, t* and u* are later than everything, and all of it is what the tasks themselves show.

What it is worth: row `stretched` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from solver.bounds.analysis import Analysis, DeviceView
from solver.bounds.blocks import Left
from solver.bounds.bound import Bound
from solver.bounds.idle_curves import Curve, Numbers, raised_by_curve
from solver.bounds.network import Reach, transposed
from solver.bounds.preceding_work import total_before
from solver.bounds.thinned import limited_holds
from solver.deadline import check_time, is_over, until
from solver.numbered import integers
from solver.problem import Problem
from solver.repetition import Repetition, places_of

MOST_STEPS = 3
"""Steps over so many numbers of tasks are tried for each chain: the longest ones, for their numbers."""

MOST_DISTANCES = 20_000_000
"""The most longest paths that are kept at a time, from some tasks to all."""


@dataclass(frozen=True)
class WholeDevice:
    """One device of the whole.

    Attributes
    ----------
    view : DeviceView
        What is written down of it.
    chain : array
        By place: the number of the task's chain among those of the device.
    left : list of Left
        What is left out of each of these chains; empty where nothing is left out of any chain of the problem.
    never : int
        A time that no curve reaches.
    """

    view: DeviceView
    chain: Numbers
    left: list[Left]
    never: int

    @cached_property
    def more(self) -> Numbers:
        """The work that is left out, chain by chain."""
        return integers((each.number * int(self.view.work[each.place]) for each in self.left), self.view.load)

    @property
    def load(self) -> int:
        """All its work."""
        return self.view.load + int(self.more.sum())

    @property
    def ends(self) -> tuple[int, int]:
        """Return t* and u*."""
        some = [each for each in self.left if each.number]
        return min((e.head for e in some), default=self.never), min((e.tail for e in some), default=self.never)

    @property
    def curves(self) -> tuple[Curve, Curve] | None:
        """The idle curves, as far as they hold for the whole."""
        if self.view.front is None or self.view.back is None:
            return None
        first, last = self.ends
        return _cut(self.view.front, first), _cut(self.view.back, last)


def _cut(curve: Curve, end: int) -> Curve:
    kept = curve.points <= end
    return Curve(curve.points[kept], curve.idle[kept])


def devices_of(repetition: Repetition, found: Analysis) -> Iterator[WholeDevice]:
    """Look at each device that has tasks."""
    places = places_of(repetition.problem) if repetition.is_shortened else {}
    keys, never = found.network.thinned.keys, found.network.thinned.never
    for view in found.views:
        rows: dict[int, list[int]] = {}
        at = [places[keys[task]] for task in view.members.tolist()] if places else []
        for row, (chain, _) in enumerate(at):
            rows.setdefault(chain, []).append(row)
        number = {chain: index for index, chain in enumerate(rows)}
        heads, tails = found.of(view)
        left: list[Left] = []
        for chain, members in rows.items():
            first, last = min(members, key=lambda row: at[row][1]), max(members, key=lambda row: at[row][1])
            left.append(Left(first, int(heads[last]), int(tails[first]), repetition.more[chain]))
        yield WholeDevice(view, np.array([number[chain] for chain, _ in at], dtype=np.int64), left, never)


def whole_paths(found: Analysis, devices: Sequence[WholeDevice], deadline: float | None) -> Iterator[Bound]:
    """Bound the makespan by the longest path through the work of a device, to the last tasks or from the first ones.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    """
    work = _work_around(found, devices, deadline)
    for argument, (heads, tails) in found.stages.items():
        if argument == "path":
            continue
        raised = list(heads), list(tails)
        for each, (before, after) in zip(devices, work, strict=True):
            curves = each.curves or (_NO_CURVE, _NO_CURVE)
            members = each.view.members.tolist()
            for values, around, curve in zip(raised, (before, after), curves, strict=True):
                known = found.network.thinned.times([values[task] for task in members])
                for task, value in zip(members, raised_by_curve(known, around, curve).tolist(), strict=True):
                    values[task] = value
        yield Bound(_longest(found, raised[0], tails, heads, raised[1]), argument)


def repeated_paths(repetition: Repetition, found: Analysis, deadline: float | None) -> Iterator[Bound]:
    """Bound the makespan by paths that lead from a task to a later one of its chain, again and again.

    They grow faster than the work of a device only through limited memory, so those through tasks that take some are
    looked at.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    """
    least = min(repetition.more)
    chains = _taking(repetition.problem, found) if least else {}
    if not chains:
        return
    steps = _steps(found, list(chains.values()), deadline)
    for argument, (heads, tails) in found.stages.items():
        values = (
            _longest_by_steps(found, chain, step, (heads, tails), (repetition.more[number], least))
            for (number, chain), step in zip(chains.items(), steps, strict=True)
        )
        yield Bound(max(values), argument)


def _taking(problem: Problem, found: Analysis) -> dict[int, list[int]]:
    """List the chains that take limited memory, by their numbers; of many tasks, an even choice of them."""
    taking = {hold.take for holds in limited_holds(problem).values() for hold in holds}
    numbers = [number for number, chain in enumerate(problem.chains) if chain[0] in taking]
    number = found.network.thinned.number
    every = -(-len(numbers) * len(number) // MOST_DISTANCES) or 1
    return {each: [number[key] for key in problem.chains[each]] for each in numbers[::every]}


def _steps(found: Analysis, chains: Sequence[Sequence[int]], deadline: float | None) -> list[Numbers]:
    """Find for each chain the longest paths from the start of its first task to those of all its tasks."""
    network = found.network
    thinned = network.thinned
    blank = np.full(len(chains), -thinned.never, dtype=thinned.times([]).dtype)
    after_first = [blank] * len(network.order)
    for source, chain in enumerate(chains):
        after_first[chain[0]] = blank.copy()
        after_first[chain[0]][source] = 0
    for task in until(partial(is_over, deadline), network.order):
        longest = after_first[task]
        for before, lag in network.preds[task]:
            longest = np.maximum(longest, after_first[before] + (thinned.least_action[before] + lag))
        after_first[task] = longest
    return [thinned.times([after_first[task][source] for task in chain]) for source, chain in enumerate(chains)]


def _longest_by_steps(
    found: Analysis,
    chain: Sequence[int],
    longest: Numbers,
    around: tuple[Sequence[int], Sequence[int]],
    left_out: tuple[int, int],
) -> int:
    """Find the longest path from one of a chain's first tasks to one of its last ones by steps of one length."""
    thinned = found.network.thinned
    places, (more, least) = np.arange(len(chain)), left_out
    known = [[values[task] for task in chain] for values in around]
    largest = sum(map(max, known)) + (len(chain) + more) * int(longest.max())
    heads, tails = (integers(values, largest) for values in known)
    apart = places[None, :] + more - places[:, None]
    best = 0
    steps = (place for place in places[1:].tolist() if longest[place] > 0)
    for turns in sorted(steps, key=lambda place: float(longest[place]) / place)[-MOST_STEPS:]:
        count = apart // turns
        usable = (apart % turns == 0) & (count > 0) & (places[:, None] + (count - 1) * turns <= least)
        if usable.any():
            steps_take = integers(count.ravel().tolist(), largest).reshape(count.shape) * int(longest[turns])
            lengths = heads[:, None] + steps_take + tails[None, :]
            best = max(best, int(lengths[usable].max()) + thinned.least_action[chain[-1]])
    return best


def _longest(
    found: Analysis, to_last: Sequence[int], tails: Sequence[int], heads: Sequence[int], from_first: Sequence[int]
) -> int:
    """Find the longest path to the last tasks and from there on, or to the first tasks and from there on."""
    network = found.network
    return max(found.longest(network.heads(to_last), tails), found.longest(heads, network.tails(from_first)))


def _work_around(
    found: Analysis, devices: Sequence[WholeDevice], deadline: float | None
) -> list[tuple[Numbers, Numbers]]:
    """Sum for each task of each device the work of the whole on it that is before the task, and behind it."""
    reach = found.network.reach(deadline=deadline)
    work = []
    for each in devices:
        check_time(deadline)
        before = reach.pop(each.view.device)
        np.fill_diagonal(before, False)
        work.append((_whole_work(each, before), _whole_work(each, transposed(before))))
    return work


_NO_CURVE = Curve(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def _whole_work(device: WholeDevice, before: Reach) -> Numbers:
    """Sum the work before each task, with what is left out of the chains of which something is before it."""
    work: Numbers = total_before(device.view.work, before)
    for number in np.flatnonzero(device.more).tolist():
        work = work + device.more[number : number + 1] * before[:, device.chain == number].any(axis=1)
    return work
