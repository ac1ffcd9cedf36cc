"""The most that blocks can save, and their least lengths, against every way to pair their halves."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import combinations, permutations, product

import pytest

from solver.bounds.pairing import Half, Pairing, gather

Table = dict[tuple[int, int], int]


def spread(halves: list[Half]) -> list[Half]:
    return [half._replace(number=1) for half in halves for _ in range(half.number)]


def all_pairings(pairing: Pairing) -> list[list[tuple[int, int]]]:
    """Return the saving and the length of every pair, for each number of pairs and each way to pair."""
    firsts, seconds = spread(list(pairing.firsts)), spread(list(pairing.seconds))
    found = []
    for count in range(min(len(firsts), len(seconds)) + 1):
        for some, others in product(combinations(firsts, count), permutations(seconds, count)):
            blocks = [pairing.durations.get((f.kind, s.kind)) for f, s in zip(some, others, strict=True)]
            if None not in blocks:
                each = zip(some, others, blocks, strict=True)
                found.append([(f.alone + s.alone - (block or 0), block or 0) for f, s, block in each])
    return found


def random_halves(draw: random.Random, kinds: int) -> list[Half]:
    return [Half(kind, draw.randint(1, 30), draw.randint(1, 2)) for kind in range(kinds)]


def table(draw: random.Random, rule: str, firsts: list[Half], seconds: list[Half]) -> Table:
    share, given = Fraction(draw.randint(0, 4), 4), [draw.randint(1, 40) for _ in firsts]
    durations = {}
    for f, s in product(firsts, seconds):
        if rule == "shorter half":
            length = int(4 * (f.alone + s.alone) - 4 * share * min(f.alone, s.alone))
        elif rule == "first half":
            length = given[f.kind]
        else:
            length = draw.randint(1, 60)
        if rule != "any" or draw.random() < 0.8:
            durations[f.kind, s.kind] = length
    return durations


@pytest.mark.parametrize("rule", ["shorter half", "first half", "any"])
def test_no_pairing_saves_more_or_lasts_less(rule: str) -> None:
    draw = random.Random(rule)
    for _ in range(40):
        firsts, seconds = random_halves(draw, draw.randint(1, 3)), random_halves(draw, draw.randint(1, 2))
        durations = table(draw, rule, firsts, seconds)
        if rule == "shorter half":
            firsts, seconds = ([half._replace(alone=4 * half.alone) for half in each] for each in (firsts, seconds))
        pairing = Pairing(firsts, seconds, durations)
        savings, shortest = pairing.savings(), pairing.shortest()
        every = all_pairings(pairing)
        for pairs in every:
            assert sum(saved for saved, _ in pairs) <= savings[len(pairs)]
            assert sum(block for _, block in pairs) >= shortest[len(pairs)]
        most = max(sum(saved for saved, _ in pairs) for pairs in every)
        assert most <= pairing.most_saved()
        if rule != "any":  # then the bound is the saving of sorted pairs
            assert pairing.most_saved() == most
            for count in range(len(savings)):
                assert savings[count] == max(sum(saved for saved, _ in p) for p in every if len(p) == count)


def test_halves_that_are_alike_are_gathered() -> None:
    assert gather([(0, 3), (1, 3), (0, 3)]) == [Half(0, 3, 2), Half(1, 3, 1)]


def test_halves_without_a_partner_save_nothing() -> None:
    pairing = Pairing([Half(0, 9, 2), Half(1, 9, 1)], [Half(0, 9, 5)], {(1, 0): 10})
    assert pairing.savings() == [0, 8]
    assert pairing.shortest() == [0, 10]
    assert Pairing([Half(0, 9, 2)], [], {}).savings() == [0]
