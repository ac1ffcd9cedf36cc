"""Predicts how PyTorch's runtime runs a schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from time import perf_counter
from typing import Any

from ppopt.schedules.communicated import Order, placed_rows, run_lowered
from ppopt.schedules.schedule import Schedule, overhead_in_ticks
from reports.metrics import measure
from solver.problem import Block, Key, Placed, Precedence, Problem
from solver.replay import timeline
from strategies.lowering.as_program import as_programs
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline
from strategies.order_files.schedule_file import Token, ops_of
from strategies.problem.dependencies import build_problem, split_as_in

TINY = Fraction(1, 1_000_000)
"""Share of the shortest duration given to operations that take no time: durations must be greater than 0."""


def splits_first_stage(schedule: Schedule) -> bool:
    """Return whether the schedule has a backward for the input on stage 0."""
    return any(isinstance(op, Op) and op.kind == "I" and op.stage == 0 for order in schedule.actions for op in order)


def with_first_stage_input_backward(costs: Pipeline, how: str = "zero") -> Pipeline:
    """Charge stage 0 as PyTorch runs it.

    Parameters
    ----------
    costs : Pipeline
        With a fixed number of stages.
    how : {"zero", "as given"}
        ``zero``: I of stage 0 does nothing, since nothing needs the gradient of the input; its W runs the whole
        backward, takes the time of B, and is the only one to return memory. ``as given``: as the costs say.
    """
    if how == "as given":
        return costs
    columns: dict[str, list[Fraction]] = {
        key: [getattr(cost, key) for cost in costs.work]
        for key in ("forward", "backward", "backward_input", "backward_weight", "held_for_weight")
    }
    shortest = min(min(values) for key, values in columns.items() if key != "held_for_weight")
    columns["backward_input"][0] = shortest * TINY
    columns["backward_weight"][0] = columns["backward"][0] - shortest * TINY
    held = columns.pop("held_for_weight")
    held[0] = costs.work[0].activation
    return with_costs(costs, columns, held_for_weight=held)


def with_costs(pipeline: Pipeline, times: dict[str, list[Fraction]], **memory: Any) -> Pipeline:
    """Change the costs of a pipeline's stages; blocks get no duration of their own."""
    pipeline = pipeline.as_stages()
    changed: dict[str, Any] = {"times": times}
    if memory:
        kept = {key: getattr(pipeline.memory, key) for key in type(pipeline.memory).model_fields}
        given = {key: value for key, value in (kept | memory).items() if value is not None}
        changed["memory"] = given
    return pipeline.model_copy(update=changed)


def predict(schedule: Schedule, costs: Pipeline) -> Schedule:
    """Replay a schedule's order on costs, with blocks as PyTorch's runtime runs them.

    The runtime runs the forward of a block and then its backward, each as soon as its own input has arrived, and sends
    both results to other devices when the whole block has ended.

    Parameters
    ----------
    schedule : Schedule
        The schedule whose order is run.
    costs : Pipeline
        The costs, for its number of stages.
    """
    started = perf_counter()
    orders, problem = _as_pytorch_runs(schedule, costs)
    rows = timeline(problem, orders)
    return _predicted(schedule, costs, orders, problem, rows, started)


def predict_with_queues(
    schedule: Schedule, costs: Pipeline, lowered: Sequence[Sequence[Token | None]], communicators: str
) -> tuple[Schedule, frozenset[Op]]:
    """Replay an order with its communication; transfers wait for each other on communicators.

    Parameters
    ----------
    schedule, costs
        As for `predict`.
    lowered : sequence of sequence of token or None
        The order with its sends and receives.
    communicators : {"edge", "pair", "rank"}
        The communicators.

    Returns
    -------
    schedule : Schedule
        The prediction.
    held_up : frozenset of Op
        The producers of results that do not depart as soon as they are produced.

    Raises
    ------
    InputError
        If the order hangs; with the circle.
    """
    started = perf_counter()
    orders, problem = _as_pytorch_runs(schedule, costs)
    order = Order(schedule.strategy, costs, schedule.layout, problem, orders, ())
    rows = [list(_halves_apart(row)) for row in lowered]
    programs = as_programs(rows, schedule.layout, problem.duration, order.moving)
    made = run_lowered(schedule.strategy, programs, communicators)
    placed = placed_rows(made)
    ends = {row.task: row.end for row in placed}
    made_by = {key: _produced(key, ends) for key in made.transfers}
    held_up = frozenset(made_by[key] for key, moved in made.transfers.items() if moved.start > ends[made_by[key]])
    return _predicted(schedule, costs, orders, problem, placed, started), held_up


def _produced(transfer: Key, ends: Mapping[Key, int]) -> Op:
    """Return the operation that produces a result; I if backwards are split."""
    assert isinstance(transfer, Op)
    return transfer if transfer in ends else transfer._replace(kind="I")


def _halves_apart(row: Sequence[Token | None]) -> Iterator[Token | None]:
    for token in row:
        if isinstance(token, Block):
            yield from ops_of(token)
        else:
            yield token


def _as_pytorch_runs(schedule: Schedule, costs: Pipeline) -> tuple[list[list[Op]], Problem]:
    orders = [list(_one_after_the_other(order)) for order in schedule.actions]
    problem = build_problem(costs, schedule.layout, split_as_in(orders))
    blocks = [action for order in schedule.actions for action in order if isinstance(action, Block)]
    return orders, replace(problem, precedences=list(_sent_after_blocks(problem, blocks)))


def _predicted(
    schedule: Schedule,
    costs: Pipeline,
    orders: Sequence[Sequence[Op]],
    problem: Problem,
    rows: Sequence[Placed],
    started: float,
) -> Schedule:
    return Schedule(
        strategy=schedule.strategy,
        pipeline=costs,
        layout=schedule.layout,
        figures=measure(problem, rows, costs.ideal, overhead_in_ticks(costs, problem, orders)),
        engine="graph",
        seconds=perf_counter() - started,
        status="replayed",
        problem=problem,
        actions=orders,
        rows=rows,
    )


def _one_after_the_other(order: Sequence[PipelineAction]) -> Iterator[Op]:
    for action in order:
        if isinstance(action, Block):
            assert isinstance(action.first, Op)
            assert isinstance(action.second, Op)
            yield from (action.first, action.second)
        else:
            yield action


def _sent_after_blocks(problem: Problem, blocks: Sequence[Block]) -> Iterator[Precedence]:
    """Make results of a block's forward leave its device only when the block's backward ends."""
    last_of = {block.first: block.second for block in blocks}
    for before, after, lag in problem.precedences:
        leaves = before in last_of and problem.tasks[before].device != problem.tasks[after].device
        yield (last_of[before] if leaves else before), after, lag
