"""The least waste of a row's slots while they turn: no schedule wastes less, whatever comes before and after."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from ortools.sat.python import cp_model

from solver.bounds.single_track import Row, area_wasted
from solver.bounds.slot_turns import SlotTurns

Key = tuple[str, int, int]


class TurningSlots:
    """A model of the least waste of turns, whatever comes before them: F and I on all devices, W on the first only.

    It shares nothing with the bound: an order of two tasks is a Boolean, and a slot is a precedence.
    """

    def __init__(self, row: Row, turns: int, *, ended: bool = False, before: int = 0) -> None:
        self.row, self.model, self.devices = row, cp_model.CpModel(), len(row.forwards)
        self.start: dict[Key, cp_model.IntVar] = {}
        turned = before + turns
        self.jobs = turned + row.live
        horizon = 2 * (self.jobs // row.live + 2) * row.turn
        for job in range(self.jobs):
            whole = ended or job < turned
            for device in range(self.devices if whole else 1):
                for kind in "FI" if whole else "F":
                    self.start[kind, job, device] = self.model.new_int_var(0, horizon, "")
        for job in range(self.jobs):
            self._add_job(job)
            for other in range(job + 1, min(job + row.live, self.jobs)):
                self._add_meeting(job, other)
        first = sum(self.start["F", job, 0] for job in range(before, before + row.live))
        behind = row.to_inputs[0] + row.to_weight
        last = sum(
            self.start["I", job, 0] + behind - row.turn if ended else self.start["F", job, 0]
            for job in range(turned, self.jobs)
        )
        self.waste = last - first - turns * row.turn

    def _add_job(self, job: int) -> None:
        row, start = self.row, self.start
        way = [("F", job, device) for device in range(self.devices)]
        way += [("I", job, device) for device in reversed(range(self.devices))]
        for before, after in pairwise(key for key in way if key in start):
            lag = self._lag(before, after) if before[0] == after[0] else 0
            self.model.add(start[after] >= start[before] + self._length(before) + lag)
        for kind, _, device in way:
            if job and (kind, job, device) in start:
                key = kind, job - 1, device
                self.model.add(start[kind, job, device] >= start[key] + self._length(key))
        if job >= row.live:
            ends = start["I", job - row.live, 0] + row.to_inputs[0] + row.to_weight
            self.model.add(start["F", job, 0] >= ends)

    def _add_meeting(self, first: int, second: int) -> None:
        for device in range(self.devices):
            one, two = ("I", first, device), ("F", second, device)
            if one in self.start and two in self.start:
                before = self.model.new_bool_var("")
                self.model.add(self.start[two] >= self.start[one] + self._length(one)).only_enforce_if(before)
                self.model.add(self.start[one] >= self.start[two] + self._length(two)).only_enforce_if(before.Not())

    def _length(self, key: Key) -> int:
        kind, _, device = key
        return self.row.forwards[device] if kind == "F" else self.row.to_inputs[device]

    def _lag(self, before: Key, after: Key) -> int:
        """Return half of a link's two lags, rounded up, on the way down, and the rest on the way up."""
        both = self.row.lags[min(before[2], after[2])]
        return both - both // 2 if before[0] == "F" else both // 2

    def can_waste_less(self, than: int, seconds: float) -> bool:
        self.model.add(self.waste < than)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = seconds
        return solver.solve(self.model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)


def even_row(devices: int, times: tuple[int, int, int], lag: int, live: int) -> Row:
    forward, to_input, to_weight = times
    return Row((forward,) * devices, (to_input,) * devices, (2 * lag,) * (devices - 1), to_weight, live, 0, 1)


def random_turns(seed: int, uneven: int = 0) -> tuple[Row, int]:
    draw = random.Random(seed)
    live = draw.choice([2, 2, 3])
    lag, devices = draw.choice([0, 0, 1, 2]), draw.randint(2, live + 2)
    times = draw.randint(2, 12), draw.randint(2, 12), 2 * lag + draw.randint(1 + uneven, 6 + uneven)
    row = even_row(devices, times, lag, live)

    def varied(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(value + draw.randint(0, uneven) for value in values)

    row = replace(row, forwards=varied(row.forwards), to_inputs=varied(row.to_inputs), lags=varied(row.lags))
    return row, draw.randint(2 * live, 3 * live + 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("uneven", [0, 2])
def test_no_slots_waste_less(uneven: int) -> None:
    raised = 0
    for seed in range(30):
        row, turns = random_turns(seed, uneven)
        ended = bool(seed % 2)
        wasted = row.turns.wasted(turns, ended=ended)
        raised += wasted > 0
        assert not wasted or not TurningSlots(row, turns, ended=ended).can_waste_less(wasted, 0.2), seed
    assert raised > 8


@pytest.mark.exhaustive
@pytest.mark.parametrize("preceded", [False, True])
def test_no_slots_waste_less_on_average(preceded: bool) -> None:
    """This holds with turns before them, too, and if the mean of fewer slots is carried over to all."""
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
    """With three slots and W slightly longer than two lags, each turn must wait D for both others, as is proven."""
    row = even_row(5, (12, 12, 3), 1, 3)
    assert row.turns.best(3)[-1].third == 2
    turns = 9
    assert not TurningSlots(row, turns).can_waste_less(row.turns.wasted(turns), 1)
    assert TurningSlots(row, turns).can_waste_less(2 * turns + 1, 10)


def test_more_slots_prove_more() -> None:
    """On 8 devices with 6 activations: half of D for each other slot, and no schedule was found that needs less."""
    row = even_row(8, (185, 181, 93), 20, 6)
    turns = row.turns
    assert turns == SlotTurns(Fraction(185 + 181 + 40), 93 - 40, Fraction(93 - 40), Fraction(80), 6)
    rates = [max(option.harmonic - option.less for option in turns.best(slots)) for slots in range(2, 7)]
    assert rates == sorted(rates)
    waits, hop = 5 * 53, 185 + 181 - 93
    assert rates[-1] == Fraction(waits * hop, waits + hop)
    pair = 20 * row.turn + 19 * row.wasted_in_thirds // 3
    assert row.head(20 * 6 + 5) > 5 * 185 + pair
    assert area_wasted(row, 120) > 114 * row.wasted_in_thirds // 3


@pytest.mark.parametrize(
    ("times", "lag", "live"), [((9, 9, 2), 1, 3), ((9, 9, 1), 1, 3), ((2, 2, 9), 2, 3), ((9, 9, 4), 1, 1)]
)
def test_nothing_is_said_where_nothing_is_known(times: tuple[int, int, int], lag: int, live: int) -> None:
    """The cases: W no longer than two lags, W so long that each slot may as well skip a place, or one slot alone."""
    turns = even_row(4, times, lag, live).turns
    assert turns.wasted(100) == 0
    assert turns.wasted_by_each(50, live)[1] <= 0


def test_stages_that_differ_a_little_waste_nearly_as_much() -> None:
    even = even_row(6, (100, 100, 60), 5, 4)
    uneven = replace(even, forwards=(100, 103, 99, 100, 98, 101))
    assert 0.8 * even.turns.wasted(200) < uneven.turns.wasted(200) < 1.02 * even.turns.wasted(200)
    heavy = replace(even, forwards=(100, 100, 100, 100, 100, 180))
    assert heavy.turns.wasted(200) == 0
