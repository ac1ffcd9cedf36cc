"""Places `REDUCE_GRAD`, `UNSHARD` and `RESHARD` in a lowered order, which reduce gradients and gather shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from solver.problem import Block
from strategies.order_files.schedule_file import Aside, Token, ops_of

RESIDENT = 3
"""Number of next stages whose parameters PyTorch keeps; the second stage of a block may exceed it."""


def with_reduced_gradients(order: Sequence[Token], *, last: bool = False) -> list[Token]:
    """Put `REDUCE_GRAD` of each stage after the last of its B and W.

    Parameters
    ----------
    order : sequence of token
        The order of a device.
    last : bool
        Whether to put them behind everything instead.
    """
    ends: dict[int, int] = {}
    for place, token in enumerate(order):
        ends |= {op.stage: place for op in ops_of(token) if op.kind in "BW"}
    stages: dict[int, list[int]] = defaultdict(list)
    for stage, place in ends.items():
        stages[len(order) - 1 if last else place].append(stage)
    lowered: list[Token] = []
    for place, token in enumerate(order):
        lowered += [token, *(Aside(stage, "REDUCE_GRAD", None) for stage in stages[place])]
    return lowered


def with_shards(order: Sequence[Token], resident: int = RESIDENT, ahead: int | None = None) -> list[Token]:
    """Put `UNSHARD` before uses of a stage and `RESHARD` after them, as PyTorch does for FSDP modules.

    Before each action, the parameters of all but the next few stages are released, and those of the first of these are
    gathered.

    Parameters
    ----------
    order : sequence of token
        The computations of a device, with or without other side actions.
    resident : int
        How many of the next stages are kept.
    ahead : int, optional
        How many of the next stages are gathered; by default all that are kept.
    """
    ahead = resident if ahead is None else ahead
    lowered: list[Token] = []
    gathered: set[int] = set()  # if several are released at once, PyTorch takes them in the order of a set
    coming_stages = _coming_stages(order, resident)
    next_stages = coming_stages if ahead == resident else _coming_stages(order, ahead)
    for token, coming, following in zip(order, coming_stages, next_stages, strict=True):
        if isinstance(token, Aside):  # a reduction of a file: gathers stand before computations
            lowered.append(token)
            continue
        for stage in [stage for stage in gathered if stage not in coming]:
            gathered.remove(stage)
            lowered.append(Aside(stage, "RESHARD", None))
        for stage in [stage for stage in following if stage not in gathered]:
            gathered.add(stage)
            lowered.append(Aside(stage, "UNSHARD", None))
        lowered.append(token)
    return [*lowered, *(Aside(stage, "RESHARD", None) for stage in gathered)]


def _coming_stages(order: Sequence[Token], number: int) -> list[list[int]]:
    """List for each action the next stages, starting with its own."""
    nexts: list[tuple[int, int]] = []  # each stage with the index of its next use, the soonest first
    coming: list[list[int]] = []
    for place in range(len(order) - 1, -1, -1):
        stages = list(dict.fromkeys(op.stage for op in ops_of(order[place])))
        nexts = [*((stage, place) for stage in stages), *(each for each in nexts if each[0] not in stages)]
        coming.append(_soonest(nexts, order, number))
    return coming[::-1]


def _soonest(nexts: Sequence[tuple[int, int]], order: Sequence[Token], number: int) -> list[int]:
    taken: list[int] = []
    last = -1
    for stage, place in nexts:
        whole_block = place == last and isinstance(order[place], Block)
        if len(taken) >= number and not whole_block:
            break
        taken.append(stage)
        last = place
    return taken
