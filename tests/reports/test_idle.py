"""Idle time is divided into its causes exactly as by a second implementation that walks tick by tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import InputError, Op, Pipeline, Schedule
from reports.idle import CAUSES, Idle, Wait, Waiting, explain_idle
from solver.problem import Fusing, Hold, Key, Placed, Problem, Task
from strategies.language.registry import all_strategies
from tests.evaluated import evaluated
from tests.examples import examples
from tests.strategies.catalogue.test_golden_makespans import ROWS, ROWS_BY_STRATEGY, costs_of

NOTHING = dict.fromkeys(CAUSES, 0)


def idle_ticks(problem: Problem, rows: Sequence[Placed]) -> list[int]:
    length = max(row.end for row in rows) - min(row.start for row in rows)
    worked = [{(row.start, row.end) for row in rows if row.device == device} for device in range(problem.devices)]
    return [length - sum(end - start for start, end in each) for each in worked]


def assert_all_adds_up(problem: Problem, rows: Sequence[Placed]) -> Waiting:
    found = explain_idle(problem, rows)
    assert [sum(astuple(each)) for each in found.devices] == idle_ticks(problem, rows)
    assert all(part >= 0 for each in found.devices for part in astuple(each))
    assert len(found.before) == len(rows)
    waits: list[dict[int, Wait]] = [{} for _ in range(problem.devices)]
    for row, wait in zip(rows, found.before, strict=True):
        assert waits[row.device].setdefault(row.start, wait) == wait, "the halves of a block share theirs"
    for idle, each in zip(found.devices, waits, strict=True):
        first, *others = list(each.values()) or [Wait(idle.filling, 0, 0, 0, None)]
        assert first[:4] == (idle.filling, 0, 0, 0)
        assert all(wait.idle == wait.data + wait.latency + wait.order for wait in others)
        for cause in ("data", "latency", "order"):
            assert sum(getattr(wait, cause) for wait in others) == getattr(idle, cause)
    return found


class Walk:
    """Finds the causes by asking, at every tick, what each device could do."""

    def __init__(self, problem: Problem, rows: Sequence[Placed]) -> None:
        self.problem, self.rows = problem, rows
        self.end = {row.task: row.end for row in rows}
        self.actions: list[dict[tuple[int, int], list[Key]]] = [{} for _ in range(problem.devices)]
        for row in rows:
            self.actions[row.device].setdefault((row.start, row.end), []).append(row.task)

    def causes(self) -> list[Idle]:
        first, last = min(row.start for row in self.rows), max(row.end for row in self.rows)
        found: list[dict[str, int]] = [dict(NOTHING) for _ in range(self.problem.devices)]
        for tick in range(first, last):
            for device, actions in enumerate(self.actions):
                if not any(start <= tick < end for start, end in actions):
                    found[device][self.cause(device, tick)] += 1
        return [Idle(**each) for each in found]

    def cause(self, device: int, tick: int) -> str:
        actions = self.actions[device]
        if not any(end <= tick for _, end in actions):
            return "filling"
        to_come = [tasks for (start, _), tasks in sorted(actions.items()) if start > tick]
        if not to_come:
            return "draining"
        following, *later = to_come
        if self.has_inputs(following, tick) or any(
            self.has_inputs(tasks, tick) and self.fits(tasks, device, tick) for tasks in later
        ):
            return "order"
        _, sent = max((self.end[before] + lag, self.end[before]) for before, lag in self.inputs(following))
        return "data" if tick < sent else "latency"

    def inputs(self, tasks: list[Key]) -> list[tuple[Key, int]]:
        return [(before, lag) for before, after, lag in self.problem.precedences if after in tasks]

    def has_inputs(self, tasks: list[Key], tick: int) -> bool:
        return all(self.end[before] + lag <= tick for before, lag in self.inputs(tasks))

    def fits(self, tasks: list[Key], device: int, tick: int) -> bool:
        capacity = self.problem.capacities[device] if self.problem.capacities else None
        wanted = sum(hold.amount for hold in self.problem.holds if hold.take in tasks)
        return not wanted or self.held(device, tick) + wanted <= (inf if capacity is None else capacity)

    def held(self, device: int, tick: int) -> int:
        begun = {row.task for row in self.rows if row.device == device and row.start <= tick}
        taken = [hold for hold in self.problem.holds if hold.take in begun]
        back = sum(part for hold in taken for task, part in hold.returns if self.end[task] <= tick)
        return sum(hold.amount for hold in taken) - back


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    strategy = draw(st.sampled_from(list(all_strategies().values())))
    needs = strategy.requirements
    devices = draw(st.integers(1, 2)) * 2 if needs.even_devices else draw(st.integers(1, 4))
    per_device = needs.stages_per_device or draw(st.integers(1, 2))
    stages, microbatches = per_device * devices, 2 * devices + 2 * draw(st.integers(0, 1))
    if needs.stages_per_device is None:
        microbatches = devices * draw(st.integers(1, 2))
    values = st.lists(st.integers(1, 5), min_size=stages, max_size=stages)
    times = {key: draw(values) for key in ("forward", "backward_input", "backward_weight")}
    if draw(st.booleans()):
        times["overlapped_forward_backward"] = draw(values)
    memory: dict[str, Any] = {"activation": draw(st.lists(st.integers(0, 2), min_size=stages, max_size=stages))}
    if draw(st.booleans()):
        memory["held_for_weight"] = [draw(st.integers(0, each)) for each in memory["activation"]]
    if draw(st.integers(0, 3)):
        memory["limit"] = draw(st.lists(st.integers(1, 6), min_size=devices, max_size=devices))
    sizes = {"devices": devices, "stages": stages, "microbatches": microbatches}
    latency = draw(st.integers(0, 4))
    costs = Pipeline.from_mapping({**sizes, "times": times, "p2p_latency": latency, "memory": memory})
    try:
        return evaluated(strategy.name, costs)
    except InputError:  # it deadlocks, or the rule needs more memory
        return evaluated("1f1b" if per_device == 1 else "gpipe", costs.recut(devices))


@st.composite
def late_timelines(draw: st.DrawFn) -> tuple[Problem, list[Placed]]:
    """Draw replayed timelines and delay everything from some moments on, so that not all starts are the earliest."""
    made = draw(schedules())
    rows = list(made.rows)
    for _ in range(draw(st.integers(0, 3))):
        moment, delay = draw(st.integers(0, max(row.end for row in rows))), draw(st.integers(1, 4))
        rows = [
            row._replace(start=row.start + delay, end=row.end + delay) if row.start >= moment else row for row in rows
        ]
    assert ppopt.violations(made.problem, rows, memory=False) == []
    return made.problem, rows


@pytest.mark.no_cover
@settings(max_examples=examples(300), deadline=None)
@given(late_timelines())
def test_the_causes_are_those_found_tick_by_tick(case: tuple[Problem, list[Placed]]) -> None:
    problem, rows = case
    assert list(assert_all_adds_up(problem, rows).devices) == Walk(problem, rows).causes()


@settings(max_examples=examples(40), deadline=None)
@given(schedules())
def test_a_memory_limit_only_turns_order_into_waiting(made: Schedule) -> None:
    unlimited = Problem(**{**vars(made.problem), "capacities": ()})
    for free, limited in zip(
        explain_idle(unlimited, made.rows).devices, explain_idle(made.problem, made.rows).devices, strict=True
    ):
        assert limited.order <= free.order
        assert (limited.filling, limited.draining) == (free.filling, free.draining)
        assert limited.data >= free.data
        assert limited.latency >= free.latency


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("strategy", ROWS_BY_STRATEGY)
def test_the_causes_add_up_in_all_golden_schedules(strategy: str, part: int) -> None:
    for row in [row for row in ROWS if row["strategy"] == strategy][part::2]:
        made = ppopt.evaluate(costs_of(row), strategy, engine="graph")
        devices = assert_all_adds_up(made.problem, made.rows).devices
        length = max(each.end for each in made.rows)
        idle = sum(sum(astuple(each)) for each in devices)
        assert idle / (length * len(devices)) == made.bubble_ratio, row
        if not costs_of(row).p2p_latency:
            assert not any(each.latency for each in devices), row


def unequal(devices: int, microbatches: int, latency: int) -> Pipeline:
    times = {"forward": 1, "backward": 2}
    sizes = {"devices": devices, "microbatches": microbatches}
    return Pipeline.from_mapping({**sizes, "times": times, "p2p_latency": latency})


def test_1f1b_with_latency() -> None:
    """Check the drawn example: device 0 waits for B0 from 2 to 6 and for B1 from 8 to 9.

    ::

        time      0 1 2 3 4 5 6 7 8 9 10
        device 0  F F . . . . B B . B B
        device 1  . . F B B F B B . . .
    """
    made = evaluated("1f1b", unequal(2, 2, latency=1))
    found = explain_idle(made.problem, made.rows)
    assert found.devices == (
        Idle(filling=0, data=3, latency=2, order=0, draining=0),
        Idle(filling=2, data=0, latency=0, order=0, draining=3),
    )
    assert dict(zip([row.task for row in made.rows], found.before, strict=True)) == {
        Op(0, "F", 0): Wait(0, 0, 0, 0, None),
        Op(0, "F", 1): Wait(0, 0, 0, 0, None),
        Op(0, "B", 0): Wait(4, 3, 1, 0, Op(1, "B", 0)),
        Op(0, "B", 1): Wait(1, 0, 1, 0, Op(1, "B", 1)),
        Op(1, "F", 0): Wait(2, 0, 0, 0, Op(0, "F", 0)),
        Op(1, "B", 0): Wait(0, 0, 0, 0, Op(1, "F", 0)),
        Op(1, "F", 1): Wait(0, 0, 0, 0, Op(0, "F", 1)),
        Op(1, "B", 1): Wait(0, 0, 0, 0, Op(1, "F", 1)),
    }


def test_gpipe_waits_in_the_middle_for_the_last_device() -> None:
    made = evaluated("gpipe", unequal(2, 2, latency=0))
    assert explain_idle(made.problem, made.rows).devices == (
        Idle(filling=0, data=3, latency=0, order=0, draining=0),
        Idle(filling=1, data=0, latency=0, order=0, draining=2),
    )


@pytest.mark.parametrize(
    ("limit", "first"),
    [
        (None, Idle(filling=0, data=2, latency=1, order=4, draining=0)),
        (3, Idle(filling=0, data=2, latency=1, order=4, draining=0)),
        (2, Idle(filling=0, data=5, latency=2, order=0, draining=0)),
    ],
)
def test_1f1b_leaves_a_gap_for_the_next_forward_if_that_fits(limit: int | None, first: Idle) -> None:
    costs = unequal(2, 3, latency=1).model_copy(update={"memory": {"limit": limit}})
    made = evaluated("1f1b", costs)  # the example of docs/explanation/idle.md
    second = Idle(filling=2, data=1, latency=1, order=0, draining=3)
    assert explain_idle(made.problem, made.rows).devices == (first, second)


def gap_problem(capacity: int | None = None, lag: int = 0) -> Problem:
    """Device 1 runs x, then y, which waits for a on device 0, then z, which waits for nothing but takes 2 of memory."""
    tasks = {"a": Task(0, 3), "x": Task(1, 1), "y": Task(1, 1), "z": Task(1, 1)}
    holds = [Hold("x", 1, (("y", 1),)), Hold("z", 2, (("z", 2),))]
    return Problem(2, tasks, [("a", "y", lag)], holds, [None, capacity])


def gap_rows(y: int) -> list[Placed]:
    return [Placed("a", 0, 0, 3), Placed("x", 1, 0, 1), Placed("y", 1, y, y + 1), Placed("z", 1, y + 1, y + 2)]


@pytest.mark.parametrize(
    ("capacity", "lag", "y", "wait"),
    [
        (None, 0, 3, Wait(2, data=0, latency=0, order=2, producer="a")),
        (3, 0, 3, Wait(2, data=0, latency=0, order=2, producer="a")),  # 1 held and 2 taken fit exactly
        (2, 0, 3, Wait(2, data=2, latency=0, order=0, producer="a")),
        (2, 4, 7, Wait(6, data=2, latency=4, order=0, producer="a")),
        (2, 0, 5, Wait(4, data=2, latency=0, order=2, producer="a")),  # y starts 2 late
        (2, 4, 9, Wait(8, data=2, latency=4, order=2, producer="a")),
    ],
)
def test_the_order_leaves_a_gap_unless_memory_forbids_to_fill_it(
    capacity: int | None, lag: int, y: int, wait: Wait
) -> None:
    problem, rows = gap_problem(capacity, lag), gap_rows(y)
    found = assert_all_adds_up(problem, rows)
    assert found.before[2] == wait
    assert found.devices[1] == Idle(0, wait.data, wait.latency, wait.order, max(0, 3 - (y + 2)))


def test_a_gap_is_the_orders_from_when_a_later_action_could_start() -> None:
    tasks = {"a": Task(0, 2), "b": Task(0, 4), "x": Task(1, 1), "y": Task(1, 1), "z": Task(1, 1)}
    problem = Problem(2, tasks, [("b", "y", 1), ("a", "z", 1)])
    rows = [Placed("a", 0, 0, 2), Placed("b", 0, 2, 6), Placed("x", 1, 0, 1), Placed("y", 1, 7, 8)]
    rows.append(Placed("z", 1, 8, 9))  # its input arrives at 3: until then the device waits for b, then for the order
    assert explain_idle(problem, rows).before[3] == Wait(6, data=2, latency=0, order=4, producer="b")


def test_memory_counts_even_where_a_schedule_is_over_the_limit() -> None:
    assert explain_idle(gap_problem(0), gap_rows(3)).before[2].data == 2


def test_what_the_action_before_a_gap_returns_is_free_in_it() -> None:
    problem = gap_problem(2)
    returned = [Hold("x", 1, (("x", 1),)), problem.holds[1]]
    found = explain_idle(Problem(2, problem.tasks, problem.precedences, returned, problem.capacities), gap_rows(3))
    assert found.before[2] == Wait(2, data=0, latency=0, order=2, producer="a")


def test_all_that_a_later_action_takes_has_to_fit() -> None:
    problem = gap_problem(3)
    twice = [*problem.holds, Hold("z", 1, (("z", 1),))]
    found = explain_idle(Problem(2, problem.tasks, problem.precedences, twice, problem.capacities), gap_rows(3))
    assert found.before[2].data == 2


@pytest.mark.parametrize(("capacity", "data"), [(3, 2), (4, 0)])
def test_a_block_needs_room_for_both_halves(capacity: int, data: int) -> None:
    plain = gap_problem(capacity)
    tasks = {**plain.tasks, "w": Task(1, 1)}
    holds = [*plain.holds, Hold("w", 1, (("w", 1),))]
    problem = Problem(
        2, tasks, plain.precedences, holds, plain.capacities, fusing=Fusing({"z": 0}, {"w": 0}, {(0, 0): 2})
    )
    rows = [*gap_rows(3)[:3], Placed("z", 1, 4, 6, 0), Placed("w", 1, 4, 6, 0)]
    assert explain_idle(problem, rows).before[2] == Wait(2, data, 0, 2 - data, "a")


def test_parts_are_not_negative_even_where_an_input_comes_too_late() -> None:
    problem = Problem(2, gap_problem().tasks, [("a", "y", 0), ("a", "z", 0)])
    assert explain_idle(problem, gap_rows(2)).before[2] == Wait(1, data=1, latency=0, order=0, producer="a")


def test_an_action_that_takes_no_memory_always_fits() -> None:
    problem = gap_problem(0)
    without = Problem(2, problem.tasks, problem.precedences, problem.holds[:1], problem.capacities)
    assert explain_idle(without, gap_rows(3)).before[2].order == 2


def test_of_inputs_that_arrive_together_the_one_sent_last_is_waited_for() -> None:
    tasks = {"a": Task(0, 2), "b": Task(1, 3), "x": Task(2, 1), "y": Task(2, 1)}
    rows = [Placed("a", 0, 0, 2), Placed("b", 1, 0, 3), Placed("x", 2, 0, 1), Placed("y", 2, 5, 6)]
    for precedences in ([("a", "y", 3), ("b", "y", 2)], [("b", "y", 2), ("a", "y", 3)]):
        found = explain_idle(Problem(3, tasks, precedences), rows)
        assert found.before[3] == Wait(4, data=2, latency=2, order=0, producer="b")


def test_what_lies_in_one_block_is_not_waited_for() -> None:
    tasks = {"a": Task(0, 2), "x": Task(1, 1), "f": Task(1, 1), "b": Task(1, 1)}
    problem = Problem(2, tasks, [("a", "f", 0), ("f", "b", 0)], fusing=Fusing({"f": 0}, {"b": 0}, {(0, 0): 2}))
    rows = [Placed("a", 0, 0, 2), Placed("x", 1, 0, 1), Placed("f", 1, 2, 4, 0), Placed("b", 1, 2, 4, 0)]
    found = explain_idle(problem, rows)
    assert found.before[2:] == (Wait(1, data=1, latency=0, order=0, producer="a"),) * 2
    assert found.devices[1] == Idle(filling=0, data=1, latency=0, order=0, draining=0)


def test_a_device_without_work_is_filling_all_the_time() -> None:
    problem = Problem(2, {"a": Task(0, 3)}, [])
    found = explain_idle(problem, [Placed("a", 0, 5, 8)])
    assert found.devices == (Idle(0, 0, 0, 0, 0), Idle(filling=3, data=0, latency=0, order=0, draining=0))
    assert found.before == (Wait(0, 0, 0, 0, None),)


@settings(max_examples=examples(20), deadline=None)
@given(schedules(), st.integers(1, 1000))
def test_it_does_not_matter_when_a_schedule_starts(made: Schedule, start: int) -> None:
    rows = [row._replace(start=row.start + start, end=row.end + start) for row in made.rows]
    assert explain_idle(made.problem, rows) == explain_idle(made.problem, made.rows)
