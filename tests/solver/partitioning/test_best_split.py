"""Best splits of rows of arbitrary items, against all splits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import accumulate, pairwise, product
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest

from solver.partitioning import solve, tree
from solver.partitioning.descent import Descent
from solver.partitioning.longest_path import Replay
from solver.partitioning.multipliers import certificate
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Limit, Numbers, PartitionProblem, Run, Split, Term
from solver.partitioning.roundings import Roundings
from solver.partitioning.rows import NO_SIDE, side_rows, sums, totals
from solver.partitioning.solve import best_split, quick_split, weights_of
from solver.partitioning.splits import InfeasibleSplitError, even_start, settled_second


def random_problem(seed: int) -> PartitionProblem:
    draw = random.Random(seed)
    bins, attributes = draw.randint(1, 4), 3
    runs = []
    first = 0
    for _ in range(draw.randint(1, 3)):
        last = draw.randint(first, bins - 1) if draw.random() < 0.3 else bins - 1
        modes = [tuple(draw.randint(0, 9) for _ in range(attributes)) for _ in range(draw.choice([1, 1, 2]))]
        runs.append(Run(draw.randint(1, 3), first, last, tuple(modes)))
        if draw.random() < 0.2:
            first = draw.randint(first, last)
    # windows grow with the number of runs
    for place in range(len(runs) - 1, 0, -1):
        before, after = runs[place - 1], runs[place]
        runs[place - 1] = replace(before, last=min(before.last, after.last))
    classes = [(place, attribute) for place in range(bins) for attribute in range(2)]
    lengths = [(((Term(place, attribute, draw.randint(1, 2)),)),) for place, attribute in classes]
    if bins > 1:
        lengths.append(
            (
                (Term(0, 0, 2), Term(1, 1, 1)),
                (Term(0, 0, 1), Term(1, 1, 2)),
            )
        )
    tasks = [draw.randrange(len(lengths)) for _ in range(draw.randint(2, 14))]
    waits = [
        [(other, draw.choice([0, 0, 3])) for other in sorted(draw.sample(range(task), min(task, draw.randint(0, 2))))]
        for task in range(len(tasks))
    ]
    limits = ()
    if draw.random() < 0.5:
        limits = tuple(
            Limit((Term(place, 2, 1), Term((place + 1) % bins, 2, 1)), draw.randint(5, 40), place)
            for place in range(bins)
        )
    return PartitionProblem(
        bins=bins,
        runs=tuple(runs),
        lengths=tuple(lengths),
        tasks=tasks,
        waits=waits,
        limits=limits,
        groups=tuple((place,) for place in range(0, bins, 2)),
        empty=draw.random() < 0.7,
        first_in_mode=draw.choice([None, None, 1, 2]) if any(len(run.modes) > 1 for run in runs) else None,
    )


def in_parts(problem: PartitionProblem, seed: int) -> PartitionProblem:
    """Make items of several parts, each in its own mode."""
    draw = random.Random(seed)
    runs = tuple(replace(run, count=min(run.count, 2), parts=draw.choice([1, 2, 3])) for run in problem.runs)
    first = None if problem.first_in_mode is None else draw.randint(1, 5)
    limits = tuple(limit._replace(most=limit.most * 2) for limit in problem.limits)
    return replace(problem, runs=runs, limits=limits, first_in_mode=first)


def every_split(problem: PartitionProblem) -> Iterator[Numbers]:
    items = problem.run_of_item
    for inner in product(range(len(items) + 1), repeat=problem.bins - 1):
        cuts = [0, *inner, len(items)]
        if any(after - before < (0 if problem.empty else 1) for before, after in pairwise(cuts)):
            continue
        held = [[items[start:stop].count(run) for run in range(len(problem.runs))] for start, stop in pairwise(cuts)]
        if any(
            count and not run.first <= place <= run.last
            for place, counts in enumerate(held)
            for run, count in zip(problem.runs, counts, strict=True)
        ):
            continue
        yield from _every_mode(problem, held)


def _every_mode(problem: PartitionProblem, held: list[list[int]]) -> Iterator[Numbers]:
    parts = [[n * run.parts for n, run in zip(row, problem.runs, strict=True)] for row in held]
    if problem.first_in_mode is not None:
        able = [[n if len(run.modes) > 1 else 0 for n, run in zip(row, problem.runs, strict=True)] for row in parts]
        second = [
            [
                min(n, max(0, problem.first_in_mode - before))
                for n, before in zip(row, [0, *accumulate(row)], strict=False)
            ]
            for row in able
        ]
        yield problem.amounts_of(Split(tuple(map(tuple, held)), tuple(map(tuple, second))))
        return
    able = [n if len(run.modes) > 1 else 0 for row in parts for n, run in zip(row, problem.runs, strict=True)]
    for chosen in product(*(range(n + 1) for n in able)):
        width = len(problem.runs)
        second = tuple(tuple(chosen[at : at + width]) for at in range(0, len(chosen), width))
        yield problem.amounts_of(Split(tuple(map(tuple, held)), second))


def length_of(problem: PartitionProblem, amounts: Numbers) -> int:
    """Return the longest path, by its definition."""
    values = dict(zip(problem.columns, amounts.tolist(), strict=True))

    def value(form: tuple[Term, ...]) -> int:
        return sum(
            term.factor * problem.runs[column.run].modes[column.mode][term.attribute] * amount
            for term in form
            for column, amount in values.items()
            if column.bin == term.bin
        )

    ends: list[int] = []
    for kind, waits in zip(problem.tasks, problem.waits, strict=True):
        begin = max([0, *(ends[other] + lag for other, lag in waits)])
        ends.append(begin + max(value(form) for form in problem.lengths[kind]))
    return max(ends)


def best_of_all(problem: PartitionProblem) -> int | None:
    fitting = [amounts for amounts in every_split(problem) if problem.keeps_limits(amounts)]
    return min((length_of(problem, amounts) for amounts in fitting), default=None)


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("parted", [False, True])
@pytest.mark.parametrize("first", range(0, 80, 10))
def test_the_best_split_is_the_best_of_all(first: int, parted: bool) -> None:
    for seed in range(first, first + 10):
        problem = random_problem(seed)
        if parted:
            problem = in_parts(problem, seed)
        best = best_of_all(problem)
        try:
            answer = best_split(problem, deadline=perf_counter() + 60)
        except InfeasibleSplitError:
            assert best is None, seed
            continue
        assert answer.complete, seed
        assert answer.length == best, seed
        if best is None:
            assert answer.split is None
        else:
            assert answer.split is not None
            assert answer.bound == best, seed
            amounts = problem.amounts_of(answer.split)
            assert problem.keeps_limits(amounts)
            assert length_of(problem, amounts) == best


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("first", range(100, 110, 2))
def test_a_cutoff_leaves_out_what_is_no_shorter(first: int) -> None:
    for seed in (first, first + 1):
        problem = random_problem(seed)
        best = best_of_all(problem)
        if best is not None:
            assert best_split(problem, cutoff=best).split is None
            assert best_split(problem, cutoff=best).complete
            assert best_split(problem, cutoff=best + 1).length == best


def test_paths_are_lower_bounds_of_all_splits_also_those_of_fractions() -> None:
    for seed in range(15):
        problem = random_problem(seed)
        replay, draw = Replay(problem, None), np.random.default_rng(seed)
        paths = [replay.longest(draw.integers(0, 9, len(problem.columns)), 7) for _ in range(5)]
        for amounts in every_split(problem):
            length = length_of(problem, amounts)
            assert replay.longest(amounts).length == length
            assert all(path.factors @ amounts + path.constant <= length for path in paths)


@pytest.mark.parametrize("huge", [False, True])
def test_any_multipliers_prove_a_bound_that_holds(huge: bool) -> None:
    """This includes numbers whose products do not fit 64 bits."""
    for seed in range(25):
        problem = random_problem(seed)
        draw = np.random.default_rng(seed)
        replay, pool = Replay(problem, None), Pool(len(problem.columns))
        for _ in range(4):
            pool.add(replay.longest(draw.integers(0, 4, len(problem.columns))))
        factor = 1 << 40 if huge else 1
        whole, sides = totals(problem), side_rows(problem)
        rows = np.concatenate([whole.factors, sides.factors])
        low, high = np.concatenate([whole.low, sides.low]), np.concatenate([whole.high, sides.high])
        box = np.zeros(len(problem.columns), dtype=np.int64), problem.counts[problem.column_runs]
        proof = certificate(
            draw.random(pool.count),
            pool.factors * factor,
            pool.constants * factor,
            draw.normal(size=len(rows)) * 30 * factor,
            rows,
            (low, high),
            box,
        )
        keeping = [amounts for amounts in every_split(problem) if problem.keeps_limits(amounts)]
        for amounts in keeping:
            length = factor * length_of(problem, amounts)
            assert proof.bound(1) <= length


def test_a_contradiction_is_only_seen_where_there_is_one() -> None:
    rows = np.array([[1, 1], [1, -1]])
    none = np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)
    box = np.array([0, 0]), np.array([5, 5])
    sides = np.array([8, 4]), np.array([NO_SIDE, NO_SIDE])

    def proof(multipliers: list[float]) -> bool:
        return certificate(np.zeros(0), *none, np.array(multipliers), rows, sides, box).is_contradiction

    assert proof([0.5, 0.5])  # x + y ≥ 8 and x − y ≥ 4 make x ≥ 6
    assert not proof([1.0, 0.0])
    assert not proof([0.0, 1.0])


def test_sums_and_rows_hold_for_every_split() -> None:
    for seed in range(50):
        problem = random_problem(seed) if seed % 2 else in_parts(random_problem(seed), seed)
        fixed, free, sides = totals(problem), sums(problem).rows, side_rows(problem)
        for amounts in every_split(problem):
            assert (fixed.factors @ amounts == fixed.low).all()
            assert (free.factors @ amounts <= free.high).all()
            assert not (free.factors @ amounts % sums(problem).steps).any()
            if problem.keeps_limits(amounts):
                assert (sides.factors @ amounts >= sides.low).all()


def tightly_limited(seed: int) -> PartitionProblem:
    """Limit several sums over all bins, with unlike factors."""
    draw = random.Random(seed)
    problem = random_problem(seed) if seed % 3 else in_parts(random_problem(seed), seed)
    limits = tuple(
        Limit(tuple(Term(place, 2, draw.randint(1, 5)) for place in range(problem.bins)), draw.randint(5, 120), owner)
        for owner in range(draw.randint(1, 3))
    )
    return replace(problem, limits=limits)


def test_roundings_hold_for_every_split_that_keeps_the_limits() -> None:
    found = cut_off = 0
    for seed in range(60):
        problem, draw = tightly_limited(seed), np.random.default_rng(seed)
        fitting = np.array([amounts for amounts in every_split(problem) if problem.keeps_limits(amounts)])
        if not len(fitting):
            continue
        high = fitting.max(axis=0)
        roundings = Roundings(problem.limit_rows, problem.limit_values)
        for _ in range(10):
            point = draw.random(len(high)) * high
            for factors, least in roundings.violated(point, high, 10):
                assert (fitting @ factors >= least).all(), seed
                assert factors @ point < least
                found += 1
                cut_off += problem.keeps_limits(point)  # the limits alone do not exclude this point
    assert found > 20
    assert cut_off


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("first", range(0, 40, 10))
def test_a_search_in_steps_finds_the_best_split(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    below: list[int | None] = []

    class Recorded(tree.Tree):
        def __init__(self, *arguments: Any, cutoff: int | None, **named: Any) -> None:
            below.append(cutoff)
            super().__init__(*arguments, cutoff=cutoff, **named)

    monkeypatch.setattr(tree, "Tree", Recorded)
    monkeypatch.setattr(solve, "SHARE_OF_FIRST", 0.0)
    for seed in range(first, first + 10):
        problem = tightly_limited(seed)
        try:
            answer = best_split(problem, deadline=perf_counter() + 60)
        except InfeasibleSplitError:
            continue
        best = best_of_all(problem)
        assert (answer.complete, answer.length) == (True, best), seed
        assert best is None or answer.bound == best, seed
    assert sum(each is not None for each in below) > 3  # steps


def test_however_long_the_descent_takes_there_is_time_for_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(descent: Descent, *arguments: Any, over: Callable[[], bool], **named: Any) -> Any:
        while not over():
            sleep(0.001)
        return descend(descent, *arguments, over=over, **named)

    descend = Descent.run
    monkeypatch.setattr(Descent, "run", slowly)
    assert best_split(random_problem(1), deadline=perf_counter() + 2).bound == 126


def test_a_quick_split_is_the_same_each_time() -> None:
    problem = random_problem(3)
    one, two = quick_split(problem, seed=5), quick_split(problem, seed=5)
    assert (one.amounts == two.amounts).all()


def test_second_modes_come_first() -> None:
    problem = replace(random_problem(0), first_in_mode=2)
    runs = (Run(3, 0, 0, ((1,), (1,))), Run(2, 0, 0, ((1,),)), Run(2, 0, 0, ((1,), (1,))))
    problem = replace(problem, bins=1, runs=runs, lengths=(), tasks=(), waits=(), limits=(), groups=())
    assert settled_second(problem, np.array([[1, 2, 2]]), np.array([[0, 0, 0]])).tolist() == [[1, 0, 1]]
    assert settled_second(problem, np.array([[3, 0, 2]]), np.array([[0, 0, 0]])).tolist() == [[2, 0, 0]]


@pytest.mark.parametrize("seed", range(6))
def test_a_move_of_cuts_changes_the_columns_as_it_says(seed: int) -> None:
    problem = replace(in_parts(random_problem(seed), seed), first_in_mode=None)
    try:
        cuts = even_start(problem, weights_of(problem))
    except InfeasibleSplitError:
        return
    descent = Descent(problem, Replay(problem, None), Pool(len(problem.columns)), seed)
    for wanted in (0, 1, 99):
        here = descent.place(cuts, np.full((problem.bins, len(problem.runs)), wanted))
        moves = descent._moves(here)
        for number in range(moves.steps.size):
            if (here.amounts + moves.changes[number] >= 0).all():  # not through an empty bin
                there = descent._moved(here, moves, number)
                assert (there.amounts == here.amounts + moves.changes[number]).all()
