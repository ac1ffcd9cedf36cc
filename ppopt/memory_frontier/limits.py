"""The memory limits of a frontier: those that a user names, or evenly spaced ones between which memory matters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, gcd, lcm
from typing import Any, TypeAlias

from ppopt.memory_frontier.curves import Lane
from solver.errors import InputError
from strategies.model.numbers import read_amount, shown, written_number

POINTS = 12
"""How many limits are looked at by default."""

AUTO = "auto"

Limits: TypeAlias = str | Sequence[Any]
"""``auto``, or the limits themselves."""


def read_limits(limits: Limits) -> tuple[Fraction, ...] | None:
    """Read the limits that a user names, each once and by rising size; None for ``auto``.

    Parameters
    ----------
    limits : str or sequence of numbers
        As text, numbers with commas between.

    Raises
    ------
    InputError
        If one is not a number, or there is none.
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
    """Read numbers with commas between; what is none is refused by its own words."""
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
    """Read how many limits are chosen.

    Raises
    ------
    InputError
        If it is no whole number of at least 1.
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise InputError(f"points: must be a whole number of at least 1; found {shown(points)}")
    return points


def refuse_below(least: Fraction, limits: Iterable[Fraction], placements: Sequence[str]) -> None:
    """Refuse limits under which there is no schedule.

    Raises
    ------
    InputError
        With the least that there is on any of the placements.
    """
    for limit in limits:
        if limit < least:
            named = ", ".join(placements)
            where = f"the placement {named}" if len(placements) == 1 else f"any of the placements {named}"
            raise InputError(
                f"limits: must be at least {float(least):.10g}, with which one microbatch at a time runs on {where}; "
                f"found {float(limit):.10g}"
            )


def spaced_limits(
    lanes: Sequence[Lane], least: Fraction, most: Fraction, points: int, wanted: Iterable[Fraction]
) -> list[Fraction]:
    """Choose limits from the least to the most: all at which the curves can fall, or so many evenly spaced ones.

    What a device holds is a sum of activations, of the parts of them that wait for W, and of its static memory. So the
    curves fall only at static memory plus multiples of the greatest common divisor of all these amounts. Evenly spaced
    limits are rounded to whole activations of a stage, where there are enough of these.

    Parameters
    ----------
    lanes : sequence of Lane
        The placements.
    least, most : Fraction
        The first and the last limit.
    points : int
        How many are chosen at most.
    wanted : iterable of Fraction
        Limits that take the place of the nearest one in between.

    Returns
    -------
    list of Fraction
        By rising size, each once.
    """
    if most <= least or points == 1:
        return [most]
    step, room = _step(lanes), most - least
    if ceil(room / step) < points:
        spread = [least + step * place for place in range(ceil(room / step))]
    else:
        grain = _grain(lanes, room, points)
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
    lanes: Sequence[Lane], limits: Sequence[Fraction], most: Fraction, points: int, wanted: Iterable[Fraction]
) -> list[Fraction]:
    """Fit chosen limits to another most: most of them stay, and what was found at them.

    Limits above it go, and others come between those that lie farthest apart. Where there are too many, those go that
    lie closest to their neighbours.

    Parameters
    ----------
    lanes, points, wanted
        As for `spaced_limits`.
    limits : sequence of Fraction
        What `spaced_limits` has chosen.
    most : Fraction
        The new last limit.
    """
    kept = [*(limit for limit in limits if limit < most), most]
    grain = _grain(lanes, most - kept[0], points)
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


def _grain(lanes: Sequence[Lane], room: Fraction, points: int) -> Fraction:
    """Find of what amount limits are multiples: a whole activation of a stage, where there are enough of these."""
    step = _step(lanes)
    coarse = min((each for lane in lanes for each in lane.activations), default=step)
    return coarse if room / coarse >= points else step


def _step(lanes: Sequence[Lane]) -> Fraction:
    """Find the greatest amount of which all that a stage keeps are multiples."""
    used = [amount for lane in lanes for amount in lane.amounts]
    scale = lcm(*(amount.denominator for amount in used))
    return Fraction(gcd(*(int(amount * scale) for amount in used)), scale)
