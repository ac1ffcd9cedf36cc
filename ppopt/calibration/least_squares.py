"""Least squares for functions that are piecewise linear, bend little, may jump, and take numbers of at least 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import NamedTuple, TypeAlias

import numpy as np

DIGITS = 7
"""Significant digits of a found number: more would be noise, and make every replay count in finer ticks."""

MOST_STEPS = 20
CLOSE = 1e-9
"""A mean error below this is none: found numbers have too few digits for less."""

SETTLED = 1e-6
"""A step that is foreseen to take away less than this share of the squares is not worth taking."""

_HALVINGS = 6
_REACH, _FINEST, _FINER = 0.1, 1e-4, 10.0
"""How far from a point its surroundings are searched first and last, as a share of the scale, and by how much less
each time."""

Point: TypeAlias = tuple[Fraction, ...]


class Fit(NamedTuple):
    """A point with its errors.

    Attributes
    ----------
    at : tuple of Fraction
        The point.
    errors : tuple of float
        What is not explained there.
    """

    at: Point
    errors: tuple[float, ...]

    @property
    def squares(self) -> float:
        """The sum of the squared errors."""
        return float(sum(error * error for error in self.errors))

    @property
    def mean_error(self) -> float:
        """The root of the mean square."""
        return float((self.squares / len(self.errors)) ** 0.5)


def rounded(value: float, scale: float) -> Fraction:
    """Round a number to the digits that a found number has, and to 0 if it has none of them at this scale."""
    return Fraction(f"{value:.{DIGITS}g}") if value > scale / 10**DIGITS else Fraction(0)


def least_squares(errors: Callable[[Point], Sequence[float]], start: Sequence[Fraction], scale: Fraction) -> Fit:
    """Find where the sum of squared errors is least.

    From one point to the next the functions are taken as linear, which they are between breakpoints. Where such a step
    leads nowhere, since a function bends or jumps, the surroundings are searched.

    Parameters
    ----------
    errors : callable
        Returns the errors at a point.
    start : sequence of Fraction
        Where to begin, one number for each dimension, at least 0.
    scale : Fraction
        How large such numbers are roughly.
    """

    def fit_at(values: Sequence[float]) -> Fit:
        point = tuple(rounded(value, float(scale)) for value in values)
        return Fit(point, tuple(errors(point)))

    best = fit_at([float(value) for value in start])
    for _ in range(MOST_STEPS):
        if best.mean_error < CLOSE:
            return best
        goal, foreseen = _linear_goal(best, fit_at, float(scale))
        if foreseen > best.squares * (1 - SETTLED):
            return best
        found = next((fit for fit in _towards(goal, best, fit_at) if fit.squares < best.squares), None)
        found = found or _around(best, fit_at, float(scale))
        if found is None:
            return best
        best = found
    return best


def _towards(goal: Sequence[float], best: Fit, fit_at: Callable[[Sequence[float]], Fit]) -> Iterator[Fit]:
    """Yield fits at a goal, halfway to it, and so on."""
    for halving in range(_HALVINGS):
        yield fit_at(
            [float(here) + (there - float(here)) / 2**halving for here, there in zip(best.at, goal, strict=True)]
        )


def _linear_goal(best: Fit, fit_at: Callable[[Sequence[float]], Fit], scale: float) -> tuple[list[float], float]:
    """Find where linear functions would have the least squares, and how large they would be."""
    small = scale * 1e-3
    here = [float(value) for value in best.at]
    beside = [fit_at([value + small * (axis == at) for at, value in enumerate(here)]) for axis in range(len(here))]
    slopes = np.array([np.subtract(fit.errors, best.errors) / small for fit in beside]).T
    goals = [
        goal for free in product((True, False), repeat=len(here)) if (goal := _with_free(free, here, best, slopes))
    ]
    foreseen = [float(np.sum((best.errors + slopes @ np.subtract(goal, here)) ** 2)) for goal in goals]
    least = min(range(len(goals)), key=foreseen.__getitem__)
    return goals[least], foreseen[least]


def _with_free(free: Sequence[bool], here: Sequence[float], best: Fit, slopes: np.ndarray) -> list[float] | None:
    """Minimise over the free numbers, with all others 0; None if a number would be negative."""
    at_zero = best.errors - slopes @ np.array(here)
    goal = np.zeros(len(here))
    columns = [axis for axis, is_free in enumerate(free) if is_free]
    goal[columns] = np.linalg.lstsq(slopes[:, columns], -at_zero, rcond=None)[0]
    return goal.tolist() if min(goal) >= 0 else None


def _around(best: Fit, fit_at: Callable[[Sequence[float]], Fit], scale: float) -> Fit | None:
    """Search the surroundings of a point in all directions, ever closer; return the first better one."""
    reach = _REACH
    while reach >= _FINEST:
        for signs in product((1, -1, 0), repeat=len(best.at)):
            moved = [float(value) + sign * reach * scale for sign, value in zip(signs, best.at, strict=True)]
            if (fit := fit_at(moved)).squares < best.squares:
                return fit
        reach /= _FINER
    return None
