from __future__ import annotations

import pytest

from reports.metrics import Figures
from reports.numbers import number, percent
from reports.table import Row, table
from reports.terminal_timeline import draw
from tests.evaluated import evaluated, pipeline


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (33, "33"), (963.9, "963.9"), (1234567.8, "1234568"), (123456789.5, "123456790"), (0.1, "0.1"),
        (1 / 3, "0.3333333"), (0.00012345, "0.00012345"), (31287, "31287"),
        (1e20, "1e+20"), (1e-9, "1e-09"), (100, "100"),
    ],
)  # fmt: skip
def test_numbers_keep_their_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_percent() -> None:
    assert [percent(ratio) for ratio in (0, 0.27272, -0.0123, -1e-9)] == ["0.00%", "27.27%", "-1.23%", "0.00%"]


def test_huge_values_keep_the_columns_narrow() -> None:
    assert [percent(ratio) for ratio in (1234.5, 1e4, -1e30)] == ["123450.00%", "1.00e+06%", "-1.00e+32%"]
    assert number(123456789012345.0) == "1.23457e+14"


def row(name: str, makespan: float, peak: float = 1, limit: float | None = None) -> Row:
    return Row(name, (4, 4, 8), Figures(makespan, makespan, (1.0,), 1, 0.1, 0.1, 0.1, (peak,)), (limit,))


def test_the_best_that_fits_is_marked() -> None:
    lines = table([row("a", 3, 9, 8), row("b", 5, 7, 8), row("c", 4, 8, 8), row("d", 4, 2, 8)]).splitlines()
    assert [line[0] for line in lines[1:5]] == ["!", " ", "*", "*"]
    assert lines[5] == "* the shortest that fits the memory limit"
    assert "a is over the memory limit: device 0 holds 9, its limit is 8" in lines[6]


def test_a_long_name_gets_a_line_of_its_own() -> None:
    lines = table([row("interleaved-overlap:group_size=4,stages=16", 3), row("b", 5)]).splitlines()
    assert lines[1] == "* interleaved-overlap:group_size=4,stages=16"
    assert lines[2].index("3") == lines[3].index("5")
    assert max(map(len, lines)) <= 80


def test_wide_letters_keep_the_columns() -> None:
    lines = table([row("流水线", 3), row("abc", 4)]).splitlines()
    assert lines[1].index("4") == lines[2].index("4") - 3


def test_idle_time_and_operations_add_up_to_the_makespan() -> None:
    made = evaluated("1f1b", pipeline(2, 2))
    drawing = draw(made.rows, 2, 60).splitlines()
    assert {len(line) for line in drawing} == {len("device 0 ") + 9 * 5}
    assert drawing[0].startswith("device 0 F0──╴F1──╴·")
    assert drawing[0].count("·") == drawing[1].count("·") == 15
    assert [drawing[1].index(text) for text in ("F0", "B0", "F1", "B1")] == [14, 19, 29, 34]


@pytest.mark.parametrize("width", [10, 40, 80, 300])
@pytest.mark.parametrize("name", ["dualpipe", "interleaved", "zb-h2"])
def test_a_drawing_fits_its_width(name: str, width: int) -> None:
    made = evaluated(name, pipeline(4, 8, p2p_latency=0.3))
    for line in draw(made.rows, 4, width).splitlines():
        assert len(line) <= max(width, len("device 0 ") + 8)


def test_an_overlapped_block_without_room_is_told_apart_from_a_forward() -> None:
    made = evaluated("1f1b-overlap", pipeline(2, 20))
    drawing = draw(made.rows, 2, 70)
    assert "X" in drawing
    assert "X" not in draw(made.rows, 2, 400)
