"""Cuts by their greatest part, against all cuts."""

from __future__ import annotations

from itertools import combinations_with_replacement, pairwise
from random import Random

import pytest

from solver.bottleneck import Bottleneck
from solver.deadline import OutOfTimeError


def all_cuts(parts: int, items: int, cost) -> list[tuple[int, tuple[int, ...]]]:
    found = []
    for inner in combinations_with_replacement(range(items + 1), parts - 1):
        ends = (0, *inner, items)
        values = [cost(part, *pair) for part, pair in enumerate(pairwise(ends))]
        if None not in values:
            found.append((max(values), tuple(after - before for before, after in pairwise(ends))))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_every_cut_comes_once_and_in_order(seed: int) -> None:
    random = Random(seed)
    parts, items = random.randint(1, 4), random.randint(0, 6)
    table = {
        (part, start, stop): random.choice([None, *range(12)])
        for part in range(parts)
        for start in range(items + 1)
        for stop in range(start, items + 1)
    }

    def cost(*key: int) -> int | None:
        return table[key]

    expected = all_cuts(parts, items, cost)
    bottleneck = Bottleneck(parts, items, cost)
    found = list(bottleneck.cuts())
    assert sorted(found) == sorted(expected)
    assert [value for value, _ in found] == sorted(value for value, _ in expected)
    assert bottleneck.least == min((value for value, _ in expected), default=None)


def test_it_ends_at_its_deadline() -> None:
    with pytest.raises(OutOfTimeError):
        Bottleneck(3, 5, lambda *_: 0, deadline=0.0)
