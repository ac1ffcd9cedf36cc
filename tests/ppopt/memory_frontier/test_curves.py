"""A schedule holds at larger limits and a bound at smaller ones, so both curves are monotone whatever is found."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ppopt.memory_frontier.curves import Curves, FoundSchedule, Record
from ppopt.memory_frontier.limits import respaced_limits, spaced_limits
from ppopt.optimization.cuts import searched_cut
from ppopt.optimization.options import SearchOptions
from solver.bounds.bound import Bound
from strategies.problem.search_problem import build_search_problem
from tests.evaluated import evaluated, pipeline
from tests.examples import examples

COSTS = pipeline(2, 3, stages=2)
PUBLISHED = evaluated("1f1b", COSTS)
AMOUNTS = st.fractions(1, 20, max_denominator=3)


@cache
def parts(name: str, activation: int) -> tuple[Any, ...]:
    cut, layout = searched_cut(pipeline(2, 3, stages=2, memory={"activation": activation}), name, SearchOptions())
    return name, cut, layout, build_search_problem(cut, layout)


def record(name: str, activation: int = 1) -> Record:
    return Record(*parts(name, activation))


def found(makespan: Fraction, memory: Fraction) -> FoundSchedule:
    return FoundSchedule(PUBLISHED, makespan, memory)


@st.composite
def known(draw: st.DrawFn) -> Curves:
    """Draw two placements, one of which needs more memory, with consistent schedules and bounds."""
    records = [record("linear"), record("bidirectional", activation=2)]
    for each in records:
        each.add(found(Fraction(1000), each.least))
        least = Fraction(1000)
        for makespan, memory in draw(st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=6)):
            each.add(found(500 + makespan, memory))
            least = min(least, 500 + makespan)
        for ticks, limit in draw(st.lists(st.tuples(st.integers(1, 500), st.none() | AMOUNTS), max_size=6)):
            each.prove(Bound(ticks, "load"), limit)
    return Curves(records)


@settings(max_examples=examples(50))
@given(known(), st.lists(AMOUNTS, min_size=2, max_size=8))
def test_neither_curve_rises_and_the_bound_stays_below(curves: Curves, asked: list[Fraction]) -> None:
    limits = sorted(limit for limit in asked if limit >= curves.least)
    best = [curves.best_at(limit) for limit in limits]
    bounds = [curves.bound_at(limit) for limit in limits]
    assert [each.makespan for each in best] == sorted((each.makespan for each in best), reverse=True)
    assert bounds == sorted(bounds, reverse=True)
    assert all(each.memory <= limit for each, limit in zip(best, limits, strict=True))
    assert all(bound <= each.makespan for each, bound in zip(best, bounds, strict=True))
    for limit, each in zip(limits, best, strict=True):
        every = (found for record in curves.records for found in record.found if found.memory <= limit)
        assert each.makespan == min(found.makespan for found in every)


@settings(max_examples=examples(50))
@given(known())
def test_steps_and_stairs_are_the_curves(curves: Curves) -> None:
    stairs, steps = curves.stairs(), curves.bound_steps([])
    assert [each.memory for each in stairs] == sorted({each.memory for each in stairs})
    assert stairs[-1].makespan == curves.best_at(None).makespan
    assert stairs[-1].memory == curves.enough
    for each in stairs:
        assert curves.best_at(each.memory).makespan == each.makespan
    for (low, _), (high, bound) in pairwise(steps):
        assert curves.bound_at(high) == bound <= curves.bound_at((low + high) / 2)


def test_a_schedule_that_another_beats_everywhere_is_not_kept() -> None:
    curve = record("linear")
    assert curve.add(found(Fraction(10), Fraction(4)))
    assert not curve.add(found(Fraction(10), Fraction(4)))
    assert not curve.add(found(Fraction(11), Fraction(5)))
    assert curve.add(found(Fraction(12), Fraction(2)))
    assert curve.add(found(Fraction(9), Fraction(2)))
    assert [(each.makespan, each.memory) for each in curve.found] == [(9, 2)]


@given(AMOUNTS, AMOUNTS, st.integers(1, 9), st.lists(AMOUNTS, max_size=2), AMOUNTS)
def test_limits_lie_between_the_ends(
    least: Fraction, room: Fraction, points: int, wanted: list[Fraction], other: Fraction
) -> None:
    records = [record("linear"), record("v")]
    limits = spaced_limits(records, least, least + room, points, wanted)
    assert limits == sorted(set(limits))
    assert limits[-1] == least + room
    assert limits[0] == least or points == 1
    assert len(limits) <= max(points, 2) + len(wanted)
    if points > 2 + len(wanted):
        assert all(limit in limits for limit in wanted if least < limit < least + room)
    again = respaced_limits(records, limits, least + other, points, wanted)
    assert again == sorted(set(again))
    assert again[-1] == least + other
    assert set(again) >= {limit for limit in wanted if limit in limits and limit < least + other}


def test_all_limits_at_which_the_curves_can_fall_are_taken_where_there_are_few() -> None:
    records = [record("linear"), record("v")]
    half = Fraction(1, 2)
    assert spaced_limits(records, Fraction(1), Fraction(3), 12, []) == [1, 1 + half, 2, 2 + half, 3]
    assert spaced_limits(records, Fraction(1), Fraction(31), 4, [Fraction(12)]) == [1, 12, 21, 31]
