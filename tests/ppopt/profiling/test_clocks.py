from __future__ import annotations

import pytest

from ppopt.profiling.clocks import estimate_offsets


def test_one_clock_without_contradiction_stays_as_it_is() -> None:
    assert estimate_offsets(2, {(0, 1): 0.5, (1, 0): 7.0}, shared=True) == ((0.0, 0.0), [])


def test_other_clocks_are_put_in_the_middle() -> None:
    clocks = estimate_offsets(3, {(0, 1): -4.0, (1, 0): 6.0, (1, 2): 1.0, (2, 1): 3.0}, shared=False)
    assert clocks.offsets == pytest.approx((0, 5, 6))
    assert "+0, +5, +6 ms; transfers in both directions pin them down to ± 2 ms" in clocks.notes[0]


def test_a_ring_that_the_tree_of_middles_does_not_satisfy_is_repaired() -> None:
    pairs = {(0, 1): 1.0, (1, 0): 1.0, (1, 2): 1.0, (2, 1): 1.0, (2, 0): -1.0, (0, 2): 9.0}
    offsets = estimate_offsets(3, pairs, shared=False).offsets
    assert all(offsets[i] - offsets[j] <= bound + 1e-9 for (i, j), bound in pairs.items())


def test_what_goes_one_way_only_is_told() -> None:
    clocks = estimate_offsets(2, {(0, 1): -4.0}, shared=False)
    assert clocks.offsets == (0, 4)
    assert "a limit on one side only" in clocks.notes[0]


def test_contradictions_are_told() -> None:
    clocks = estimate_offsets(2, {(0, 1): -4.0, (1, 0): 1.0}, shared=True)
    assert clocks.offsets == (0, 0)
    assert "they are 4 ms short at worst" in clocks.notes[0]


def test_devices_that_never_meet() -> None:
    assert estimate_offsets(2, {}, shared=False).offsets == (0, 0)
