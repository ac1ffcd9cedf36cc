"""Places `REDUCE_GRAD`, `UNSHARD` and `RESHARD` in a lowered order, which reduce gradients and gather shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from solver.problem import Block
from strategies.order_files.schedule_file import Aside, Token, ops_of

LOOKED_AHEAD = 3
"""Number of next stages whose parameters PyTorch gathers; the second stage of a block may exceed it."""


def with_reduced_gradients(order: Sequence[Token], microbatches: int) -> list[Token]:
    """Put `REDUCE_GRAD` of each stage after the last of its B and W.

    Parameters
    ----------
    order : sequence of token
        The order of a device.
    microbatches : int
        The number of backwards of a stage.
    """
    done: Counter[int] = Counter()
    lowered: list[Token] = []
    for token in order:
        lowered.append(token)
        for op in ops_of(token):
            if op.kind in "BW":
                done[op.stage] += 1
                if done[op.stage] == microbatches:
                    lowered.append(Aside(op.stage, "REDUCE_GRAD", None))
    return lowered


def with_shards(order: Sequence[Token]) -> list[Token]:
    """Put `UNSHARD` before uses of a stage and `RESHARD` after them, as PyTorch does for FSDP modules.

    Before each action, the parameters of the next few stages are gathered, and those of all others are released.

    Parameters
    ----------
    order : sequence of token
        The computations of a device.
    """
    lowered: list[Token] = []
    gathered: set[int] = set()  # if several are released at once, PyTorch takes them in the order of a set
    for token, coming in zip(order, _coming_stages(order), strict=True):
        for stage in [stage for stage in gathered if stage not in coming]:
            gathered.remove(stage)
            lowered.append(Aside(stage, "RESHARD", None))
        for stage in [stage for stage in coming if stage not in gathered]:
            gathered.add(stage)
            lowered.append(Aside(stage, "UNSHARD", None))
        lowered.append(token)
    return [*lowered, *(Aside(stage, "RESHARD", None) for stage in gathered)]


def _coming_stages(order: Sequence[Token]) -> list[list[int]]:
    """List for each action the next stages, starting with its own."""
    nexts: list[tuple[int, int]] = []  # each stage with the index of its next use, the soonest first
    coming: list[list[int]] = []
    for place in range(len(order) - 1, -1, -1):
        stages = list(dict.fromkeys(op.stage for op in ops_of(order[place])))
        nexts = [*((stage, place) for stage in stages), *(each for each in nexts if each[0] not in stages)]
        coming.append(_soonest(nexts, order))
    return coming[::-1]


def _soonest(nexts: Sequence[tuple[int, int]], order: Sequence[Token]) -> list[int]:
    taken: list[int] = []
    last = -1
    for stage, place in nexts:
        whole_block = place == last and isinstance(order[place], Block)
        if len(taken) >= LOOKED_AHEAD and not whole_block:
            break
        taken.append(stage)
        last = place
    return taken
