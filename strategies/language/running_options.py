"""Finds values of a schedule's options that run on a pipeline, by trying them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from solver.errors import InputError
from solver.problem import Block
from strategies.language.orders import make_orders
from strategies.language.registry import Strategy
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline

MOST_TRIED_OPS = 250_000
"""Most operations tried for a hint, so that the user need not wait; values not tried are not named."""


def values_that_run(
    strategy: Strategy, pipeline: Pipeline, chosen: Mapping[str, int] | None = None, *, most: int = 5
) -> dict[str, list[int]]:
    """Find values of a schedule's options with which its order does not deadlock.

    Each value that the schedule proposes for an option (`Strategy.proposals`) is tried, with the other options as
    chosen.

    Parameters
    ----------
    strategy : Strategy
        The schedule.
    pipeline : Pipeline
        The pipeline, cut to fit the schedule; see `strategies.given_model.stages.GivenModel`.
    chosen : mapping of str to int, optional
        The schedule's own options as given.
    most : int
        The most values to return for an option.

    Returns
    -------
    dict of str to list of int
        For each option the values that run, in the order of their proposal; options without any are left out.
    """
    tries = max(
        0, MOST_TRIED_OPS // ((3 if strategy.splits_backward else 2) * len(pipeline.costs) * pipeline.microbatches)
    )
    found: dict[str, list[int]] = {}
    for option, propose in strategy.proposals.items():
        for value in propose(pipeline):
            if tries <= 0 or len(found.get(option, ())) >= most:
                break
            tries -= 1
            if _runs(strategy, pipeline, {**(chosen or {}), option: value}):
                found.setdefault(option, []).append(value)
    return found


def _runs(strategy: Strategy, pipeline: Pipeline, options: dict[str, int]) -> bool:
    try:
        _, orders = make_orders(strategy, pipeline, options)
    except InputError:
        return False
    return can_run(orders, len(pipeline.costs))


def can_run(orders: Sequence[Sequence[PipelineAction]], stages: int) -> bool:
    """Return whether orders run to the end, without actions that wait for each other in a cycle.

    Devices take turns, and each runs until its next action must wait. Deadlock does not depend on times, so none are
    needed.

    Parameters
    ----------
    orders : sequence of sequence of (Op or Block)
        The actions of each device; together they name every operation once.
    stages : int
        The number of stages.
    """
    done: set[Op] = set()
    devices = [_running(order, stages, done) for order in orders]
    while devices:
        before = len(done)
        devices = [device for device in devices if not next(device)]
        if len(done) == before and devices:
            return False
    return True


def _running(order: Sequence[PipelineAction], stages: int, done: set[Op]) -> Iterator[bool]:
    """Run a device; yield False each time that it has to wait, and True when it is finished."""
    for action in order:
        ops = (action,) if isinstance(action, Op) else _halves(action)
        while not all(_is_ready(op, stages, done) for op in ops):
            yield False
        done.update(ops)
    yield True


def _halves(block: Block) -> tuple[Op, ...]:
    return tuple(op for op in block if isinstance(op, Op))


def _is_ready(op: Op, stages: int, done: set[Op]) -> bool:
    if op.kind == "W":
        return op._replace(kind="I") in done
    if op.kind == "F":
        return op.stage == 0 or op._replace(stage=op.stage - 1) in done
    after = op.stage + 1
    is_last = after == stages
    return op._replace(kind="F") in done and (is_last or any(Op(after, kind, op.microbatch) in done for kind in "BI"))
