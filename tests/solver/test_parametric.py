"""Makespans over a parameter, and where one falls below another, against replays of longer durations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any, NamedTuple

import pytest

import ppopt
from ppopt import DeadlockError, Pipeline
from solver.deadline import OutOfTimeError
from solver.errors import InputError
from solver.parametric import Curve, FixedOrder, Growth, Lead, Line, Mean, ParametricMakespan, Side, first_below, leads
from solver.problem import Block, Orders, Problem
from solver.replay import replay
from tests.evaluated import evaluated, pipeline

LINKS = {"p2p": "links", "communication": {"latency": 0.5, "transfer": 1.25}}
STRATEGIES = ["gpipe", "1f1b", "zb-h1", "zb-v", "interleaved", "hanayo", "dualpipe"]
TINY = Fraction(1, 10**9)
"""Less than the distance of any two breakpoints here."""


class Grown(NamedTuple):
    """A problem whose tasks and lags grow, written without the arrays that are tested."""

    problem: Problem
    orders: Orders
    by_action: dict[Any, int]
    lags: list[int]
    moves: list[int]

    @property
    def curve(self) -> ParametricMakespan:
        growth = [self.by_action[action] for action in chain.from_iterable(self.orders)]
        return ParametricMakespan(FixedOrder(self.problem, self.orders), Growth(growth, self.lags, self.moves))

    def replayed(self, theta: Fraction) -> Fraction:
        """Replay the problem at θ from the beginning."""
        times, part = theta.denominator, theta.numerator
        given = self.problem
        block = next((more for action, more in self.by_action.items() if isinstance(action, Block)), 0)
        changed = replace(
            given,
            tasks={
                key: task._replace(duration=task.duration * times + part * self.by_action.get(key, 0))
                for key, task in given.tasks.items()
            },
            precedences=[
                (one, two, lag * times + part * more)
                for (one, two, lag), more in zip(given.precedences, self.lags, strict=True)
            ],
            moves={
                (one, two): given.moves[one, two] * times + part * more
                for (one, two, _), more in zip(given.precedences, self.moves, strict=True)
                if (one, two) in given.moves
            },
            fusing=given.fusing.scaled(lambda duration: duration * times + part * block),
        )
        starts = replay(changed, self.orders)
        longest = max(start + changed.duration(action) for action, start in starts.items())
        return Fraction(longest, times * given.ticks_per_unit)


def grown(strategy: str, seed: int, **more: Any) -> Grown:
    draw = random.Random(f"{strategy} {seed}")
    schedule = evaluated(strategy, pipeline(draw.choice([2, 4]), draw.choice([8, 12]), **more))
    tasks = {
        key: task._replace(duration=task.duration * draw.choice([0, 1, 1, 2, 5]))
        for key, task in schedule.problem.tasks.items()
    }
    problem = replace(schedule.problem, tasks=tasks)
    block = draw.randint(0, 3)
    by_action = {
        action: block if isinstance(action, Block) else draw.choice([0, 1, 2, 7])
        for action in chain.from_iterable(schedule.actions)
    }
    lags = [draw.choice([0, 0, 3]) if lag else 0 for *_, lag in problem.precedences]
    moves = [
        min(each, 2) if (one, two) in problem.moves else 0
        for each, (one, two, _) in zip(lags, problem.precedences, strict=True)
    ]
    return Grown(problem, schedule.actions, by_action, lags, moves)


@pytest.mark.parametrize("more", [{}, {"p2p_latency": 0.5}, LINKS], ids=["free", "latency", "links"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_values_and_slopes_are_those_of_replays(strategy: str, more: dict[str, Any]) -> None:
    case = grown(strategy, 1, **more)
    curve = case.curve
    draw = random.Random(strategy)
    for theta in [Fraction(0), Fraction(1), *(Fraction(draw.randrange(60), draw.randrange(1, 9)) for _ in range(4))]:
        value = case.replayed(theta)
        assert curve(theta) == value
        assert curve.line(theta).slope == (case.replayed(theta + TINY) - value) / TINY
        if theta:
            assert curve.line(theta, "left").slope == (value - case.replayed(theta - TINY)) / TINY


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_breakpoints_are_where_the_slope_changes_and_there_are_no_others(strategy: str) -> None:
    case = grown(strategy, 2, p2p_latency=1)
    curve = case.curve
    low, high = Fraction(0), Fraction(40)
    found = list(curve.breakpoints(low, high))
    replays = curve.replays
    for here, there in pairwise([low, *found, high]):
        middle = (here + there) / 2
        assert here < middle < there
        assert case.replayed(middle) == (case.replayed(here) + case.replayed(there)) / 2
    for each in found:
        assert curve.line(each, "left").slope < curve.line(each).slope
    assert replays <= 4 * len(found) + 2


class Lines(Curve):
    """The highest of some lines."""

    def __init__(self, *lines: tuple[int, int]) -> None:
        super().__init__()
        self.of = [Line(Fraction(0), Fraction(value), Fraction(slope)) for value, slope in lines]

    def _computed(self, theta: Fraction, side: Side) -> Line:
        sign = 1 if side == "right" else -1
        best = max(self.of, key=lambda line: (line.at(theta), sign * line.slope))
        return Line(theta, best.at(theta), best.slope)


HIGH = Fraction(20)


def drawn(draw: random.Random) -> Lines:
    return Lines(*((draw.randint(0, 40), draw.randint(-1, 8)) for _ in range(draw.randint(1, 6))))


def places(curves: Sequence[Curve]) -> list[Fraction]:
    """List everything at which the lowest of some curves can change: no two of them cross in between but at one θ."""
    bends = sorted({Fraction(0), HIGH, *chain.from_iterable(curve.breakpoints(Fraction(0), HIGH) for curve in curves)})
    crossings = set(bends)
    for low, high in pairwise(bends):
        for number, one in enumerate(curves):
            for other in curves[:number]:
                before, after = one(low) - other(low), one(high) - other(high)
                if before * after < 0:
                    crossings.add(low + (high - low) * before / (before - after))
    return sorted(crossings)


def test_the_first_place_below_is_found() -> None:
    draw = random.Random(1)
    for _ in range(300):
        curve, rival = drawn(draw), drawn(draw)
        if rival(Fraction(0)) < curve(Fraction(0)):
            curve, rival = rival, curve
        between = [((low + high) / 2, low) for low, high in pairwise(places([curve, rival]))]
        expected = next((low for middle, low in between if rival(middle) < curve(middle)), None)
        assert first_below(curve, rival, Fraction(0), HIGH) == expected


def test_whatever_leads_is_the_lowest_until_the_next_leads() -> None:
    draw = random.Random(2)
    for _ in range(100):
        curves = [drawn(draw) for _ in range(draw.randint(1, 6))]
        heights = [curve(Fraction(0)) for curve in curves]
        first = heights.index(min(heights))
        found = list(leads(curves, first, Fraction(0), HIGH))
        assert found[0] == Lead(Fraction(0), first)
        everywhere = places(curves)
        for lead, end in zip(found, [*(each.begins for each in found[1:]), HIGH], strict=True):
            ends = [lead.begins, *(theta for theta in everywhere if lead.begins < theta < end), end]
            for theta in chain(ends, ((low + high) / 2 for low, high in pairwise(ends))):
                assert curves[lead.curve](theta) == min(curve(theta) for curve in curves)
        for one, other in pairwise(found):
            beyond = other.begins + TINY
            assert curves[other.curve](beyond) < curves[one.curve](beyond)


def test_a_mean_is_a_curve_of_its_own() -> None:
    curves = [Lines((0, 3), (5, 1)), Lines((2, 2), (11, 0))]
    mean = Mean(curves)
    for theta in (Fraction(0), Fraction(5, 2), Fraction(9, 2), Fraction(7)):
        for side in ("left", "right"):
            line = mean.line(theta, side)
            assert line.value == sum(curve(theta) for curve in curves) / 2
            assert line.slope == sum(curve.line(theta, side).slope for curve in curves) / 2
    assert list(mean.breakpoints(Fraction(0), HIGH)) == [Fraction(5, 2), Fraction(9, 2)]


def test_things_that_shrink_count_with_their_sign() -> None:
    case = grown("zb-h1", 4)
    actions = list(chain.from_iterable(case.orders))
    by_action = {action: (-1) ** place * case.problem.duration(action) for place, action in enumerate(actions)}
    changed = case._replace(by_action=by_action)
    for theta in (Fraction(1, 3), Fraction(7, 8)):
        value = changed.replayed(theta)
        assert changed.curve(theta) == value
        assert changed.curve.line(theta).slope == (changed.replayed(theta + TINY) - value) / TINY
        assert changed.curve.line(theta, "left").slope == (value - changed.replayed(theta - TINY)) / TINY


def test_few_replays_decide_where_a_bound_does() -> None:
    """A rival that is longer and grows no less is done with after one replay."""
    slow, fast = (evaluated(name, pipeline(4, 8)) for name in ("gpipe", "zb-h1"))
    curves = [
        ParametricMakespan(FixedOrder(each.problem, each.actions), Growth([1] * sum(map(len, each.actions))))
        for each in (fast, slow)
    ]
    assert first_below(curves[0], curves[1], Fraction(0), Fraction(1, 1000)) is None
    assert curves[1].replays == 1


def test_orders_that_cannot_run_and_deadlines() -> None:
    schedule = evaluated("1f1b", pipeline(2, 2))
    growth = Growth([1] * 8)
    with pytest.raises(DeadlockError, match="deadlocks"):
        FixedOrder(schedule.problem, [list(reversed(order)) for order in schedule.actions])
    with pytest.raises(InputError, match="missing"):
        FixedOrder(schedule.problem, [order[1:] for order in schedule.actions])
    with pytest.raises(OutOfTimeError):
        ParametricMakespan(FixedOrder(schedule.problem, schedule.actions), growth, deadline=0.0)(Fraction(0))


def test_sixteen_digits_stay_exact() -> None:
    times = {"forward": 1.0000000000000002, "backward": 3.3333333333333335}
    schedule = ppopt.evaluate(Pipeline.from_mapping({"devices": 3, "microbatches": 5, "times": times}), "1f1b")
    curve = ParametricMakespan(
        FixedOrder(schedule.problem, schedule.actions), Growth([schedule.problem.ticks_per_unit] * 30)
    )
    assert curve(Fraction(0)) == schedule.exact_makespan
    longer = {key: Fraction(repr(value)) + Fraction(1, 3) for key, value in times.items()}
    costs = Pipeline.from_mapping({"devices": 3, "microbatches": 5, "times": longer})
    assert curve(Fraction(1, 3)) == ppopt.evaluate(costs, "1f1b").exact_makespan
