"""What a layer does in an overlapped block: computing and communication by turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, pairwise
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import PlainValidator, model_validator

from strategies.model.numbers import read_amount, read_duration, refusal, shown
from strategies.model.part import Part, WrongKeyError

ORDERS = ("deepseek", "lockstep")
"""The orders of the parts of two layers that run one beside the other."""

COMM = "comm"
"""The key of a part in which the layer communicates."""


class Weights(dict[int, Fraction]):
    """Times by place; hashable, as all of a configuration is, and never changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class CommunicatingPart(Part):
    """A part in which a layer only communicates."""

    comm: Annotated[Fraction, PlainValidator(read_amount)]


Chain: TypeAlias = tuple[Fraction | CommunicatingPart, ...]
"""The parts of one direction, in their order."""


def _read_chain(value: object) -> Chain:
    if not isinstance(value, (list, tuple)) or not value:
        raise refusal(f"must be a list of numbers (computing) and {{{COMM}: number}} by turns", value)
    parts = tuple(_read_part(place, each) for place, each in enumerate(value))
    for place, (one, other) in enumerate(pairwise(parts), start=1):
        if communicates(one) == communicates(other):
            what = "communication" if communicates(one) else "computing"
            raise ValueError(
                f"{place}: must not follow {what} with {what}: the two alternate; found {shown(value[place])} behind "
                f"{shown(value[place - 1])}; add both up in one part"
            )
    if not any(isinstance(each, Fraction) for each in parts):
        raise refusal("must have a part that computes: a number", value)
    return parts


def _read_part(place: int, value: object) -> Fraction | CommunicatingPart:
    if isinstance(value, CommunicatingPart):
        return value
    try:
        if isinstance(value, Mapping):
            if list(value) != [COMM]:
                raise refusal(f"must be a number (computing) or {{{COMM}: number}}", dict(value))
            return CommunicatingPart.model_construct(comm=read_amount(value[COMM]))
        return read_duration(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def communicates(part: Fraction | CommunicatingPart) -> bool:
    """Return whether a part is communication."""
    return isinstance(part, CommunicatingPart)


def _read_weight(value: object) -> Weights:
    if not isinstance(value, Mapping):
        raise refusal("must be a mapping from places in backward (0 is the first) to times, such as {1: 5073}", value)
    found = Weights()
    for key, time in value.items():
        place = int(key) if isinstance(key, str) and key.isdecimal() else key  # JSON has no numbers as keys
        if isinstance(place, bool) or not isinstance(place, int):
            raise refusal("must be a mapping from places in backward (0 is the first) to times", key)
        try:
            found[place] = read_duration(time)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    return found


def _read_order(value: object) -> str:
    if value not in ORDERS:
        raise refusal(f"must be one of {', '.join(ORDERS)}", value)
    return str(value)


class LayerParts(Part):
    """What a layer does in an overlapped block, one part after the other.

    Attributes
    ----------
    forward, backward : tuple of (Fraction or CommunicatingPart)
        The parts of each direction, computing and communication by turns.
    weight : mapping of int to number
        Computing for the weights, by the place in ``backward`` of the part that it comes behind. Nothing waits for it.
    order : {"deepseek", "lockstep"}
        How two layers run one beside the other: each stream takes its parts as they come, or both wait for each other
        behind every part.
    """

    forward: Annotated[Chain, PlainValidator(_read_chain)]
    backward: Annotated[Chain, PlainValidator(_read_chain)]
    weight: Annotated[Weights, PlainValidator(_read_weight)] = Weights()
    order: Annotated[Literal["deepseek", "lockstep"], PlainValidator(_read_order)] = "deepseek"

    @model_validator(mode="after")
    def _weights_follow_computing(self) -> Self:
        computing = [place for place, each in enumerate(self.backward) if not communicates(each)]
        for place in self.weight:
            if place not in computing:
                allowed = ", ".join(map(str, computing))
                raise WrongKeyError(
                    "weight", f"must name places of computing parts in backward, here {allowed}; found {place}"
                )
        return self

    @property
    def computing(self) -> tuple[Fraction, Fraction]:
        """All computing of the forward, and of the backward with the weights."""
        forward, backward = (_sum_of(each, comm=False) for each in (self.forward, self.backward))
        return forward, backward + sum(self.weight.values())

    @property
    def communication(self) -> tuple[Fraction, Fraction]:
        """All communication of the forward, and of the backward."""
        return _sum_of(self.forward, comm=True), _sum_of(self.backward, comm=True)

    @property
    def sums(self) -> tuple[Fraction, ...]:
        """All computing and all communication, of each direction."""
        return *self.computing, *self.communication

    @property
    def times(self) -> Iterator[Fraction]:
        """The durations of all parts."""
        yield from (time_of(each) for each in chain(self.forward, self.backward))
        yield from self.weight.values()


def time_of(part: Fraction | CommunicatingPart) -> Fraction:
    """Return how long a part takes."""
    return part.comm if isinstance(part, CommunicatingPart) else part


def _sum_of(parts: Chain, *, comm: bool) -> Fraction:
    return sum((time_of(each) for each in parts if communicates(each) == comm), Fraction(0))


def refuse_mixed_orders(parts: Sequence[LayerParts | None]) -> None:
    """Refuse rows whose parts run in different orders: a block has one.

    Raises
    ------
    ValueError
        With both.
    """
    orders: dict[str, Any] = dict.fromkeys(each.order for each in parts if each is not None)
    if len(orders) > 1:
        raise ValueError(f"parts.order: must be the same in all rows; found {' and '.join(orders)}")
