"""PyTorch's CSV is read, and written back unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from solver.errors import InputError
from solver.problem import Block
from strategies.faults.order_faults import check_file
from strategies.model.actions import Op
from strategies.order_files.schedule_file import (
    Aside,
    nearest_token,
    parse_schedule,
    parse_token,
    read_schedule_file,
    schedule_as_text,
)
from tests.conftest import DATA

FILES = sorted((DATA / "pytorch_orders").glob("*.csv"))
SMALL = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"


def test_there_are_all_files() -> None:
    assert len(FILES) == 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_text_to_actions_to_text_is_the_identity(path: Path) -> None:
    text = path.read_bytes().decode().replace("\r\n", "\n")
    file = read_schedule_file(path)
    assert schedule_as_text(file.rows) == text
    assert schedule_as_text(parse_schedule(schedule_as_text(file.orders), "x").rows) == schedule_as_text(file.orders)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pytorchs_orders_have_no_fault_and_the_placement_of_their_class(path: Path) -> None:
    checked = check_file(read_schedule_file(path))
    assert checked.faults == ()
    assert checked.placement is not None
    v = int(path.stem.split("_v")[1].split("_")[0])
    in_a_v = path.stem.startswith(("ZBV", "DualPipeV"))
    assert checked.placement.name == ("v" if in_a_v else "linear" if v == 1 else "interleaved")


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("2F0", Op(2, "F", 0)),
        ("12I34", Op(12, "I", 34)),
        ("(0F1;7B0)OVERLAP_F_B", Block(Op(0, "F", 1), Op(7, "B", 0))),
        ("0SEND_F3", Aside(0, "SEND_F", 3)),
        ("10RECV_B12", Aside(10, "RECV_B", 12)),
        ("3REDUCE_GRAD", Aside(3, "REDUCE_GRAD", None)),
        ("0UNSHARD", Aside(0, "UNSHARD", None)),
    ],
)
def test_a_token_and_its_text(text: str, token: object) -> None:
    assert parse_token(text) == token
    assert str(token) == text


@pytest.mark.parametrize(
    "text",
    ["0F0xyz", "0f0", "F0", "0F", "0UNSHARD3", "0SEND_F", "0send_f0", "(0F1;7I0)OVERLAP_F_B", "(0F1,7B0)OVERLAP_F_B",
     "(0F1;7B0)", "0F-1", "0F1.0", "٣F1", "0F9999999999", "0 F 0"],
)  # fmt: skip
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(InputError, match=r"is not an action; allowed are e\.g\. 2F0"):
        parse_token(text)


@pytest.mark.parametrize("text", ["00F1", "0F01", "(00F1;7B0)OVERLAP_F_B", "01UNSHARD", "0SEND_F00"])
def test_numbers_do_not_begin_with_0(text: str) -> None:
    with pytest.raises(InputError, match="a number begins with 0"):
        parse_token(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("0F0xyz", "0F0"),
        ("3b12", "3B12"),
        (" 0 F 0 ", "0F0"),
        ("010F00", "10F0"),
        ("0FORWARD3", "0F3"),
        ("0SEND_FF3", "0SEND_F3"),
        ("2reducegrad", "2REDUCE_GRAD"),
        ("(0F1;7I0)OVERLAP_F_B", "(0F1;7B0)OVERLAP_F_B"),
        ("(0F1;7B0)OVERLAP", "(0F1;7B0)OVERLAP_F_B"),
        ("hello", None),
        ("", None),
    ],
)
def test_the_nearest_token(text: str, near: str | None) -> None:
    assert nearest_token(text) == near


@pytest.mark.parametrize(
    "text",
    [
        SMALL,
        SMALL.replace("\n", "\r\n"),
        SMALL.replace("\n", "\r"),
        SMALL.removesuffix("\n"),
        SMALL + "\n",
        SMALL + "\n \n\n",
        SMALL.replace(",", " , "),
        SMALL.replace("0F1,", "0F1,,,"),
        SMALL.replace("1B1\n", "1B1,,,,\n"),
        SMALL.replace("0F0", '"0F0"'),
        SMALL.replace("0F0,", "0UNSHARD,0F0,0SEND_F0,"),
    ],
)
def test_how_a_file_may_look(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for start in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(start + text.encode())
        file = read_schedule_file(path)
        assert schedule_as_text(file.orders) == SMALL
        assert check_file(file).faults == ()


def test_what_is_set_aside_is_counted() -> None:
    text = "0UNSHARD,0F0,0SEND_F0,0RECV_B0,0B0,0REDUCE_GRAD\n1RECV_F0,1F0,1B0,1SEND_B0,1REDUCE_GRAD\n\n"
    notes = parse_schedule(text, "my.csv").notes
    assert notes == (
        "my.csv: 1 SEND_F, 1 RECV_F, 1 SEND_B, 1 RECV_B were set aside: ppopt places communication by itself",
        "my.csv: 1 UNSHARD count only where the configuration has sharding",
        "my.csv: 2 REDUCE_GRAD count only where the configuration has sharding or data_parallel",
        "my.csv: a blank line at the end was ignored; PyTorch's loader takes it for a rank and refuses the file",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.csv: is empty; it must have one row per device"),
        (b"\n\n", "x.csv: is empty"),
        (b",,,\n", "x.csv: is empty"),
        (b"\xff\xfe0\x00F\x00", "x.csv: is not text"),
        (b"\x7fELF\x02\x01\x01\x00\xf0\x80", "x.csv: is not text"),
        (b"0F0," + b"x" * 200_000, "x.csv: line 1: has a cell of more than 131,072 characters"),
        (b"0F0;0F1;0B0\n1F0;1F1;1B0", "x.csv: saved by a spreadsheet? Its columns are separated by semicolons;"),
        (b"0F0;(0F1;7B0)OVERLAP_F_B;0B0\n", "x.csv: saved by a spreadsheet? Its columns are separated by semicolons;"),
        (b"0F0\t0F1\n1F0\t1F1", "x.csv: saved by a spreadsheet? Its columns are separated by tabs;"),
        (b"a," * 100_000, "x.csv: is not a schedule: 100,000 of its 100,000 cells are not actions; the first"),
        (b"," * 15_000_001, "x.csv: has 15,000,001 cells; at most 15,000,000 are taken"),
    ],
    ids=["nothing", "blank", "commas", "utf-16", "binary", "huge cell", "semicolons", "semicolons and a block", "tabs",
         "many columns", "too many cells"],
)  # fmt: skip
def test_what_is_no_schedule_is_one_clear_error(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_schedule_file(tmp_path / "x.csv")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["(0F1;7B0", "(0F1;7B0)OVERLAP_F_B\n0F0", "0F0;1F1x"])
def test_a_semicolon_of_a_block_is_no_separator(text: str) -> None:
    parse_schedule(text, "x.csv")


def test_a_path_that_leads_nowhere_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "my_schedule.csv").write_text(SMALL)
    with pytest.raises(
        InputError, match=r"my_schedul\.csv: cannot be read: No such file.*did you mean .*/my_schedule\.csv\?"
    ):
        read_schedule_file(tmp_path / "my_schedul.csv")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_schedule_file(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_schedule_file("a\0.csv")


@pytest.mark.no_cover
def test_many_actions_on_one_row_are_read() -> None:
    text = ",".join(f"0F{place}" for place in range(20_000)) + "," + ",".join(f"0B{place}" for place in range(20_000))
    assert check_file(parse_schedule(text, "x.csv")).faults == ()
