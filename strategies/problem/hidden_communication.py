"""How much of the communication within layers a schedule hides in its overlapped blocks."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import cast

from solver.problem import Block
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline


def hidden_communication(pipeline: Pipeline, orders: Iterable[Iterable[PipelineAction]]) -> Fraction | None:
    """Return the share of the communication that runs beside computing in blocks; None if no layer communicates.

    What a block takes less than its paired layers' computing and communication one after the other is hidden. All
    other communication, in blocks and outside, counts as exposed.

    Parameters
    ----------
    pipeline : Pipeline
        With layers that have parts.
    orders : iterable of iterable of (Op or Block)
        The actions of each device.
    """
    parts = pipeline.block_parts
    if parts is None:
        return None
    hidden = whole = Fraction(0)
    for device, order in enumerate(orders):
        pace = pipeline.pace(device)
        for action in order:
            ops = cast("tuple[Op, ...]", action if isinstance(action, Block) else (action,))
            if len(ops) == 2:
                paired = parts.paired(ops[0].stage, ops[1].stage)
                hidden += pace * (paired.computing + paired.communication - paired.together)
            whole += pace * sum(parts.communication(op.stage)[op.kind != "F"] for op in ops if op.kind != "W")
    return hidden / whole if whole else None
