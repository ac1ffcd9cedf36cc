"""What devices do beside computing: gathering shards, reducing gradients, copying activations to the host and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import PlainValidator, model_validator

from solver.counted import counted
from strategies.model.communication import read_choice
from strategies.model.cuts import ByKind
from strategies.model.layers import Layers
from strategies.model.numbers import (
    PerStage,
    read_amount,
    read_count,
    read_duration,
    read_each,
    read_entry,
    read_share,
    refusal,
    shown,
)
from strategies.model.part import Part, WrongKeyError, plain_values
from strategies.model.stage_costs import spread


class ByLayer(dict[str, Fraction]):
    """A value for each kind of layers, by its name; like all of a pipeline, it does not change."""

    def __hash__(self) -> int:  # type: ignore[override]  # a pipeline is a key of what was found for it
        return hash(frozenset(self.items()))


Amounts: TypeAlias = PerStage | ByLayer
"""One value for every stage, one for each, or one for each kind of layers."""


def _reader(read: Callable[[object], Fraction]) -> PlainValidator:
    by_stage = read_each(read)

    def read_them(value: object) -> Amounts:
        if isinstance(value, Mapping) and any(isinstance(key, str) and not key.isdecimal() for key in value):
            return ByLayer({str(name): read_entry(read, str(name), each) for name, each in value.items()})
        return by_stage(value)

    return PlainValidator(read_them)


def _read_resident(value: object) -> int | Literal["auto"]:
    return "auto" if value == "auto" else _read_counted(value, "auto")


def _read_lookahead(value: object) -> int | str:
    return str(value) if value in ("full", "auto") else _read_counted(value, "full", "auto")


def _read_counted(value: object, *words: str) -> int:
    try:
        return read_count(value)
    except ValueError:
        raise refusal(
            ", ".join(["must be a whole number of at least 1", *words[:-1], f"or {words[-1]}"]), value
        ) from None


def _read_yes(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false; found {shown(value)}")
    return value


Durations: TypeAlias = Annotated[Amounts, _reader(read_amount)]
Shares: TypeAlias = Annotated[Amounts, _reader(read_share)]
Rate: TypeAlias = Annotated[Fraction, PlainValidator(read_duration)]
Yes: TypeAlias = Annotated[bool, PlainValidator(_read_yes)]


class SideCosts(NamedTuple):
    """The exact costs of one stage's work on streams.

    Attributes
    ----------
    gather, reduce : Fraction
        The time to gather the stage's parameters, and to reduce its gradients.
    weights, gradients : Fraction
        The memory that gathered parameters and unreduced gradients take.
    offload, reload : Fraction
        The time to copy a microbatch's activation to the host, and back.
    share : Fraction
        The share of the activation that is copied; 0 if the stage does not offload.
    """

    gather: Fraction = Fraction(0)
    reduce: Fraction = Fraction(0)
    weights: Fraction = Fraction(0)
    gradients: Fraction = Fraction(0)
    offload: Fraction = Fraction(0)
    reload: Fraction = Fraction(0)
    share: Fraction = Fraction(0)


class _Copied(Part):
    """What is copied on a stream, whose times may follow from bytes."""

    bandwidth: Rate | None = None

    def _refuse_half_a_rate(self, time: str, size: str = "bytes") -> None:
        """Take a time, or bytes and a bandwidth."""
        given, amount = getattr(self, time), getattr(self, size)
        if given is not None and amount is not None:
            raise WrongKeyError(time, f"contradicts {size}, which says how long it takes, too; leave one out")
        if amount is not None and self.bandwidth is None:
            raise WrongKeyError(size, "needs bandwidth, in bytes per unit of time")
        if given is None and amount is None:
            raise WrongKeyError(time, f"is missing; give it, or {size} and bandwidth")
        if amount is None and self.bandwidth is not None:
            raise WrongKeyError(
                "bandwidth", f"is for {size}, and there are none; give them in place of {time}, or leave it out"
            )

    def _over_bandwidth(self, value: Amounts) -> Amounts:
        rate = self.bandwidth
        assert rate is not None
        if isinstance(value, ByLayer):
            return ByLayer({name: each / rate for name, each in value.items()})
        return tuple(each / rate for each in value) if isinstance(value, tuple) else value / rate


class Sharding(_Copied):
    """Parameters that are sharded over data-parallel ranks: gathered before use, released, and gradients reduced.

    Attributes
    ----------
    all_gather : number, list or mapping
        The time to gather a stage's parameters.
    reduce_scatter : number, list or mapping
        The time to reduce its gradients; if absent, as long as ``all_gather``.
    bytes, bytes_gradients : number, list or mapping
        The size of what is gathered and reduced, in place of the times; ``bytes_gradients`` defaults to ``bytes``.
    bandwidth : number
        Bytes per unit of time.
    weights, gradients : number, list or mapping
        The memory that a stage's gathered parameters take, and its gradients from their first microbatch until they are
        reduced; if absent, they are not counted.
    resident : int or "auto"
        The number of stages whose parameters a device has at once; PyTorch's is 3. ``auto`` is the shortest that fits.
    lookahead : int, "full" or "auto"
        How many of the next stages are gathered ahead; ``full`` is all ``resident`` ones, ``auto`` rank + 2 of them.
    reduce_stream : {"same", "own"}
        Whether gradients are reduced on the stream that gathers, or on one of their own.
    """

    all_gather: Durations | None = None
    reduce_scatter: Durations | None = None
    bytes: Durations | None = None
    bytes_gradients: Durations | None = None
    weights: Durations = Fraction(0)
    gradients: Durations = Fraction(0)
    KEYS: ClassVar = {
        "gather": "all_gather", "reduce": "reduce_scatter", "weights": "weights", "gradients": "gradients",
    }  # fmt: skip
    SIZES: ClassVar = {"gather": "bytes", "reduce": "bytes_gradients"}
    resident: Annotated[int | str, PlainValidator(_read_resident)] = 3
    lookahead: Annotated[int | str, PlainValidator(_read_lookahead)] = "full"
    reduce_stream: Annotated[str, PlainValidator(read_choice(("same", "own")))] = "same"

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        self._refuse_half_a_rate("all_gather")
        if self.bytes_gradients is not None and self.bytes is None:
            raise WrongKeyError("bytes_gradients", "needs bytes: how large a stage's parameters are")
        if self.reduce_scatter is not None and self.bytes is not None:
            raise WrongKeyError("reduce_scatter", "contradicts bytes, which says how long it takes, too; leave one out")
        return self

    def values(self) -> Iterator[tuple[str, Amounts]]:
        """Yield each cost with its name in `SideCosts`."""
        if self.bytes is None:
            assert self.all_gather is not None
            yield "gather", self.all_gather
            yield "reduce", self.all_gather if self.reduce_scatter is None else self.reduce_scatter
        else:
            yield "gather", self._over_bandwidth(self.bytes)
            yield "reduce", self._over_bandwidth(self.bytes if self.bytes_gradients is None else self.bytes_gradients)
        yield "weights", self.weights
        yield "gradients", self.gradients

    def ahead(self, device: int, resident: int) -> int:
        """Return how many of the next stages a device gathers ahead."""
        if self.lookahead == "full":
            return resident
        return min(resident, device + 2 if self.lookahead == "auto" else int(self.lookahead))


class DataParallel(Part):
    """Gradients that are reduced over data-parallel ranks, whose parameters are not sharded.

    Attributes
    ----------
    all_reduce : number, list or mapping
        The time to reduce a stage's gradients.
    overlap : bool
        Whether a stage's reduction begins when its last backward has ended; otherwise when its device has computed all.
    """

    KEYS: ClassVar = {"reduce": "all_reduce"}
    SIZES: ClassVar[dict[str, str]] = {}
    all_reduce: Durations
    overlap: Yes = True

    def values(self) -> Iterator[tuple[str, Amounts]]:
        """Yield each cost with its name in `SideCosts`."""
        yield "reduce", self.all_reduce


class Offload(_Copied):
    """Activations that are copied to the host after their forward, and back before their backward.

    Attributes
    ----------
    time, back : number, list or mapping
        The time to copy a microbatch's share to the host, and back; ``back`` defaults to ``time``.
    bytes, bandwidth : number
        Its size and the bytes per unit of time, in place of the times.
    share : number, list or mapping
        The share of each activation that is copied, from 0 (none, on that stage) to 1.
    lead : int
        How many computations before its backward a reload is issued.
    streams : {"one", "two"}
        Whether copies both ways take one stream, or one each.
    pairs : bool
        Whether devices 2k and 2k + 1 share a link to their host.
    """

    KEYS: ClassVar = {"offload": "time", "reload": "back", "share": "share"}
    SIZES: ClassVar = {"offload": "bytes"}
    time: Durations | None = None
    back: Durations | None = None
    bytes: Durations | None = None
    share: Shares = Fraction(1)
    lead: Annotated[int, PlainValidator(read_count)] = 2
    streams: Annotated[str, PlainValidator(read_choice(("one", "two")))] = "one"
    pairs: Yes = False

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        self._refuse_half_a_rate("time")
        if self.back is not None and self.bytes is not None:
            raise WrongKeyError("back", "contradicts bytes, which says how long it takes, too; leave one out")
        return self

    def values(self) -> Iterator[tuple[str, Amounts]]:
        """Yield each cost with its name in `SideCosts`."""
        time = self.time if self.bytes is None else self._over_bandwidth(self.bytes)
        assert time is not None
        yield "offload", time
        yield "reload", time if self.back is None else self.back
        yield "share", self.share


Streams: TypeAlias = Sharding | DataParallel | Offload

STREAMS = ("sharding", "data_parallel", "offload")
"""The keys of a configuration that say what devices do beside computing."""


def amounts_of(part: Streams) -> Iterator[tuple[str, Amounts]]:
    """Yield each key of a part that has a value by stage or by kind of layers, with the value."""
    for key in type(part).model_fields:
        value = getattr(part, key)
        if isinstance(value, (Fraction, tuple, ByLayer)) and key != "bandwidth":
            yield key, value


def wrong_with_layers(key: str, value: Amounts, layers: Layers | None) -> str:
    """Say what is wrong with a value in view of the layers of the model, if it has any; empty if nothing is."""
    if layers is None:
        return "is given by names of layers, but there are no layers" if isinstance(value, ByLayer) else ""
    names = dict.fromkeys(kind.name for kind in layers.kinds)
    example = "{" + ", ".join(f"{name}: …" for name in names) + "}"
    if not isinstance(value, ByLayer):
        return (
            ""
            if value == 0 or (key == "share" and isinstance(value, Fraction))
            else f"must have a value for each kind of layers, such as {example}; found {shown(plain_values(value))}"
        )
    unknown = next((name for name in value if name not in names), None)
    if unknown is not None:
        return f"names {shown(unknown)}, which is no kind of layers; give {example}"
    missing = next((name for name in names if name not in value), None)
    return "" if missing is None else f"must name every kind of layers, and {missing} is missing; give {example}"


def wrong_with_length(value: Amounts, stages: int) -> str:
    """Say what is wrong with a value for each stage; empty if nothing is."""
    if not isinstance(value, tuple) or len(value) == stages:
        return ""
    return f"must have one entry for each of the {counted(stages, 'stage')}; found {counted(len(value), 'entry')}"


def side_costs(
    parts: Sequence[Streams | None], stages: int, layers: Layers | None = None, held: ByKind = ()
) -> tuple[SideCosts, ...]:
    """Return the costs of each stage on streams, with every default filled in.

    Parameters
    ----------
    parts : sequence of Streams or None
        What a configuration says.
    stages : int
        The number of stages.
    layers : Layers, optional
        The layers, if the model is given as such.
    held : sequence of sequence of int
        How many layers of each kind each stage has.
    """
    columns: dict[str, Sequence[Fraction]] = {}
    for part in parts:
        for name, value in () if part is None else part.values():
            if isinstance(value, ByLayer):
                assert layers is not None
                columns[name] = _added(value, layers, held, share=name == "share")
            else:
                columns[name] = value if isinstance(value, tuple) else (value,) * stages
    return tuple(SideCosts(**{name: values[stage] for name, values in columns.items()}) for stage in range(stages))


def _added(value: ByLayer, layers: Layers, held: ByKind, *, share: bool) -> tuple[Fraction, ...]:
    """Add up the values of the layers of each stage; shares are those of their activations."""
    if share:
        wholes = [kind.costs.activation for kind in layers.kinds]
        parts = [value[kind.name] * whole for kind, whole in zip(layers.kinds, wholes, strict=True)]
        return _shares(_summed(parts, held), _summed(wholes, held))
    return _summed([value[kind.name] for kind in layers.kinds], held)


def _summed(each: Sequence[Fraction], held: ByKind) -> tuple[Fraction, ...]:
    return tuple(sum((count * one for count, one in zip(counts, each, strict=True)), Fraction(0)) for counts in held)


def _shares(parts: Sequence[Fraction], wholes: Sequence[Fraction]) -> tuple[Fraction, ...]:
    return tuple(part / whole if whole else Fraction(0) for part, whole in zip(parts, wholes, strict=True))


def with_costs(part: Streams, costs: Sequence[SideCosts]) -> Streams:
    """Give a part the costs of each stage, as sizes where it has sizes.

    Parameters
    ----------
    part : Streams
        What a configuration says.
    costs : sequence of SideCosts
        The costs of each stage.
    """
    changed: dict[str, Any] = {key: tuple(getattr(each, name) for each in costs) for name, key in part.KEYS.items()}
    rate = getattr(part, "bandwidth", None)
    if rate is not None:  # its times follow from sizes
        sizes = {key: tuple(getattr(each, name) * rate for each in costs) for name, key in part.SIZES.items()}
        changed = {key: value for key, value in changed.items() if getattr(part, key) is not None} | sizes
    return part.model_copy(update=changed)


def recut_costs(costs: Sequence[SideCosts], old: Sequence[Fraction], new: Sequence[Fraction]) -> tuple[SideCosts, ...]:
    """Spread the costs of stages evenly over the stages of a new cut; of shares, what they are shares of.

    Parameters
    ----------
    costs : sequence of SideCosts
        The costs of each stage.
    old, new : sequence of Fraction
        The activations of the stages before and after.
    """
    columns = dict(zip(SideCosts._fields, zip(*costs, strict=True), strict=True))
    copied = [share * whole for share, whole in zip(columns.pop("share"), old, strict=True)]
    spreads = {name: spread(values, len(new)) for name, values in columns.items()}
    spreads["share"] = _shares(spread(copied, len(new)), new)
    return tuple(SideCosts(**dict(zip(spreads, values, strict=True))) for values in zip(*spreads.values(), strict=True))
