"""Every kind of fault is found, with its row and column."""

from __future__ import annotations

import pytest

from solver.errors import InputError
from strategies.faults.order_faults import check_file
from strategies.order_files.schedule_file import parse_schedule
from tests.conftest import DATA

PYTORCHS = (DATA / "pytorch_orders" / "1F1B_p4_v1_m8.csv").read_text()
SMALL = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"
SPLIT = "0F0,0I0,0W0\n1F0,1I0,1W0\n"
IN_A_V = "0F0,0F1,3F0,3B0,3F1,3B1,0B0,0B1\n1F0,2F0,1F1,2F1,2B0,1B0,2B1,1B1\n"
FIFTH = "row 2 (device 1), column 5"
TWO_STAGES_IN_A_CYCLE = (
    "the order deadlocks: 0B0 (device 0, column 1) waits for 1B0 (device 1, column 2), which comes after "
    "1F0 (device 1, column 1), which waits for 0F0 (device 0, column 2), which comes after 0B0"
)


def faults(text: str) -> list[str]:
    return [str(fault) for fault in check_file(parse_schedule(text, "x.csv")).faults]


def test_the_samples_are_fine() -> None:
    assert [faults(text) for text in (SMALL, SPLIT, IN_A_V, PYTORCHS)] == [[], [], [], []]


def test_the_order_of_pytorchs_own_class_with_its_mistake() -> None:
    """The order is `Schedule1F1B.pipeline_order` of PyTorch 2.13 on 4 ranks with 8 microbatches."""
    last = "3F1,3B0,3F2,3B1,3F3,3B2,3F4,3B3,3F5,3B4,3F6,3B5,3F7,3B6,3F8,3B7,3REDUCE_GRAD"
    assert faults("\n".join([*PYTORCHS.splitlines()[:3], last])) == [
        "row 4 (device 3), column 15: 3F8 is of microbatch 8, which is out of range; the file's own are 0 to 7",
        "row 4 (device 3): 3F0 is missing",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            SMALL.replace("0F1", "0f1"),
            ["row 1 (device 0), column 2: '0f1' is not an action; did you mean 0F1?",
             "row 1 (device 0): 0F1 is missing"],
        ),
        (
            SMALL.replace("1F1", "1F1xyz"),
            ["row 2 (device 1), column 3: '1F1xyz' is not an action; did you mean 1F1?",
             "row 2 (device 1): 1F1 is missing"],
        ),
        (
            SMALL.replace("0F0,0F1", "0F0;0F1;0F2"),
            ["row 1 (device 0), column 1: '0F0;0F1;0F2' is not an action; cells are separated by commas",
             "row 1 (device 0): 0F0 to 0F1 are missing"],
        ),
        (
            SMALL.replace("1B1", "1B1,1F0"),
            ["row 2 (device 1), column 5: 1F0 appears twice; the first is in row 2, column 1"],
        ),
        (
            SMALL.replace("1B1", "1B1,1F0,,1F0"),
            [f"{FIFTH}: 1F0 appears 3 times; the first is in row 2, column 1; also in row 2, column 7"],
        ),
        (SMALL.replace(",1F1", ""), ["row 2 (device 1): 1F1 is missing"]),
        (SMALL.replace(",0B1", ""), ["row 1 (device 0): 0B1 is missing (or 0I and 0W of the same)"]),
        (SPLIT.replace(",1W0", ""), ["row 2 (device 1): 1W0 is missing"]),
        (SPLIT.replace("1I0,", ""), ["row 2 (device 1): 1I0 is missing"]),
        (SPLIT.replace(",1I0,1W0", ""), ["row 2 (device 1): 1B0 is missing (or 1I and 1W of the same)"]),
        (
            SPLIT.replace("1W0", "1W0,1B0"),
            ["row 2 (device 1), column 2: 1I0 is beside 1B0 (row 2, column 4); a backward is B, or I and W",
             "row 2 (device 1), column 3: 1W0 is beside 1B0 (row 2, column 4); a backward is B, or I and W"],
        ),
        (
            SMALL.replace("0F1", "0F1,1F1").replace("1F1,1B1\n", "1B1\n"),
            ["row 1 (device 0), column 3: 1F1 is on the wrong device: stage 1 belongs to device 1"],
        ),
        (
            PYTORCHS.replace("2F5", "2F99"),
            ["row 3 (device 2), column 10: 2F99 is of microbatch 99, which is out of range; the file's own are 0 to 7",
             "row 3 (device 2): 2F5 is missing"],
        ),
        (
            PYTORCHS.replace("2F5", "9F5"),
            ["row 3 (device 2), column 10: 9F5 is of stage 9, which is out of range; the file's own are 0 to 3",
             "row 3 (device 2): 2F5 is missing"],
        ),
        (
            SMALL.replace("0F1", "0F3").replace("0B1", "0B3").replace("1F1", "1F3").replace("1B1", "1B3"),
            ["microbatches 1 to 2 are missing; with microbatch 3 there must be all of 0 to 3"],
        ),
        (
            SMALL.replace("1F", "2F").replace("1B", "2B"),
            ["stage 1 is missing; with stage 2 there must be all of 0 to 2"],
        ),
        (SMALL + ",,\n0UNSHARD\n", ["row 3 (device 2): holds no F, B, I or W; every device must run some stage",
                                    "row 4 (device 3): holds no F, B, I or W; every device must run some stage"]),
        (
            "0B0,0F0\n1F0,1B0\n",
            ["row 1 (device 0), column 1: 0B0 comes before 0F0 (column 2), which it waits for",
             f"row 1 (device 0), column 1: {TWO_STAGES_IN_A_CYCLE}"],
        ),
        ("0F0,0W0,0I0\n", ["row 1 (device 0), column 2: 0W0 comes before 0I0 (column 3), which it waits for"]),
        (
            "0F0,(0F1;0B1)OVERLAP_F_B,0B0\n",
            ["row 1 (device 0), column 2: 0B1 is in one block with 0F1 (column 2), which it waits for"],
        ),
        (
            IN_A_V.replace("1F0,2F0", "2F0,1F0"),
            ["row 2 (device 1), column 1: 2F0 comes before 1F0 (column 2), which it waits for"],
        ),
    ],
)  # fmt: skip
def test_each_kind_of_fault(text: str, found: list[str]) -> None:
    assert faults(text) == found


def test_a_deadlock_is_told_as_its_cycle_with_devices_and_columns() -> None:
    assert faults("0F0,0F1,0B0,0B1\n1F0,1F1,1B1,1B0\n") == []
    text = "0F0,0B0,,0F1,0B1\n1F0,1F1,1B1,1B0\n"
    cycle = (
        "row 1 (device 0), column 2: the order deadlocks: 0B0 (device 0, column 2) waits for 1B0 (device 1, column 4), "
        "which comes after 1F1 (device 1, column 2), which waits for 0F1 (device 0, column 4), which comes after 0B0"
    )
    assert faults(text) == [cycle]


def test_a_deadlock_over_many_devices_is_shortened() -> None:
    devices = 12
    rows = [[f"{d}F0", f"{d}B0", f"{d}F1", f"{d}B1"] for d in range(devices)]
    rows[-1] = [f"{devices - 1}{kind}" for kind in ("F1", "B1", "F0", "B0")]
    (fault,) = faults("\n".join(",".join(row) for row in rows))
    assert "steps more) …, which" in fault
    assert len(fault) < 900


def test_all_faults_are_told_row_by_row() -> None:
    text = PYTORCHS.replace("0F3", "0f3").replace("1F5", "1F5 F").replace("2F1,", "").replace("3B3", "3B2")
    assert [fault.split(": ")[0] for fault in faults(text)] == [
        "row 1 (device 0), column 4",
        "row 1 (device 0)",
        "row 2 (device 1), column 9",
        "row 2 (device 1)",
        "row 3 (device 2)",
        "row 4 (device 3), column 8",
        "row 4 (device 3)",
    ]


def test_absurd_numbers_are_no_burden() -> None:
    assert len(faults(SMALL.replace("1F1", "999999999F1").replace("0F0", "0F999999999"))) == 4
    diagonal = "\n".join(f"{n}F{n},{n}B{n}" for n in range(3000))
    assert faults(diagonal) == ["3,000 stages and 3,000 microbatches need at least 18,000,000 actions; there are 6,000"]


def test_a_file_that_computes_nothing() -> None:
    with pytest.raises(InputError, match=r"x\.csv: holds no F, B, I or W"):
        faults("0UNSHARD,0SEND_F0\n")


def test_two_directions_are_taken_where_each_has_its_half() -> None:
    """Stage s runs on device s for the first half of the microbatches, and on device p − 1 − s for the second."""
    text = "0F0,1F1,1B1,0B0\n0F1,1F0,1B0,0B1\n"
    placement = check_file(parse_schedule(text, "x.csv")).placement
    assert placement is not None
    assert placement.name == "bidirectional"
    moved = "0F0,1B1,0B0\n0F1,1F1,1F0,1B0,0B1\n"
    wrong = "row 2 (device 1), column 2: 1F1 is on the wrong device: stage 1 belongs to device 0 for microbatch 1"
    assert any(fault.startswith(wrong) for fault in faults(moved))


def test_other_halves_of_two_directions_are_faults() -> None:
    text = "0F0,1F1,0F2,1F3,1B1,0B0,1B3,0B2\n0F1,1F0,0F3,1F2,1B0,0B1,1B2,0B3\n"  # even and odd
    assert sum("is on the wrong device" in fault for fault in faults(text)) == 8
