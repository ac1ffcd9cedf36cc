"""Numbers as readers see them."""

from __future__ import annotations

import pytest

from reports.numbers import grouped, milliseconds, number, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1658824.5, "1,658,825"),
        (1658825.5, "1,658,826"),
        (-1658824.5, "-1,658,825"),
        (0.5, "0.5"),
        (1234.5678, "1,234.568"),
    ],
)
def test_halves_are_rounded_away_from_zero_as_in_a_browser(value: float, text: str) -> None:
    assert grouped(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(1 / 32, "3.13%"), (-1 / 32, "-3.13%"), (1e-9, "0.00%"), (-1e-9, "0.00%"), (12.5, "1250.00%")]
)
def test_halves_of_percentages_are_rounded_so_too(ratio: float, text: str) -> None:
    assert percent(ratio) == text


@pytest.mark.parametrize(
    ("value", "text"), [(24.974521, "24.97"), (582.9751, "583"), (-4.547e-13, "0"), (0.00123456, "0.001235"), (0, "0")]
)
def test_measured_times_have_four_digits_and_no_residue_of_floats(value: float, text: str) -> None:
    assert milliseconds(value) == text


def test_ordinary_numbers_keep_seven_digits_and_all_whole_ones() -> None:
    assert [number(each) for each in (10, 1e11, 123456789.4, 0.1, 1 / 3)] == [
        "10",
        "100000000000",
        "123456789",
        "0.1",
        "0.3333333",
    ]
