"""The least costs of layers, in whole ticks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from solver.exact import common_scale, in_ticks
from strategies.model.layers import LayerCosts
from strategies.model.pipeline import Pipeline


@dataclass(frozen=True)
class Totals:
    """The summed costs of layers, in whole ticks of time and memory.

    Attributes
    ----------
    forward, to_input, to_weight : int
        F, I and W; for whole backwards B and 0 instead of I and W.
    activation, held, static : int
        The memory that a microbatch keeps, the part of it that stays from I until W, and the static memory.
    """

    forward: int = 0
    to_input: int = 0
    to_weight: int = 0
    activation: int = 0
    held: int = 0
    static: int = 0

    def minus(self, other: Totals) -> Totals:
        """Subtract the costs of other layers."""
        return Totals(*(getattr(self, key) - getattr(other, key) for key in Totals.__dataclass_fields__))

    def slowed(self, pace: Fraction) -> Totals:
        """Return the costs on a device that takes ``pace`` times as long."""
        forward, to_input, to_weight = (int(pace * each) for each in (self.forward, self.to_input, self.to_weight))
        return Totals(forward, to_input, to_weight, self.activation, self.held, self.static)

    def plus(self, other: Totals) -> Totals:
        """Add the costs of other layers."""
        return Totals(*(getattr(self, key) + getattr(other, key) for key in Totals.__dataclass_fields__))


@dataclass(frozen=True)
class Scales:
    """Ticks per unit of time and of memory, for every cut of a model."""

    time: int
    memory: int


def scales_of(pipeline: Pipeline) -> Scales:
    """Find ticks in which the costs of every cut are whole."""
    layers = pipeline.layers
    assert layers is not None
    kinds = [costs for kind in layers.kinds for costs in (kind.costs, kind.recomputed) if costs is not None]
    times = [pace * value for costs in kinds for value in costs[:4] for pace in pipeline.paces]
    times += [pipeline.after, *pipeline.overheads.values()]
    amounts = [value for costs in kinds for value in costs[4:]]
    limits = [limit for limit in pipeline.limits if limit is not None]
    return Scales(common_scale([pipeline.least_lag, *times]), common_scale([*limits, *amounts]))


def least_overhead(pipeline: Pipeline, scales: Scales, *, split_backward: bool) -> Totals:
    """Return the overhead of one stage's operations on one microbatch at its least, by F, I and W as `least_totals`."""
    forward, whole, to_input, to_weight = (in_ticks(each, scales.time) for each in pipeline.overheads.values())
    if not split_backward:
        return Totals(forward, whole)
    return Totals(forward, to_input, min(to_weight, whole - to_input))


def least_totals(
    plain: LayerCosts, recomputed: LayerCosts | None, scales: Scales, count: int, *, split_backward: bool
) -> Totals:
    """Return each cost of layers of a kind at its least: recomputation takes no time and saves all it can.

    Without recomputation these are the exact costs; with it, no choice makes any of them less.
    """
    less = recomputed or plain
    if split_backward:
        to_input, to_weight = plain.backward_input, plain.backward_weight
        if plain.backward < to_input + to_weight:  # a whole backward may be shorter
            to_weight = plain.backward - to_input
    else:
        to_input, to_weight = plain.backward, plain.backward * 0
    return Totals(
        in_ticks(count * plain.forward, scales.time),
        in_ticks(count * to_input, scales.time),
        in_ticks(count * to_weight, scales.time),
        in_ticks(count * min(plain.activation, less.activation), scales.memory),
        in_ticks(count * min(plain.held_for_weight, less.held_for_weight), scales.memory) if split_backward else 0,
        in_ticks(count * plain.static, scales.memory),
    )
