"""Splits by their greatest row, against all splits."""

from __future__ import annotations

from itertools import accumulate, combinations_with_replacement, pairwise, product
from random import Random
from time import perf_counter
from typing import NamedTuple

import pytest

from solver.partitioning.greatest_row import GreatestRow, Row
from solver.partitioning.problem import Form, Limit, Run, Split, Term


class Drawn(NamedTuple):
    bins: int
    runs: list[Run]
    rows: list[Row]
    limits: list[Limit]
    empty: bool


def draw(seed: int, parts: int = 1) -> Drawn:
    random = Random(seed)
    bins = random.randint(1, 3)

    def form(most: int) -> Form:
        return tuple(Term(random.randrange(bins), random.randrange(2), random.randint(0, 4)) for _ in range(most))

    runs = []
    for _ in range(random.randint(1, 3)):
        first, last = sorted(random.choices(range(bins), k=2))
        modes = tuple((random.randint(0, 5), random.randint(0, 5)) for _ in range(random.choice([1, 1, 2])))
        runs.append(Run(random.randint(1, 3), first, last, modes, parts))
    rows = [Row(form(random.randint(1, 4)), random.randint(0, 5)) for _ in range(3)]
    limits = [Limit(form(2), random.randint(5, 30)) for _ in range(random.randint(0, 2))]
    return Drawn(bins, runs, rows, limits, random.random() < 0.7)


def amount(form: Form, runs: list[Run], split: Split) -> int:
    total = 0
    for term in form:
        for run, held, second in zip(runs, split.held[term.bin], split.second[term.bin], strict=True):
            modes = [(held * run.parts - second, run.modes[0]), (second, run.modes[-1])]
            total += sum(term.factor * count * mode[term.attribute] for count, mode in modes)
    return total


def every_split(drawn: Drawn) -> list[tuple[int, tuple[int, ...]]]:
    """List the greatest row and the cuts of every allowed split."""
    items = [number for number, run in enumerate(drawn.runs) for _ in range(run.count)]
    found = []
    for inner in combinations_with_replacement(range(len(items) + 1), drawn.bins - 1):
        parts = [items[start:stop] for start, stop in pairwise((0, *inner, len(items)))]
        held = tuple(tuple(part.count(number) for number in range(len(drawn.runs))) for part in parts)
        is_pinned = all(
            not count or run.first <= place <= run.last
            for place, counts in enumerate(held)
            for count, run in zip(counts, drawn.runs, strict=True)
        )
        if not is_pinned or (not drawn.empty and not all(parts)):
            continue
        choices = [
            range(count * run.parts + 1) if len(run.modes) > 1 else [0]
            for counts in held
            for count, run in zip(counts, drawn.runs, strict=True)
        ]
        for flat in product(*choices):
            width = len(drawn.runs)
            second = tuple(tuple(flat[place * width : (place + 1) * width]) for place in range(drawn.bins))
            split = Split(held, second)
            if all(amount(limit.form, drawn.runs, split) <= limit.most for limit in drawn.limits):
                value = max(amount(row.form, drawn.runs, split) + row.constant for row in drawn.rows)
                found.append((value, (*inner, len(items))))
    return found


def solved(master: GreatestRow, **options: int):
    return master.solve(perf_counter() + 60, **options)


@pytest.mark.exhaustive(16)
@pytest.mark.parametrize(("seed", "parts"), [*((seed, 1) for seed in range(60)), *((seed, 2) for seed in range(20))])
def test_the_least_greatest_row_is_that_of_all_splits(seed: int, parts: int) -> None:
    drawn = draw(seed, parts)
    values = [value for value, _ in every_split(drawn)]
    master = GreatestRow(drawn.bins, drawn.runs, drawn.rows, drawn.limits, empty=drawn.empty)
    found = solved(master)
    if not values:
        assert found.status == "infeasible"
        return
    assert (found.status, found.bound) == ("optimal", min(values))
    assert found.split is not None
    assert max(amount(row.form, drawn.runs, found.split) + row.constant for row in drawn.rows) == min(values)
    assert solved(master, below=min(values)).status == "infeasible"


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize("seed", range(20))
def test_cuts_come_in_the_order_of_their_least_row(seed: int) -> None:
    drawn = draw(1000 + seed)
    best: dict[tuple[int, ...], int] = {}
    for value, cuts in every_split(drawn):
        best[cuts] = min(value, best.get(cuts, value))
    master = GreatestRow(drawn.bins, drawn.runs, drawn.rows, drawn.limits, empty=drawn.empty)
    found = []
    while (answer := solved(master)).split is not None:
        assert best[tuple(accumulate(map(sum, answer.split.held)))] == answer.bound
        found.append(answer.bound)
        master.forbid(answer.split)
    assert found == sorted(best.values())


def test_rows_that_are_too_large_for_it_are_rounded_down() -> None:
    huge = 10**30
    rows = [Row((Term(place, 0, 1),), 0) for place in range(2)]
    master = GreatestRow(2, [Run(3, 0, 1, ((huge,),))], rows)
    found = solved(master)
    assert found.split is not None
    assert 2 * huge * (1 - 1e-9) < found.bound <= 2 * huge
