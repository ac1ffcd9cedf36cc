"""A bound on the makespan of a problem that repeats, from its first tasks alone, whatever the number of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from solver.bounds.analysis import Analysis, DeviceView
from solver.bounds.area import area_bound, hold_lengths
from solver.bounds.block_area import block_area_bound
from solver.bounds.blocks import BlocksCurve, Left, blocks_curve
from solver.bounds.bound import Bound, best
from solver.bounds.ends import passage_bounds
from solver.bounds.idle_curves import Curve, Numbers, joined, raised_by_curve
from solver.bounds.loads import least_loads
from solver.bounds.network import Reach, transposed
from solver.bounds.preceding_work import total_before
from solver.bounds.single_track import Row, area_wasted, device_of, turns_bound
from solver.bounds.thinned import limited_holds
from solver.deadline import OutOfTimeError, check_time, is_over
from solver.numbered import integers
from solver.repetition import Repetition, places_of


def stretched_bound(
    repetition: Repetition, found: Analysis, row: Row | None = None, *, deadline: float | None = None
) -> Bound:
    """Bound the makespan of the whole of a repetition by an analysis of what is written down of it.

    Let a problem that is regular (`solver.repetition.is_regular`) have chains of some lengths, and the small
    problem the first n tasks of each. Take any schedule of the whole, of length T, with the tasks of each chain in
    order and alike tasks exchanged as `solver.bounds.alike` says; neither makes a schedule longer.

    - *Front.* Delete all but the first n tasks of each chain, and move nothing. What is left keeps all precedences
      among its tasks, overlaps nothing, and holds at any time at most as much memory as before, since a hold goes with
      its take and all its returns. So it is a schedule of the small problem, and whatever is true of every one of those
      is true of it: the memory edges, the heads, and that at least front(t) of [0, t] is not covered by its work. A
      task that was deleted starts no earlier than the n-th of its chain, so no earlier than t*, the least head of those
      on its device. So the device is idle for front(t) of [0, t] for every t ≤ t*, in the whole schedule.
    - *Back.* The last n tasks of each chain are joined by the same precedences and holds, so what is left when all but
      they are deleted is, renumbered, a schedule of the small problem, too. Looked at from T backwards: tails, and
      back(u) of the last u idle for u ≤ u*, the least tail of the first tasks of the chains on the device.
    - *Window.* Each of the two is true of the one schedule, whether or not what it looks at overlaps. So they add as in
      `joined`: T ≥ load + front(t) + back(u) − max(0, t + u − T), the load that of all tasks, left out or not.
    - *Path.* Let x be one of the last n tasks of a chain. In the small problem, some of a chain c on x's device precede
      it; of the whole, these (in their new numbers) and all ahead of them in their chain, which are so many more as are
      left out. They are all done before x starts, so x starts at the least τ with τ − front(τ) ≥ their work, and the
      longest paths from there through the last n tasks, with the tails of these, end at T or before. In the same way
      the work behind a task of the first n raises its tail. In a row the starts of the last jobs on its first device
      are also bounded by the turns before them (see `solver.bounds.single_track.raise_by_turns`).
    - *Area.* As in `area_bound`: every hold lasts as long as one that is written down. Before t* only those that are
      written down are taken, and in the last u* only their like are returned, so what is then free counts. What slots
      waste (`area_wasted`) is counted for all jobs. What is served at the ends (`solver.bounds.ends.Ends`) is limited
      by heads and tails, which are those of all.
    - *Blocks.* As in `blocks_curve`, the head of a task that is left out being that of the last of its chain, the tail
      that of the first; and as in `block_area_bound`, of whose ends the same is true as for the area.

    Parameters
    ----------
    repetition : Repetition
        Of which something is left out.
    found : Analysis
        Of what is written down.
    row : Row, optional
        What is written down, where it is one.
    deadline : float or None
        A time of `time.perf_counter` after which the best bound so far is returned.
    """
    whole = list(_devices(repetition, found))
    loads = least_loads(repetition.problem, repetition.copies().__getitem__)
    highest = Bound(found.path, "path")
    for each in whole:
        highest = best(highest, _load_bound(found, each, loads[each.view.device]), _window_bound(each))
    with suppress(OutOfTimeError):
        highest = best(highest, Bound(_longest_path(repetition, found, whole, row, deadline), "path"))
        check_time(deadline)
        highest = best(highest, *_area_bounds(repetition, found, whole, row, highest.value))
    curves: list[BlocksCurve] = []
    for each in whole if repetition.problem.fusing.firsts else ():
        if is_over(deadline):
            return best(highest, *(curve.bound() for curve in curves))
        curve = blocks_curve(repetition.problem, found, each.view, each.left)
        curves += [] if curve is None else [curve]
    highest = best(highest, *(curve.bound() for curve in curves))
    ends = {each.view.device: each.ends for each in whole}
    more = block_area_bound(repetition.problem, found, curves, highest.value, repetition.copies(), ends)
    return best(highest, more)


@dataclass(frozen=True)
class _Device:
    """One device of the whole.

    Attributes
    ----------
    view : DeviceView
        What is written down of it.
    chain : array
        By place: the number of the task's chain among those of the device.
    left : list of Left
        What is left out of each of these chains.
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


def _devices(repetition: Repetition, found: Analysis) -> Iterator[_Device]:
    places = places_of(repetition.problem)
    keys, never = found.network.thinned.keys, found.network.thinned.never
    for view in found.views:
        heads, tails = found.of(view)
        at = [places[keys[task]] for task in view.members.tolist()]
        rows: dict[int, list[int]] = {}
        for row, (chain, _) in enumerate(at):
            rows.setdefault(chain, []).append(row)
        number = {chain: index for index, chain in enumerate(rows)}
        left: list[Left] = []
        for chain, members in rows.items():
            first, last = min(members, key=lambda row: at[row][1]), max(members, key=lambda row: at[row][1])
            left.append(Left(first, int(heads[last]), int(tails[first]), repetition.more[chain]))
        yield _Device(view, np.array([number[chain] for chain, _ in at], dtype=np.int64), left, never)


def _load_bound(found: Analysis, device: _Device, load: int) -> Bound:
    heads, tails = found.of(device.view)
    front, back = int(heads.min()), int(tails.min())
    details: dict[str, int | str] = {"load": load, "front": front, "back": back}
    return Bound(front + load + back, "load", device.view.device, details)


def _window_bound(device: _Device) -> Bound | None:
    curves = device.curves
    if curves is None:
        return None
    value, front, back = joined(device.load, *curves)
    details: dict[str, int | str] = {"load": device.load, "front": front, "back": back}
    return Bound(value, "window", device.view.device, details)


def _longest_path(
    repetition: Repetition, found: Analysis, whole: Sequence[_Device], row: Row | None, deadline: float | None
) -> int:
    """Find the longest path through the work of a device, to the last tasks or from the first ones."""
    heads, tails = list(found.heads), list(found.tails)
    reach = found.network.reach(deadline=deadline)
    for each in whole:
        check_time(deadline)
        before = reach.pop(each.view.device)
        np.fill_diagonal(before, False)
        curves = each.curves or (_NO_CURVE, _NO_CURVE)
        known = found.of(each.view)
        members = each.view.members.tolist()
        for values, matrix, curve, side in ((heads, before, curves[0], 0), (tails, transposed(before), curves[1], 1)):
            raised = raised_by_curve(known[side], _whole_work(each, matrix), curve)
            for task, value in zip(members, raised.tolist(), strict=True):
                values[task] = value
    if row is not None:
        for place, key in enumerate(repetition.problem.chains[row.chain]):
            task = found.network.thinned.number[key]
            heads[task] = max(heads[task], row.head(place + repetition.more[row.chain]))
    lead = found.network.thinned.lead
    to_last, from_first = found.network.heads(heads), found.network.tails(tails)
    return max(
        turns_bound(repetition.problem, found, row, 0 if row is None else repetition.more[row.chain]),
        *(head + work + tail for head, work, tail in zip(to_last, lead, found.tails, strict=True)),
        *(head + work + tail for head, work, tail in zip(found.heads, lead, from_first, strict=True)),
    )


_NO_CURVE = Curve(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def _whole_work(device: _Device, before: Reach) -> Numbers:
    """Sum the work before each task, with what is left out of the chains of which something is before it."""
    work: Numbers = total_before(device.view.work, before)
    for number in np.flatnonzero(device.more).tolist():
        work = work + device.more[number : number + 1] * before[:, device.chain == number].any(axis=1)
    return work


def _area_bounds(
    repetition: Repetition, found: Analysis, whole: Sequence[_Device], row: Row | None, known: int
) -> Iterator[Bound]:
    thinned = found.network.thinned
    lengths = hold_lengths(repetition.problem, found.network)
    heads = dict(zip(thinned.keys, found.heads, strict=True))
    tails = dict(zip(thinned.keys, found.tails, strict=True))
    copies = repetition.copies()
    ends = {each.view.device: each.ends for each in whole}
    for device, holds in limited_holds(repetition.problem).items():
        capacity = repetition.problem.capacities[device] or 0
        wasted = 0
        if row is not None and device == device_of(repetition.problem, row):
            wasted = area_wasted(row, sum(copies[hold.take] for hold in holds))
        value = area_bound(holds, capacity, lengths, heads, tails, known, copies, ends[device], wasted)
        yield Bound(value, "area", device)
    yield from passage_bounds(repetition.problem, found, known, copies, ends)
