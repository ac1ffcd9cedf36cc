"""Placing communication: PyTorch's passes, action for action, and the rule that cannot deadlock or cross."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.errors import InputError
from solver.program_faults import check_programs, find_crossings
from solver.programs import Compute, blocking
from solver.rendezvous import RendezvousDeadlockError, run
from solver.rendezvous_checker import run_violations
from strategies.faults.order_faults import check_communication, check_file
from strategies.lowering.as_program import as_programs
from strategies.lowering.as_pytorch import lower_as_pytorch
from strategies.lowering.by_time import lower_by_time
from strategies.lowering.transfers import computing
from strategies.model.actions import Op
from strategies.model.communicators import COMMUNICATORS, queues
from strategies.model.placements import make_placement
from strategies.order_files.schedule_file import parse_schedule, schedule_as_text
from tests.event_simulation import asynchronous_makespan
from tests.examples import examples
from tests.lowered_orders import (
    ends_of,
    evaluated_with_transfers,
    golden,
    late,
    lowered_by_time,
    programs_of,
)

ROWS = [(row, transfer) for transfer in (0.05, 0.25) for row in golden()[f"replay_transfer_{transfer}"]]


@pytest.mark.parametrize("deferred", [False, True])
def test_lowerings_equal_pytorchs(deferred: bool) -> None:
    rows = [row for row in golden()["torch"] if row["defer_pp_recv"] == deferred]
    assert len(rows) == (67 if deferred else 73)
    for row in rows:
        file = check_file(parse_schedule("\n".join(row["compute_only"]) + "\n", "x.csv"))
        assert file.placement is not None
        lowered = lower_as_pytorch(file.file.orders, file.placement, deferred=deferred)
        assert [",".join(map(str, order)) for order in lowered] == row["lowered"], row["schedule"]
        checked = check_communication(check_file(parse_schedule(schedule_as_text(lowered), "x.csv")))
        assert checked.faults == ()


def value_of(programs, transfers, communicators: str) -> int | str:
    if find_crossings(programs, transfers):
        return "cross"
    try:
        made = run(programs, transfers, queues(communicators))
    except RendezvousDeadlockError:
        return "dead"
    assert run_violations(programs, transfers, queues(communicators), made) == []
    return made.makespan


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("transfer", [0.05, 0.25])
@pytest.mark.parametrize("devices", [2, 4, 8])
def test_every_placement_takes_as_long_as_an_independent_replay_says(devices: int, transfer: float) -> None:
    for row in golden()[f"replay_transfer_{transfer}"]:
        if row["p"] != devices or row["m"] > 16:
            continue
        schedule = evaluated_with_transfers(row["schedule"], row["p"], row["stages"], row["m"], transfer)
        assert schedule.makespan == row["asynchronous"]
        lowered = {
            "timed": lowered_by_time(schedule),
            "late": late(schedule.actions, schedule.layout),
        }
        if row["torch_edge"] is not None:
            lowered["torch"] = lower_as_pytorch(schedule.actions, schedule.layout)
        for name, rows in lowered.items():
            made = programs_of(schedule, rows, transfer)
            check_programs(made.programs, made.transfers)
            for communicators in COMMUNICATORS:
                found = value_of(made.programs, made.transfers, communicators)
                plain = found if isinstance(found, str) else found / schedule.problem.ticks_per_unit
                assert plain == row[f"{name}_{communicators}"], (row["schedule"], row["m"], name, communicators)
            if name == "torch":
                blocked = value_of(blocking(made.programs), made.transfers, "pair")
                assert blocked / schedule.problem.ticks_per_unit == row["torch_blocking"]
                assert (
                    asynchronous_makespan(made.programs, made.transfers)
                    == schedule.problem.ticks_per_unit * (row["asynchronous"])
                )


def test_there_are_94_rows_of_the_replay() -> None:
    assert len(ROWS) == 94


def assert_is_safe(orders, placement, ends, draws: random.Random, times: int = 10) -> None:
    """Check for deadlocks, crossings and faults under all communicators, with durations drawn after lowering."""
    rows = lower_by_time(orders, placement, ends)
    assert computing(rows) == [list(order) for order in orders]
    for _ in range(times):
        made = as_programs(
            rows,
            placement,
            lambda _: draws.choice((1, 5, 40)),
            lambda _: (draws.choice((0, 1, 9)), draws.choice((0, 3))),
        )
        assert find_crossings(made.programs, made.transfers) == []
        for communicators in COMMUNICATORS:
            assert run(made.programs, made.transfers, queues(communicators)).makespan > 0


@pytest.mark.no_cover
def test_placement_by_time_cannot_hang_or_cross_whatever_the_times_are() -> None:
    draws = random.Random(5)
    for row, transfer in ROWS:
        if row["m"] > 8 or transfer > 0.1:
            continue
        schedule = evaluated_with_transfers(row["schedule"], row["p"], row["stages"], row["m"], transfer)
        assert_is_safe(schedule.actions, schedule.layout, ends_of(schedule), draws)


@settings(max_examples=examples(60))
@given(st.integers(0, 10**6), st.sampled_from(["linear", "interleaved", "v", "wave", "bidirectional"]))
def test_any_order_that_runs_is_placed_without_deadlock_or_crossing(seed: int, placement_name: str) -> None:
    """The orders are random list schedules, some with actions that take no time."""
    draws = random.Random(seed)
    devices, microbatches = draws.choice((2, 3, 4)), draws.choice((2, 3, 4))
    stages = {"linear": 1, "bidirectional": 1, "wave": 4}.get(placement_name, 2) * devices
    placement = make_placement(placement_name, devices, stages, microbatches)
    orders, ends = random_order(placement, draws)
    assert_is_safe(orders, placement, ends, draws, times=2)


def random_order(placement, draws: random.Random):
    """Run ready operations at random; return each device's order, and the end of each operation."""
    stages = len(placement.homes[0])
    left = {
        Op(stage, kind, number) for stage in range(stages) for kind in "FIW" for number in range(placement.microbatches)
    }
    ends: dict[Op, int] = {}
    free = [0] * placement.devices
    orders: list[list[Op]] = [[] for _ in range(placement.devices)]
    while left:
        ready = sorted(op for op in left if all(each in ends for each in needs(op, stages)))
        op = draws.choice(ready)
        device = placement.device_of(op.stage, op.microbatch)
        start = max([free[device], *(ends[each] for each in needs(op, stages))])
        free[device] = ends[op] = start + draws.choice((0, 1, 7))
        orders[device].append(op)
        left.remove(op)
    return orders, ends


def needs(op: Op, stages: int) -> list[Op]:
    if op.kind == "W":
        return [op._replace(kind="I")]
    if op.kind == "F":
        return [op._replace(stage=op.stage - 1)] if op.stage else []
    return [op._replace(kind="F"), *([op._replace(stage=op.stage + 1)] if op.stage + 1 < stages else [])]


def test_gradients_are_reduced_and_shards_gathered_where_asked_for() -> None:
    schedule = evaluated_with_transfers("zb-v", 4, 8, 4, 0.05)
    for shards in (False, True):
        rows = lower_by_time(schedule.actions, schedule.layout, ends_of(schedule), shards=shards)
        checked = check_communication(check_file(parse_schedule(schedule_as_text(rows), "x.csv")))
        assert checked.faults == ()
        kinds = [token.kind for order in rows for token in order if hasattr(token, "kind")]
        assert kinds.count("REDUCE_GRAD") == 8
        assert (kinds.count("UNSHARD") >= 8) == shards
        assert kinds.count("UNSHARD") == kinds.count("RESHARD")


def test_bidirectional_orders_cannot_be_lowered_as_pytorch_does() -> None:
    schedule = evaluated_with_transfers("dualpipe", 4, 4, 8, 0.05)
    with pytest.raises(InputError, match="bidirectional"):
        lower_as_pytorch(schedule.actions, schedule.layout)


def test_an_order_that_deadlocks_is_refused() -> None:
    placement = make_placement("linear", 2, 2, 1)
    orders = [[Op(0, "B", 0), Op(0, "F", 0)], [Op(1, "F", 0), Op(1, "B", 0)]]
    with pytest.raises(InputError, match="device 0 never gets to 0B0"):
        lower_as_pytorch(orders, placement)


def test_programs_keep_the_computations_and_wait_for_what_they_use() -> None:
    schedule = evaluated_with_transfers("1f1b", 2, 2, 2, 0.05)
    made = programs_of(schedule, lowered_by_time(schedule), 0.05)
    computed = [[each.name for each in program if isinstance(each, Compute)] for program in made.programs]
    assert computed == [list(order) for order in schedule.actions]
    assert all(len(program) == len(columns) for program, columns in zip(made.programs, made.columns, strict=True))
