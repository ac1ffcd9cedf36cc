"""PP-Emulation's newest rule, under which the sender pays the latency between neighbours of one stage: exact rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

import ppopt
from solver.problem import Block, Precedence
from solver.replay import replay
from strategies.model.actions import Op, PipelineAction
from tests.lowered_orders import golden

ROWS = golden()["pp_emulation"]
NAMES = {row["strategy"] for row in ROWS}


def test_there_are_130_rows_of_every_strategy() -> None:
    assert len(ROWS) == 130
    assert len(NAMES) >= 6


def schedule_of(row) -> ppopt.Schedule:
    mapping = {key: row[key] for key in ("devices", "stages", "microbatches", "p2p_latency", "times")}
    options = {} if row["group_size"] is None else {"group_size": row["group_size"]}
    return ppopt.evaluate(ppopt.Pipeline.from_mapping(_renamed(mapping)), row["strategy"], "graph", **options)


def _renamed(mapping):
    names = {"backward_D": "backward_input", "backward_W": "backward_weight"}
    return mapping | {"times": {names.get(key, key): value for key, value in mapping["times"].items()}}


def makespan_of(schedule: ppopt.Schedule, *, synchronous: bool) -> Fraction:
    """Replay with the latencies that PP-Emulation charges beyond ppopt's rules."""
    problem = schedule.problem
    latency = int(schedule.pipeline.p2p_latency * problem.ticks_per_unit)
    last = len(schedule.pipeline.costs) - 1
    more = [(before, after, latency) for before, after, _ in problem.precedences if _charged(before, after, last)]
    if synchronous:
        more += [each for order in schedule.actions for each in _gaps(order, schedule, latency, last)]
    changed = replace(problem, precedences=[*problem.precedences, *more])
    starts = replay(changed, schedule.actions)
    end = max(start + problem.duration(action) for action, start in starts.items())
    return Fraction(end, problem.ticks_per_unit)


def _charged(before: Op, after: Op, last: int) -> bool:
    """Return whether latency is charged: on every hop, even on one device, and from I to W except on the last stage."""
    return before.stage != after.stage or (after.kind == "W" and after.stage != last)


def _gaps(order: list[PipelineAction], schedule: ppopt.Schedule, latency: int, last: int) -> Iterator[Precedence]:
    in_blocks = {op for each in schedule.actions for action in each if isinstance(action, Block) for op in action}
    for before, after in pairwise(order):
        if isinstance(before, Block) or isinstance(after, Block) or before.stage != after.stage:
            continue
        if (before.kind == "F") != (after.kind == "F") or before.kind == "W":
            continue
        receiver = _receiver(before, schedule, last)
        if receiver is not None and receiver not in in_blocks:
            yield before, after, latency


def _receiver(op: Op, schedule: ppopt.Schedule, last: int) -> Op | None:
    if op.kind == "F":
        return None if op.stage == last else op._replace(stage=op.stage + 1)
    if not op.stage:
        return None
    to_input = Op(op.stage - 1, "I", op.microbatch)
    return to_input if to_input in schedule.problem.tasks else to_input._replace(kind="B")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_all_rows_follow_from_the_replay_and_that_rule(name: str) -> None:
    for row in (row for row in ROWS if row["strategy"] == name):
        schedule = schedule_of(row)
        if name != "dualpipe":  # PP-Emulation numbers its microbatches differently
            assert [",".join(order) for order in schedule.orders] == row["order"]
        assert makespan_of(schedule, synchronous=True) == Fraction(row["makespan_exact"]), row
        assert makespan_of(schedule, synchronous=False) == Fraction(row["makespan_before_sync_exact"]), row
