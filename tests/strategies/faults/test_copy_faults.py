"""Every fault of copies in a file is found, at its place; files without such faults have none."""

from __future__ import annotations

import pytest

from strategies.faults.order_faults import check_copies, check_file
from strategies.order_files.schedule_file import parse_schedule

GOOD = "0F0,0OFFLOAD0,0F1,0RELEASE0,0RELOAD0,0B0,0B1\n1F0,1B0,1F1,1OFFLOAD1,1RELOAD1,1I1,1W1\n"


def faults(text: str) -> list[str]:
    return [str(fault) for fault in check_copies(check_file(parse_schedule(text, "x.csv"))).faults]


def test_copies_in_order_have_no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("0F1,0RELEASE0", "0F1,0OFFLOAD0,0RELEASE0",
         "column 4: 0OFFLOAD0 appears twice; the first is in row 1, column 2"),
        ("0F0,0OFFLOAD0", "0OFFLOAD0,0F0",
         "column 1: 0OFFLOAD0 comes before 0F0 (column 2), whose activation it copies"),
        (",0RELOAD0", "",
         "column 2: 0OFFLOAD0 has no 0RELOAD0 behind it, and 0B0 needs it"),
        ("0RELOAD0,0B0", "0B0,0RELOAD0",
         "column 6: 0RELOAD0 comes after 0B0 (column 5), which needs what it copies"),
        ("1RELOAD1,1I1", "1I1,1RELOAD1",
         "column 6: 1RELOAD1 comes after 1I1 (column 5), which needs what it copies"),
        ("0F0,0OFFLOAD0,0F1,0RELEASE0", "0F0,0RELEASE0,0F1,0OFFLOAD0",
         "column 2: 0RELEASE0 has no 0OFFLOAD0 before it"),
        ("0RELEASE0,0RELOAD0", "0RELOAD0,0RELEASE0",
         "column 5: 0RELEASE0 comes after 0RELOAD0 (column 4), which takes the memory again"),
        ("0OFFLOAD0,0F1,0RELEASE0,0RELOAD0", "0F1,0RELOAD0",
         "column 3: 0RELOAD0 has no 0OFFLOAD0 before it"),
        ("1OFFLOAD1,1RELOAD1", "1RELOAD1,1OFFLOAD1",
         "column 4: 1RELOAD1 has no 1OFFLOAD1 before it"),
        ("0F1,0RELEASE0", "0F1,1OFFLOAD0,0RELEASE0",
         "column 4: 1OFFLOAD0 is on the wrong device: stage 1 belongs to device 1"),
        ("0F1,0RELEASE0", "0F1,7OFFLOAD0,0RELEASE0",
         "column 4: 7OFFLOAD0 is of stage 7, which is out of range; the file's own are 0 to 1"),
        ("0F1,0RELEASE0", "0F1,0OFFLOAD9,0RELEASE0",
         "column 4: 0OFFLOAD9 is of microbatch 9, which is out of range; the file's own are 0 to 1"),
    ],
)  # fmt: skip
def test_each_fault_is_found_where_it_is(old: str, new: str, found: str) -> None:
    assert GOOD.count(old) == 1
    assert any(fault.endswith(found) for fault in faults(GOOD.replace(old, new))), faults(GOOD.replace(old, new))


def test_two_directions_copy_on_their_own_devices() -> None:
    text = "0F0,0OFFLOAD0,1F1,1B1,0RELOAD0,0B0\n0F1,0OFFLOAD1,1F0,1B0,0RELOAD1,0B1\n"
    assert faults(text) == []
    assert len(faults(text.replace("0OFFLOAD1,", "").replace("1F1,", "0OFFLOAD1,1F1,"))) == 2
