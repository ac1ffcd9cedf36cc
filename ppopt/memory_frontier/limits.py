"""The memory limits of a frontier: the user's, or evenly spaced ones over the range in which memory matters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, gcd, lcm
from typing import Any, TypeAlias

from ppopt.memory_frontier.curves import Record
from solver.errors import InputError
from strategies.model.numbers import read_amount, shown, written_number

POINTS = 12
"""The default number of limits."""

AUTO = "auto"

Limits: TypeAlias = str | Sequence[Any]
"""``auto``, or the limits themselves."""


def read_limits(limits: Limits) -> tuple[Fraction, ...] | None:
    """Read the user's limits, without duplicates and in increasing order; None for ``auto``.

    Parameters
    ----------
    limits : str or sequence of numbers
        As text, numbers separated by commas.

    Raises
    ------
    InputError
        If one is not a number, or the list is empty.
    """
    if isinstance(limits, str):
        if limits.strip().lower() == AUTO:
            return None
        limits = _split(limits)
    if isinstance(limits, bytes) or not isinstance(limits, Iterable):
        raise InputError(f"limits: must be {AUTO} or numbers such as 4, 6, 8; found {shown(limits)}")
    read: set[Fraction] = set()
    for limit in limits:
        try:
            read.add(read_amount(limit))
        except ValueError as error:
            raise InputError(f"limits: {error}") from None
    if not read:
        raise InputError(f"limits: must be {AUTO} or at least one number; none is given")
    return tuple(sorted(read))


def _split(text: str) -> list[Any]:
    """Read numbers separated by commas; quote anything else in the error."""
    parts = [part.strip() for part in text.split(",")]
    if not any(parts):
        return []
    numbers: list[Any] = []
    for place, part in enumerate(parts, 1):
        if not part:
            raise InputError(
                f"limits: must be {AUTO} or numbers such as 4,6,8; number {place} of {text[:40]!r} is empty"
            )
        try:
            numbers.append(written_number(part))
        except ValueError:
            raise InputError(f"limits: must be {AUTO} or numbers such as 4,6,8; found {part[:40]!r}") from None
    return numbers


def read_points(points: object) -> int:
    """Read the number of limits to choose.

    Raises
    ------
    InputError
        Unless it is a whole number of at least 1.
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise InputError(f"points: must be a whole number of at least 1; found {shown(points)}")
    return points


def read_pair(low: str | None, high: str | None) -> tuple[Fraction, Fraction] | None:
    """Read two limits to compare, of which either both are given or none.

    Raises
    ------
    InputError
        If one is missing or no number, or the first is not below the second; it names them ``from`` and ``to``.
    """
    if low is None or high is None:
        if low is None and high is None:
            return None
        given, missing = ("from", "to") if high is None else ("to", "from")
        raise InputError(f"{given}: names one end of what is compared; give --{missing} as well")
    start, end = (_read_limit(name, text) for name, text in (("from", low), ("to", high)))
    if start >= end:
        raise InputError(f"from: must be below --to; found {low} and {high}")
    return start, end


def _read_limit(name: str, text: str) -> Fraction:
    try:
        return read_amount(written_number(text))
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def refuse_below(least: Fraction, limits: Iterable[Fraction], placements: Sequence[str], name: str = "limits") -> None:
    """Refuse limits that no schedule can keep.

    Raises
    ------
    InputError
        With the least feasible limit on any of the placements.
    """
    for limit in limits:
        if limit < least:
            named = ", ".join(placements)
            where = f"the placement {named}" if len(placements) == 1 else f"any of the placements {named}"
            raise InputError(
                f"{name}: must be at least {float(least):.10g}, with which one microbatch at a time runs on {where}; "
                f"found {float(limit):.10g}"
            )


def spaced_limits(
    records: Sequence[Record], least: Fraction, most: Fraction, points: int, wanted: Iterable[Fraction]
) -> list[Fraction]:
    """Choose limits from the least to the most: all at which the curves can fall, or evenly spaced ones.

    A device's memory is the sum of activations, the parts of them that wait for W, and its static memory. So the curves
    fall only at static memory plus multiples of the greatest common divisor of all these amounts. Evenly spaced limits
    are rounded to whole activations of a stage, if there are enough of these.

    Parameters
    ----------
    records : sequence of Record
        The placements.
    least, most : Fraction
        The first and the last limit.
    points : int
        The most limits to choose.
    wanted : iterable of Fraction
        Limits that replace the nearest chosen one inside the range.

    Returns
    -------
    list of Fraction
        In increasing order, without duplicates.
    """
    if most <= least or points == 1:
        return [most]
    step, room = _step(records), most - least
    if ceil(room / step) < points:
        spread = [least + step * place for place in range(ceil(room / step))]
    else:
        grain = _grain(records, room, points)
        spread = [least + round(room * place / (points - 1) / grain) * grain for place in range(1, points - 1)]
    spread = sorted({least, most, *(limit for limit in spread if least < limit < most)})
    asked = {limit for limit in wanted if least < limit < most}
    for limit in sorted(asked):
        if limit not in spread:
            inner = [other for other in spread[1:-1] if other not in asked]
            nearest = min(inner, key=lambda other: abs(other - limit), default=None)
            spread = sorted({limit, *(other for other in spread if other != nearest)})
    return spread


def respaced_limits(
    records: Sequence[Record], limits: Sequence[Fraction], most: Fraction, points: int, wanted: Iterable[Fraction]
) -> list[Fraction]:
    """Adapt chosen limits to another last limit; most limits stay, along with the results at them.

    Limits above the new last one are dropped, and new ones are added between those that are farthest apart. If there
    are too many, those closest to their neighbours are dropped.

    Parameters
    ----------
    records, points, wanted
        As for `spaced_limits`.
    limits : sequence of Fraction
        The limits that `spaced_limits` chose.
    most : Fraction
        The new last limit.
    """
    kept = [*(limit for limit in limits if limit < most), most]
    grain = _grain(records, most - kept[0], points)
    while len(kept) < points:
        between = [(low, low + round((high - low) / 2 / grain) * grain, high) for low, high in pairwise(kept)]
        free = [(high - low, middle) for low, middle, high in between if low < middle < high]
        if not free:
            break
        kept = sorted([*kept, max(free)[1]])
    fixed = {kept[0], most, *wanted}
    while len(kept) > points:
        around = [(after - before, limit) for before, limit, after in zip(kept, kept[1:], kept[2:], strict=False)]
        spare = [(width, limit) for width, limit in around if limit not in fixed]
        if not spare:
            break
        kept.remove(min(spare)[1])
    return kept


def _grain(records: Sequence[Record], room: Fraction, points: int) -> Fraction:
    """Find the amount that limits are multiples of: a whole activation of a stage, if there are enough of these."""
    step = _step(records)
    coarse = min((each for record in records for each in record.activations), default=step)
    return coarse if room / coarse >= points else step


def _step(records: Sequence[Record]) -> Fraction:
    """Find the greatest common divisor of all amounts that a stage keeps."""
    used = [amount for record in records for amount in record.amounts]
    scale = lcm(*(amount.denominator for amount in used))
    return Fraction(gcd(*(int(amount * scale) for amount in used)), scale)
