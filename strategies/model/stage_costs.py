"""The costs of stages: times and memory as a configuration gives them, and the exact costs of one stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Annotated, NamedTuple, Self, TypeAlias

from pydantic import PlainValidator, model_validator

from strategies.model.backward_halves import refuse_contradiction, split_backward
from strategies.model.numbers import PerStage, read_amount, read_duration, read_each, read_share, read_unit
from strategies.model.overhead import Overhead
from strategies.model.part import Part, WrongKeyError

StageDurations: TypeAlias = Annotated[PerStage, PlainValidator(read_each(read_duration))]
StageAmounts: TypeAlias = Annotated[PerStage, PlainValidator(read_each(read_amount))]
StageShares: TypeAlias = Annotated[PerStage, PlainValidator(read_each(read_share))]
DeviceAmounts: TypeAlias = Annotated[PerStage, PlainValidator(read_each(read_amount, "device"))]
Unit: TypeAlias = Annotated[str, PlainValidator(read_unit)]


class Times(Part):
    """The durations of operations, in any one unit of time: one number for all stages, or one each.

    Attributes
    ----------
    forward : number, list or mapping
        F of each stage.
    backward : number, list or mapping
        B of each stage; if absent, the sum of its two halves.
    backward_input, backward_weight : number, list or mapping
        I and W of each stage; if one is absent, it is the rest of B; if both are, half of B each.
    overlapped_forward_backward : number, list or mapping
        Any overlapped block whose forward is on that stage; if absent, see `Pipeline.overlap`.
    attention : number, list or mapping or None
        The share of F, and of B, that grows with pairs of tokens if microbatches differ; if absent, 0.
    attention_backward, attention_weight : number, list or mapping or None
        The same share of B, if it is another; and of W, if absent none: I has all of B's, as far as it is long enough.
    """

    forward: StageDurations
    backward: StageDurations | None = None
    backward_input: StageDurations | None = None
    backward_weight: StageDurations | None = None
    overlapped_forward_backward: StageDurations | None = None
    attention: StageShares | None = None
    attention_backward: StageShares | None = None
    attention_weight: StageShares | None = None

    @model_validator(mode="after")
    def _backward_is_known(self) -> Self:
        halves = (self.backward_input, self.backward_weight)
        if self.backward is None and None in halves:
            raise ValueError("backward is missing: give it, or both backward_input and backward_weight")
        return self


BESIDE_LAYERS = ("limit", "unit")
"""The keys of memory that are no costs of stages."""


class Memory(Part):
    """Memory, in any one unit: kept by a stage for each microbatch, kept by it at all times, and available on a device.

    Attributes
    ----------
    activation : number, list or mapping
        Taken when F starts, for each stage.
    held_for_weight : number, list or mapping or None
        The part of it that I leaves to W; if absent, all of it.
    static : number, list or mapping or None
        Kept by each stage at all times: weights, gradients, optimizer state; if absent, it is not counted.
    limit : number, list or mapping or None
        The memory of a device; if absent, memory is not limited.
    unit : str or None
        The name of the unit of memory; it labels figures and changes none.
    """

    activation: StageAmounts = Fraction(1)
    held_for_weight: StageAmounts | None = None
    static: StageAmounts | None = None
    limit: DeviceAmounts | None = None
    unit: Unit | None = None

    @property
    def beside_layers(self) -> Self:
        """Only what a configuration gives beside layers, which have costs of their own."""
        return type(self)(limit=self.limit, unit=self.unit)


class AttentionTimes(NamedTuple):
    """The part of each time of a stage that grows with pairs of tokens."""

    forward: Fraction
    backward: Fraction
    backward_input: Fraction
    backward_weight: Fraction


class StageCosts(NamedTuple):
    """The exact costs of one stage."""

    forward: Fraction
    backward: Fraction
    backward_input: Fraction
    backward_weight: Fraction
    overlapped: Fraction | None
    activation: Fraction
    held_for_weight: Fraction
    static: Fraction = Fraction(0)

    def of_item(self, pairs: AttentionTimes, size: Fraction, attention: Fraction) -> StageCosts:
        """Return the costs of an item of another size, and with more or fewer pairs of tokens."""
        if size == attention == 1:
            return self
        times = (
            size * (whole - part) + attention * part if part else size * whole
            for whole, part in zip(self.durations, pairs, strict=True)
        )
        forward, backward, to_input, to_weight = times
        return self._replace(
            forward=forward,
            backward=backward,
            backward_input=to_input,
            backward_weight=to_weight,
            activation=size * self.activation,
            held_for_weight=size * self.held_for_weight,
        )

    def slowed(self, factor: Fraction) -> StageCosts:
        """Return the costs on a device that takes ``factor`` times as long for everything it computes."""
        return self if factor == 1 else self._with_times([factor * each for each in self._times])

    def with_overhead(self, overhead: Overhead) -> StageCosts:
        """Return the costs with the overhead before each operation; a block has its forward's."""
        kinds = (*overhead.each, overhead.forward)
        return self._with_times([each + more for each, more in zip(self._times, kinds, strict=True)])

    @property
    def _times(self) -> tuple[Fraction, ...]:
        return (*self.durations, Fraction(0) if self.overlapped is None else self.overlapped)

    def _with_times(self, times: Sequence[Fraction]) -> StageCosts:
        forward, backward, to_input, to_weight, block = times
        return self._replace(
            forward=forward,
            backward=backward,
            backward_input=to_input,
            backward_weight=to_weight,
            overlapped=None if self.overlapped is None else block,
        )

    @property
    def durations(self) -> tuple[Fraction, ...]:
        """The durations of operations outside blocks."""
        return self.forward, self.backward, self.backward_input, self.backward_weight

    @property
    def amounts(self) -> tuple[Fraction, ...]:
        """The amounts of memory."""
        return self.activation, self.held_for_weight, self.static

    @property
    def changes(self) -> dict[str, Fraction]:
        """By how much each kind of operation changes the memory: F takes at its start, backwards return at the end."""
        activation, held = self.activation, self.held_for_weight
        return {"F": activation, "B": -activation, "I": held - activation, "W": -held}

    def least_backward(self, split_backward: bool) -> Fraction:
        """Return the shortest time of a backward, which may run as I and W if ``split_backward``."""
        return min(self.backward, self.backward_input + self.backward_weight) if split_backward else self.backward


UNIT_TIMES = {"forward": 1, "backward_input": 1, "backward_weight": 1}
"""The times of a configuration that gives none."""


def values_per_stage(times: Times, memory: Memory) -> Iterator[tuple[str, PerStage | None]]:
    """Yield each cost of stages with its key in a configuration."""
    for part, model in (("times", times), ("memory", memory)):
        yield from (
            (f"{part}.{key}", getattr(model, key)) for key in type(model).model_fields if key not in BESIDE_LAYERS
        )


def refuse_contradictory_costs(times: Times, memory: Memory, stages: int) -> None:
    """Refuse costs of a stage that contradict one another."""
    for stage in range(stages):
        given = {key: entry(value, stage) for key, value in values_per_stage(times, memory)}
        held, activation = given["memory.held_for_weight"], given["memory.activation"]
        if held is not None and activation is not None and held > activation:
            raise ValueError(
                f"memory.held_for_weight: must be at most the activation {float(activation):g}; "
                f"found {float(held):g} on stage {stage}"
            )
        halves = (given["times.backward_input"], given["times.backward_weight"])
        try:
            refuse_contradiction(given["times.backward"], *halves, where=f" on stage {stage}")
        except WrongKeyError as error:
            raise WrongKeyError(f"times.{error.key}", str(error)) from None


def costs_of_stage(times: Times, memory: Memory, stage: int) -> StageCosts:
    """Return the costs of a stage, with every default filled in."""
    given = {key: entry(value, stage) for key, value in values_per_stage(times, memory)}
    forward, activation = given["times.forward"], given["memory.activation"]
    assert forward is not None
    assert activation is not None
    backward, to_input, to_weight = split_backward(
        given["times.backward"], given["times.backward_input"], given["times.backward_weight"]
    )
    overlapped, held = given["times.overlapped_forward_backward"], given["memory.held_for_weight"]
    static = given["memory.static"]
    return StageCosts(
        forward=forward,
        backward=backward,
        backward_input=to_input,
        backward_weight=to_weight,
        overlapped=overlapped,
        activation=activation,
        held_for_weight=activation if held is None else held,
        static=Fraction(0) if static is None else static,
    )


def attention_of_stage(times: Times, costs: StageCosts, stage: int) -> AttentionTimes:
    """Return the part of each time of a stage that grows with pairs of tokens.

    I and W together have as much of it as B. Attention has no weights, so W has none unless a share says so; but where
    I is shorter than what B has, W has the rest.

    Parameters
    ----------
    times : Times
        As given.
    costs : StageCosts
        The costs of the stage, with every default filled in.
    stage : int
        Its number.
    """
    forward = entry(times.attention, stage) or Fraction(0)
    backward = forward if times.attention_backward is None else entry(times.attention_backward, stage) or Fraction(0)
    share = entry(times.attention_weight, stage) or Fraction(0)
    whole = backward * costs.backward
    weight = min(costs.backward_weight, max(share * costs.backward_weight, whole - costs.backward_input))
    return AttentionTimes(
        forward=forward * costs.forward,
        backward=whole,
        backward_input=min(costs.backward_input, max(Fraction(0), whole - weight)),
        backward_weight=weight,
    )


def entry(value: PerStage | None, place: int) -> Fraction | None:
    """Return the value of one stage or device."""
    return value[place] if isinstance(value, tuple) else value


def spread(values: Sequence[Fraction], stages: int) -> tuple[Fraction, ...]:
    """Spread each value evenly over its equal part of the model, and sum over the new equal parts."""
    old = len(values)
    gathered = [Fraction(0)] * stages
    for new in range(stages):
        for place in range(new * old // stages, -(-(new + 1) * old // stages)):
            first, last = max(new * old, place * stages), min((new + 1) * old, (place + 1) * stages)
            gathered[new] += values[place] * Fraction(last - first, stages)
    return tuple(gathered)
