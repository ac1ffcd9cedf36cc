"""How results move between devices: latencies, transfer times, bandwidths, and the rules of waiting."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Annotated, NamedTuple, Self, TypeAlias

from pydantic import PlainValidator, model_validator

from strategies.model.numbers import PerStage, read_amount, read_count, read_duration, read_each, shown
from strategies.model.part import Part, WrongKeyError

P2P = ("async", "links", "rendezvous", "batched")
"""A transfer waits for nothing, for its link, or for its receive and both queues; if batched, computing waits, too."""

LOWERINGS = ("timed", "pytorch", "megatron", "given")
"""How sends and receives are placed: by time, as PyTorch or Megatron-Core places them, or as in the file."""

DEFAULT_COMMUNICATORS = "pair"


class Waiting(NamedTuple):
    """What transfers wait for.

    Attributes
    ----------
    p2p, communicators, lowering : str or None
        As in a configuration.
    """

    p2p: str
    communicators: str | None = None
    lowering: str | None = None


WAITING = ("framework", *Waiting._fields)
"""The keys of a configuration that say what transfers wait for."""

_WAITING_IN = {
    "megatron": Waiting("batched"),
    "megatron-overlap": Waiting("rendezvous", "pair", "megatron"),
    "pytorch": Waiting("rendezvous", "pair", "pytorch"),
    "pytorch-rank": Waiting("rendezvous", "rank", "pytorch"),
    "zero-bubble": Waiting("rendezvous", "rank", "timed"),
    "dualpipe": Waiting("batched"),
}

COMMUNICATING = tuple(_WAITING_IN)
"""The frameworks whose communication is known, and ways to run them."""


def waiting_in(framework: str, devices: int) -> Waiting:
    """Return what transfers wait for in a framework.

    Parameters
    ----------
    framework : str
        One of `COMMUNICATING`.
    devices : int
        Between 2 devices, Megatron-Core uses one group each way if communication overlaps.
    """
    known = _WAITING_IN[framework]
    return known._replace(communicators="edge") if framework == "megatron-overlap" and devices == 2 else known


class ByClass(Part):
    """One number for two devices on the same node, and one for two on different nodes.

    Attributes
    ----------
    node, network : number
        Within a node, and between nodes.
    """

    node: Annotated[Fraction, PlainValidator(read_amount)]
    network: Annotated[Fraction, PlainValidator(read_amount)]


Classed: TypeAlias = Fraction | ByClass


def _read_by_class(read: Callable[[object], Fraction]) -> Callable[[object], Classed]:
    def read_it(value: object) -> Classed:
        if isinstance(value, ByClass):
            return value
        if not isinstance(value, Mapping):
            return read(value)
        for key in value:
            if key not in ByClass.model_fields:
                near = difflib.get_close_matches(str(key), ByClass.model_fields, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise ValueError(f"{shown(key)} is not a known key; {hint}Allowed are node, network")
        read_values: dict[str, Fraction] = {}
        for key in ByClass.model_fields:
            if key not in value:
                raise ValueError(f"{key} is missing; give node and network, or one number")
            try:
                read_values[key] = read(value[key])
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        return ByClass.model_construct(node=read_values["node"], network=read_values["network"])

    return read_it


ClassedAmount: TypeAlias = Annotated[Classed, PlainValidator(_read_by_class(read_amount))]
ClassedRate: TypeAlias = Annotated[Classed, PlainValidator(_read_by_class(read_duration))]
PerBoundary: TypeAlias = Annotated[PerStage, PlainValidator(read_each(read_amount, "boundary"))]
Count: TypeAlias = Annotated[int, PlainValidator(read_count)]


def read_choice(allowed: tuple[str, ...]) -> Callable[[object], str]:
    """Make a function that reads one of the allowed names."""

    def read_it(value: object) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        near = difflib.get_close_matches(value, allowed, n=1) if isinstance(value, str) else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"must be one of {', '.join(allowed)}; found {shown(value)}{hint}")

    return read_it


class Hop(NamedTuple):
    """The time of a result from one device to another, in two parts.

    Attributes
    ----------
    transfer : Fraction
        Time on the link.
    latency : Fraction
        Time from then until the result can be used, during which it occupies nothing.
    """

    transfer: Fraction
    latency: Fraction

    @property
    def lag(self) -> Fraction:
        """The time from the result's departure until it can be used."""
        return self.transfer + self.latency


NO_HOP = Hop(Fraction(0), Fraction(0))


class Communication(Part):
    """The costs of transfers. Boundary s lies between stages s and s + 1.

    Attributes
    ----------
    latency : number, or mapping of ``node`` and ``network``
        The time from the last byte to the first use.
    transfer : number or list
        The time of a result on the link, for all boundaries or for each.
    bytes, bytes_backward : number or list
        The size of a result, in place of ``transfer``; ``bytes_backward`` defaults to ``bytes``.
    bandwidth : number, or mapping of ``node`` and ``network``
        Bytes per unit of time.
    devices_per_node : int
        Devices d and e are on one node if d // n == e // n; if absent, every device is a node of its own.
    """

    latency: ClassedAmount = Fraction(0)
    transfer: PerBoundary | None = None
    bytes: PerBoundary | None = None
    bytes_backward: PerBoundary | None = None
    bandwidth: ClassedRate | None = None
    devices_per_node: Count | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.transfer is not None and self.bytes is not None:
            raise WrongKeyError("transfer", "contradicts bytes, which says how long transfers take, too; leave one out")
        if self.bytes is not None and self.bandwidth is None:
            raise WrongKeyError("bytes", "needs bandwidth, in bytes per unit of time")
        for key, needed in (("bandwidth", "bytes"), ("bytes_backward", "bytes")):
            if getattr(self, key) is not None and getattr(self, needed) is None:
                raise WrongKeyError(key, f"needs {needed}: how large a result is")
        for key in ("latency", "bandwidth"):
            if isinstance(getattr(self, key), ByClass) and self.devices_per_node is None:
                raise WrongKeyError(key, "of node and network needs devices_per_node; or give one number")
        return self

    def lists(self) -> Iterator[tuple[str, tuple[Fraction, ...]]]:
        """Yield each value that is given per boundary, with its key."""
        for key in ("transfer", "bytes", "bytes_backward"):
            value = getattr(self, key)
            if isinstance(value, tuple):
                yield key, value

    def hop(self, boundary: int, source: int, destination: int, kind: str) -> Hop:
        """Return the hop of a result over a boundary.

        Parameters
        ----------
        boundary : int
            The lower of the two stages.
        source, destination : int
            The devices.
        kind : {"F", "B"}
            Whether a forward's or a backward's result is passed on.
        """
        latency = self._of_class(self.latency, source, destination)
        if self.bytes is None:
            return Hop(Fraction(0) if self.transfer is None else _at(self.transfer, boundary), latency)
        assert self.bandwidth is not None
        size = self.size(boundary, kind)
        assert size is not None
        return Hop(size / self._of_class(self.bandwidth, source, destination), latency)

    def size(self, boundary: int, kind: str) -> Fraction | None:
        """Return the bytes of a result over a boundary, for ``kind`` as in `hop`; None if they are not given."""
        size = self.bytes if kind == "F" or self.bytes_backward is None else self.bytes_backward
        return None if size is None else _at(size, boundary)

    def _of_class(self, value: Classed, source: int, destination: int) -> Fraction:
        if not isinstance(value, ByClass):
            return value
        assert self.devices_per_node is not None
        together = source // self.devices_per_node == destination // self.devices_per_node
        return value.node if together else value.network

    def lengthened(self, time: Fraction, *, on_link: bool) -> Communication:
        """Lengthen every transfer by a time; a negative time shortens it, to 0 at the least.

        Parameters
        ----------
        time : Fraction
            The time to add.
        on_link : bool
            Whether to add it to the time on the link, unless transfers are given in bytes; otherwise to the latency.
        """
        if on_link and self.bytes is None:
            given = self.transfer or Fraction(0)
            each = given if isinstance(given, tuple) else (given,)
            longer = tuple(max(Fraction(0), value + time) for value in each)
            return self.model_copy(update={"transfer": longer if isinstance(given, tuple) else longer[0]})
        latency = self.latency
        if isinstance(latency, ByClass):
            node, network = (max(Fraction(0), value + time) for value in (latency.node, latency.network))
            return self.model_copy(update={"latency": ByClass.model_construct(node=node, network=network)})
        return self.model_copy(update={"latency": max(Fraction(0), latency + time)})

    def grown(self, size: Fraction) -> Communication:
        """Multiply what is sent: the bytes, or the times of transfers."""
        changed = {}
        for key in ("transfer", "bytes", "bytes_backward"):
            value = getattr(self, key)
            if value is not None:
                changed[key] = tuple(size * each for each in value) if isinstance(value, tuple) else size * value
        return self.model_copy(update=changed)

    def recut(self, old: int, new: int) -> Communication:
        """Give each boundary of a new cut the value at its place in the model.

        A boundary that falls inside an old stage gets the larger value of that stage's two ends.

        Parameters
        ----------
        old, new : int
            The numbers of stages.
        """
        changed = {key: _recut(values, old, new) for key, values in self.lists()}
        return self.model_copy(update=changed) if changed else self


def _at(value: PerStage, boundary: int) -> Fraction:
    return value[boundary] if isinstance(value, tuple) else value


def _recut(values: tuple[Fraction, ...], old: int, new: int) -> PerStage:
    if new < 2:
        return max(values)
    recut: list[Fraction] = []
    for boundary in range(1, new):
        place, rest = divmod(boundary * old, new)
        ends = [place - 1] if not rest else [place - 1, place]
        recut.append(max(values[end] for end in ends if 0 <= end < len(values)))
    return tuple(recut)
