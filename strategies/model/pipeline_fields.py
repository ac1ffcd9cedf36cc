"""What a configuration says of a pipeline: its keys, each checked by itself and against the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Self, TypeAlias, cast

from pydantic import Field, PlainValidator, model_validator

from solver.counted import counted
from strategies.model.communication import COMMUNICATING, LOWERINGS, P2P, Communication, read_choice, waiting_in
from strategies.model.communicators import COMMUNICATORS
from strategies.model.cuts import (
    ByKind,
    Counts,
    attention_shares,
    check_cut,
    read_layers_per_stage,
    read_recomputed_per_stage,
    resolve_recomputed,
    stage_costs,
)
from strategies.model.items import AS_MEASURED, MicrobatchEntry, Weight, factors_of, lay_out, read_feed, read_tokens
from strategies.model.layers import Layers
from strategies.model.numbers import PerStage, read_amount, read_count, read_overlap, shown
from strategies.model.overhead import Overhead, Slowdown, Step, read_slowdown
from strategies.model.part import Part, WrongKeyError
from strategies.model.stage_costs import (
    BESIDE_LAYERS,
    UNIT_TIMES,
    Memory,
    Times,
    Unit,
    attention_of_stage,
    costs_of_stage,
    refuse_contradictory_costs,
    values_per_stage,
)
from strategies.model.streams import (
    STREAMS,
    DataParallel,
    Offload,
    Sharding,
    Streams,
    amounts_of,
    wrong_with_layers,
    wrong_with_length,
)

MOST_OPS, MOST_SEARCHED = 5_000_000, 30_000_000
"""Largest numbers of operations accepted: in a schedule that is written out, and in one that is searched."""

SOURCES = ("estimated", "measured")
"""Where costs come from; nothing is said of those without a source."""

Count: TypeAlias = Annotated[int, PlainValidator(read_count)]
Latency: TypeAlias = Annotated[Fraction, PlainValidator(read_amount)]
Overlap: TypeAlias = Annotated[Fraction, PlainValidator(read_overlap)]
LayersPerStage: TypeAlias = Annotated[Counts, PlainValidator(read_layers_per_stage)]
RecomputedPerStage: TypeAlias = Annotated[ByKind, PlainValidator(read_recomputed_per_stage)]


class PipelineFields(Part):
    """The keys of a configuration, which `strategies.model.pipeline.Pipeline` explains."""

    devices: Count
    stages: Count | None = None
    microbatches: Count
    entries: tuple[MicrobatchEntry, ...] | None = None
    tokens: Annotated[int, PlainValidator(read_tokens)] | None = None
    feed: Annotated[str | tuple[int, ...], PlainValidator(read_feed)] = "given"
    unit: Unit | None = None
    source: Annotated[str, PlainValidator(read_choice(SOURCES))] | None = None
    layers: Layers | None = None
    layers_per_stage: LayersPerStage | None = None
    recomputed_per_stage: RecomputedPerStage | None = None
    times: Times = Field(default_factory=lambda: Times.model_validate(UNIT_TIMES))
    p2p_latency: Latency = Fraction(0)
    communication: Communication | None = None
    framework: Annotated[str, PlainValidator(read_choice(COMMUNICATING))] | None = None
    p2p: Annotated[str, PlainValidator(read_choice(P2P))] | None = None
    communicators: Annotated[str, PlainValidator(read_choice(COMMUNICATORS))] | None = None
    lowering: Annotated[str, PlainValidator(read_choice(LOWERINGS))] | None = None
    overlap: Overlap | None = None
    overhead: Overhead | None = None
    slowdown: Annotated[Slowdown, PlainValidator(read_slowdown)] | None = None
    step: Step | None = None
    sharding: Sharding | None = None
    data_parallel: DataParallel | None = None
    offload: Offload | None = None
    memory: Memory = Memory()

    @model_validator(mode="before")
    @classmethod
    def _layers_have_their_own_costs(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            _refuse_twofold_costs(values)
            return _with_entries(values)
        return values

    @model_validator(mode="after")
    def _numbers_agree(self) -> Self:
        self._count_microbatches()
        if self.layers is not None:
            self._lay_out(self.layers)
        refuse_too_large(self.devices, self.stages or self.devices, self.microbatches)
        lengths = {key: len(value) for key, value in self._values_per_stage() if isinstance(value, tuple)}
        stages = self.stages if self.stages is not None else next(iter(lengths.values()), None)
        for key, length in lengths.items():
            if self.stages is None and length % self.devices:
                raise ValueError(
                    f"{key}: must have one entry for each stage, {self.devices} or a multiple of it; "
                    f"found {counted(length, 'entry')}"
                )
            if length != stages:
                raise ValueError(
                    f"{key}: must have one entry for each of the {counted(stages or 0, 'stage')}; "
                    f"found {counted(length, 'entry')}"
                )
        limit = self.memory.limit
        if isinstance(limit, tuple) and len(limit) != self.devices:
            raise ValueError(
                f"memory.limit: must have one entry for each of the {counted(self.devices, 'device')}; "
                f"found {counted(len(limit), 'entry')}"
            )
        if stages is not None:
            object.__setattr__(self, "stages", stages)  # known from the lists
        self._settle_microbatches()
        self._settle_slowdown()
        self._refuse_contradictions()
        if self.framework is not None:
            self._follow(self.framework)
        self._check_communication()
        self._check_streams()
        return self

    def _values_per_stage(self) -> Iterator[tuple[str, PerStage | None]]:
        """Yield each value that can be given per stage, with its key."""
        yield from values_per_stage(self.times, self.memory)
        for place, each in enumerate(self.entries or ()):
            yield f"microbatches.{place}.size", each.size

    def _count_microbatches(self) -> None:
        if self.entries is not None:
            number = sum(each.count * each.number_of_slices for each in self.entries)
            object.__setattr__(self, "microbatches", number)

    def _settle_microbatches(self) -> None:
        """Check the list of microbatches; one whose microbatches are all as measured is a number."""
        entries = self.entries
        if entries is None:
            return
        for place, each in enumerate(entries):
            if self.tokens is None and (key := each.needs_tokens()):
                raise WrongKeyError(
                    f"microbatches.{place}.{key}", "needs tokens: the length of the sequences for which times are given"
                )
        known = (factors_of(each, self.tokens, _EVEN, f"{place}.") for place, each in enumerate(entries))
        if all(each == (AS_MEASURED,) for each in known):
            object.__setattr__(self, "entries", None)
        elif self.times.overlapped_forward_backward is not None:
            raise WrongKeyError(
                "times.overlapped_forward_backward",
                "gives the time of a block by its forward's stage, so it needs microbatches as measured; "
                "overlap (0 to less than 2) takes any",
            )
        elif self.layers is not None and self.layers.have_parts:
            place = next(place for place, kind in enumerate(self.layers.kinds) if kind.parts is not None)
            raise WrongKeyError(
                f"layers.{place}.parts",
                "are those of microbatches as measured, and the listed ones differ; overlap (0 to less than 2) takes "
                "any",
            )
        else:
            lay_out(entries, self.feed, self.tokens, self.weights)

    @property
    def weights(self) -> list[Weight]:
        """How much of the work grows with tokens and how much with pairs of tokens: by stage, or in one sum."""
        if self.layers is not None and self.layers_per_stage is None:
            whole = self.layers.sum_of_costs
            kinds = self.layers.kinds
            pairs = sum(
                (each.attention * each.count * (each.costs.forward + each.costs.backward) for each in kinds),
                Fraction(0),
            )
            return [Weight(whole.forward + whole.backward - pairs, pairs)]
        return [self._weight(stage) for stage in range(self.stages or 1)]

    def _weight(self, stage: int) -> Weight:
        costs = costs_of_stage(self.times, self.memory, stage)
        pairs = attention_of_stage(self.times, costs, stage)
        return Weight(costs.forward + costs.backward - pairs.forward - pairs.backward, pairs.forward + pairs.backward)

    def _follow(self, framework: str) -> None:
        """Set what transfers wait for as in a framework.

        Raises
        ------
        WrongKeyError
            If a key is given that says otherwise.
        """
        for key, known in waiting_in(framework, self.devices)._asdict().items():
            given = getattr(self, key)
            if given not in (None, known):
                means = f"means {key}: {known}" if known else f"has no {key} to choose"
                raise WrongKeyError(
                    key, f"contradicts framework: {framework}, which {means}; found {given}; leave one of the two out"
                )
            object.__setattr__(self, key, known)

    @property
    def is_open_cut(self) -> bool:
        """Whether the model is given as layers that are not yet assigned to stages."""
        return self.layers is not None and self.layers_per_stage is None

    @property
    def semantics(self) -> str:
        """The value of ``p2p``, with the default filled in."""
        return self.p2p or "async"

    def _lay_out(self, layers: Layers) -> None:
        """Compute the times and the memory of each stage from its layers."""
        limit = self.memory.limit
        if limit is not None:
            limits = limit if isinstance(limit, tuple) else (limit,) * self.devices
            if None not in limits:
                _refuse_limit_below_static(layers, limits)
        if self.layers_per_stage is None:
            if self.stages is not None:
                if self.stages % self.devices:
                    raise ValueError(
                        f"stages: must be {self.devices}, one for each device, or a multiple of it; found {self.stages}"
                    )
                layers.stage_windows(self.stages)
            return
        stages = len(self.layers_per_stage)
        if self.stages is not None and self.stages != stages:
            raise ValueError(
                f"layers_per_stage: must have one entry for each of the {counted(self.stages, 'stage')}; "
                f"found {counted(stages, 'entry')}"
            )
        if stages % self.devices:
            raise ValueError(
                f"layers_per_stage: must have one entry for each stage, {self.devices} or a multiple of it; "
                f"found {stages} entries"
            )
        check_cut(layers, self.layers_per_stage)
        recomputed = None
        if self.recomputed_per_stage is not None:
            recomputed = resolve_recomputed(layers, self.layers_per_stage, self.recomputed_per_stage)
        costs = stage_costs(layers, self.layers_per_stage, recomputed)
        forward, backward, to_input, to_weight, activation, held, static = zip(*costs, strict=True)
        # bypasses the validation of user input: the costs of an empty stage are 0
        times = Times.model_construct(
            forward=forward,
            backward=backward,
            backward_input=to_input,
            backward_weight=to_weight,
            **cast("dict[str, Any]", attention_shares(layers, self.layers_per_stage, recomputed)),
        )
        memory = Memory.model_construct(
            activation=activation,
            held_for_weight=held,
            static=static,
            limit=self.memory.limit,
            unit=self.memory.unit,
        )
        derived = {"stages": stages, "recomputed_per_stage": recomputed, "times": times, "memory": memory}
        for key, value in derived.items():
            object.__setattr__(self, key, value)

    def _settle_slowdown(self) -> None:
        """Fill in the devices that are not slowed down."""
        given = self.slowdown
        if given is None:
            return
        if len(given) > self.devices or (given.is_list and len(given) < self.devices):
            found = counted(len(given), "entry") if given.is_list else f"device {len(given) - 1}"
            raise WrongKeyError(
                "slowdown",
                f"must be a list with one entry for each of the {counted(self.devices, 'device')}, or a mapping from "
                f"some of them (0 to {self.devices - 1}) to factors; found {found}",
            )
        factors = Slowdown([*given, *[Fraction(1)] * (self.devices - len(given))])
        object.__setattr__(self, "slowdown", factors if max(factors) > 1 else None)

    def _refuse_contradictions(self) -> None:
        if self.overlap is not None and self.layers is not None and self.layers.have_parts:
            raise ValueError(
                f"overlap: contradicts the parts of layers, from which the lengths of blocks follow; found "
                f"{float(self.overlap):g} beside them; leave one of the two out"
            )
        if self.overlap is not None and self.times.overlapped_forward_backward is not None:
            raise ValueError(
                f"overlap: contradicts times.overlapped_forward_backward, which says how long blocks last, too; found "
                f"{float(self.overlap):g} beside it; leave one of the two out"
            )
        refuse_contradictory_costs(self.times, self.memory, self.stages or 1)

    @property
    def streams(self) -> dict[str, Streams]:
        """What devices do beside computing, by its key."""
        return {key: part for key in STREAMS if (part := getattr(self, key)) is not None}

    @property
    def waits(self) -> bool:
        """Whether computing may wait for more than results: for transfers that wait, or for what runs beside it."""
        return self.semantics != "async" or bool(self.streams)

    @property
    def follows_lowering(self) -> bool:
        """Whether the times of an order follow only from the programs that it is lowered to."""
        return self.semantics in ("rendezvous", "batched") or bool(self.streams)

    def _check_streams(self) -> None:
        """Refuse what devices do beside computing if it contradicts the model or itself."""
        if self.sharding is not None and self.data_parallel is not None:
            raise WrongKeyError(
                "data_parallel",
                "contradicts sharding, whose reduce_scatter reduces the gradients; leave one of the two out",
            )
        for name, part in self.streams.items():
            for key, value in amounts_of(part):
                wrong = wrong_with_layers(key, value, self.layers)
                if not wrong and self.stages is not None:
                    wrong = wrong_with_length(value, self.stages)
                if wrong:
                    raise WrongKeyError(f"{name}.{key}", wrong)
                if self.stages is None and isinstance(value, tuple):
                    raise WrongKeyError(f"{name}.{key}", "has one entry a stage, so it needs stages")

    def _check_communication(self) -> None:
        """Refuse communication that contradicts the sizes, the latency, or ``p2p``."""
        for key in ("communicators", "lowering"):
            if getattr(self, key) is not None and self.p2p != "rendezvous":
                raise WrongKeyError(key, f"applies to p2p: rendezvous; found p2p: {self.p2p or 'async'}")
        given = self.communication
        if given is None:
            return
        if self.p2p_latency:
            raise WrongKeyError(
                "p2p_latency",
                f"is short for communication.latency, which is there as well; found {float(self.p2p_latency):g}; leave "
                "one of the two out",
            )
        if given.devices_per_node is not None and self.devices % given.devices_per_node:
            raise WrongKeyError(
                "communication.devices_per_node",
                f"must divide the {counted(self.devices, 'device')}; found {given.devices_per_node}",
            )
        for key, values in given.lists():
            if self.stages is None or self.is_open_cut:
                what = "layers_per_stage" if self.is_open_cut else "stages"
                raise WrongKeyError(f"communication.{key}", f"has one entry a boundary, so it needs {what}")
            if len(values) != self.stages - 1:
                raise WrongKeyError(
                    f"communication.{key}",
                    f"must have one entry for each of the {counted(self.stages - 1, 'boundary')} between "
                    f"{counted(self.stages, 'stage')}; found {counted(len(values), 'entry')}",
                )


def _with_entries(values: Mapping[str, Any]) -> dict[str, Any]:
    """Take a list of microbatches apart: the entries, and the number of what runs through the pipeline."""
    values = dict(values)
    known = values.get("entries")
    if "entries" in values and not (known is None or _are_read(known)):
        raise WrongKeyError("entries", f"is not a known key; did you mean microbatches? {_LIST_OF_MICROBATCHES}")
    given = values.get("microbatches")
    if isinstance(given, (list, tuple)):
        if not given:
            raise WrongKeyError("microbatches", f"{_LIST_OF_MICROBATCHES}; found an empty list")
        for place, each in enumerate(given):
            if not isinstance(each, (Mapping, MicrobatchEntry)):
                raise WrongKeyError(f"microbatches.{place}", f"{_LIST_OF_MICROBATCHES}; found {shown(each)}")
        known = values["entries"] = tuple(each if isinstance(each, MicrobatchEntry) else dict(each) for each in given)
        values["microbatches"] = 1  # until the entries are read
    return values


_EVEN = Weight(Fraction(1), Fraction(1))

_LIST_OF_MICROBATCHES = "must be a number, or a list of mappings of " + ", ".join(MicrobatchEntry.model_fields)


def _are_read(entries: object) -> bool:
    return isinstance(entries, tuple) and all(isinstance(each, MicrobatchEntry) for each in entries)


def _refuse_twofold_costs(values: Mapping[str, Any]) -> None:
    """Refuse layers together with costs of stages, and cuts without layers."""
    if values.get("layers") is None:
        for key in ("layers_per_stage", "recomputed_per_stage"):
            if values.get(key) is not None:
                raise ValueError(f"{key}: needs layers")
        return
    if "times" in values:
        raise ValueError("times: cannot be given beside layers, which have their own")
    memory = values.get("memory")
    given = memory.model_fields_set if isinstance(memory, Memory) else memory if isinstance(memory, Mapping) else ()
    for key in Memory.model_fields:
        if key not in BESIDE_LAYERS and key in given:
            raise ValueError(f"memory.{key}: cannot be given beside layers, which have their own")
    if values.get("recomputed_per_stage") is not None and values.get("layers_per_stage") is None:
        raise ValueError("recomputed_per_stage: needs layers_per_stage")


def _refuse_limit_below_static(layers: Layers, limits: Sequence[Fraction]) -> None:
    """Refuse limits that are too small for the static memory alone, whatever the cut."""
    largest = max(layers.kinds, key=lambda kind: kind.glue * kind.static)
    if largest.glue * largest.static > max(limits):
        together = f"{largest.glue} layers of {largest.name}" if largest.glue > 1 else f"one layer of {largest.name}"
        raise ValueError(
            f"memory.limit: must hold the static memory, {float(largest.glue * largest.static):.10g} for {together}; "
            f"found {float(max(limits)):.10g}"
        )
    static = layers.sum_of_costs.static
    if static > sum(limits):
        raise ValueError(
            f"memory.limit: must hold the static memory of all layers, {float(static):.10g}; "
            f"found {float(sum(limits)):.10g} on all devices together"
        )


def refuse_too_large(devices: int, stages: int, microbatches: int) -> None:
    """Refuse sizes that make more operations than a search takes."""
    ops = 2 * stages * microbatches
    if ops > MOST_SEARCHED or devices > MOST_SEARCHED:
        raise ValueError(
            f"devices, stages, microbatches: are too many together: at least {_approximately(ops)} operations; "
            f"at most {MOST_SEARCHED:,} are taken"
        )


def _approximately(count: int) -> str:
    return (
        f"{count:,}"
        if count < 10**18
        else f"10^{len(str(count)[:4000]) - 1}"
        if count < 10**4000
        else "more than 10^4000"
    )
