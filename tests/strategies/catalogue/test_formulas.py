"""Published closed forms for idle time and peak activations, each under its own assumptions.

F, I and W are the times of a whole device, uniform, without latency; each of its v stages takes 1/v of them.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from ppopt import Pipeline, Schedule
from tests.evaluated import evaluated

GRID = [
    (p, m, times)
    for p, times in product((1, 2, 3, 4, 8), ((1, 1, 1), (3, 2, 2), (5, 4, 3), (7, 6, 1)))
    for m in (2 * p, 2 * p + 3, 4 * p)
]


def schedule(name: str, p: int, m: int, times: tuple[int, int, int], v: int = 1, block: Any = None) -> Schedule:
    forward, to_input, to_weight = (Fraction(time, v) for time in times)
    per_stage = {"forward": forward, "backward_input": to_input, "backward_weight": to_weight}
    if block is not None:
        per_stage["overlapped_forward_backward"] = block
    memory = {"activation": Fraction(1, v)}
    return evaluated(
        name,
        Pipeline.from_mapping({"devices": p, "stages": v * p, "microbatches": m, "times": per_stage, "memory": memory}),
    )


def idle(made: Schedule, p: int) -> Fraction:
    """Return T − m(F + B), in units of time."""
    return Fraction(made.makespan).limit_denominator(10**6) - Fraction(made.ideal).limit_denominator(10**6)


@pytest.mark.parametrize(("p", "m", "times"), GRID)
def test_gpipe_and_1f1b_idle_while_the_pipeline_fills_and_drains(p: int, m: int, times: tuple[int, int, int]) -> None:
    forward, to_input, to_weight = times
    for name in ("gpipe", "1f1b"):
        assert idle(schedule(name, p, m, times), p) == (p - 1) * (forward + to_input + to_weight)


@pytest.mark.parametrize(("p", "m"), [(1, 1), (4, 1), (4, 2), (4, 8), (8, 5), (8, 32)])
def test_gpipe_holds_every_microbatch_and_1f1b_at_most_one_for_each_device_to_come(p: int, m: int) -> None:
    assert schedule("gpipe", p, m, (1, 1, 1)).peak_memory == (m,) * p
    assert schedule("1f1b", p, m, (1, 1, 1)).peak_memory == tuple(min(m, p - d) for d in range(p))


@pytest.mark.parametrize("v", [2, 3, 4])
@pytest.mark.parametrize(("p", "groups"), [(2, 1), (2, 4), (4, 2), (8, 2)])
@pytest.mark.parametrize("times", [(1, 1, 1), (5, 4, 3)])
def test_interleaving_divides_the_bubble_by_the_chunks(
    p: int, groups: int, v: int, times: tuple[int, int, int]
) -> None:
    made = schedule("interleaved", p, groups * p, times, v)
    forward, to_input, to_weight = times
    assert idle(made, p) == Fraction((p - 1) * (forward + to_input + to_weight), v)
    if groups > 1:  # with fewer microbatches the warm-up is shorter
        assert max(made.peak_memory) == pytest.approx(p + (p - 1) / v, abs=1e-12)


@pytest.mark.parametrize(
    ("p", "m", "times"), [case for case in GRID if case[2][2] <= case[2][0] and case[2][2] <= case[2][1]]
)
def test_zb_h1_and_zb_h2(p: int, m: int, times: tuple[int, int, int]) -> None:
    forward, to_input, to_weight = times
    first, second = schedule("zb-h1", p, m, times), schedule("zb-h2", p, m, times)
    assert idle(first, p) == (p - 1) * (forward + to_input - to_weight)
    assert max(first.peak_memory) == p
    assert second.span - second.ideal == (p - 1) * max(0, forward + to_input - 2 * to_weight)
    assert max(second.peak_memory) == 2 * p - 1


@pytest.mark.parametrize(("p", "m"), [(2, 4), (4, 8), (4, 10), (8, 16), (8, 20), (8, 32)])
@pytest.mark.parametrize(("times", "block"), [((1, 1, 1), 3), ((2, 2, 1), 5), ((3, 3, 2), 8)])
def test_dualpipe(p: int, m: int, times: tuple[int, int, int], block: int) -> None:
    _, to_input, to_weight = times
    made = schedule("dualpipe", p, m, times, block=block)
    assert idle(made, p) == Fraction(p - 2, 2) * (block + to_input - 2 * to_weight)
    assert max(made.peak_memory) == p + 1


@pytest.mark.parametrize(("p", "m"), [(2, 4), (4, 10), (8, 20)])
def test_dualpipe_v(p: int, m: int) -> None:
    times = {"forward": 1, "backward_input": 1, "backward_weight": 1, "overlapped_forward_backward": 3}
    costs = Pipeline.from_mapping({"devices": p, "stages": 2 * p, "microbatches": m, "times": times})
    made = evaluated("dualpipe-v", costs)
    assert idle(made, p) == (p - 1) * (3 + 2 - 3)


@pytest.mark.parametrize(("p", "groups", "v", "block"), [(4, 4, 2, 2.5), (4, 4, 2, 3), (4, 3, 3, 2.5), (8, 2, 2, 2.75)])
def test_interleaved_with_overlap(p: int, groups: int, v: int, block: float) -> None:
    m = groups * p
    unfused = p * (v - 1) + 1
    times = {"forward": 1, "backward": 2, "overlapped_forward_backward": block}
    costs = Pipeline.from_mapping({"devices": p, "stages": v * p, "microbatches": m, "times": times})
    made = evaluated("interleaved-overlap", costs)
    assert made.makespan == (p - 1) * 3 + unfused * 3 + (m * v - unfused) * block
