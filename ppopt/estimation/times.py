"""Turns counts into times: FLOPs at the speed of a GPU, and bytes at its bandwidths.

With an efficiency, products of matrices reach that share of the peak, and all else is added from bytes: what kernels
move between memory and chip, the collectives of tensor parallelism, the tokens that go to experts on other GPUs, and
after a step the reduction of gradients and the optimizer. With TFLOP/s, that speed includes all of it, as in published
figures of utilization; nothing is added to operations.

The shares of bandwidths are assumptions, too: round numbers that suit published steps of dense models and of experts
(see docs/how-to/estimate.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ppopt.estimation.assumptions import Assumptions
from ppopt.estimation.counts import Count
from ppopt.estimation.gpus import BYTES, GIGA
from reports.numbers import number

MEMORY_SHARE = 0.6
"""The share of a memory's bandwidth that kernels reach."""

LINK_SHARE = 0.7
"""The share of a link's bandwidth that messages reach."""

MOVES = {"forward": 3, "backward_input": 4, "backward_weight": 1}
"""How often each kept byte is moved: written, read, and once more for what is not kept; with its gradient in I."""

COLLECTIVES = {"forward": 4, "backward_input": 4, "backward_weight": 0}
"""Gatherings and reductions of a layer's result with sequence parallelism: two blocks, one of each for both."""

ROUTES = {"forward": 2, "backward_input": 2, "backward_weight": 0}
"""How often tokens travel to experts or back."""

SORTS = 2
"""How often tokens are read and written for each travel: they are sorted on both sides."""

OPTIMIZER_MOVES = 30
"""Bytes that Adam moves for a parameter: gradient, weight and two moments read, all but the first written, in 32
bits; and the model's own weight."""


class Time(NamedTuple):
    """A time in milliseconds, and what it is made of."""

    value: float
    why: str


def times_of(cost: Count, assumed: Assumptions) -> dict[str, Time]:
    """Return the times of F, I and W of one layer on one GPU."""
    if not cost.forward:
        return _looked_up(cost, assumed)
    return {key: _added_up(list(_parts(key, cost, assumed))) for key in MOVES}


def _added_up(parts: list[Time]) -> Time:
    return Time(sum(each.value for each in parts), " + ".join(each.why for each in parts))


def _parts(key: str, cost: Count, assumed: Assumptions) -> Iterator[Time]:
    flops, ranks, gpu, division = getattr(cost, key), assumed.division.of_work, assumed.gpu, assumed.division
    computed = flops / ranks / assumed.tflops / GIGA
    shared = f" ÷ {ranks}" if ranks > 1 else ""
    yield Time(computed, f"{number(flops / 1e12, 4)} TFLOP{shared} ÷ {number(assumed.tflops, 4)} TFLOP/s")
    if assumed.is_overall:
        return
    moved = MOVES[key] * cost.activation / ranks + _weights_moved(key, cost, assumed)
    moved += SORTS * 2 * ROUTES[key] * cost.routed / ranks
    yield _at(moved, gpu.memory_bandwidth * MEMORY_SHARE, "moved")
    collected = COLLECTIVES[key] * cost.passed / division.context * (division.tensor - 1) / division.tensor
    if collected:
        yield _at(collected, gpu.link(division.tensor) * LINK_SHARE, "collected")
    routed = ROUTES[key] * cost.routed / ranks * (division.expert - 1) / division.expert
    if routed:
        yield _at(routed, gpu.link(division.tensor * division.expert) * LINK_SHARE, "routed")


def _weights_moved(key: str, cost: Count, assumed: Assumptions) -> float:
    """Return the bytes of weights that F and I read, or of gradients that W adds to."""
    size = BYTES[assumed.dtype]
    gradient = size if assumed.optimizer == "adam-bf16" else 4
    return assumed.division.held_parameters(cost) * (2 * gradient if key == "backward_weight" else size)


def _at(moved: float, bandwidth: float, what: str) -> Time:
    return Time(
        moved / (bandwidth * GIGA) * 1000, f"{number(moved / GIGA, 3)} GB {what} at {number(bandwidth, 4)} GB/s"
    )


def _looked_up(cost: Count, assumed: Assumptions) -> dict[str, Time]:
    """Return the times of an embedding: rows are read and written; their gradients are read, and added to rows."""
    moved = 2 * cost.passed / assumed.division.context
    read, added = (_at(each, assumed.gpu.memory_bandwidth * MEMORY_SHARE, "moved") for each in (moved, 2 * moved))
    return {"forward": read, "backward_input": Time(0, ""), "backward_weight": added}


def time_after_step(stages: list[list[Count]], assumed: Assumptions) -> Time:
    """Return what follows the last operation of a step: the reduction of gradients, and the optimizer.

    Parameters
    ----------
    stages : list of list of Count
        The layers on each GPU of a pipeline; the slowest counts.
    assumed : Assumptions
        Everything else.
    """
    return max((_after(costs, assumed) for costs in stages), key=lambda each: each.value)


def _after(costs: list[Count], assumed: Assumptions) -> Time:
    division, gpu = assumed.division, assumed.gpu
    size, replicas = BYTES[assumed.dtype], division.data * division.context
    parts = []
    for held, copies in _held(costs, assumed):
        gradient = size if assumed.optimizer == "adam-bf16" else 4
        both = gradient + (size if assumed.optimizer == "distributed" else gradient)
        link = gpu.link(division.tensor * replicas) * LINK_SHARE
        if copies > 1 and held:
            parts.append(_at(held * both * (copies - 1) / copies, link, "reduced and gathered"))
        moved = held * (OPTIMIZER_MOVES / (copies if assumed.optimizer == "distributed" else 1) + gradient)
        parts.append(_at(moved, gpu.memory_bandwidth * MEMORY_SHARE, "moved by the optimizer"))
    return _added_up([each for each in parts if each.value])


def _held(costs: list[Count], assumed: Assumptions) -> Iterator[tuple[float, int]]:
    """Yield the parameters on a GPU with the number of their copies: those of experts have fewer."""
    division = assumed.division
    replicas = division.data * division.context
    dense = sum(cost.parameters + cost.shared - cost.experts for cost in costs)
    experts = sum(cost.experts for cost in costs)
    yield dense / division.tensor, replicas
    yield experts / (division.tensor * division.expert), replicas // division.expert
