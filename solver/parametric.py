"""The makespan of a fixed order as a function of one parameter θ ≥ 0 that durations and lags grow with linearly.

A path through the order is as long as d + θ · k, and the makespan is the longest path. So it is convex and piecewise
linear, and no tangent is above it. On an interval, a chord bounds it from above and the tangents at both ends bound it
from below. The point where these tangents meet is either a breakpoint, or has a tangent of its own. All values are
exact, and there are only as many replays as a question needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from graphlib import CycleError, TopologicalSorter
from itertools import chain, pairwise
from typing import Literal, NamedTuple

import numpy as np

from solver.deadline import check_time
from solver.numbered import Numbered, NumberedOrders, number_orders
from solver.order_graph import deadlock, order_graph
from solver.problem import Orders, Problem

Side = Literal["left", "right"]


class Growth(NamedTuple):
    """By how many ticks durations and lags grow for each unit of θ; whole numbers.

    Attributes
    ----------
    actions : sequence of int
        For each action, device by device in the order of the actions.
    lags : sequence of int
        For each precedence of the problem; empty if none grows.
    moves : sequence of int
        For each precedence, the part of its growth for which it is on a link; empty if there is none.
    """

    actions: Sequence[int]
    lags: Sequence[int] = ()
    moves: Sequence[int] = ()


class Line(NamedTuple):
    """A tangent.

    Attributes
    ----------
    touches : Fraction
        A θ at which it touches the curve.
    value : Fraction
        The height there.
    slope : Fraction
        The growth for each unit of θ.
    """

    touches: Fraction
    value: Fraction
    slope: Fraction

    def at(self, theta: Fraction) -> Fraction:
        """Return the height at θ."""
        return self.value + self.slope * (theta - self.touches)

    def meets(self, other: Line) -> Fraction:
        """Return the θ at which it meets a line of another slope."""
        return self.touches + (self.value - other.at(self.touches)) / (other.slope - self.slope)


class Curve(ABC):
    """A convex, piecewise linear function of θ, known by its tangents; each is computed once."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Fraction, Side], Line] = {}

    @abstractmethod
    def _computed(self, theta: Fraction, side: Side) -> Line:
        """Compute a tangent."""

    def __call__(self, theta: Fraction) -> Fraction:
        """Return the value at θ."""
        return self.line(theta).value

    def line(self, theta: Fraction, side: Side = "right") -> Line:
        """Return the tangent on one side of θ, whose slope is the one-sided derivative."""
        key = theta, side
        if key not in self._lines:
            found = self._coming_from_the_left(theta) if side == "left" else None
            self._lines[key] = found or self._computed(theta, side)
        return self._lines[key]

    def _coming_from_the_left(self, theta: Fraction) -> Line | None:
        """Return the tangent of a smaller θ that is known to reach the curve here, if the height here is known."""
        here = self._lines.get((theta, "right"))
        if here is None:
            return None
        lines = (each for each in self._lines.values() if each.touches < theta and each.at(theta) == here.value)
        return next((here._replace(slope=each.slope) for each in lines), None)

    def is_linear(self, low: Fraction, high: Fraction) -> bool:
        """Return whether there is no breakpoint strictly between two θ."""
        return self.line(low).at(high) == self.line(high, "left").value

    def bend(self, low: Fraction, high: Fraction) -> Fraction:
        """Return where the inner tangents at the ends of an interval meet: inside it, unless it is linear there."""
        return self.line(low).meets(self.line(high, "left"))

    def breakpoints(self, low: Fraction, high: Fraction) -> Iterator[Fraction]:
        """Yield each θ strictly between two others at which the slope changes, in turn."""
        if low == high or self.is_linear(low, high):
            return
        bend = self.bend(low, high)
        yield from self.breakpoints(low, bend)
        if self.line(bend).slope != self.line(bend, "left").slope:
            yield bend
        yield from self.breakpoints(bend, high)


class FixedOrder:
    """The graph of a fixed order: its actions are the first nodes, behind them are the results that links move.

    Parameters
    ----------
    problem : Problem
        At θ = 0. Results may wait for links (`Problem.moves`): a link moves them in the order of its device.
    orders : Orders
        The actions of each device.

    Attributes
    ----------
    ticks_per_unit : int
        The problem's.
    actions : int
        How many nodes are actions: device by device, in their order.
    time : list of int
        How long each node lasts.
    moved : list of int
        The precedence of each result that a link moves.
    implied : list of int
        The precedences that the order of a device keeps by itself; no lag of theirs may grow.
    lag : list of int
        For each precedence what lies between its two nodes; at last nothing.
    steps : list of (int, list of (int, int))
        Each node, behind all that it waits for: their numbers, with that of the lag in between.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a cycle.
    InputError
        If the orders do not name every task exactly once.
    """

    def __init__(self, problem: Problem, orders: Orders) -> None:
        numbered = Numbered(problem)
        written = number_orders(numbered, orders)
        self.ticks_per_unit = problem.ticks_per_unit
        self.actions = len(written.duration)
        self.time = list(written.duration)
        self.moved: list[int] = []
        self.implied: list[int] = []
        self.lag = [*numbered.precedences.lag.tolist(), 0]
        self._inputs: list[list[tuple[int, int]]] = [[] for _ in self.time]
        self._wait(numbered, written)
        for first, last in pairwise(written.bounds):
            for before, after in pairwise(range(first, last)):
                self._inputs[after].append((before, self._nothing))
        try:
            awaited = {node: [before for before, _ in inputs] for node, inputs in enumerate(self._inputs)}
            self.steps = [(node, self._inputs[node]) for node in TopologicalSorter(awaited).static_order()]
        except CycleError:
            raise deadlock(order_graph(problem, orders)) from None

    @property
    def durations(self) -> list[int]:
        """How long each action lasts, device by device, in ticks."""
        return self.time[: self.actions]

    @property
    def _nothing(self) -> int:
        return len(self.lag) - 1

    def _wait(self, numbered: Numbered, orders: NumberedOrders) -> None:
        """Add what actions wait for beside the action before on their device."""
        action_of, turn = np.empty_like(orders.tasks), np.empty_like(orders.tasks)
        action_of[orders.tasks] = orders.action
        turn[orders.tasks] = np.arange(len(turn))  # of a block the first half's results leave first
        before, after = numbered.precedences.before, numbered.precedences.after
        ends = zip(action_of[before].tolist(), action_of[after].tolist(), strict=True)
        devices = zip(numbered.device[before].tolist(), numbered.device[after].tolist(), strict=True)
        pairs, links = list(ends), list(devices)
        moving = numbered.moving.tolist() if numbered.problem.moves else [-1] * len(pairs)
        last_on_link: dict[tuple[int, int], int] = {}
        for number in np.argsort(turn[before], kind="stable").tolist():
            (source, waiting), link = pairs[number], links[number]
            if moving[number] >= 0:
                source = self._move(source, last_on_link.get(link), moving[number])
                last_on_link[link] = source
                self.moved.append(number)
                self.lag[number] -= moving[number]
            elif link[0] == link[1] and source < waiting and not self.lag[number]:
                self.implied.append(number)  # the order alone makes an action wait for an earlier one of its device
                continue
            self._inputs[waiting].append((source, number))

    def _move(self, source: int, before: int | None, moving: int) -> int:
        """Add a node for a result on a link, behind the one that the link moves before."""
        self.time.append(moving)
        self._inputs.append([(node, self._nothing) for node in (source, before) if node is not None])
        return len(self.time) - 1


class ParametricMakespan(Curve):
    """The makespan of a fixed order over θ, in the user's unit of time.

    Parameters
    ----------
    order : FixedOrder
        The order, at θ = 0.
    growth : Growth
        What grows with θ. At a θ that is asked for, everything that grows or shrinks must last longer than 0; for the
        tangent on the right of 0 it is enough that nothing shrinks.
    deadline : float, optional
        On the clock of `time.perf_counter`; a replay that would begin after it raises `OutOfTimeError`.

    Attributes
    ----------
    replays : int
        How many there were.
    """

    def __init__(self, order: FixedOrder, growth: Growth, deadline: float | None = None) -> None:
        super().__init__()
        self.deadline = deadline
        self.replays = 0
        self._order = order
        lags = [*(growth.lags or [0] * (len(order.lag) - 1)), 0]
        moves = [growth.moves[number] if growth.moves else 0 for number in order.moved]
        for number, more in zip(order.moved, moves, strict=True):
            lags[number] -= more
        assert not any(lags[number] for number in order.implied), "a lag within a device's order grows from 0"
        self._growth, self._lag_growth = [*growth.actions, *moves], lags
        self._base = 1 + 2 * sum(map(abs, chain(self._growth, lags)))  # a path has each node and each lag once at most

    def _computed(self, theta: Fraction, side: Side) -> Line:
        """Replay the order in numbers whose high digits are times, and whose low digits are the growth of a path.

        Of all longest paths that finds the one that grows most; on the left growth is subtracted, which finds the one
        that grows least.
        """
        check_time(self.deadline)
        self.replays += 1
        sign = 1 if side == "right" else -1
        order, base = self._order, self._base
        of_time, of_growth = base * theta.denominator, base * theta.numerator + sign
        weights = [time * of_time + more * of_growth for time, more in zip(order.time, self._growth, strict=True)]
        lags = [time * of_time + more * of_growth for time, more in zip(order.lag, self._lag_growth, strict=True)]
        ends = [0] * len(weights)
        for node, inputs in order.steps:
            start = 0
            for before, lag in inputs:
                ready = ends[before] + lags[lag]
                if ready > start:
                    start = ready
            ends[node] = start + weights[node]
        longest = max(ends[: order.actions], default=0)
        value = (longest + base // 2) // base
        slope = sign * (longest - value * base)
        return Line(
            theta, Fraction(value, theta.denominator * order.ticks_per_unit), Fraction(slope, order.ticks_per_unit)
        )


class Mean(Curve):
    """The mean of several curves."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        super().__init__()
        self.curves = curves

    def _computed(self, theta: Fraction, side: Side) -> Line:
        lines = [curve.line(theta, side) for curve in self.curves]
        value, slope = (sum(column, Fraction(0)) / len(lines) for column in list(zip(*lines, strict=True))[1:])
        return Line(theta, value, slope)


def first_below(curve: Curve, rival: Curve, low: Fraction, high: Fraction) -> Fraction | None:
    """Find the first θ of an interval right of which a rival is below a curve.

    Parameters
    ----------
    curve, rival : Curve
        The rival is not below the curve at the lower end.
    low, high : Fraction
        The interval.

    Returns
    -------
    Fraction or None
        The greatest θ up to which the rival is nowhere below; None if that is all of the interval.
    """
    parts = [(low, high)]
    while parts:
        low, high = parts.pop()
        here, there = curve.line(low), rival.line(low)
        if (there.value, there.slope) < (here.value, here.slope):
            return low
        if low == high or _stays_above(curve, rival, low, high):
            continue
        if not curve.is_linear(low, high):
            middle = curve.bend(low, high)
        elif not rival.is_linear(low, high):
            middle = rival.bend(low, high)
        else:
            return here.meets(there)
        if rival(middle) < curve(middle):
            parts = [(low, middle)]
        else:
            parts += [(middle, high), (low, middle)]
    return None


def _stays_above(curve: Curve, rival: Curve, low: Fraction, high: Fraction) -> bool:
    """Return whether the tangents of a rival that is not below a curve at the lower end show that it never is."""
    first, end = rival.line(low), curve.line(high, "left").value
    if first.at(high) >= end:
        return True
    last = rival.line(high, "left")
    if last.value < end or first.slope == last.slope:
        return last.value >= end
    start = curve(low)
    bend = first.meets(last)
    return first.at(bend) >= start + (end - start) * (bend - low) / (high - low)


class Lead(NamedTuple):
    """From where on which of several curves is the lowest.

    Attributes
    ----------
    begins : Fraction
        The first θ.
    curve : int
        The number of the curve.
    """

    begins: Fraction
    curve: int


def leads(curves: Sequence[Curve], first: int, low: Fraction, high: Fraction) -> Iterator[Lead]:
    """Yield which curve is the lowest from where on, in an interval.

    Parameters
    ----------
    curves : sequence of Curve
        Any; of several that are equally low the one that leads goes on leading.
    first : int
        The number of the one that leads at the lower end; none is below it there.
    low, high : Fraction
        The interval.
    """
    leader: int | None = first
    while leader is not None:
        yield Lead(low, leader)
        low, leader = _overtaken(curves, leader, low, high)


def _overtaken(curves: Sequence[Curve], leader: int, low: Fraction, high: Fraction) -> tuple[Fraction, int | None]:
    """Find where a leader is first overtaken and by which curve: of several by the one that grows least from there."""
    curve = curves[leader]
    found = high
    overtakers: list[int] = []
    for number, rival in enumerate(curves):
        begins = None if number == leader else first_below(curve, rival, low, found)
        if begins is None and overtakers and number != leader and rival(found) == curve(found):
            begins = found  # both overtake here
        if begins is not None:
            overtakers = [number] if begins < found else [*overtakers, number]
            found = begins
    overtakers.sort(key=lambda number: curves[number].line(found).slope)
    return found, next(iter(overtakers), None)
