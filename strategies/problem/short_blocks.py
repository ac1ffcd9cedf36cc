"""Warns of blocks that are shorter than one of their halves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from solver.problem import Block
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline

_RULES = {
    "times": "times.overlapped_forward_backward goes by the stage of the forward only; the key overlap (0 to less than "
    "2) in its place goes by both halves",
    "overlap": "overlap above 1 is meant for F and B that were measured with communication that blocks hide",
}
"""Why a block can be that short, by the keys that say how long it lasts."""


def note_on_short_blocks(pipeline: Pipeline, orders: Iterable[Iterable[PipelineAction]]) -> str | None:
    """Name the stages with the block that is shortest relative to its longer half alone, if any is shorter than that.

    Blocks can be that short if their durations are given by the forward's stage, or if they save more than all of their
    shorter half. Those of layers with parts may well be: they hide what their halves alone wait for.

    Parameters
    ----------
    pipeline : Pipeline
        The costs.
    orders : iterable of iterable of (Op or Block)
        The actions of each device.
    """
    key = "overlap" if (pipeline.overlap or 0) > 1 else "times"
    if key == "times" and pipeline.times.overlapped_forward_backward is None:
        return None
    blocks = ((action, device) for device, order in enumerate(orders) for action in order if isinstance(action, Block))
    stages = {(cast("Op", block.first).stage, cast("Op", block.second).stage, device) for block, device in blocks}
    part, place = min(((_part_of_half(pipeline, *each), each) for each in stages), default=(1.0, (0, 0, 0)))
    if part >= 1:
        return None
    forward, backward, device = place
    costs = pipeline.costs_on(device)
    alone, longer = max((costs[forward].forward, f"{forward}F"), (costs[backward].backward, f"{backward}B"))
    return (
        f"a block of {forward}F and {backward}B lasts {float(pipeline.block_duration(*place)):g}, but "
        f"{longer} alone takes {float(alone):g}: {_RULES[key]}"
    )


def one_on_short_blocks(notes: Iterable[str]) -> Iterator[str]:
    """Yield all notes, but only the first of those on short blocks."""
    explained = False
    for note in notes:
        is_one = note.endswith(tuple(_RULES.values()))
        if not (explained and is_one):
            yield note
        explained = explained or is_one


def _part_of_half(pipeline: Pipeline, forward: int, backward: int, device: int) -> float:
    """Return a block's duration divided by that of its longer half; 1 if neither takes time."""
    costs = pipeline.costs_on(device)
    longer = max(costs[forward].forward, costs[backward].backward)
    return float(pipeline.block_duration(forward, backward, device) / longer) if longer else 1.0
