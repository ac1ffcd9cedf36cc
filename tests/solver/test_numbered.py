"""Arrays and what is made of them are one problem; the checker on arrays finds what a naive one finds."""

from __future__ import annotations

import pickle
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline, Placed, Problem
from ppopt.schedules.schedule import Schedule
from reports.memory import memory_steps
from reports.metrics import measure
from solver.checker import violations
from solver.problem import Block, Key
from solver.replay import replay, timeline
from tests.evaluated import evaluated

SIXTEEN_DIGITS = [1.0000000000000002, 3.3333333333333335, 2.7182818284590452, 3.1415926535897931]
LAYERS = [{"name": "decoder", "count": 6, "forward": 2, "backward_input": 2, "backward_weight": 1, "activation": 1.5}]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("1f1b", {"p2p_latency": 0.5}),
    "split": (
        "zb-h2",
        {"p2p_latency": 2, "times": {"forward": [1, 2, 3, 4], "backward_input": 2, "backward_weight": 1}},
    ),
    "blocks": ("dualpipe-v", {"overlap": 0.5}),
    "both ways": ("chimera", {"memory": {"static": [1, 2, 3, 4]}, "p2p_latency": 0.25}),
    "links": ("interleaved", {"p2p": "links", "communication": {"latency": 0.5, "transfer": 1.25}}),
    "blocks over links": ("dualpipe", {"p2p": "links", "communication": {"latency": 0.5, "transfer": 2}}),
    "sixteen digits": ("1f1b", {"times": {"forward": SIXTEEN_DIGITS, "backward": SIXTEEN_DIGITS[::-1]}}),
    "empty stages": ("interleaved", {"layers": LAYERS, "layers_per_stage": [1, 0, 2, 1, 0, 1, 0, 1]}),
}


def made(case: str, microbatches: int = 8, **more: Any) -> Schedule:
    strategy, keys = CASES[case]
    held = {} if "layers" in keys else {"activation": 1.5, "held_for_weight": 0.25}
    memory = {"limit": 12, **held, **keys.get("memory", {})}
    return evaluated(
        strategy,
        Pipeline.from_mapping({"devices": 4, "microbatches": microbatches, **keys, "memory": memory, **more}),
        "graph",
    )


def as_objects(problem: Problem) -> Problem:
    """Take away all arrays."""
    firsts, seconds = dict(problem.fusing.firsts), dict(problem.fusing.seconds)
    return replace(
        problem,
        tasks=dict(problem.tasks),
        precedences=list(problem.precedences),
        holds=list(problem.holds),
        moves=dict(problem.moves),
        fusing=replace(problem.fusing, firsts=firsts, seconds=seconds),
    )


@pytest.mark.parametrize("case", CASES)
def test_a_problem_of_objects_has_the_same_answers(case: str) -> None:
    schedule = made(case)
    problem, orders = as_objects(schedule.problem), [list(order) for order in schedule.actions]
    rows = timeline(problem, orders)
    assert rows == schedule.rows == list(schedule.rows)
    assert measure(problem, list(rows), schedule.pipeline.ideal) == schedule.figures
    assert memory_steps(problem, list(rows)) == memory_steps(schedule.problem, schedule.rows)
    starts = {row.task: row.start for row in rows}
    found = replay(problem, orders)
    assert found == {action: starts[action.first if isinstance(action, Block) else action] for action in found}


@pytest.mark.parametrize("case", CASES)
def test_a_part_that_is_replaced_counts(case: str) -> None:
    """Arrays are never those of another problem: longer lags, other tasks and no links are seen."""
    schedule = made(case)
    before, after, lag = schedule.problem.precedences[-1]
    later = replace(
        schedule.problem, precedences=[*schedule.problem.precedences, (before, after, lag + 10**9)], moves={}
    )
    assert violations(later, schedule.rows, memory=False) != []
    assert violations(later, timeline(later, schedule.actions), memory=False) == []
    backwards = replace(schedule.problem, tasks=dict(reversed(schedule.problem.tasks.items())))
    assert sorted(timeline(backwards, schedule.actions), key=str) == sorted(schedule.rows, key=str)
    assert memory_steps(backwards, schedule.rows) == memory_steps(schedule.problem, schedule.rows)


def test_a_schedule_can_be_sent_to_another_process() -> None:
    schedule = made("blocks over links")
    sent = pickle.loads(pickle.dumps(schedule))  # made here
    assert sent.rows == schedule.rows
    assert sent.actions == schedule.actions
    assert ppopt.violations(sent.problem, sent.rows) == ppopt.violations(schedule.problem, schedule.rows)


def naive_kinds(problem: Problem, timeline: Sequence[Placed]) -> set[str]:
    """Find which rules a timeline breaks, each by its words and in no hurry."""
    rows = [row for row in timeline if row.task in problem.tasks]
    times = {task: sum(row.task == task for row in rows) for task in problem.tasks}
    found = {"unknown"} if len(rows) < len(timeline) else set()
    found |= {"missing" for each in times.values() if each == 0} | {"twice" for each in times.values() if each > 1}
    found |= {"device" for row in rows if row.device != problem.tasks[row.task].device}
    blocks = defaultdict(list)
    for row in rows:
        if row.block is not None:
            blocks[row.block].append(row)
        elif row.end - row.start != problem.tasks[row.task].duration:
            found.add("duration")
    for halves in blocks.values():
        found |= set(_of_block(problem, halves))
    for one, other in combinations(rows, 2):
        first, second = sorted((one, other), key=lambda row: (row.start, row.end))
        fused = one.block is not None and one.block == other.block
        if one.device == other.device and second.start < first.end and not fused:
            found.add("overlap")
    at = {row.task: row for row in rows}
    for before, after, lag in problem.precedences:
        if before in at and after in at and at[after].start < at[before].end + lag:
            found.add("precedence")
    if any(_most_held(problem, at, device) for device in range(problem.devices)):
        found.add("memory")
    return found


def _of_block(problem: Problem, halves: Sequence[Placed]) -> Iterator[str]:
    if len(halves) != 2:
        yield "block"
        return
    one, other = halves
    if one[1:] != other[1:]:
        yield "block"
    lasts = [problem.fusing.duration(one.task, other.task), problem.fusing.duration(other.task, one.task)]
    if lasts.count(None) != 1:
        yield "block"
    elif one.end - one.start not in lasts:
        yield "duration"


def _most_held(problem: Problem, at: dict[Key, Placed], device: int) -> bool:
    """Return whether a device holds more than it may at the start of some task, after all that was returned by then."""
    capacity = problem.capacities[device]
    here = [hold for hold in problem.holds if hold.take in at and at[hold.take].device == device]
    for moment in {at[hold.take].start for hold in here}:
        taken = sum(hold.amount for hold in here if at[hold.take].start <= moment)
        returned = sum(part for hold in here for task, part in hold.returns if task in at and at[task].end <= moment)
        if capacity is not None and taken - returned > capacity:
            return True
    return False


KINDS = {"unknown", "missing", "twice", "device", "duration", "overlap", "precedence", "block", "memory"}


def _mutated(rows: Sequence[Placed], chance: random.Random) -> list[Placed]:
    """Change one or two rows in some way."""
    changed = list(rows)
    for _ in range(chance.choice([1, 1, 2])):
        place = chance.randrange(len(changed))
        row, other = changed[place], chance.choice(changed)
        shift = chance.choice([-1, -1, -1, 1, -50, 50, 10**6])
        changed[place] = chance.choice(
            [
                row._replace(start=row.start + shift, end=row.end + shift),
                row._replace(start=row.start + shift, end=row.end + shift),
                row._replace(end=row.end + shift),
                row._replace(device=chance.randrange(4)),
                row._replace(start=other.start, end=other.start + row.end - row.start),
                row._replace(block=other.block),
                row._replace(block=chance.choice([None, 10**6, -1])),
                row._replace(task=other.task),
                row._replace(task="nobody"),
            ]
        )
        if chance.random() < 0.2:
            del changed[chance.randrange(len(changed))]
        if chance.random() < 0.2:
            changed.append(chance.choice(changed)._replace(start=10**7, end=10**7 + chance.randint(1, 4)))
    chance.shuffle(changed)
    return changed


def test_the_checker_finds_what_a_naive_one_finds() -> None:
    chance = random.Random(7)
    met: set[str] = set()
    for case, microbatches, limit in product(CASES, (8, 10), (12, 6)):
        schedule = made(case, microbatches)
        problem = replace(schedule.problem, capacities=[chance.choice([limit, None]) for _ in range(4)], moves={})
        for rows in (schedule.rows, *(_mutated(schedule.rows, chance) for _ in range(6))):
            expected = naive_kinds(problem, rows)
            assert {each.kind for each in violations(problem, rows)} == expected, (case, rows)
            assert {each.kind for each in violations(as_objects(problem), rows)} == expected, (case, rows)
            met |= expected
    assert met == KINDS


def test_a_part_of_a_tick_is_not_rounded_away() -> None:
    schedule = made("plain")
    last = max(range(len(schedule.rows)), key=lambda place: schedule.rows[place].start)
    row = schedule.rows[last]
    rows = [*schedule.rows]
    rows[last] = row._replace(start=row.start - 0.5, end=row.end - 0.5)
    assert {each.kind for each in violations(schedule.problem, rows)} & {"overlap", "precedence"}
    rows[last] = row._replace(start=row.start + 0.5, end=row.end + 0.75)
    assert [each.kind for each in violations(schedule.problem, rows, memory=False)] == ["duration"]


def test_static_memory_of_many_digits_beside_nothing_else_is_exact() -> None:
    memory = {"activation": 0, "held_for_weight": 0, "static": 1e22, "limit": 1e-18}
    costs = Pipeline.from_mapping({"devices": 2, "microbatches": 2, "memory": memory})
    schedule = evaluated("1f1b", costs, "graph")
    assert schedule.peak_memory == (1e22, 1e22)
    assert schedule.problem.static == [10**40] * 2
    found = [str(each) for each in violations(schedule.problem, schedule.rows)]
    assert found == [f"memory: device {device} holds {10**40} at 0, but has 1" for device in range(2)]
    nothing = replace(schedule.problem, holds=[])
    assert [str(each) for each in violations(nothing, schedule.rows)] == found
