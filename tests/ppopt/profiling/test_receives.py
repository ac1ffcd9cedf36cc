from __future__ import annotations

from typing import NamedTuple

from ppopt import Op
from ppopt.profiling.receives import Receive, Waits


class Event(NamedTuple):
    ops: tuple[Op, ...]
    start: float
    end: float
    lane: str = "1/1"


ALONE = Event((Op(0, "F", 0),), 0, 5)
BLOCK = Event((Op(0, "F", 1), Op(1, "B", 0)), 100, 130)


def test_the_wait_in_the_middle_of_a_block_is_cut_out() -> None:
    waits = Waits([Receive(9, 115, "1/1")], [(1, "B", 0, 8, 10)], on_streams=False)
    assert list(waits.apply([ALONE, BLOCK])) == [(ALONE.ops, 0, 5, None), (BLOCK.ops, 110, 130, 10)]


def test_a_block_stays_whole_where_its_forward_is_not_known() -> None:
    waits = Waits([Receive(9, 115, "1/1")], [(1, "B", 0, 8, 10)], on_streams=False)
    assert list(waits.apply([BLOCK])) == [(BLOCK.ops, 100, 130, None)]


def test_on_streams_the_later_input_counts_and_the_wait_lies_before() -> None:
    waits = Waits([], [(1, "B", 0, 50, 98), (0, "F", 1, 50, 60)], on_streams=True)
    assert list(waits.apply([ALONE, BLOCK]))[1] == (BLOCK.ops, 100, 130, 93)


def test_a_wait_that_comes_late_in_an_action_is_none_for_its_input() -> None:
    early, late = Receive(0.1, 2, "1/1"), Receive(4, 5, "1/1")
    assert list(Waits([early, late], [], on_streams=False).apply([ALONE])) == [(ALONE.ops, 2, 5, 2)]


def test_a_receive_of_an_earlier_step_does_not_count() -> None:
    receive = Receive(-20, -10, "1/1")
    assert list(Waits([receive], [(0, "F", 0, -21, -19)], on_streams=False).apply([ALONE])) == [(ALONE.ops, 0, 5, 0)]
