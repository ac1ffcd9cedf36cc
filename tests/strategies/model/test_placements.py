from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppopt import InputError
from strategies.model.placements import make_placement, recognise_placement
from strategies.problem.search_problem import build_search_problem
from tests.evaluated import pipeline


def test_a_wave_goes_there_and_back_several_times() -> None:
    placement = make_placement("wave", 3, 12, 4)
    assert placement.homes == ((0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0),)
    assert [[held.stage for held in stages] for stages in placement.local_stages] == [
        [0, 5, 6, 11], [1, 4, 7, 10], [2, 3, 8, 9],
    ]  # fmt: skip
    assert placement.name == "wave"


def test_a_single_wave_is_a_v() -> None:
    assert make_placement("wave", 4, 8, 4) == make_placement("v", 4, 8, 4)


@pytest.mark.parametrize("stages", [0, 3, 9, 13])
def test_waves_need_an_even_number_of_stages_a_device(stages: int) -> None:
    with pytest.raises(InputError, match=rf"^placement: wave on 3 devices needs a multiple of 6 stages, not {stages}$"):
        make_placement("wave", 3, stages, 4)


@given(devices=st.integers(2, 6), waves=st.integers(1, 4))
def test_waves_are_recognised(devices: int, waves: int) -> None:
    made = make_placement("wave", devices, 2 * waves * devices, 4)
    assert recognise_placement(devices, 4, made.homes) == made


def test_between_the_stages_at_both_ends_of_a_wave_nothing_is_transferred() -> None:
    costs = pipeline(3, 1, stages=12, p2p_latency=1)
    problem = build_search_problem(costs, make_placement("wave", 3, 12, 1))
    lags = [lag for before, after, lag in problem.precedences if before.kind == after.kind == "F"]
    assert lags == [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1]
