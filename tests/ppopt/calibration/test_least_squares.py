"""The least squares of piecewise linear functions, compared with a fine grid."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ppopt.calibration.least_squares import Point, least_squares


def convex(rng: np.random.Generator, numbers: int) -> list[np.ndarray]:
    """Draw a few functions, each the largest of several planes, whose slopes differ like those of an order's paths."""
    slopes = [rng.uniform(1, 6, (1, numbers)) * rng.uniform(0.8, 1.2, (4, numbers)) for _ in range(3)]
    return [np.column_stack([slope, rng.uniform(15, 20, (4, 1))]) for slope in slopes]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("numbers", [1, 2])
def test_no_point_of_a_grid_has_less(seed: int, numbers: int) -> None:
    rng = np.random.default_rng(seed)
    planes, wanted = convex(rng, numbers), rng.uniform(20, 40, 3)

    def heights(points: np.ndarray) -> np.ndarray:
        ones = np.column_stack([points, np.ones(len(points))])
        return np.column_stack([np.max(ones @ plane.T, axis=1) for plane in planes]) / wanted - 1

    def errors(point: Point) -> list[float]:
        return heights(np.array([[float(value) for value in point]]))[0].tolist()

    found = least_squares(errors, [Fraction(0)] * numbers, Fraction(3))
    axis = np.linspace(0, 40, 4001) if numbers == 1 else np.linspace(0, 20, 201)
    grid = np.stack(np.meshgrid(*[axis] * numbers), axis=-1).reshape(-1, numbers)
    least = np.min(np.sum(heights(grid) ** 2, axis=1))
    close = {1: 1e-3, 2: 2e-2}[numbers]  # along a bend in two dimensions it may stop early
    assert found.squares <= least * (1 + close) + 1e-9
    assert found.errors == tuple(errors(found.at))
    assert min(found.at) >= 0


def test_a_jump_is_approached_as_closely_as_it_can_be() -> None:
    def errors(point: Point) -> list[float]:
        return [float(point[0]) - 3 if point[0] < 2 else float(point[0]) - 1.5]

    found = least_squares(errors, [Fraction(0)], Fraction(1))
    assert found.squares == pytest.approx(0.25, rel=0.05)


def test_numbers_are_at_least_0() -> None:
    found = least_squares(
        lambda point: [float(point[0]) + 1, float(point[0]) + float(point[1])], [Fraction(1)] * 2, Fraction(1)
    )
    assert found.at == (0, 0)
