"""How far the verdict of a comparison holds: the first overhead, latency and noise at which another schedule leads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from time import perf_counter
from typing import cast

import numpy as np

from ppopt.noise.luck import Cells, Luck
from ppopt.schedules.schedule import Schedule
from ppopt.schedules.twins import twins
from reports.margins import LEVEL, LeadingCurve, Margin, Margins
from solver.counted import listed
from solver.deadline import OutOfTimeError, check_time
from solver.exact import exact
from solver.numbered import Numbered
from solver.parametric import Curve, FixedOrder, Growth, Lead, Mean, ParametricMakespan, leads
from solver.problem import Block
from strategies.model.actions import Op
from strategies.model.pipeline import Pipeline

DRAWS = 16
"""Draws of noise: half of them, and the opposite of each."""

MOST_NOISE = Fraction(1, 4)
"""The largest coefficient of variation that is looked at."""

FARTHEST = 4
"""Luck beyond this many standard deviations counts as just this many, so that no time falls below 0."""

FINENESS = 1024
"""Luck is counted in whole parts of a standard deviation."""

REPLAYS = 10
"""About how many replays a schedule needs for all costs."""

CHART_BEYOND = 2
"""The chart goes this many times as far as the last change of the lead."""

_COLUMNS = {"F": "forward", "B": "backward", "I": "backward_input", "W": "backward_weight"}


class _Contender:
    """A schedule that fits, with what margins need of it."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.name = schedule.strategy
        self.order = FixedOrder(schedule.problem, schedule.actions)
        self.ticks = schedule.problem.ticks_per_unit
        self.now = schedule.exact_makespan

    @property
    def actions(self) -> Iterator[tuple[Op, ...]]:
        """The operations of each action."""
        for action in chain.from_iterable(self.schedule.actions):
            yield cast("tuple[Op, ...]", action) if isinstance(action, Block) else (action,)


class _Cost(ABC):
    """A cost that grows from its present value, θ = 0, on.

    Attributes
    ----------
    name : str
        Its name.
    most : Fraction
        The greatest θ that is looked at.
    whole : Fraction
        What a share of it is a share of.
    present : Fraction
        Its value at θ = 0.
    is_added : bool
        Whether several costs grow that differ, so that only what is added has one value.
    """

    name: str
    most: Fraction
    whole: Fraction
    present = Fraction(0)
    is_added = False

    @abstractmethod
    def curve(self, contender: _Contender, deadline: float | None) -> Curve:
        """Return the makespan of a schedule over θ."""

    def value(self, theta: Fraction) -> Fraction:
        """Return the cost at θ."""
        return self.present + theta

    def curves(self, contenders: Sequence[_Contender], deadline: float | None) -> dict[int, Curve]:
        """Return the curves of the contenders that can lead somewhere, by their numbers; the first one leads now."""
        return {number: self.curve(contender, deadline) for number, contender in enumerate(contenders)}

    def margin(self, theta: Fraction, leader: str, overtaken_by: str) -> Margin:
        """Describe a change of the lead."""
        value = self.value(theta)
        share = float(value / self.whole)
        return Margin(self.name, float(value), leader, overtaken_by, share, self.is_added, is_present=not theta)


class _Overhead(_Cost):
    """The overhead of every operation."""

    name = "overhead"

    def __init__(self, pipeline: Pipeline) -> None:
        each = {Fraction(0)} if pipeline.overhead is None else set(pipeline.overhead.each)
        self.is_added = len(each) > 1
        self.present = Fraction(0) if self.is_added else each.pop()
        self.whole = _work(pipeline)
        self.most = self.whole - self.present

    def curve(self, contender: _Contender, deadline: float | None) -> Curve:
        """Count the operations of each action by what one more unit of overhead adds to it, whatever the cut."""
        pipeline = contender.schedule.pipeline
        given = pipeline.overhead
        more = 1 if given is None else type(given)(**{key: getattr(given, key) + 1 for key in type(given).model_fields})
        heavier = pipeline.model_copy(update={"overhead": more})
        known: dict[tuple[tuple[int, str], ...], int] = {}
        growth: list[int] = []
        for ops in contender.actions:
            key = tuple((op.stage, op.kind) for op in ops)
            if key not in known:
                added = _duration(heavier, ops) - _duration(pipeline, ops)
                known[key] = int(added * contender.ticks)
            growth.append(known[key])
        return ParametricMakespan(contender.order, Growth(growth), deadline)


def _duration(pipeline: Pipeline, ops: Sequence[Op]) -> Fraction:
    """Return how long an action takes on a device that is not slowed down."""
    if len(ops) > 1:
        forward, backward = ops
        return pipeline.block_duration(forward.stage, backward.stage)
    return cast("Fraction", getattr(pipeline.costs[ops[0].stage], _COLUMNS[ops[0].kind]))


class _Hop(_Cost):
    """The time of every transfer: on its link where transfers take time on links, else its latency."""

    def __init__(self, pipeline: Pipeline) -> None:
        given = pipeline.communication
        self.name = "latency"
        value: object = pipeline.p2p_latency if given is None else given.latency
        if given is not None and (given.bytes is not None or given.transfer):
            self.name, value = "transfer", given.transfer
        self.is_added = not isinstance(value, Fraction)
        self.present = value if isinstance(value, Fraction) else Fraction(0)
        self.whole = _work(pipeline)
        self.most = self.whole - self.present

    def curve(self, contender: _Contender, deadline: float | None) -> Curve:
        numbered = Numbered(contender.schedule.problem)
        waits = numbered.precedences
        crosses = numbered.device[waits.before] != numbered.device[waits.after]
        lags = [contender.ticks * int(each) for each in crosses.tolist()]
        moves = lags if self.name == "transfer" and contender.order.moved else []
        return ParametricMakespan(contender.order, Growth([0] * contender.order.actions, lags, moves), deadline)


class _Noise(_Cost):
    """The coefficient of variation of every operation's time, 1 + θ · luck: the mean of the same draws for all.

    Luck is a standard normal number, the same for all schedules, as for `ppopt.under_noise`.
    """

    name = "noise"
    most = MOST_NOISE / FINENESS
    whole = Fraction(1)

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        first = schedules[0].pipeline
        cells = Cells(each.pipeline.stages or 1 for each in schedules)
        self.luck = Luck(cells, first.microbatches, first.devices, 0, range(DRAWS), with_transfers=False)

    def value(self, theta: Fraction) -> Fraction:
        return theta * FINENESS

    def curve(self, contender: _Contender, deadline: float | None) -> Curve:
        durations = contender.order.durations
        lucks = [self._luck(contender, ops) for ops in contender.actions]
        growths = (
            [duration * int(luck[draw]) for duration, luck in zip(durations, lucks, strict=True)]
            for draw in range(DRAWS)
        )
        return Mean([ParametricMakespan(contender.order, Growth(growth), deadline) for growth in growths])

    def _luck(self, contender: _Contender, ops: Sequence[Op]) -> list[int]:
        """Return an action's luck in each draw; a block's is that of its halves, by their lengths."""
        stages, tasks = contender.schedule.pipeline.stages or 1, contender.schedule.problem.tasks
        numbers = [self.luck.of_kind(op.kind, stages)[op.stage, op.microbatch] for op in ops]
        lengths = [float(tasks[op].duration) for op in ops]
        whole = sum(lengths) or 1.0
        together = sum(number * (length / whole) for number, length in zip(numbers, lengths, strict=True))
        rounded = np.rint(np.clip(together, -FARTHEST, FARTHEST) * FINENESS).astype(np.int64)
        return cast("list[int]", rounded.tolist())

    def curves(self, contenders: Sequence[_Contender], deadline: float | None) -> dict[int, Curve]:
        """Leave out those longer now than the leader at last: a draw and its opposite cancel, so no mean ever falls."""
        first = self.curve(contenders[0], deadline)
        longer = first.line(self.most, "left").value - first(Fraction(0))
        now, rivals = contenders[0].now, list(enumerate(contenders))[1:]
        near = [(number, rival) for number, rival in rivals if rival.now - now < longer]
        return {0: first} | {number: self.curve(rival, deadline) for number, rival in near}


@dataclass
class MarginsSoFar:
    """Finds margins until a deadline or Ctrl-C, and keeps what was found until then.

    Attributes
    ----------
    margins : Margins
        What was found.
    notes : list of str
        What was left out, and why.
    interrupted : bool
        Whether Ctrl-C ended it.
    """

    deadline: float | None = None
    margins: Margins = field(default_factory=Margins)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    _found: list[Margin] = field(default_factory=list)
    _unchanged: list[str] = field(default_factory=list)
    _curves: tuple[LeadingCurve, ...] = ()

    def find(self, contenders: Sequence[Schedule]) -> None:
        """Find the margins of the first of several schedules, of which it is the shortest.

        Parameters
        ----------
        contenders : sequence of Schedule
            Those that fit, best first.
        """
        each = [group[0] for group in twins(contenders)]
        if len(each) < 2:
            return
        pipeline = each[0].pipeline
        if not pipeline.follows_lowering:
            whole = [one for one in each if one.layout.microbatches == one.pipeline.microbatches]
            if left_out := [one.strategy for one in each if one.layout.microbatches != one.pipeline.microbatches]:
                self.notes.append(f"margins leave out what is too long to be written out: {listed(left_out)}")
            if each[0] in whole:
                self._find(whole)
        else:
            why = f"p2p: {pipeline.semantics}, the order of transfers depends on times"
            if pipeline.streams:
                why = f"{' and '.join(pipeline.streams)}, computing waits for more than results"
            self.notes.append(f"no margins: with {why}")
        self.margins = Margins(
            margins=tuple(self._found),
            unchanged=tuple(self._unchanged),
            work=float(_work(pipeline)),
            most_noise=float(MOST_NOISE),
            level=tuple(_level(each)),
            curves=self._curves,
            added=_Overhead(pipeline).is_added,
            winner=each[0].strategy,
        )

    def _find(self, schedules: Sequence[Schedule]) -> None:
        pipeline = schedules[0].pipeline
        costs: list[_Cost] = [_Overhead(pipeline), _Hop(pipeline)]
        if len({schedule.pipeline.microbatches for schedule in schedules}) == 1:
            costs.append(_Noise(schedules))
        else:
            self.notes.append("no margin of noise: slices and whole microbatches share no draws")
        try:
            contenders = [_Contender(schedule) for schedule in self._in_time(schedules)]
            while costs:
                self._along(costs[0], contenders)
                costs.pop(0)
        except (KeyboardInterrupt, OutOfTimeError) as error:
            self.interrupted = isinstance(error, KeyboardInterrupt)
            why = "interrupted" if self.interrupted else "the time was up"
            self.notes.append(f"not all margins of {listed(cost.name for cost in costs)} were found: {why}")

    def _in_time(self, schedules: Iterable[Schedule]) -> Iterator[Schedule]:
        for schedule in schedules:
            check_time(self.deadline)
            yield schedule

    def _along(self, cost: _Cost, contenders: Sequence[_Contender]) -> None:
        """Find each change of the lead along a cost."""
        if cost.most <= 0:
            return
        curves = cost.curves(contenders, self.deadline)
        numbers = list(curves)
        found: list[Lead] = []
        for lead in leads(list(curves.values()), 0, Fraction(0), cost.most):
            if found:
                names = (contenders[numbers[each.curve]].name for each in (found[-1], lead))
                self._found.append(cost.margin(lead.begins, *names))
            found.append(lead)
        if len(found) == 1:
            self._unchanged.append(cost.name)
        elif cost.name == _Overhead.name:
            end = min(cost.most, CHART_BEYOND * found[-1].begins or cost.most)
            drawn = dict.fromkeys(numbers[lead.curve] for lead in found)
            self._curves = tuple(_drawn(cost, contenders[number], curves[number], end) for number in drawn)


def _drawn(cost: _Cost, contender: _Contender, curve: Curve, end: Fraction) -> LeadingCurve:
    """Return the line of a schedule from the present cost to the end of the chart."""
    begin = Fraction(0)
    more = contender.now - curve(begin)
    places = [begin, *curve.breakpoints(begin, end), end]
    return LeadingCurve(contender.name, [(float(cost.value(each)), float(curve(each) + more)) for each in places])


def _work(pipeline: Pipeline) -> Fraction:
    """Return F + B: the work of one microbatch, spread evenly over the devices."""
    return pipeline.ideal / pipeline.microbatches


def _level(schedules: Sequence[Schedule]) -> Iterator[str]:
    """Name the schedules that are level with the first."""
    most = schedules[0].exact_makespan * (1 + exact(LEVEL))
    yield from (schedule.strategy for schedule in schedules[1:] if schedule.exact_makespan <= most)


def margins_of(contenders: Sequence[Schedule], deadline: float | None = None) -> MarginsSoFar:
    """Find how far the lead of the first of several schedules holds.

    Parameters
    ----------
    contenders : sequence of Schedule
        Those that fit, best first.
    deadline : float, optional
        On the clock of `time.perf_counter`.
    """
    found = MarginsSoFar(deadline)
    found.find(contenders)
    return found


def seconds_needed(schedules: Sequence[Schedule], more_operations: int = 0) -> float:
    """Predict how long `margins_of` takes, from one replay of the largest schedule.

    Parameters
    ----------
    schedules : sequence of Schedule
        At least one.
    more_operations : int
        The total operations of schedules still to come.
    """
    sizes = [len(schedule.problem.tasks) for schedule in schedules]
    began = perf_counter()
    largest = _Contender(schedules[sizes.index(max(sizes))])
    _Overhead(largest.schedule.pipeline).curve(largest, None)(Fraction(0))
    return REPLAYS * (perf_counter() - began) * (sum(sizes) + more_operations) / max(sizes)
