"""The pipeline: devices, stages, microbatches, the costs of each stage on its device, and other cuts of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from solver.errors import InputError
from solver.problem import Block
from strategies.model.actions import KINDS, PipelineAction
from strategies.model.block_parts import BlockParts
from strategies.model.communication import NO_HOP, WAITING, Communication, Hop, Waiting
from strategies.model.configuration import read_configuration, split_strategy
from strategies.model.cuts import counts_by_kind, even_cut, written_recomputed
from strategies.model.items import AS_MEASURED, Factors, Items, MicrobatchEntry, lay_out
from strategies.model.numbers import (
    PerStage,
    in_one_line,
    read_count,
)
from strategies.model.part import plain_values
from strategies.model.pipeline_fields import PipelineFields, refuse_too_large
from strategies.model.pipeline_text import describe_costs, describe_sizes, describe_step
from strategies.model.stage_costs import (
    BESIDE_LAYERS,
    AttentionTimes,
    Memory,
    StageCosts,
    Times,
    attention_of_stage,
    costs_of_stage,
    entry,
    spread,
)
from strategies.model.streams import STREAMS, SideCosts, recut_costs, side_costs, with_costs
from strategies.model.validation_messages import describe


class Pipeline(PipelineFields):
    """A model cut into stages, on devices, with microbatches.

    Numbers are kept exactly (`fractions.Fraction`): 0.1 means one tenth.

    Attributes
    ----------
    devices : int
        Pipeline ranks.
    stages : int or None
        Slices of the model; None leaves it to the schedule.
    microbatches : int
        Those of one step, both directions of a bidirectional pipeline together. A configuration may list them with
        their sizes; of those that are cut into slices, each slice counts.
    entries : tuple of MicrobatchEntry or None
        The list; None if all microbatches are as measured. See `items`.
    tokens : int or None
        The length of the sequences for which times and memory are given.
    feed : str or tuple of int
        The order in which listed microbatches are fed: ``given``, ``pyramid``, or the number of each.
    unit : str or None
        The name of the unit of time; it labels figures and changes none.
    source : {"estimated", "measured"} or None
        Where the costs come from; verdicts say so of estimates.
    layers : Layers or None
        The model as its layers; times and memory then follow from them and from the cut.
    layers_per_stage : tuple of int or None
        The cut: the number of layers on each stage; None leaves it open.
    recomputed_per_stage : tuple of tuple of int or None
        The number of recomputed layers for each stage and kind; None if no layer is.
    times : Times
        The durations of operations.
    p2p_latency : number
        The time from the end of an operation to the arrival of its result on another device: shorthand for a
        `communication` with that latency alone.
    communication : Communication or None
        The costs of transfers, hop by hop.
    framework : {"megatron", "megatron-overlap", "pytorch", "pytorch-rank", "zero-bubble", "dualpipe"} or None
        Whose communication to follow: it sets ``p2p``, ``communicators`` and ``lowering``.
    p2p : {"async", "links", "rendezvous", "batched"} or None
        What a transfer waits for; if absent, ``async``: nothing.
    communicators : {"edge", "pair", "way", "rank"} or None
        For ``rendezvous``: which transfers share a queue of a device; if absent, ``pair``.
    lowering : {"timed", "pytorch", "megatron", "given"} or None
        For ``rendezvous``: how sends and receives are placed; if absent, ``timed``.
    overlap : number or None
        σ, from 0 to less than 2: an overlapped block of F on one stage and B on the same or another stage lasts
        F + B − σ · min(F, B). More than 1 where F and B are measured with communication that blocks hide. If absent, 0,
        unless the times of the blocks, or the parts of layers, are given.
    overhead : Overhead or None
        The time before each operation in which its device does nothing else; it belongs to the operation, so it stays
        the same when the model is cut differently.
    slowdown : tuple of number or None
        For each device, how many times as long it takes for everything it computes, at least 1; None if 1 for all.
    step : Step or None
        What a step takes besides its operations; None if nothing.
    sharding : Sharding or None
        Parameters that are gathered before use, and gradients that are reduced; None if neither is counted.
    data_parallel : DataParallel or None
        Gradients that are reduced where parameters are not sharded; None if that is not counted.
    offload : Offload or None
        Activations that are copied to the host and back; None if none is.
    memory : Memory
        The memory that is kept, and the limit.
    """

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Pipeline:
        """Read a pipeline from a mapping as in a configuration file, in ppopt's words or PP-Emulation's.

        Raises
        ------
        InputError
            If anything is wrong, with a line for each fault.
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
            If the file cannot be read, or anything in it is wrong, with a line for each fault.
        """
        mapping = read_configuration(path)
        try:
            return cls.from_mapping(mapping)
        except InputError as error:
            raise InputError("\n".join(f"{in_one_line(path)}: {line}" for line in str(error).split("\n"))) from None

    def hop(self, boundary: int, source: int, destination: int, kind: str = "F", factors: Factors | None = None) -> Hop:
        """Return the hop of a result from one device to another; within one device it takes no time.

        Parameters
        ----------
        boundary : int
            The lower of the two stages that it passes between.
        source, destination : int
            The devices.
        kind : {"F", "B"}
            Whether a forward's or a backward's result is passed on.
        factors : Factors, optional
            Those of the item; by default the mean of all.
        """
        if source == destination:
            return NO_HOP
        if self.communication is None:
            return Hop(Fraction(0), self.p2p_latency)
        hop = self.communication.hop(boundary, source, destination, kind)
        if self.entries is None or not hop.transfer:
            return hop
        return hop._replace(transfer=self._factor_on_size(boundary, kind, factors) * hop.transfer)

    def result_size(self, boundary: int, kind: str = "F", factors: Factors | None = None) -> Fraction | None:
        """Return the bytes of a result over a boundary, with ``kind`` and ``factors`` as in `hop`; None if unknown."""
        size = None if self.communication is None else self.communication.size(boundary, kind)
        return None if size is None else self._factor_on_size(boundary, kind, factors) * size

    def _factor_on_size(self, boundary: int, kind: str, factors: Factors | None) -> Fraction:
        """Return how much larger a result is than in the measured microbatch."""
        if self.entries is None:
            return Fraction(1)
        sender = boundary if kind == "F" else boundary + 1
        size, _ = (self.mean_factors if factors is None else factors).at(min(sender, (self.stages or 1) - 1))
        return size

    def hops(self, homes: Sequence[int]) -> Iterator[Hop]:
        """Yield the hops of a placement, both ways over each boundary between devices.

        Parameters
        ----------
        homes : sequence of int
            The device of each stage.
        """
        for boundary, (here, there) in enumerate(pairwise(homes)):
            if here != there:
                yield self.hop(boundary, here, there, "F")
                yield self.hop(boundary, there, here, "B")

    @property
    def longest_lag(self) -> Fraction:
        """The longest lag of any hop between two devices, in any placement."""
        return max(self._lags(), default=Fraction(0))

    @property
    def least_lag(self) -> Fraction:
        """The shortest lag of any hop between two devices, in any placement."""
        return min(self._lags(), default=Fraction(0))

    def _lags(self) -> Iterator[Fraction]:
        """Yield every possible lag of a hop: over each boundary, within a node and between nodes, both ways."""
        if self.communication is None:
            yield self.p2p_latency
            return
        boundaries = range(max(1, (self.stages or 2) - 1))
        for pair in {(0, self.devices - 1), (0, min(1, self.devices - 1))}:
            for factors in self.items.classes:
                yield from (self.hop(each, *pair, kind, factors).lag for each in boundaries for kind in "FB")

    @cached_property
    def costs(self) -> tuple[StageCosts, ...]:
        """The costs of each stage on a device that is not slowed down: its work, and the overhead of each operation.

        No device takes less. See `costs_on` for what a given device takes.
        """
        return self._costs_at(Fraction(1))

    def costs_on(self, device: int) -> tuple[StageCosts, ...]:
        """Return the costs of each stage if it runs on a device, in its pace, with the overhead of each operation."""
        return self._costs_at(self.pace(device))

    def costs_at(self, homes: Sequence[int]) -> tuple[StageCosts, ...]:
        """Return the costs of each stage on its device.

        Parameters
        ----------
        homes : sequence of int
            The device of each stage.
        """
        return tuple(self.costs_on(device)[stage] for stage, device in enumerate(homes))

    def pace(self, device: int) -> Fraction:
        """Return how many times as long a device takes for everything it computes."""
        return Fraction(1) if self.slowdown is None else self.slowdown[device]

    @cached_property
    def _costs_by_pace(self) -> dict[Fraction, tuple[StageCosts, ...]]:
        return {}

    def _costs_at(self, pace: Fraction) -> tuple[StageCosts, ...]:
        if pace not in self._costs_by_pace:
            slowed = tuple(each.slowed(pace) for each in self.work)
            more = self.overhead
            self._costs_by_pace[pace] = slowed if more is None else tuple(each.with_overhead(more) for each in slowed)
        return self._costs_by_pace[pace]

    @cached_property
    def items(self) -> Items:
        """What runs through the pipeline, in the order in which it is fed: microbatches, or slices of them."""
        if self.entries is None:
            return Items.alike(self.microbatches)
        return lay_out(self.entries, self.feed, self.tokens, self.weights)

    @property
    def are_sliced(self) -> bool:
        """Whether microbatches are cut into slices, which then count as microbatches."""
        return any(each.number_of_slices > 1 for each in self.entries or ())

    @property
    def slices_of_each(self) -> int:
        """Into how many slices each microbatch is cut.

        Raises
        ------
        InputError
            If it is not the same for all.
        """
        numbers = sorted({each.number_of_slices for each in self.entries or ()}) or [1]
        if len(numbers) > 1:
            raise InputError(
                f"microbatches: must all be cut into the same number of slices; found {numbers[0]} and {numbers[-1]}"
            )
        return numbers[0]

    def whole(self) -> Pipeline:
        """Return the pipeline with microbatches that are not cut."""
        if not self.are_sliced:
            return self
        return self._with_entries([each.whole() for each in self.entries or ()])

    def sliced(self, slices: int, cut: str = "balanced") -> Pipeline:
        """Return the pipeline with every microbatch cut into a number of slices.

        Raises
        ------
        InputError
            If ``tokens`` are missing, or a microbatch has no documents or fewer tokens.
        """
        entries = self.entries or (MicrobatchEntry(count=self.microbatches),)
        if self.tokens is None:
            raise InputError("slices: need tokens: the length of the sequences for which times are given")
        if any(each.size is not None or each.attention is not None for each in entries):
            raise InputError("slices: need the documents of each microbatch; found its size or attention instead")
        whole = (each.whole() for each in entries)
        return self._with_entries([each.model_copy(update={"slices": slices, "cut": cut}) for each in whole])

    def _with_entries(self, entries: Sequence[MicrobatchEntry]) -> Pipeline:
        number = sum(each.count * each.number_of_slices for each in entries)
        return self.model_copy(update={"entries": tuple(entries), "microbatches": number})

    @property
    def has_unequal_items(self) -> bool:
        """Whether costs depend on the microbatch, or slices wait for one another: nothing follows by repetition."""
        return self.entries is not None and (self.layers is not None or not self.items.are_alike)

    @cached_property
    def mean_factors(self) -> Factors:
        """The mean of the factors of all items."""
        return AS_MEASURED if self.entries is None else self.items.mean(self.stages or 1)

    @cached_property
    def work(self) -> tuple[StageCosts, ...]:
        """The costs of each stage's own work, for the mean of all items: no overhead, and no slow device."""
        return self.work_of(self.mean_factors)

    def work_of(self, factors: Factors) -> tuple[StageCosts, ...]:
        """Return the costs of each stage's own work for an item."""
        if factors == AS_MEASURED:
            return self.measured
        known: dict[tuple[int, Fraction, Fraction], StageCosts] = {}
        works: list[StageCosts] = []
        for stage, first in enumerate(self._alike_stages):
            size, attention = factors.at(stage)
            if (first, size, attention) not in known:
                cost, pairs = self.measured[stage], self.attention_times[stage]
                known[first, size, attention] = cost.of_item(pairs, size, attention)
            works.append(known[first, size, attention])
        return tuple(works)

    @cached_property
    def _alike_stages(self) -> tuple[int, ...]:
        """For each stage, the first one of the same measured costs."""
        firsts: dict[tuple[StageCosts, AttentionTimes], int] = {}
        each = zip(self.measured, self.attention_times, strict=True)
        return tuple(firsts.setdefault(cost, stage) for stage, cost in enumerate(each))

    @cached_property
    def costs_by_class(self) -> tuple[tuple[StageCosts, ...], ...]:
        """The costs of each stage's own work, for each class of items."""
        return tuple(map(self.work_of, self.items.classes))

    @cached_property
    def attention_times(self) -> tuple[AttentionTimes, ...]:
        """The part of the measured times of each stage that grows with pairs of tokens."""
        return tuple(attention_of_stage(self.times, cost, stage) for stage, cost in enumerate(self.measured))

    @cached_property
    def side_costs(self) -> tuple[SideCosts, ...]:
        """The costs of each stage's work beside computing."""
        if self.stages is None or self.is_open_cut:
            raise InputError("stages: is missing; the schedule decides it, or give it")
        parts = list(self.streams.values())
        if self.layers is None or self.layers_per_stage is None:
            return side_costs(parts, self.stages)
        return side_costs(parts, self.stages, self.layers, counts_by_kind(self.layers, self.layers_per_stage))

    @property
    def side_times(self) -> list[Fraction]:
        """All times of work beside computing, for items of each size."""
        if not self.streams:
            return []
        sizes = [[factors.at(stage)[0] for factors in self.items.classes] for stage in range(len(self.side_costs))]
        once = [time for each in self.side_costs for time in (each.gather, each.reduce)]
        copies = zip(self.side_costs, sizes, strict=True)
        return once + [
            size * time for each, of_stage in copies for time in (each.offload, each.reload) for size in of_stage
        ]

    @property
    def side_amounts(self) -> list[Fraction]:
        """All amounts of memory that work beside computing takes or returns, for items of each size."""
        if not self.streams:
            return []
        found = [amount for each in self.side_costs for amount in (each.weights, each.gradients)]
        for work in self.costs_by_class:
            for cost, each in zip(work, self.side_costs, strict=True):
                found += [each.share * cost.activation, each.share * cost.held_for_weight]
        return found

    @cached_property
    def measured(self) -> tuple[StageCosts, ...]:
        """The costs of each stage's own work as measured, with every default filled in."""
        if self.stages is None:
            raise InputError("stages: is missing; the schedule decides it, or give it")
        if self.is_open_cut:
            raise InputError("layers_per_stage: is missing; give it, or cut the layers evenly")
        return tuple(costs_of_stage(self.times, self.memory, stage) for stage in range(self.stages))

    def with_pace(self, costs: StageCosts, device: int) -> StageCosts:
        """Return what a device takes for some work: in its pace, with the overhead of each operation."""
        slowed = costs.slowed(self.pace(device))
        return slowed if self.overhead is None else slowed.with_overhead(self.overhead)

    def block_duration(
        self,
        forward_stage: int,
        backward_stage: int,
        device: int | None = None,
        classes: tuple[int, int] | None = None,
    ) -> Fraction:
        """Return the duration of an overlapped block.

        If block times are given, it is that of the forward's stage (PP-Emulation's rule). If layers have parts, those
        that are paired take as long as their parts (`BlockParts`), the others as long as alone. Else it is
        F + B − σ · min(F, B). In addition, the overhead of the forward.

        Parameters
        ----------
        forward_stage, backward_stage : int
            The stages of its halves.
        device : int or None
            The device that runs it; None for one that is not slowed down.
        classes : (int, int), optional
            The classes of the items of its halves; by default the mean of all items.
        """
        overhead = Fraction(0) if self.overhead is None else self.overhead.forward
        pace = Fraction(1) if device is None else self.pace(device)
        works = (self.work, self.work) if classes is None else [self.costs_by_class[each] for each in classes]
        forward, backward = works[0][forward_stage], works[1][backward_stage].backward
        if forward.overlapped is not None:
            return pace * forward.overlapped + overhead
        if self.block_parts is not None:
            paired = self.block_parts.paired(forward_stage, backward_stage)
            alone = forward.forward - paired.forward + backward - paired.backward
            return pace * (paired.together + alone) + overhead
        shorter = min(forward.forward, backward)
        together = forward.forward + backward - (self.overlap or 0) * shorter
        return pace * together + overhead

    @cached_property
    def block_parts(self) -> BlockParts | None:
        """The parts of the layers of each stage, from which the durations of blocks follow; None if none has any."""
        if self.layers is None or self.layers_per_stage is None or not self.layers.have_parts:
            return None
        return BlockParts.of(self.layers, counts_by_kind(self.layers, self.layers_per_stage))

    @property
    def has_parts(self) -> bool:
        """Whether the durations of blocks follow from the parts of layers, in whatever cut."""
        return self.layers is not None and self.layers.have_parts

    @property
    def paces(self) -> tuple[Fraction, ...]:
        """The different paces of devices, the fastest first."""
        return tuple(sorted({self.pace(device) for device in range(self.devices)}))

    @property
    def overheads(self) -> dict[str, Fraction]:
        """The overhead of each kind of operation."""
        each = (Fraction(0),) * len(KINDS) if self.overhead is None else self.overhead.each
        return dict(zip(KINDS, each, strict=True))

    def overhead_of(self, order: Iterable[PipelineAction]) -> Fraction:
        """Add up the overhead of a device's actions; a block has its forward's."""
        each = self.overheads
        if not any(each.values()):
            return Fraction(0)
        counts = Counter("F" if isinstance(action, Block) else action.kind for action in order)
        return sum((count * each[kind] for kind, count in counts.items()), Fraction(0))

    @property
    def blocks_may_save(self) -> bool:
        """Whether a block may be shorter than its halves: by overlap, or by the overhead of its backward."""
        given = bool(self.overlap) or self.times.overlapped_forward_backward is not None or self.has_parts
        return given or any(self.overheads.values())

    @property
    def halves_are_assumed(self) -> bool:
        """Whether backwards are given without their halves, so that I and W are assumed to be half of B each."""
        if self.layers is not None:
            return all(kind.halves_are_assumed for kind in self.layers.kinds)
        times = self.times
        return times.backward is not None and times.backward_input is None and times.backward_weight is None

    @property
    def after(self) -> Fraction:
        """The time that a step takes after its last operation."""
        return Fraction(0) if self.step is None else self.step.after

    @property
    def stages_per_device(self) -> int:
        """The number of stages on each device, if it is the same on each."""
        return (self.stages or self.devices) // self.devices

    @property
    def limits(self) -> tuple[Fraction | None, ...]:
        """The memory limit of each device; None if it has none."""
        return tuple(entry(self.memory.limit, device) for device in range(self.devices))

    @property
    def ideal(self) -> Fraction:
        """U: the work of all forwards and backwards, un-overlapped, spread evenly over devices of full speed."""
        per_microbatch = sum((cost.forward + cost.backward for cost in self.work), Fraction(0))
        return self.microbatches * per_microbatch / self.devices

    def with_stages(self, stages: int) -> Pipeline:
        """Settle an open number of stages; the times are per stage as given, and layers are cut evenly.

        Raises
        ------
        InputError
            If the number is not a whole number of at least 1, is too large, or differs from the lengths of the lists of
            times; or if the layers cannot be cut into that number.
        """
        if self.is_open_cut:
            return self.with_even_cut(_stage_count(stages))
        return self.model_copy(update={"stages": _stage_count(stages)})

    def with_cut(self, layers_per_stage: Sequence[int], recomputed_per_stage: Sequence[Any] | None = None) -> Pipeline:
        """Lay the layers of the model on stages.

        Parameters
        ----------
        layers_per_stage : sequence of int
            The number of layers on each stage, one entry per stage.
        recomputed_per_stage : sequence or None
            For each stage, how many of its layers are recomputed: a number (of the first ones that can be), numbers by
            the names of kinds, or one number for each kind; None if no layer is.

        Raises
        ------
        InputError
            If the pipeline has no layers, or its layers do not allow this cut.
        """
        if self.layers is None:
            raise InputError("layers_per_stage: needs layers, and this pipeline gives the times of its stages")
        recomputed = None if recomputed_per_stage is None else list(recomputed_per_stage)
        cut: dict[str, Any] = {"layers_per_stage": list(layers_per_stage), "recomputed_per_stage": recomputed}
        return self.model_copy(update={"stages": None, **cut, **self._communication_in(len(layers_per_stage))})

    def _communication_in(self, stages: int) -> dict[str, Any]:
        """Return the costs of transfers for another number of stages, if they are given per boundary."""
        given = self.communication
        if given is None or self.stages in (None, stages) or not list(given.lists()):
            return {}
        assert self.stages is not None
        return {"communication": given.recut(self.stages, stages)}

    def with_even_cut(self, stages: int, *, empty: bool = True) -> Pipeline:
        """Cut the layers of the model evenly, as frameworks do by default.

        Raises
        ------
        InputError
            If the pipeline has no layers, or their pins allow no cut.
        """
        if self.layers is None:
            raise InputError("cut: needs layers, and this pipeline gives the times of its stages")
        try:
            refuse_too_large(self.devices, stages, self.microbatches)
        except ValueError as error:
            raise InputError(str(error)) from None
        return self.with_cut(even_cut(self.layers, stages, empty=empty))

    def with_limit(self, limit: Fraction | Sequence[Fraction | None] | None) -> Pipeline:
        """Change the memory limit: one for all devices, or one each; None for none."""
        given = tuple(limit) if isinstance(limit, Sequence) else limit
        memory = self.memory.beside_layers if self.layers is not None else self.memory
        return self.model_copy(update={"memory": memory.model_copy(update={"limit": given})})

    def with_resident(self, number: int | str) -> Pipeline:
        """Return the pipeline with another number of stages whose parameters a device has at once.

        Parameters
        ----------
        number : int or "auto"
            The number.
        """
        assert self.sharding is not None
        return self.model_copy(update={"sharding": self.sharding.model_copy(update={"resident": number})})

    def without_waiting(self) -> Pipeline:
        """Return the pipeline as bounds count it: transfers wait for nothing, and nothing runs beside computing."""
        if not self.waits:
            return self
        return self.model_copy(update=dict.fromkeys((*WAITING, *STREAMS)))

    def as_stages(self) -> Pipeline:
        """Return the pipeline without its layers: the same costs, given per stage.

        Raises
        ------
        InputError
            If the cut is open.
        """
        if self.layers is None or not self.work:
            return self
        fields = {key: getattr(self, key) for key in type(self).model_fields}
        fields |= {key: with_costs(part, self.side_costs) for key, part in self.streams.items()}
        return self._read(fields | dict.fromkeys(("layers", "layers_per_stage", "recomputed_per_stage")))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the pipeline; if anything changes, the whole is read and checked again.

        Raises
        ------
        InputError
            If anything is wrong with the changes, with a line for each fault.
        """
        if not update:
            return super().model_copy(deep=deep)
        fields = {key: getattr(self, key) for key in type(self).model_fields}
        number = update.get("microbatches")
        if isinstance(number, int) and self.entries is not None and "entries" not in update:
            fields["entries"] = self._alike_entries(number)
        if self.layers is not None:  # drop the values derived from layers
            del fields["times"]
            fields["memory"] = self.memory.beside_layers
        if self.framework is not None:  # drop the values derived from it
            fields |= dict.fromkeys(Waiting._fields)
        return self._read(fields | dict(update))  # cached costs are not copied

    def refuse_waits(self, who: str) -> None:
        """Refuse transfers that wait, and work beside computing, for somebody who takes neither.

        Raises
        ------
        InputError
            With the name.
        """
        if self.semantics != "async":
            raise InputError(f"{who} needs transfers that wait for nothing (p2p: async); found p2p: {self.semantics}")
        self.refuse_beside(who)

    def refuse_beside(self, who: str) -> None:
        """Refuse work beside computing, for somebody who takes none.

        Raises
        ------
        InputError
            With the name.
        """
        if self.streams:
            raise InputError(f"{who} takes nothing beside computing; found {', '.join(self.streams)}; leave it out")

    def refuse_unequal(self, who: str) -> None:
        """Refuse microbatches that differ, for somebody who takes only those that are alike.

        Raises
        ------
        InputError
            With the name.
        """
        if self.has_unequal_items:
            raise InputError(
                f"microbatches: differ or are cut into slices, and {who} takes only those that are alike; give a number"
            )

    def as_cut(self, other: Pipeline) -> Pipeline:
        """Return the same model in the cut of another pipeline."""
        if self.layers is not None and other.layers_per_stage is not None:
            return self.with_cut(other.layers_per_stage, other.recomputed_per_stage)
        stages = other.stages or self.devices
        return self.with_stages(stages) if self.stages is None else self.recut(stages)

    def averaged(self) -> Pipeline:
        """Return the pipeline with as many microbatches that all cost the mean."""
        if self.entries is None:
            return self
        factors = Items.mean(self.items, self.stages or 1)
        if self.layers is None:
            entry = MicrobatchEntry.model_construct(count=self.microbatches, **factors._asdict())
            return self.model_copy(update={"entries": (entry,), "feed": "given"})
        size, attention = factors.at(0)
        changes = {"entries": None, "microbatches": self.microbatches, "layers": self.layers.grown(size, attention)}
        return self.model_copy(update=changes | {"feed": "given", "communication": self._grown_communication(size)})

    def _grown_communication(self, size: Fraction) -> Communication | None:
        return None if self.communication is None else self.communication.grown(size)

    def _alike_entries(self, number: int) -> tuple[MicrobatchEntry, ...]:
        """List another number of microbatches that cost the same as these."""
        entries = self.entries
        if entries is None or self.has_unequal_items:
            raise InputError(f"microbatches: the {self.microbatches} listed ones differ, so {number} are not known")
        return (entries[0].model_copy(update={"count": number}),)

    def recut(self, stages: int) -> Pipeline:
        """Cut the same model into another number of stages.

        Each stage's times and memory are spread evenly over its part of the model, and a new stage gets the share that
        falls into its own part. So a stage splits evenly, neighbours merge, and every total stays exactly the same. A
        model of layers is cut evenly between its layers instead.

        Parameters
        ----------
        stages : int
            The new number of stages.

        Raises
        ------
        InputError
            If the number is not a whole number of at least 1 or is too large, or the pipeline leaves its own open.
        """
        stages = _stage_count(stages)
        if stages == self.stages and not self.is_open_cut:
            return self
        if self.layers is not None:
            return self.with_even_cut(stages)
        try:
            refuse_too_large(self.devices, stages, self.microbatches)
        except ValueError as error:
            raise InputError(str(error)) from None
        for place, each in enumerate(self.entries or ()):
            if isinstance(each.size, tuple):
                raise InputError(
                    f"microbatches.{place}.size: is given for each of the {self.stages} stages, so the model cannot be "
                    f"cut into {stages}"
                )
        given = {key: [getattr(cost, key) for cost in self.measured] for key in StageCosts._fields}
        columns = {key: spread(values, stages) for key, values in given.items() if None not in values}
        if "overlapped" in columns:
            columns["overlapped_forward_backward"] = columns.pop("overlapped")
        kept: dict[str, Any] = {key: columns[key] for key in ("activation", "held_for_weight", "static")}
        if self.memory.static is None:
            del kept["static"]
        durations: dict[str, Any] = {key: columns[key] for key in Times.model_fields if key in columns}
        if self.halves_are_assumed:  # the new cut assumes them too
            durations |= {"backward_input": None, "backward_weight": None}
        durations |= self._recut_attention(columns)
        # bypasses the validation of user input: parts may be smaller than allowed there, and sums larger
        times = Times.model_construct(**durations)
        memory = Memory.model_construct(**kept, limit=self.memory.limit, unit=self.memory.unit)
        changes: dict[str, Any] = {"stages": stages, "times": times, "memory": memory}
        if self.streams:
            beside = recut_costs(self.side_costs, given["activation"], columns["activation"])
            changes |= {key: with_costs(part, beside) for key, part in self.streams.items()}
        return self.model_copy(update=changes | self._communication_in(stages))

    def _recut_attention(self, times: Mapping[str, Sequence[Fraction]]) -> dict[str, Any]:
        """Return the shares of times in another cut that grow with pairs of tokens."""
        if not any(any(each) for each in self.attention_times):
            return {}
        keys = {"attention": "forward", "attention_backward": "backward", "attention_weight": "backward_weight"}
        shares: dict[str, Any] = {}
        for key, column in keys.items():
            parts = spread([getattr(each, column) for each in self.attention_times], len(times[column]))
            shares[key] = tuple(part / time for part, time in zip(parts, times[column], strict=True))
        return shares

    def to_mapping(self) -> dict[str, Any]:
        """Write the pipeline as a configuration without absent values."""
        mapping: dict[str, Any] = plain_values(self)
        if (entries := mapping.pop("entries", None)) is not None:
            mapping["microbatches"] = [
                {key: value for key, value in each.items() if (key, value) != ("count", 1)} for each in entries
            ]
        if self.feed == "given":
            del mapping["feed"]
        if self.overhead is not None:
            mapping["overhead"] = plain_values(self.overhead.written)
        if self.framework is not None:
            mapping = {key: value for key, value in mapping.items() if key not in Waiting._fields}
        if self.layers is not None:
            del mapping["times"]
            mapping["memory"] = {key: value for key, value in mapping["memory"].items() if key in BESIDE_LAYERS}
            if self.recomputed_per_stage is not None and self.layers_per_stage is not None:
                mapping["recomputed_per_stage"] = written_recomputed(self.layers, self.recomputed_per_stage)
        return mapping

    def __repr__(self) -> str:
        sizes, costs = self._in_two_lines
        return f"<Pipeline: {sizes};\n {costs}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Show the sizes and the costs in a notebook, on one line each."""
        from html import escape  # imported here because it loads every named character of HTML

        sizes, costs = self._in_two_lines
        return f"<div><b>{escape(sizes)}</b><br>{escape(costs)}</div>"

    @property
    def _latency_range(self) -> PerStage:
        if self.communication is None or not self.stages:
            return self.longest_lag
        homes = [stage % self.devices for stage in range(self.stages)]
        return tuple(hop.lag for hop in self.hops(homes)) or Fraction(0)

    @property
    def _in_two_lines(self) -> tuple[str, str]:
        layers = None if self.layers is None else self.layers.total
        sizes = describe_sizes(self.devices, self.stages, self.microbatches, layers)
        if self.entries is not None:
            sizes += ", in slices" if self.are_sliced else ", not all as measured"
        times, memory, about = vars(self.times), vars(self.memory), ""
        if self.layers is not None and self.layers_per_stage is None:
            about = "all layers together: "
            whole = self.layers.sum_of_costs._asdict()
            times = dict.fromkeys(times) | {key: whole[key] for key in ("forward", "backward")}
            memory = dict.fromkeys(memory) | vars(self.memory.beside_layers) | {"activation": whole["activation"]}
        step = describe_step(list(self.overheads.values()), self.slowdown, self.after, self.unit)
        return sizes, about + describe_costs(times, self._latency_range, memory, self.overlap, self.unit) + step


def _stage_count(stages: object) -> int:
    try:
        return read_count(stages)
    except ValueError as error:
        raise InputError(f"stages: {error}") from None
