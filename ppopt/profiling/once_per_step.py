"""What a step costs once: its first and last operations may take longer than all others of their kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from ppopt.profiling.costs import spread
from ppopt.profiling.measurement import MeasuredAction
from reports.numbers import milliseconds
from solver.problem import Task, tasks_of
from solver.replay import timeline
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.problem.dependencies import build_problem, split_as_in

FEWEST_STEPS = 3
"""From fewer steps, a slow operation cannot be told from one that was slow by chance."""

NAMED = 4
"""The most operations to name."""


class Once(NamedTuple):
    """What a step costs once.

    Attributes
    ----------
    lasting : float
        How much longer it makes the measured order, in milliseconds.
    note : str
        Where it comes from.
    """

    lasting: float
    note: str


def measure_once(
    actions: Sequence[MeasuredAction],
    pipeline: Pipeline,
    placement: Placement,
    orders: Sequence[Sequence[PipelineAction]],
) -> Once | None:
    """Measure how much longer the first and the last operation of each device make a step.

    Medians of a stage do not see a first forward that warms caches up, or a last backward that ends with a reduction:
    they are slow in every step, but few. So each is compared with the others of its stage and kind.

    Parameters
    ----------
    actions : sequence of MeasuredAction
        The actions of the steps that count.
    pipeline : Pipeline
        The measured costs, in milliseconds.
    placement : Placement
        Which device holds which stage.
    orders : sequence of sequence of (Op or Block)
        The order that ran.

    Returns
    -------
    Once or None
        None if no first or last operation is slower in every step.
    """
    if len({action.step for action in actions}) < FEWEST_STEPS:
        return None
    slower = _slower(actions, orders)
    if not slower:
        return None
    problem = build_problem(pipeline, placement, split_as_in(orders))
    if set(problem.tasks) != {task for order in orders for action in order for task in tasks_of(action)}:
        return None  # the step is incomplete
    usual = timeline(problem, orders)
    tasks = {
        key: Task(task.device, task.duration + round(slower.get(key, 0.0) * problem.ticks_per_unit))
        for key, task in problem.tasks.items()
    }
    longer = timeline(replace(problem, tasks=tasks), orders)
    ticks = max(row.end for row in longer) - max(row.end for row in usual)
    if ticks <= 0:
        return None
    lasting = ticks / problem.ticks_per_unit
    largest = sorted(slower, key=lambda op: -slower[op])[:NAMED]
    named = ", ".join(f"{op} {milliseconds(slower[op])} ms" for op in largest)
    others = f" and {len(slower) - NAMED} more" if len(slower) > NAMED else ""
    return Once(
        lasting,
        "the first or last operations of devices take longer than the others of their stage in every step "
        f"({named}{others}); this lengthens the step by {milliseconds(lasting)} ms, which is step.after",
    )


def _slower(actions: Sequence[MeasuredAction], orders: Sequence[Sequence[PipelineAction]]) -> dict[object, float]:
    """Find first and last operations that are, in nine steps of ten, slower than nine of ten others."""
    edges = {op for order in orders for op in (order[0], order[-1]) if isinstance(op, Op)}
    own: dict[Op, list[float]] = defaultdict(list)
    others: dict[tuple[int, str], list[float]] = defaultdict(list)
    for action in actions:
        op = Op(action.stage, action.kind, action.microbatch)
        if op in edges:
            own[op].append(action.end - action.start)
        elif action.block is None:
            others[action.stage, action.kind].append(action.end - action.start)
    return dict(_excesses(own, others))


def _excesses(
    own: Mapping[Op, list[float]], others: Mapping[tuple[int, str], list[float]]
) -> list[tuple[object, float]]:
    found: list[tuple[object, float]] = []
    for op, durations in own.items():
        rest = others.get((op.stage, op.kind))
        if rest and spread(durations).p10 > spread(rest).p90:
            found.append((op, median(durations) - median(rest)))
    return found
