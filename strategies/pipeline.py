"""The pipeline: devices, stages, microbatches, and what each stage costs in time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from solver.errors import InputError
from strategies.configuration import read_configuration, split_strategy
from strategies.numbers import (
    PerStage,
    in_one_line,
    read_amount,
    read_count,
    read_duration,
    read_each,
    read_share,
    read_unit,
)
from strategies.pipeline_text import describe_costs, describe_sizes
from strategies.validation_messages import describe

MOST_OPS = 5_000_000
"""More operations than this are refused up front."""

SPLIT_TOLERANCE = Fraction(1, 10)
"""A full backward may differ from its two halves by this part, for measured values: the kernels differ."""

Count: TypeAlias = Annotated[int, PlainValidator(read_count)]
Latency: TypeAlias = Annotated[Fraction, PlainValidator(read_amount)]
Share: TypeAlias = Annotated[Fraction, PlainValidator(read_share)]
StageDurations: TypeAlias = Annotated[PerStage, PlainValidator(read_each(read_duration))]
StageAmounts: TypeAlias = Annotated[PerStage, PlainValidator(read_each(read_amount))]
UnitOfTime: TypeAlias = Annotated[str, PlainValidator(read_unit)]
DeviceAmounts: TypeAlias = Annotated[PerStage, PlainValidator(read_each(read_amount, "device"))]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """List what is shown: what was given, as plain numbers."""
        yield from _plain(self).items()


class Times(_Part):
    """How long the operations last, in any one unit of time: one number for all stages, or one each.

    Attributes
    ----------
    forward : number, list or mapping
        F of each stage.
    backward : number, list or mapping
        B of each stage; where absent, the sum of its two halves.
    backward_input, backward_weight : number, list or mapping
        I and W of each stage; where absent, what the other leaves of B, or half of B each.
    overlapped_forward_backward : number, list or mapping
        Any overlapped block whose forward is on that stage; where absent, see `Pipeline.overlap`.
    """

    forward: StageDurations
    backward: StageDurations | None = None
    backward_input: StageDurations | None = None
    backward_weight: StageDurations | None = None
    overlapped_forward_backward: StageDurations | None = None

    @model_validator(mode="after")
    def _backward_is_known(self) -> Self:
        halves = (self.backward_input, self.backward_weight)
        if self.backward is None and None in halves:
            raise ValueError("backward is missing: give it, or both backward_input and backward_weight")
        return self


class Memory(_Part):
    """The activation memory, in any one unit: what a stage keeps of a microbatch, and what a device has.

    Attributes
    ----------
    activation : number, list or mapping
        Taken when F starts, for each stage.
    held_for_weight : number, list or mapping or None
        The part of it that I leaves to W; where absent, all of it.
    limit : number, list or mapping or None
        What a device has; where absent, memory is not limited.
    """

    activation: StageAmounts = Fraction(1)
    held_for_weight: StageAmounts | None = None
    limit: DeviceAmounts | None = None


class StageCosts(NamedTuple):
    """What one stage costs, exactly."""

    forward: Fraction
    backward: Fraction
    backward_input: Fraction
    backward_weight: Fraction
    overlapped: Fraction | None
    activation: Fraction
    held_for_weight: Fraction

    @property
    def durations(self) -> tuple[Fraction, ...]:
        """How long the operations outside blocks take."""
        return self.forward, self.backward, self.backward_input, self.backward_weight

    @property
    def amounts(self) -> tuple[Fraction, ...]:
        """The memory."""
        return self.activation, self.held_for_weight

    def least_backward(self, split_backward: bool) -> Fraction:
        """Tell how long a backward takes at least, where it may be I and W."""
        return min(self.backward, self.backward_input + self.backward_weight) if split_backward else self.backward


_UNIT_TIMES = {"forward": 1, "backward_input": 1, "backward_weight": 1}


class Pipeline(_Part):
    """A model cut into stages, on devices, with microbatches.

    Numbers are kept exactly (`fractions.Fraction`): 0.1 means one tenth.

    Attributes
    ----------
    devices : int
        Pipeline ranks.
    stages : int or None
        Slices of the model; None leaves it to the schedule.
    microbatches : int
        Those of one iteration, both directions of a bidirectional pipeline together.
    unit : str or None
        What the unit of time is called: it labels figures and changes none.
    times : Times
        How long the operations last.
    p2p_latency : number
        The time from the end of an operation to the arrival of its result on another device.
    overlap : number or None
        σ, from 0 to 1: an overlapped block of F on one stage and B on another, or the same, lasts
        F + B − σ · min(F, B). Where absent, 0, unless the times of the blocks are given.
    memory : Memory
        What is kept, and what the limit is.
    """

    devices: Count
    stages: Count | None = None
    microbatches: Count
    unit: UnitOfTime | None = None
    times: Times = Field(default_factory=lambda: Times.model_validate(_UNIT_TIMES))
    p2p_latency: Latency = Fraction(0)
    overlap: Share | None = None
    memory: Memory = Memory()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Pipeline:
        """Read a pipeline from a mapping as in a configuration file, in ppopt's words or PP-Emulation's.

        Raises
        ------
        InputError
            With a line for each thing that is wrong.
        """
        return cls._read(split_strategy(mapping).mapping)

    @classmethod
    def _read(cls, values: Mapping[str, Any]) -> Self:
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(describe(error, cls)) from None

    @classmethod
    def from_file(cls, path: str | Path) -> Pipeline:
        """Read a pipeline from a YAML or JSON file.

        Raises
        ------
        InputError
            If the file cannot be read, or for each thing that is wrong in it.
        """
        mapping = read_configuration(path)
        try:
            return cls.from_mapping(mapping)
        except InputError as error:
            raise InputError("\n".join(f"{in_one_line(path)}: {line}" for line in str(error).split("\n"))) from None

    @model_validator(mode="after")
    def _numbers_agree(self) -> Self:
        _refuse_too_large(self.devices, self.stages or self.devices, self.microbatches)
        lengths = {key: len(value) for key, value in self._per_stage_values() if isinstance(value, tuple)}
        stages = self.stages if self.stages is not None else next(iter(lengths.values()), None)
        for key, length in lengths.items():
            if self.stages is None and length % self.devices:
                raise ValueError(
                    f"{key}: must have one entry for each stage, {self.devices} or a multiple of it; "
                    f"found {length} entries"
                )
            if length != stages:
                raise ValueError(f"{key}: must have one entry for each of the {stages} stages; found {length} entries")
        limit = self.memory.limit
        if isinstance(limit, tuple) and len(limit) != self.devices:
            raise ValueError(
                f"memory.limit: must have one entry for each of the {self.devices} devices; found {len(limit)} entries"
            )
        if stages is not None:
            object.__setattr__(self, "stages", stages)  # known from the lists
        self._refuse_contradictions()
        return self

    def _per_stage_values(self) -> Iterator[tuple[str, PerStage | None]]:
        for part in ("times", "memory"):
            model = getattr(self, part)
            yield from ((f"{part}.{key}", getattr(model, key)) for key in type(model).model_fields if key != "limit")

    def _refuse_contradictions(self) -> None:
        if self.overlap is not None and self.times.overlapped_forward_backward is not None:
            raise ValueError(
                f"overlap: contradicts times.overlapped_forward_backward, which says how long blocks last, too; found "
                f"{float(self.overlap):g} beside it; leave one of the two out"
            )
        for stage in range(self.stages or 1):
            given = {key: _entry(value, stage) for key, value in self._per_stage_values()}
            held, activation = given["memory.held_for_weight"], given["memory.activation"]
            if held is not None and activation is not None and held > activation:
                raise ValueError(
                    f"memory.held_for_weight: must be at most the activation {float(activation):g}; "
                    f"found {float(held):g} on stage {stage}"
                )
            _refuse_backward_contradiction(
                stage, given["times.backward"], given["times.backward_input"], given["times.backward_weight"]
            )

    @cached_property
    def costs(self) -> tuple[StageCosts, ...]:
        """The costs of each stage, with every default filled in."""
        if self.stages is None:
            raise InputError("stages: is missing; the schedule decides it, or give it")
        return tuple(self._costs_of(stage) for stage in range(self.stages))

    def _costs_of(self, stage: int) -> StageCosts:
        given = {key: _entry(value, stage) for key, value in self._per_stage_values()}
        forward, activation = given["times.forward"], given["memory.activation"]
        assert forward is not None
        assert activation is not None
        backward, to_input, to_weight = _split_backward(
            given["times.backward"], given["times.backward_input"], given["times.backward_weight"]
        )
        overlapped, held = given["times.overlapped_forward_backward"], given["memory.held_for_weight"]
        return StageCosts(
            forward=forward,
            backward=backward,
            backward_input=to_input,
            backward_weight=to_weight,
            overlapped=overlapped,
            activation=activation,
            held_for_weight=activation if held is None else held,
        )

    def block_duration(self, forward_stage: int, backward_stage: int) -> Fraction:
        """Compute how long an overlapped block lasts.

        That is what is given for the forward's stage (the rule of PP-Emulation), else F + B − σ · min(F, B).

        Parameters
        ----------
        forward_stage, backward_stage : int
            The stages of its halves.
        """
        forward, backward = self.costs[forward_stage], self.costs[backward_stage].backward
        if forward.overlapped is not None:
            return forward.overlapped
        shorter = min(forward.forward, backward)
        return forward.forward + backward - (self.overlap or 0) * shorter

    @property
    def halves_are_assumed(self) -> bool:
        """Whether backwards are given and neither of their halves, so that I and W are taken to be half of B each."""
        times = self.times
        return times.backward is not None and times.backward_input is None and times.backward_weight is None

    @property
    def stages_per_device(self) -> int:
        """How many stages each device holds, if the same on each."""
        return (self.stages or self.devices) // self.devices

    @property
    def limits(self) -> tuple[Fraction | None, ...]:
        """The memory limit of each device; None where there is none."""
        return tuple(_entry(self.memory.limit, device) for device in range(self.devices))

    @property
    def ideal(self) -> Fraction:
        """U: the time of all forwards and backwards, un-overlapped, spread evenly over the devices."""
        per_microbatch = sum((cost.forward + cost.backward for cost in self.costs), Fraction(0))
        return self.microbatches * per_microbatch / self.devices

    def with_stages(self, stages: int) -> Pipeline:
        """Settle an open number of stages; the times are per stage as given.

        Raises
        ------
        InputError
            If it is not a whole number of at least 1, too large, or not what the lists of times have.
        """
        return self.model_copy(update={"stages": _stage_count(stages)})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the pipeline; with changes, the whole is read and checked anew.

        Raises
        ------
        InputError
            For each thing that is wrong with the changes.
        """
        if not update:
            return super().model_copy(deep=deep)
        fields = {key: getattr(self, key) for key in type(self).model_fields}
        return self._read(fields | dict(update))  # the costs, kept beside the fields, stay behind

    def recut(self, stages: int) -> Pipeline:
        """Cut the same model into another number of stages.

        Each stage's times and memory are spread evenly over its part of the model; a new stage gets what lies in its
        part. So a stage splits evenly, neighbours merge, and every total stays the same, exactly.

        Parameters
        ----------
        stages : int
            The new number of stages.

        Raises
        ------
        InputError
            If it is not a whole number of at least 1 or too large, or the pipeline leaves its own open.
        """
        stages = _stage_count(stages)
        if stages == self.stages:
            return self
        try:
            _refuse_too_large(self.devices, stages, self.microbatches)
        except ValueError as error:
            raise InputError(str(error)) from None
        given = {key: [getattr(cost, key) for cost in self.costs] for key in StageCosts._fields}
        columns = {key: _recut(values, stages) for key, values in given.items() if None not in values}
        if "overlapped" in columns:
            columns["overlapped_forward_backward"] = columns.pop("overlapped")
        kept: dict[str, Any] = {key: columns[key] for key in ("activation", "held_for_weight")}
        durations: dict[str, Any] = {key: columns[key] for key in Times.model_fields if key in columns}
        if self.halves_are_assumed:  # as they are of the new cut
            durations |= {"backward_input": None, "backward_weight": None}
        # not read like a user's numbers: parts may be smaller than those may be, and sums larger
        times = Times.model_construct(**durations)
        memory = Memory.model_construct(**kept, limit=self.memory.limit)
        return self.model_copy(update={"stages": stages, "times": times, "memory": memory})

    def to_mapping(self) -> dict[str, Any]:
        """Write the pipeline as a configuration, absent values left out."""
        mapping: dict[str, Any] = _plain(self)
        return mapping

    def __repr__(self) -> str:
        sizes, costs = self._in_two_lines
        return f"<Pipeline: {sizes};\n {costs}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Show the sizes and the costs in a notebook, a line each."""
        sizes, costs = self._in_two_lines
        return f"<div><b>{escape(sizes)}</b><br>{escape(costs)}</div>"

    @property
    def _in_two_lines(self) -> tuple[str, str]:
        sizes = describe_sizes(self.devices, self.stages, self.microbatches)
        return sizes, describe_costs(vars(self.times), self.p2p_latency, vars(self.memory), self.overlap, self.unit)


def _stage_count(stages: object) -> int:
    try:
        return read_count(stages)
    except ValueError as error:
        raise InputError(f"stages: {error}") from None


def _refuse_too_large(devices: int, stages: int, microbatches: int) -> None:
    ops = 2 * stages * microbatches
    if ops > MOST_OPS or devices > MOST_OPS:
        raise ValueError(
            f"devices, stages, microbatches: are too many together: at least {_approximately(ops)} operations; "
            f"at most {MOST_OPS:,} are taken"
        )


def _refuse_backward_contradiction(
    stage: int, backward: Fraction | None, to_input: Fraction | None, to_weight: Fraction | None
) -> None:
    if backward is None:
        return
    for key, part in (("backward_input", to_input), ("backward_weight", to_weight)):
        if part is not None and part >= backward:
            raise ValueError(
                f"times.{key}: must be less than backward, which contains it; found {float(part):g} beside "
                f"{float(backward):g} on stage {stage}"
            )
    if to_input is None or to_weight is None:
        return
    if abs(to_input + to_weight - backward) > SPLIT_TOLERANCE * backward:
        raise ValueError(
            f"times.backward: contradicts the sum of its halves (at most {float(SPLIT_TOLERANCE):.0%} apart); "
            f"found {float(backward):g} beside {float(to_input + to_weight):g} on stage {stage}"
        )


def _split_backward(
    backward: Fraction | None, to_input: Fraction | None, to_weight: Fraction | None
) -> tuple[Fraction, Fraction, Fraction]:
    """Fill in what is not given of a backward and its two halves."""
    if backward is None:
        assert to_input is not None
        assert to_weight is not None
        return to_input + to_weight, to_input, to_weight
    if to_input is None:
        to_input = backward - to_weight if to_weight is not None else backward / 2
    return backward, to_input, backward - to_input if to_weight is None else to_weight


def _entry(value: PerStage | None, place: int) -> Fraction | None:
    return value[place] if isinstance(value, tuple) else value


def _recut(values: Sequence[Fraction], stages: int) -> tuple[Fraction, ...]:
    """Spread values evenly over equal parts and gather them over other equal parts."""
    old = len(values)
    gathered = [Fraction(0)] * stages
    for new in range(stages):
        for place in range(new * old // stages, -(-(new + 1) * old // stages)):
            first, last = max(new * old, place * stages), min((new + 1) * old, (place + 1) * stages)
            gathered[new] += values[place] * Fraction(last - first, stages)
    return tuple(gathered)


def _plain(value: Any) -> Any:
    """Turn models into mappings and exact numbers into plain ones."""
    if isinstance(value, BaseModel):
        items = ((key, getattr(value, key)) for key in type(value).model_fields)
        return {key: _plain(inner) for key, inner in items if inner is not None}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value


def _approximately(count: int) -> str:
    return (
        f"{count:,}"
        if count < 10**18
        else f"10^{len(str(count)[:4000]) - 1}"
        if count < 10**4000
        else "more than 10^4000"
    )
