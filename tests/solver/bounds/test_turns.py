"""What all slots of a row waste while they turn: no schedule wastes less, whatever is before and behind."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from ortools.sat.python import cp_model

from solver.bounds.single_track import Row, area_wasted
from solver.bounds.turns import Turns

Key = tuple[str, int, int]


class TurningSlots:
    """F and I on all devices and W on the first one alone: least waste of turns, whatever is before them.

    Nothing here is shared with the bound: an order of two tasks is a Boolean, a slot a precedence.
    """

    def __init__(self, row: Row, turns: int, *, ended: bool = False, before: int = 0) -> None:
        self.row, self.model = row, cp_model.CpModel()
        self.start: dict[Key, cp_model.IntVar] = {}
        turned = before + turns
        self.jobs = turned + row.live
        horizon = 2 * (self.jobs // row.live + 2) * row.turn
        for job in range(self.jobs):
            whole = ended or job < turned
            for device in range(row.devices if whole else 1):
                for kind in "FI" if whole else "F":
                    self.start[kind, job, device] = self.model.new_int_var(0, horizon, "")
        for job in range(self.jobs):
            self._add_job(job)
            for other in range(job + 1, min(job + row.live, self.jobs)):
                self._add_meeting(job, other)
        first = sum(self.start["F", job, 0] for job in range(before, before + row.live))
        behind = row.to_input + row.to_weight
        last = sum(
            self.start["I", job, 0] + behind - row.turn if ended else self.start["F", job, 0]
            for job in range(turned, self.jobs)
        )
        self.waste = last - first - turns * row.turn

    def _add_job(self, job: int) -> None:
        row, start = self.row, self.start
        way = [("F", job, device) for device in range(row.devices)]
        way += [("I", job, device) for device in reversed(range(row.devices))]
        for before, after in pairwise(key for key in way if key in start):
            lag = row.lag if before[0] == after[0] else 0
            self.model.add(start[after] >= start[before] + self._length(before) + lag)
        for kind, _, device in way:
            if job and (kind, job, device) in start:
                key = kind, job - 1, device
                self.model.add(start[kind, job, device] >= start[key] + self._length(key))
        if job >= row.live:
            ends = start["I", job - row.live, 0] + row.to_input + row.to_weight
            self.model.add(start["F", job, 0] >= ends)

    def _add_meeting(self, first: int, second: int) -> None:
        for device in range(self.row.devices):
            one, two = ("I", first, device), ("F", second, device)
            if one in self.start and two in self.start:
                before = self.model.new_bool_var("")
                self.model.add(self.start[two] >= self.start[one] + self.row.to_input).only_enforce_if(before)
                self.model.add(self.start[one] >= self.start[two] + self.row.forward).only_enforce_if(before.Not())

    def _length(self, key: Key) -> int:
        return self.row.forward if key[0] == "F" else self.row.to_input

    def can_waste_less(self, than: int, seconds: float) -> bool:
        self.model.add(self.waste < than)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = seconds
        return solver.solve(self.model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)


def random_turns(seed: int) -> tuple[Row, int]:
    draw = random.Random(seed)
    live = draw.choice([2, 2, 3])
    lag = draw.choice([0, 0, 1, 2])
    row = Row(
        devices=draw.randint(2, live + 2),
        forward=draw.randint(2, 12),
        to_input=draw.randint(2, 12),
        to_weight=2 * lag + draw.randint(1, 6),
        lag=lag,
        live=live,
        chain=0,
        amount=1,
    )
    return row, draw.randint(2 * live, 3 * live + 1)


def test_no_slots_waste_less() -> None:
    raised = 0
    for seed in range(30):
        row, turns = random_turns(seed)
        ended = bool(seed % 2)
        wasted = row.turns.wasted(turns, ended=ended)
        raised += wasted > 0
        assert not wasted or not TurningSlots(row, turns, ended=ended).can_waste_less(wasted, 0.2), seed
    assert raised > 12


@pytest.mark.parametrize("preceded", [False, True])
def test_no_slots_waste_less_on_average(preceded: bool) -> None:
    """With turns before them, too, and where the mean of fewer slots is carried over to all."""
    raised = 0
    for seed in range(30, 50):
        row, _ = random_turns(seed)
        for slots in range(2, row.live + 1):
            least, wasted = row.turns.wasted_by_each(3, slots, preceded=preceded)
            raised += wasted > 0
            some = replace(row, live=slots)
            model = TurningSlots(some, 3 * slots, before=slots if preceded else 0)
            assert least <= slots
            assert wasted <= 0 or not model.can_waste_less(slots * wasted, 0.2), seed
    assert raised > 12


def test_what_is_proven_is_not_far_from_the_truth() -> None:
    """With three slots and W little longer than two lags, each turn has to wait D for both others, and is seen to."""
    row = Row(5, 12, 12, 3, 1, 3, 0, 1)
    assert row.turns.best(3)[-1].third == 2 * (row.to_weight - 2 * row.lag)
    turns = 9
    assert not TurningSlots(row, turns).can_waste_less(row.turns.wasted(turns), 1)
    assert TurningSlots(row, turns).can_waste_less(2 * turns + 1, 10)


def test_more_slots_prove_more() -> None:
    """On 8 devices with 6 activations: half of D for each other slot, which no schedule was found to do without."""
    turns = Turns(meeting=185 + 181 + 40, behind=93 - 40, forward=185, lag=20, live=6)
    rates = [max(option.harmonic - option.less for option in turns.best(slots)) for slots in range(2, 7)]
    assert rates == sorted(rates)
    waits, hop = 5 * 53, 185 + 181 - 93
    assert rates[-1] == Fraction(waits * hop, waits + hop)
    row = Row(8, 185, 181, 93, 20, 6, 0, 1)
    pair = 20 * row.turn + 19 * row.thrice_wasted // 3
    assert row.head(20 * 6 + 5) > 5 * 185 + pair
    assert area_wasted(row, 120) > 114 * row.thrice_wasted // 3


@pytest.mark.parametrize("values", [(20, 0, 9, 1, 3), (20, -2, 9, 6, 3), (8, 3, 4, 2, 3), (20, 3, 9, 1, 1)])
def test_nothing_is_said_where_nothing_is_known(values: tuple[int, int, int, int, int]) -> None:
    turns = Turns(*values)
    assert turns.wasted(100) == 0
    assert turns.wasted_by_each(50, values[-1])[1] <= 0
