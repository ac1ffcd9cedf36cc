"""Microbatches that differ, and slices of them: *items*, with factors on what one microbatch was measured to cost.

An item's size multiplies the part of every time that grows with tokens, its activation, and what it sends; its
attention multiplies the part that grows with pairs of tokens. Items are numbered in the order in which they are fed.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Annotated, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator, model_validator

from solver.counted import counted
from strategies.model.numbers import PerStage, read_count, read_duration, read_each, refusal, shown
from strategies.model.part import Part, WrongKeyError

MOST_TOKENS = 10**9
"""A longer document is surely a typo."""

CUTS = ("balanced", "equal")
"""Slices that cost the same, or that have the same number of tokens."""

FEEDS = ("given", "pyramid", "best")
"""The orders in which microbatches can be fed: as listed, short ones at both ends, or the best found for a schedule.

Until it is searched for, the best is the pyramid."""

SHUFFLED = "random:"
"""Begins the name of an order drawn at random; the seed follows."""

_SHUFFLE = re.compile(rf"{SHUFFLED}[0-9]{{1,9}}", re.ASCII)

Numbers: TypeAlias = NDArray[np.int64]


def _read_tokens(value: object) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise refusal("must be a list of numbers of tokens, such as [4096, 1200]", value)
    return tuple(read_tokens(each) for each in value)


def read_tokens(value: object) -> int:
    """Read a number of tokens."""
    number = read_count(value)
    if number > MOST_TOKENS:
        raise refusal(f"must be at most {MOST_TOKENS:,} tokens", value)
    return number


def _read_slices(value: object) -> int | tuple[int, ...]:
    if isinstance(value, (list, tuple)):
        return _read_tokens(value)
    try:
        return read_tokens(value)
    except ValueError as error:
        raise ValueError(f"{error}; or give the tokens of each slice") from None


def _read_cut(value: object) -> str:
    if value not in CUTS:
        raise refusal("must be balanced (slices that cost the same) or equal (of the same length)", value)
    return str(value)


def read_feed(value: object) -> str | tuple[int, ...]:
    """Read in which order microbatches are fed: a name, or the numbers of all microbatches in that order."""
    if isinstance(value, str) and (value in FEEDS or _SHUFFLE.fullmatch(value)):
        return value
    numbers = value if isinstance(value, (list, tuple)) else ()
    if not numbers or any(isinstance(each, bool) or not isinstance(each, int) for each in numbers):
        allowed = f"{', '.join(FEEDS)}, random:SEED, or a list with the number of each microbatch once, from 0"
        raise refusal(f"must be one of {allowed}", value)
    return tuple(numbers)


class MicrobatchEntry(Part):
    """Some microbatches that cost the same.

    Attributes
    ----------
    count : int
        How many.
    size : number, list or mapping or None
        How many times as large they are as the measured one: one number, or one for each stage.
    attention : number or None
        How many times as many pairs of tokens they have; if absent, as many times as they are large.
    documents : tuple of int or None
        The tokens of each document packed into one of them, in place of ``size`` and ``attention``.
    slices : int or tuple of int or None
        Into how many slices the sequence is cut, or the tokens of each.
    cut : {"balanced", "equal"} or None
        Whether slices cost the same or are equally long; if absent, ``balanced``.
    """

    count: Annotated[int, PlainValidator(read_count)] = 1
    size: Annotated[PerStage, PlainValidator(read_each(read_duration))] | None = None
    attention: Annotated[Fraction, PlainValidator(read_duration)] | None = None
    documents: Annotated[tuple[int, ...], PlainValidator(_read_tokens)] | None = None
    slices: Annotated[int | tuple[int, ...], PlainValidator(_read_slices)] | None = None
    cut: Annotated[Literal["balanced", "equal"], PlainValidator(_read_cut)] | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for key in ("size", "attention"):
            for other in ("documents", "slices"):
                if getattr(self, key) is not None and getattr(self, other) is not None:
                    raise WrongKeyError(key, f"follows from {other}; leave one of the two out")
        if self.cut is not None and not isinstance(self.slices, int):
            needs = "needs slices: how many" if self.slices is None else "contradicts slices, which gives the tokens"
            raise WrongKeyError("cut", f"{needs}; found {self.cut}")
        return self

    @property
    def number_of_slices(self) -> int:
        """Into how many slices each of them is cut; 1 if it is not."""
        return len(self.slices) if isinstance(self.slices, tuple) else self.slices or 1

    def whole(self) -> MicrobatchEntry:
        """Return the same microbatches uncut."""
        return self if self.slices is None else self.model_copy(update={"slices": None, "cut": None})

    def needs_tokens(self) -> str:
        """Name the key that needs ``tokens``, if any."""
        return "documents" if self.documents is not None else "slices" if self.slices is not None else ""


class Factors(NamedTuple):
    """By what the parts of a measured cost are multiplied.

    Attributes
    ----------
    size : Fraction or tuple of Fraction
        What grows with tokens; one number, or one for each stage.
    attention : Fraction or tuple of Fraction
        What grows with pairs of tokens.
    """

    size: PerStage
    attention: PerStage

    def at(self, stage: int) -> tuple[Fraction, Fraction]:
        """Return both for one stage."""
        size, attention = self.size, self.attention
        return (
            size[stage] if isinstance(size, tuple) else size,
            attention[stage] if isinstance(attention, tuple) else attention,
        )


AS_MEASURED = Factors(Fraction(1), Fraction(1))


class Weight(NamedTuple):
    """How much of the work grows with tokens, and how much with pairs of tokens: of a stage, or of the whole model."""

    size: Fraction
    attention: Fraction


@dataclass(frozen=True, eq=False)
class Items:
    """What runs through a pipeline, in the order in which it is fed.

    Attributes
    ----------
    classes : tuple of Factors
        The different factors of items.
    of : array of int
        The class of each item.
    microbatch : array of int
        Which of the listed microbatches each item is, or is a slice of.
    slice : array of int
        Which slice of it; 0 if it is not cut.
    """

    classes: tuple[Factors, ...]
    of: Numbers
    microbatch: Numbers
    slice: Numbers

    @classmethod
    def alike(cls, microbatches: int) -> Items:
        """Make microbatches that all cost as measured."""
        nothing = np.zeros(microbatches, dtype=np.int64)
        return cls((AS_MEASURED,), nothing, np.arange(microbatches), nothing)

    @property
    def follows(self) -> Numbers:
        """The items that are the next slice of the same microbatch as the item before."""
        return np.flatnonzero(self.slice > 0)

    @property
    def are_alike(self) -> bool:
        """Whether all items cost the same and none follows another."""
        return len(self.classes) == 1 and not self.slice.any()

    @property
    def counts(self) -> list[int]:
        """The number of items of each class."""
        return [int(each) for each in np.bincount(self.of, minlength=len(self.classes))]

    def mean(self, stages: int) -> Factors:
        """Average the factors of all items."""
        if len(self.classes) == 1:
            return self.classes[0]
        by_stage = any(isinstance(value, tuple) for each in self.classes for value in each)
        means = [self._mean_at(stage) for stage in range(stages if by_stage else 1)]
        if not by_stage:
            return Factors(*means[0])
        return Factors(tuple(size for size, _ in means), tuple(attention for _, attention in means))

    def _mean_at(self, stage: int) -> tuple[Fraction, Fraction]:
        size = attention = Fraction(0)
        for count, each in zip(self.counts, self.classes, strict=True):
            one, other = each.at(stage)
            size, attention = size + count * one, attention + count * other
        return size / len(self.of), attention / len(self.of)

    @property
    def feed(self) -> tuple[int, ...]:
        """The numbers of the listed microbatches in the order in which they are fed."""
        return tuple(self.microbatch[self.slice == 0].tolist())

    @property
    def names(self) -> list[str]:
        """What each item is called: 3.1 is slice 1 of the fourth microbatch that is fed."""
        fed = np.cumsum(self.slice == 0) - 1
        return [f"{microbatch}.{place}" for microbatch, place in zip(fed.tolist(), self.slice.tolist(), strict=True)]


def lay_out(
    entries: Sequence[MicrobatchEntry],
    feed: str | tuple[int, ...],
    tokens: int | None,
    weights: Sequence[Weight],
) -> Items:
    """Make the items of a configuration's list of microbatches.

    Parameters
    ----------
    entries : sequence of MicrobatchEntry
        The list.
    feed : str or tuple of int
        The order in which they are fed.
    tokens : int or None
        The length at which costs were measured.
    weights : sequence of Weight
        Of each stage, or of the whole model.

    Raises
    ------
    WrongKeyError
        If a slice has no tokens left, or the order does not name each microbatch once.
    """
    total = Weight(*(sum((getattr(each, key) for each in weights), Fraction(0)) for key in Weight._fields))
    kinds: dict[tuple[Factors, ...], int] = {}
    listed: list[int] = []
    for place, entry in enumerate(entries):
        factors = factors_of(entry, tokens, total, f"{place}.")
        listed += [kinds.setdefault(factors, len(kinds))] * entry.count
    known = list(kinds)
    order = _fed(feed, known, listed, weights)
    classes: dict[Factors, int] = {}
    for slices in known:
        for each in slices:
            classes.setdefault(each, len(classes))
    numbers = [[classes[each] for each in slices] for slices in known]
    cut = [len(known[listed[place]]) for place in order]
    return Items(
        tuple(classes),
        np.array([each for place in order for each in numbers[listed[place]]], dtype=np.int64),
        np.repeat(np.array(order, dtype=np.int64), cut),
        np.array([part for parts in cut for part in range(parts)], dtype=np.int64),
    )


def work_of(factors: Factors, weights: Sequence[Weight]) -> Fraction:
    """Return the work of an item on all stages."""
    pairs = ((factors.at(stage), each) for stage, each in enumerate(weights))
    return sum((size * each.size + attention * each.attention for (size, attention), each in pairs), Fraction(0))


def _fed(
    feed: str | tuple[int, ...],
    known: Sequence[tuple[Factors, ...]],
    listed: Sequence[int],
    weights: Sequence[Weight],
) -> Sequence[int]:
    """Return the places of the listed microbatches in the order in which they are fed."""
    if isinstance(feed, tuple):
        if sorted(feed) != list(range(len(listed))):
            raise WrongKeyError(
                "feed",
                f"must name each of the {counted(len(listed), 'microbatch')} once, from 0; found {shown(list(feed))}",
            )
        return feed
    if feed == "given":
        return range(len(listed))
    if feed.startswith(SHUFFLED):
        order = list(range(len(listed)))
        random.Random(int(feed.removeprefix(SHUFFLED))).shuffle(order)  # noqa: S311
        return order
    work = [sum((work_of(each, weights) for each in slices), Fraction(0)) for slices in known]
    return pyramid([work[kind] for kind in listed])


def pyramid(work: Sequence[Fraction]) -> list[int]:
    """Order microbatches with the small ones at both ends: sorted, every second one, then the others backwards."""
    rising = sorted(range(len(work)), key=work.__getitem__)
    return [*rising[::2], *reversed(rising[1::2])]


def factors_of(entry: MicrobatchEntry, tokens: int | None, total: Weight, where: str = "") -> tuple[Factors, ...]:
    """Return the factors of one microbatch of an entry: of all of it, or of each slice.

    Raises
    ------
    WrongKeyError
        If slices have more tokens than there are, or fewer.
    """
    if not entry.needs_tokens():
        size = Fraction(1) if entry.size is None else entry.size
        return (Factors(size, size if entry.attention is None else entry.attention),)
    assert tokens is not None
    documents = entry.documents or (tokens,)
    pairs = _Pairs(documents)
    if entry.slices is None:
        return (Factors(Fraction(pairs.tokens, tokens), Fraction(pairs.until(pairs.tokens), tokens**2)),)
    try:
        ends = slice_ends(pairs, entry, tokens, total)
    except ValueError as error:
        raise WrongKeyError(f"microbatches.{where}slices", str(error)) from None
    return tuple(
        Factors(Fraction(end - start, tokens), Fraction(pairs.until(end) - pairs.until(start), tokens**2))
        for start, end in pairwise((0, *ends))
    )


class _Pairs:
    """How many pairs of tokens of one document there are, twice counted, among the first tokens of a microbatch."""

    def __init__(self, documents: Sequence[int]) -> None:
        self.starts = [0, *accumulate(documents)]
        self.squares = [0, *accumulate(each**2 for each in documents)]
        self.tokens = self.starts[-1]

    def until(self, token: int) -> int:
        """Count the pairs before a token."""
        document = max(0, bisect_left(self.starts, token) - 1)
        return self.squares[document] + (token - self.starts[document]) ** 2


def slice_ends(pairs: _Pairs, entry: MicrobatchEntry, tokens: int, total: Weight) -> list[int]:
    """Return the token at which each slice ends.

    Balanced slices cost the same to within the cost of one token: each end is the token nearest to its share.
    """
    length = pairs.tokens
    if isinstance(entry.slices, tuple):
        if sum(entry.slices) != length:
            raise ValueError(f"must have the {length:,} tokens of the sequence together; found {sum(entry.slices):,}")
        return list(accumulate(entry.slices))
    assert entry.slices is not None
    if entry.slices > length:
        raise ValueError(f"must be at most the {length:,} tokens of the sequence; found {entry.slices:,}")
    if entry.cut == "equal":
        return [-(-length * part // entry.slices) for part in range(1, entry.slices + 1)]

    def cost(token: int) -> Fraction:
        return total.size * Fraction(token, tokens) + total.attention * Fraction(pairs.until(token), tokens**2)

    ends: list[int] = []
    for part in range(1, entry.slices):
        share = cost(length) * Fraction(part, entry.slices)
        above = bisect_left(range(length), share, key=cost)
        end = above - 1 if share - cost(above - 1) < cost(above) - share else above
        least = ends[-1] + 1 if ends else 1
        ends.append(min(max(end, least), length - (entry.slices - part)))
    return [*ends, length]
