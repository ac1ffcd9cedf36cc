"""Closed forms of the schedules that trade memory for time, each under its own assumptions.

F, I, W and B are the times of a stage, uniform, without latency. Peaks count the activations of stages. "Idle" is the
makespan less the work of a device, in the times of stages.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from ppopt import Pipeline, Schedule
from tests.documented_schedule import documented_schedule
from tests.evaluated import evaluated

pytestmark = pytest.mark.no_cover

UNIT = (1, 1, 1)
WHOLE = (1, 2)


def costs(p: int, m: int, times: tuple[int, ...], stages: int) -> Pipeline:
    """Return a pipeline with times F, I and W, or F and B."""
    keys = ("forward", "backward_input", "backward_weight") if len(times) == 3 else ("forward", "backward")
    sizes = {"devices": p, "stages": stages, "microbatches": m}
    return Pipeline.from_mapping({**sizes, "times": dict(zip(keys, times, strict=True))})


def on_a_v(name: str, p: int, m: int, times: tuple[int, ...] = UNIT) -> Schedule:
    return evaluated(name, costs(p, m, times, 2 * p))


def idle(made: Schedule) -> Fraction:
    return Fraction(made.makespan) - Fraction(made.ideal)


def idle_of_span(made: Schedule) -> Fraction:
    return Fraction(made.span) - Fraction(made.ideal)


def peak(made: Schedule) -> float:
    return max(made.peak_memory)


def every(*choices: Any) -> list[tuple[Any, ...]]:
    return list(product(*choices))


LONG = [(p, m) for p in range(2, 13) for m in (2 * p, 2 * p + 3)]


@pytest.mark.parametrize(("p", "times"), every((1, 2, 3, 4, 8), (UNIT, (3, 3, 2), (2, 3, 1), (5, 7, 5), (4, 5, 2))))
def test_zb_v(p: int, times: tuple[int, int, int]) -> None:
    forward, to_input, to_weight = times
    assert to_input >= forward >= to_weight
    for m in (2 * p, 2 * p + 1, 5 * p):
        made = on_a_v("zb-v", p, m, times)
        assert idle_of_span(made) == 2 * (p - 1) * (to_input - to_weight)
        assert idle(made) == (p - 1) * max(2 * (to_input - to_weight), to_input)
        assert made.peak_memory == (2 * p,) * p


@pytest.mark.parametrize(("p", "m"), [*LONG, (1, 2), (16, 33)])
def test_zb_v_from_times_has_no_bubble_where_all_times_are_alike(p: int, m: int) -> None:
    made = on_a_v("zb-v-auto", p, m)
    assert idle_of_span(made) == 0
    assert idle(made) == p - 1
    assert peak(made) == 2 * p


@pytest.mark.parametrize(("times", "built", "fixed"), [((2, 1, 1), 14, 20), ((3, 2, 2), 28, 27)])
def test_zb_v_from_times_is_mostly_but_not_always_better_than_the_fixed_one(
    times: tuple[int, int, int], built: int, fixed: int
) -> None:
    assert idle(on_a_v("zb-v-auto", 8, 24, times)) == built
    assert idle(on_a_v("zb-v", 8, 24, times)) == fixed


def published_idle_for_a_peak(p: int, activations: int) -> int:
    """Return the authors' closed form for the blocks that their later search finds within a peak."""
    return 3 * p - 1 - 3 * activations + max(3 * p, p + 1 + 2 * ((activations + 1) // 2))


@pytest.mark.parametrize(("p", "m"), LONG)
def test_v_half(p: int, m: int) -> None:
    made = on_a_v("v-half", p, m)
    assert idle(made) == (1 if p == 2 else 3 * p - 4 if p % 2 else 3 * p - 7)
    assert peak(made) == 2 * ((p + 2) // 2)
    if p >= 3:
        assert idle(made) == published_idle_for_a_peak(p, int(peak(made)))


@pytest.mark.parametrize(("p", "m"), LONG)
def test_v_min(p: int, m: int) -> None:
    made = on_a_v("v-min", p, m)
    assert idle(made) == (4 * p - 5 if p % 3 else 4 * p - 7)
    assert peak(made) == 2 * ((p + 4) // 3)
    if p % 3 != 2:
        assert idle(made) == published_idle_for_a_peak(p, int(peak(made)))
    elif p in (5, 8):
        assert idle(made) == published_idle_for_a_peak(p, int(peak(made))) + 4


@pytest.mark.parametrize(("p", "m"), LONG)
def test_the_variants_of_primus(p: int, m: int) -> None:
    half, least = on_a_v("v-half-primus", p, m), on_a_v("v-min-primus", p, m)
    if p == 2:
        assert idle_of_span(half) == 0
    else:
        assert idle(half) == (3 * p - 4 if p % 2 else 3 * p - 7)
    assert idle(least) == (4 * p - 7 if p % 3 == 0 else 4 * p - 6 if p % 3 == 2 else 4 * p - 5)


@pytest.mark.parametrize("name", ["v-half", "v-min"])
def test_the_variants_of_primus_are_never_longer_and_hold_as_much(name: str) -> None:
    for p, m in product(range(1, 10), (1, 2, 3, 5, 8, 13, 20)):
        authors, primus = on_a_v(name, p, m), on_a_v(f"{name}-primus", p, m)
        assert primus.makespan <= authors.makespan
        assert -(-peak(primus) // 2) == -(-peak(authors) // 2)


@pytest.mark.parametrize(("p", "m"), [*LONG, (1, 2)])
def test_1f1b_v(p: int, m: int) -> None:
    made = on_a_v("1f1b-v", p, m, WHOLE)
    others = {2: 4, 3: 8, 6: 22, 9: 36, 12: 52}
    assert idle(made) == others.get(p, 5 * (p - 1) if p % 3 == 1 else 5 * p - 7)
    assert peak(made) == 2 * (2 * p // 3 + 1)
    assert idle(made) <= idle(evaluated("1f1b", costs(p, m, (2, 4), p)))


ALIKE_OR_SHORTER_W = [(1, 1, 1), (3, 2, 2), (5, 4, 3), (7, 6, 1)]


@pytest.mark.parametrize(("p", "v", "times"), every((1, 2, 3, 4, 8), (1, 2, 3), ALIKE_OR_SHORTER_W))
def test_interleaved_zero_bubble(p: int, v: int, times: tuple[int, int, int]) -> None:
    forward, to_input, to_weight = times
    for m in (p, 3 * p):
        made = evaluated(f"zb-interleaved:stages={v * p}", costs(p, m, times, v * p))
        assert made.makespan == made.span == m * v * sum(times) + (p - 1) * (forward + to_input - to_weight)
        assert made.peak_memory == (v * p,) * p


@pytest.mark.parametrize(("p", "m"), [(p, m) for p in range(1, 9) for m in (1, p - 1, p, p + 1, 3 * p - 1) if m])
def test_interleaved_zero_bubble_with_one_chunk_is_zb_h1(p: int, m: int) -> None:
    model = costs(p, m, UNIT, p)
    assert evaluated(f"zb-interleaved:stages={p}", model).orders == evaluated("zb-h1", model).orders


@pytest.mark.parametrize(("p", "v", "groups"), every((1, 2, 4, 5, 8), (1, 2, 3), (2, 4)))
def test_interleaving_in_groups_of_p(p: int, v: int, groups: int) -> None:
    made = evaluated(f"interleaved-group:group_size={p},stages={v * p}", costs(p, groups * p, UNIT, v * p))
    assert idle(made) == 2 * (p - 1)
    assert peak(made) == v * p


def test_interleaving_in_groups_of_half_of_p_takes_less_memory_and_more_time() -> None:
    model = costs(8, 32, UNIT, 16)
    half, whole = evaluated("interleaved-group", model), evaluated("interleaved-group:group_size=8", model)
    assert half.orders == evaluated("interleaved-group:group_size=4", model).orders
    assert (idle(half), peak(half)) == (18, 12)
    assert (idle(whole), peak(whole)) == (14, 16)


@pytest.mark.parametrize(
    ("p", "waves", "n", "times"), every((1, 2, 3, 4, 8), (1, 2, 3), (1, 3), ((1, 1), (1, 2), (3, 4)))
)
def test_hanayo(p: int, waves: int, n: int, times: tuple[int, int]) -> None:
    forward, backward = times
    m = n * p
    made = evaluated("hanayo", costs(p, m, times, 2 * waves * p))
    assert idle(made) == 2 * (p - 1) * backward + 2 * (n - 1) * (p - 1) * (backward - forward)
    assert made.peak_memory == tuple(p + 1 + d + 2 * p * (waves - 1) for d in range(p))
    if forward == backward:
        assert made.makespan == forward * (4 * waves * m + 2 * (p - 1))
    elif n == 1 and backward == 2 * forward:
        assert Fraction(made.bubble_ratio).limit_denominator(10**4) == Fraction(2 * p - 2, 3 * p * waves + 2 * p - 2)


@pytest.mark.parametrize(("p", "m"), [(p, m) for p in (2, 4, 6, 8) for m in range(2, 4 * p + 1, 2)])
def test_chimera_where_forward_and_backward_are_alike(p: int, m: int) -> None:
    made = evaluated("chimera", costs(p, m, (1, 1), p))
    assert made.makespan == (2 * m + p - 2 if m % p == 0 else 2 * p * (m // p) + 2 * p + m % p - 2)


@pytest.mark.parametrize(("p", "n", "times"), every((2, 4, 6, 8), (1, 2, 3), ((1, 1), (1, 2), (3, 4))))
def test_chimera(p: int, n: int, times: tuple[int, int]) -> None:
    forward, backward = times
    made = evaluated("chimera", costs(p, n * p, times, p))
    assert idle(made) == (p - 2) * backward + (n - 1) * (p - 2) * (backward - forward)
    assert made.peak_memory == tuple(p // 2 + 1 + min(d, p - 1 - d) for d in range(p))
    if n == 1 and backward == 2 * forward:
        assert Fraction(made.bubble_ratio).limit_denominator(10**4) == (p - 2) / (Fraction(3 * p, 2) + p - 2)


@pytest.mark.parametrize(("p", "m", "depth"), every((1, 2, 4, 8), (1, 5, 16), (1, 2, 3)))
def test_eager_1f1b_holds_depth_times_the_warm_up_and_is_no_shorter_without_latency(p: int, m: int, depth: int) -> None:
    model = costs(p, m, WHOLE, p)
    made, plain = evaluated(f"eager-1f1b:depth={depth}", model), evaluated("1f1b", model)
    assert made.peak_memory == tuple(min(m, depth * (p - 1 - d) + 1) for d in range(p))
    assert made.makespan == plain.makespan
    assert depth > 1 or made.orders == plain.orders


@pytest.mark.parametrize(("p", "sequences", "pieces"), every((1, 2, 4, 8), (8, 9), (1, 2, 4)))
def test_the_example_of_the_documentation(p: int, sequences: int, pieces: int) -> None:
    listed = [{"count": sequences, "documents": [pieces], "slices": [1] * pieces}]
    sliced = costs(p, 1, WHOLE, p).model_copy(update={"tokens": 1, "microbatches": listed})
    made = documented_schedule(sliced)
    assert idle(made) == (p - 1) * sum(WHOLE)
    assert made.peak_memory == (sequences * pieces,) * p
