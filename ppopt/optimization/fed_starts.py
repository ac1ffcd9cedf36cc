"""Exchanging microbatches that differ, on all devices at once, in the best order of a search."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import cast

from ppopt.feeding.feeding import search_feed
from ppopt.optimization.starts import as_searched
from solver.budget import FEEDING
from solver.errors import InputError
from solver.problem import Block
from solver.search.state import Search
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.problem.search_problem import pipeline_actions


def offer_fed(search: Search, pipeline: Pipeline, placement: Placement, seed: int) -> None:
    """Exchange microbatches in the best order found so far, and offer what is shorter.

    A search moves single operations; two microbatches change places only if all their operations do. Nothing is done
    in two directions, where a microbatch belongs to one, or if transfers wait.

    Parameters
    ----------
    search : Search
        With the best order.
    pipeline, placement
        What is searched.
    seed : int
        The seed of the exchanges.
    """
    orders = search.orders
    if orders is None or search.closed or not pipeline.has_unequal_items or len(placement.homes) > 1:
        return
    seconds = FEEDING.within(search.seconds_left)
    if seconds <= 0:
        return
    actions = pipeline_actions(orders)
    try:
        found = search_feed(pipeline, placement, actions, deadline=perf_counter() + seconds, seed=seed)[0]
    except InputError:  # transfers wait, or slices are not equally many
        return
    fed = {microbatch: place for place, microbatch in enumerate(pipeline.items.feed)}
    relabelled = _relabelled(actions, [fed[microbatch] for microbatch in found.feed], pipeline.slices_of_each)
    written = as_searched(search.problem, relabelled)
    if written is not None:
        search.offer(written)


def _relabelled(
    actions: Sequence[Sequence[PipelineAction]], places: Sequence[int], slices: int
) -> list[list[PipelineAction]]:
    """Put other microbatches in the places of those of an order."""

    def moved(op: Op) -> Op:
        microbatch, part = divmod(op.microbatch, slices)
        return op._replace(microbatch=places[microbatch] * slices + part)

    return [
        [
            Block(*(moved(cast("Op", op)) for op in action)) if isinstance(action, Block) else moved(action)
            for action in order
        ]
        for order in actions
    ]
