"""Uneven pipelines with blocks, under each rule for their duration, against every order."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import Pipeline
from ppopt.optimization.ladders import Freedom, device_loads
from ppopt.schedules.replaying import replay_orders
from solver.bounds.loads import least_loads
from solver.bounds.makespan import makespan_bound
from solver.problem import Block, Placed
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement, make_placement
from strategies.problem.dependencies import build_problem, split_as_in
from strategies.problem.search_problem import build_search_problem
from tests.brute_force import Action, World
from tests.examples import examples
from tests.ppopt.optimization.test_ladder import find_bounds

RULES = ("absent", "overlap", "per stage")
SIZES = [  # placement, devices, stages, microbatches, split: small enough to try every order in a moment
    ("v", 2, 4, 2, False),
    ("v", 1, 2, 2, False),
    ("v", 1, 2, 2, True),
    ("interleaved", 1, 3, 2, False),
    ("linear", 2, 2, 3, False),
    ("linear", 2, 2, 2, True),
    ("bidirectional", 2, 2, 2, False),
    ("bidirectional", 2, 2, 2, True),
    ("linear", 3, 3, 2, False),
    ("linear", 1, 1, 3, True),
]


class Case(NamedTuple):
    pipeline: Pipeline
    placement: str
    split: bool

    @property
    def layout(self) -> Placement:
        pipeline = self.pipeline
        return make_placement(self.placement, pipeline.devices, pipeline.stages or 0, pipeline.microbatches)

    def explored(self) -> World:
        return World(self.pipeline, self.placement, self.split, overlap=True).explored()


def random_case(seed: int, rule: str) -> Case:
    draw = random.Random(f"{rule} {seed}")
    placement, devices, stages, microbatches, split = draw.choice(SIZES)

    def each(low: int, high: int) -> list[int]:
        return [draw.choice([draw.randint(low, high), draw.randint(low, 3 * high)]) for _ in range(stages)]

    times: dict[str, Any] = {key: each(1, 7) for key in ("forward", "backward_input", "backward_weight")}
    halves = [sum(pair) for pair in zip(times["backward_input"], times["backward_weight"], strict=True)]
    if draw.random() < 0.4:
        whole = [draw.choice([Fraction(21, 20), Fraction(19, 20)]) * half for half in halves]
        parts = zip(times["backward_input"], times["backward_weight"], strict=True)
        if all(max(pair) < each for pair, each in zip(parts, whole, strict=True)):
            times["backward"] = whole
    more: dict[str, Any] = {"p2p_latency": draw.choice([0, 0, 1, Fraction(5, 2)])}
    if rule == "overlap":
        more["overlap"] = draw.choice([0, 1, Fraction(1, 2), Fraction(draw.randint(1, 99), 100)])
    elif rule == "per stage":
        times["overlapped_forward_backward"] = each(2, 20)
    activation = each(1, 2)
    memory: dict[str, Any] = {"activation": activation}
    if draw.random() < 0.3:
        memory["held_for_weight"] = [Fraction(draw.randint(0, 2), 2) * amount for amount in activation]
    if draw.random() < 0.4:
        memory["limit"] = draw.randint(max(activation), sum(activation) + 3)
    sizes = {"devices": devices, "stages": stages, "microbatches": microbatches}
    return Case(Pipeline.from_mapping({**sizes, "times": times, "memory": memory, **more}), placement, split)


def orders_of(run: list[tuple[Action, Fraction]], devices: int) -> list[list[PipelineAction]]:
    """Write the actions of an exhaustive search as orders."""
    orders: list[list[PipelineAction]] = [[] for _ in range(devices)]
    for action, _ in run:
        ops = [Op(*task) for task in action.tasks if task[1] == "F" or len(action.tasks) == 1]
        backwards = [Op(stage, "B", k) for stage, kind, k in action.tasks if kind in "BI" and len(action.tasks) > 1]
        halves = [*ops, *backwards]
        orders[action.device].append(Block(*halves) if len(halves) == 2 else halves[0])
    return orders


def check_bounds(case: Case, world: World) -> None:
    pipeline, layout = case.pipeline, case.layout
    bounds = find_bounds(Freedom(pipeline, layout, case.split, overlap=True))
    assert (bounds.limited is None) == (world.best is None), pipeline.to_mapping()
    if world.best is None or bounds.limited is None:
        return
    assert max(bounds.loads) <= bounds.plain <= bounds.delayed <= bounds.limited <= world.best, pipeline.to_mapping()
    problem = build_search_problem(pipeline, layout, split_backward=case.split, overlap=True)
    assert Fraction(makespan_bound(problem).value, problem.ticks_per_unit) <= world.best, pipeline.to_mapping()
    busy = [Fraction(0)] * pipeline.devices
    for action, _ in world.best_run:
        busy[action.device] += action.duration
    loads = [Fraction(load, problem.ticks_per_unit) for load in least_loads(problem)]
    assert loads == list(device_loads(Freedom(pipeline, layout, case.split, overlap=True)))
    assert all(least <= most for least, most in zip(loads, busy, strict=True)), pipeline.to_mapping()


def check_replay_and_checker(case: Case, world: World) -> None:
    """Check that the exhaustive search's times pass the checker, and that a replay of its orders gives the same."""
    if world.best is None:
        return
    pipeline, layout = case.pipeline, case.layout
    orders = orders_of(world.best_run, pipeline.devices)
    replayed = replay_orders("best", pipeline, layout, orders, "graph", check_memory=True)
    scale = replayed.problem.ticks_per_unit
    assert Fraction(max(row.end for row in replayed.rows), scale) == world.best
    problem = build_problem(pipeline, layout, split_as_in(orders))
    rows = []
    for number, ((action, start), made) in enumerate(
        zip(world.best_run, _in_turn(world.best_run, orders), strict=True)
    ):
        begin, end = int(start * scale), int((start + action.duration) * scale)
        halves = made if isinstance(made, Block) else (made,)
        rows += [Placed(half, action.device, begin, end, number if len(halves) > 1 else None) for half in halves]
    assert ppopt.violations(problem, rows) == []
    blocks = [place for place, row in enumerate(rows) if row.block is not None]
    for place in blocks[::2]:
        wrong = [row._replace(end=row.end + 1) if row.block == rows[place].block else row for row in rows]
        assert "duration" in {found.kind for found in ppopt.violations(problem, wrong)}


def _in_turn(run: list[tuple[Action, Fraction]], orders: list[list[PipelineAction]]) -> list[PipelineAction]:
    queues = [iter(order) for order in orders]
    return [next(queues[action.device]) for action, _ in run]


def check(seed: int, rule: str) -> None:
    case = random_case(seed, rule)
    world = case.explored()
    check_bounds(case, world)
    check_replay_and_checker(case, world)


@pytest.mark.parametrize("rule", RULES)
def test_no_bound_is_above_the_optimum_and_the_checker_agrees(rule: str) -> None:
    for seed in range(8):
        check(seed, rule)


@settings(max_examples=examples(10), deadline=None)
@given(st.integers(1000, 10**6), st.sampled_from(RULES))
def test_nor_anywhere_else(seed: int, rule: str) -> None:
    check(seed, rule)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_search_finds_the_optimum(rule: str) -> None:
    for seed in range(4):
        case = random_case(seed, rule)
        best = case.explored().best
        if best is not None:
            made = ppopt.optimize(
                case.pipeline, placement=case.placement, split_backward=case.split, overlap=True, time_limit=60
            )
            assert made.status == "optimal", case.pipeline.to_mapping()
            assert made.makespan == float(best), case.pipeline.to_mapping()
