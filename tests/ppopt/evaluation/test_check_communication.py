"""``ppopt check`` on files with communication: every fault with its place, and the communicators that they need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import ppopt
from ppopt.commands.cli import cli
from ppopt.schedules.communicator_verdicts import cycles, describe_hang
from solver.rendezvous import RendezvousDeadlockError, run
from strategies.lowering.as_program import as_programs, moves_at_once, unit_durations
from strategies.lowering.as_pytorch import lower_as_pytorch
from strategies.lowering.transfers import token_of
from strategies.model.communicators import queues
from strategies.order_files.schedule_file import Aside, schedule_as_text
from tests.lowered_orders import evaluated_with_transfers, golden, late, lowered_by_time, program_row

LOWERED = """\
0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD
1RECV_F0,1F0,1RECV_F1,1B0,1SEND_B0,1F1,1B1,1SEND_B1,1REDUCE_GRAD
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def checked(text: str, *options: str) -> Result:
    Path("my.csv").write_text(text)
    return CliRunner().invoke(cli, ["check", "my.csv", *options], catch_exceptions=False)


def faults(text: str) -> list[str]:
    lines = checked(text).stdout.splitlines()
    return [line.removeprefix("my.csv: ") for line in lines if ": row " in line]


def test_a_file_without_fault_says_with_what_it_runs() -> None:
    result = checked(LOWERED)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "my.csv: receive buffers of a device: at most 1 from post to first use, 2 to the last backward that reads "
        "them; 2 with a pool for each stage and direction (pytorch#196465)\n"
        "my.csv: 2 devices, 2 stages (linear), 2 microbatches, 8 operations, 4 transfers; no fault; "
        "runs with any communicators (edge, pair, way, rank)\n"
    )


def test_json_has_faults_with_their_places_and_communicators() -> None:
    Path("bad.csv").write_text(LOWERED.replace("1SEND_B0,", ""))
    whole = json.loads(checked(LOWERED, "bad.csv", "absent.csv", "--format", "json").stdout)
    fine, bad, absent = whole["files"]
    runs = dict.fromkeys(("edge", "pair", "way", "rank"), "runs")
    buffers = {"unused": [1, 1], "held": [1, 2], "pooled": [1, 2]}
    assert fine == {
        "file": "my.csv", "faults": [], "communicators": runs, "cycles": {}, "receive_buffers": buffers
    }  # fmt: skip
    message = "0RECV_B0 is never sent: 1SEND_B0 is missing on device 1"
    assert bad == {"file": "bad.csv", "faults": [{"row": 1, "column": 5, "message": message}]}
    assert [fault["row"] for fault in absent["faults"]] == [None]


def test_json_of_an_order_of_computations_has_no_communicators() -> None:
    result = checked("0F0,0B0\n1F0,1B0\n", "--format", "json")
    assert json.loads(result.stdout) == {"files": [{"file": "my.csv", "faults": []}]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0SEND_F1,", "", ["row 2 (device 1), column 3: 1RECV_F1 is never sent: 0SEND_F1 is missing on device 0"]),
        ("1RECV_F1,", "", ["row 1 (device 0), column 4: 0SEND_F1 is never received: 1RECV_F1 is missing on device 1"]),
        (
            "0SEND_F1,", "0SEND_F1,0SEND_F1,",
            ["row 1 (device 0), column 5: 0SEND_F1 appears twice; the first is in row 1, column 4"],
        ),
        (
            "0F1,0SEND_F1,", "0SEND_F1,0F1,",
            ["row 1 (device 0), column 3: 0SEND_F1 comes before 0F1 (column 4), which produces what it sends"],
        ),
        (
            "0RECV_B0,0B0,", "0B0,0RECV_B0,",
            ["row 1 (device 0), column 6: 0RECV_B0 comes after 0B0 (column 5), which uses what it receives"],
        ),
        (
            "0F0,0SEND_F0,", "0F0,1RECV_F0,0SEND_F0,",
            [
                "row 1 (device 0), column 2: 1RECV_F0 is on the wrong device: stage 1 belongs to device 1",
                "row 2 (device 1), column 1: 1RECV_F0 appears twice; the first is in row 1, column 2",
            ],
        ),
        (
            "0F0,", "0F0,0RECV_F0,",
            [
                ("row 1 (device 0), column 2: 0RECV_F0 has no other side: stage 0 is the first, and receives no such "
                "result")
            ],
        ),
        (
            "1F0,", "1F0,1SEND_F0,",
            ["row 2 (device 1), column 3: 1SEND_F0 has no other side: stage 1 is the last, and sends no such result"],
        ),
        (
            "0SEND_F0,", "0SEND_F0,0SEND_F7,",
            [
                ("row 1 (device 0), column 3: 0SEND_F7 is of microbatch 7, which is out of range; the file's own are "
                "0 to 1")
            ],
        ),
        (
            ",0REDUCE_GRAD", "",
            [
                ("row 1 (device 0): 0REDUCE_GRAD is missing behind 0B1 (column 8): PyTorch divides gradients there, so "
                "those of stage 0 would silently be 2 times too large")
            ],
        ),
        (
            "1B1,1SEND_B1,1REDUCE_GRAD", "1REDUCE_GRAD,1B1,1SEND_B1",
            [
                ("row 2 (device 1), column 7: 1REDUCE_GRAD comes before 1B1 (column 8): the gradients of what follows "
                "would not be divided")
            ],
        ),
        (
            "0REDUCE_GRAD", "0REDUCE_GRAD,0REDUCE_GRAD",
            [
                ("row 1 (device 0), column 10: 0REDUCE_GRAD appears twice; the first is in column 9, and each divides "
                "the gradients")
            ],
        ),
        (
            "0REDUCE_GRAD", "0REDUCE_GRAD,1REDUCE_GRAD",
            ["row 1 (device 0), column 10: 1REDUCE_GRAD is on the wrong device: stage 1 belongs to device 1"],
        ),
        ("0F1,", "0F1,,", [
            "row 1 (device 0), column 4: is an empty cell, which PyTorch refuses in a file with communication"
        ]),
        (
            "0SEND_F0,", "0SEND_F0xx,",
            [
                ("row 1 (device 0), column 2: '0SEND_F0xx' is not an action; did you mean 0SEND_F0? PyTorch reads it "
                "as 0SEND_F0 and overlooks the rest"),
                "row 2 (device 1), column 1: 1RECV_F0 is never sent: 0SEND_F0 is missing on device 0",
            ],
        ),
        (
            "0F0,", "0F0,0WAIT_F0,",
            [
                ("row 1 (device 0), column 2: '0WAIT_F0' is not an action; did you mean 0W0? PyTorch reads it as 0W "
                "without a microbatch, and fails when it runs")
            ],
        ),
        (
            "0SEND_F0,", "0SEND_F0,0WAIT_SEND_F1,",
            ["row 1 (device 0), column 3: 0WAIT_SEND_F1 comes before 0SEND_F1 (column 5), which it waits for"],
        ),
        (
            "0SEND_F0,", "0SEND_F0,0WAIT_RECV_F0,",
            [
                ("row 1 (device 0), column 3: '0WAIT_RECV_F0' is not an action; neither PyTorch 2.13 nor "
                "pytorch#194121 has 'WAIT_RECV_F'; allowed are e.g. 2F0, 2B0, 2I0, 2W0 and (0F1;7B0)OVERLAP_F_B; "
                "PyTorch reads it as 0W without a microbatch, and fails when it runs")
            ],
        ),
        ("0F0,", "0UNSHARD,0F0,", [
            "row 1 (device 0), column 1: 0UNSHARD has no 0RESHARD behind it",
            "row 2 (device 1), column 2: 1F0 computes without its parameters: no 1UNSHARD is in force",
        ]),
    ],
)  # fmt: skip
def test_every_fault_has_its_place(old: str, new: str, expected: list[str]) -> None:
    assert old in LOWERED
    found = faults(LOWERED.replace(old, new, 1))
    assert found == expected
    assert checked(LOWERED.replace(old, new, 1)).exit_code == 2


def test_unshard_and_reshard_must_pair() -> None:
    sharded = "0UNSHARD,0F0,0RESHARD,0B0\n"
    text = sharded + "1RESHARD,1UNSHARD,1UNSHARD,1RECV_F0,1F0,1B0,1RESHARD,0UNSHARD\n"
    found = [line for line in faults(text) if "SHARD" in line or "parameters" in line]
    assert found == [
        "row 1 (device 0), column 4: 0B0 computes without its parameters: no 0UNSHARD is in force",
        "row 2 (device 1), column 1: 1RESHARD has no 1UNSHARD before it",
        "row 2 (device 1), column 3: 1UNSHARD comes again before a RESHARD; the first is in column 2",
        "row 2 (device 1), column 8: 0UNSHARD is on the wrong device: stage 0 belongs to device 0",
    ]


def test_what_is_on_one_device_is_not_sent() -> None:
    text = "0F0,0SEND_F0,1F0,1B0,0B0,0REDUCE_GRAD,1REDUCE_GRAD\n"
    assert faults(text)[0] == (
        "row 1 (device 0), column 2: 0SEND_F0 is not needed: stages 0 and 1 are both on device 0"
    )


def test_transfers_that_are_missing_on_both_sides_are_told_as_runs() -> None:
    text = LOWERED.replace("0SEND_F0,", "").replace("1RECV_F0,", "").replace("0SEND_F1,", "").replace("1RECV_F1,", "")
    assert faults(text) == ["row 1 (device 0): 0SEND_F0 and 1RECV_F0 to 0SEND_F1 and 1RECV_F1 are missing"]


def test_a_crossed_edge_is_a_fault_and_no_communicators_are_told() -> None:
    crossed = "0F0,0F1,0SEND_F1,0SEND_F0,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD\n" + LOWERED.splitlines()[1] + "\n"
    result = checked(crossed, "--format", "json")
    (file,) = json.loads(result.stdout)["files"]
    assert result.exit_code == 2
    assert "communicators" not in file
    (fault,) = file["faults"]
    assert (fault["row"], fault["column"]) == (2, 1)
    assert fault["message"].startswith("1RECV_F0 is crossed: from device 0 to device 1 messages are taken in the order")
    assert "it meets 0SEND_F1 (device 0, column 3)" in fault["message"]


def test_what_deferring_receives_crosses_and_hangs_as_was_measured() -> None:
    """Measured in PyTorch 2.13: `defer_pp_recv=True` gives wrong gradients for the crossed ones only."""
    for name, sizes, is_crossed in (
        ("zb-interleaved", (2, 4, 4), True),
        ("zb-v", (4, 8, 8), True),
        ("dualpipe-v", (4, 8, 8), True),
        ("interleaved", (2, 4, 4), False),
        ("looped-bfs", (2, 4, 2), False),
    ):
        schedule = evaluated_with_transfers(name, *sizes, 0)
        plain = checked(schedule_as_text(schedule.actions), "--lower", "pytorch", "--format", "json")
        assert plain.exit_code == 0
        assert set(json.loads(plain.stdout)["files"][0]["communicators"].values()) == {"runs"}
        result = checked(schedule_as_text(schedule.actions), "--lower", "deferred", "--format", "json")
        (file,) = json.loads(result.stdout)["files"]
        assert result.exit_code == 2
        assert is_crossed == ("communicators" not in file), name
        assert all("is crossed" in fault["message"] for fault in file["faults"])
        if not is_crossed:
            assert (file["communicators"]["edge"], file["communicators"]["pair"]) == ("runs", "hangs")
        for communicators, runs in (("edge", not is_crossed), ("pair", False), ("rank", False)):
            again = checked(schedule_as_text(schedule.actions), "--lower", "deferred", "--communicators", communicators)
            assert again.exit_code == (0 if runs else 2)
        if not is_crossed:
            assert "; runs with edge (one communicator for each directed pair of devices), which " in again.stdout
            assert "; hangs with pair (one for each pair of devices), " in again.stdout
        word = "is crossed" if is_crossed else "hangs"
        assert checked(schedule_as_text(schedule.actions)).stdout.endswith(
            "; no fault; lowered by PyTorch, it runs with pair, "
            f"and with defer_pp_recv=True it {word}: see --lower deferred\n"
        )


def test_the_communicators_of_a_configuration_are_those_that_an_order_must_run_with() -> None:
    """They decide whether a lowered file passes; for an order of computations, the summary says how they do."""
    made = evaluated_with_transfers("interleaved", 2, 4, 4, 0)
    text = schedule_as_text(lower_as_pytorch(made.actions, made.layout, deferred=True))
    Path("c.yaml").write_text("p2p: rendezvous\ncommunicators: edge\ncommunication: {transfer: 1}\n")
    assert checked(text).exit_code == 2
    assert checked(text, "--communicators", "edge").exit_code == 0
    assert checked(text, "-c", "c.yaml").exit_code == 0
    assert checked(text, "-c", "c.yaml", "--communicators", "way").exit_code == 2
    order = schedule_as_text(made.actions)
    word = "; lowered by PyTorch, it runs with edge, and with defer_pp_recv=True it runs\n"
    assert checked(order, "-c", "c.yaml").stdout.endswith(word)
    assert checked(order).exit_code == 0
    assert checked("0F0,1F1,1B1,0B0\n0F1,1F0,1B0,0B1\n").stdout.endswith("; PyTorch's runtime cannot lower it\n")
    with pytest.raises(ppopt.InputError, match="communicators: 'x' is not known; allowed are edge, pair, way, rank"):
        ppopt.check_schedule_file("my.csv", communicators="x")


def test_lower_is_for_orders_of_computations() -> None:
    assert "already contains its communication" in checked(LOWERED, "--lower", "pytorch").stdout
    two_ways = "0F0,1F1,1B1,0B0\n0F1,1F0,1B0,0B1\n"
    result = checked(two_ways, "--lower", "pytorch")
    assert result.exit_code == 2
    assert "bidirectional" in result.stdout
    with pytest.raises(ppopt.InputError, match="lower: 'x' is not known; allowed are pytorch, deferred"):
        ppopt.check_schedule_file("my.csv", lower="x")


def pairs_in_cycle(programs, transfers, communicators: str) -> set[tuple[str, str]]:
    """Return the pairs of blocking and blocked actions in the cycle of a deadlock."""
    with pytest.raises(RendezvousDeadlockError) as caught:
        run(programs, transfers, queues(communicators))
    assert all(held.queued for held in caught.value.cycle)
    return {(str(token_of(held.by)), str(token_of(held.end))) for held in caught.value.cycle}


def test_the_first_cycle_of_pytorch_172668() -> None:
    """With receives right before their use, interleaved 1F1B on two ranks hangs as reported there."""
    schedule = evaluated_with_transfers("interleaved", 2, 4, 2, 0)
    rows = late(schedule.actions, schedule.layout)
    made = as_programs(rows, schedule.layout, unit_durations, moves_at_once)
    for communicators in ("pair", "rank"):
        assert pairs_in_cycle(made.programs, made.transfers, communicators) == {
            ("0SEND_F1", "2RECV_F0"),
            ("1SEND_F0", "1RECV_F1"),
        }
    found = cycles(made)
    assert found["edge"] is None
    assert found["pair"] is not None
    assert describe_hang(found["pair"], made, "pair") == (
        "1RECV_F1 (device 1, column 4) stands behind 1SEND_F0 (column 3) on the communicator 0–1, whose other side "
        "2RECV_F0 (device 0, column 5) stands behind 0SEND_F1 (column 4) on the communicator 0–1, whose other side is "
        "1RECV_F1"
    )


def test_the_second_cycle_of_pytorch_172668() -> None:
    """If the odd rank receives before it sends, two microbatches run, and four hang as reported there."""
    for microbatches in (2, 4):
        schedule = evaluated_with_transfers("interleaved", 2, 4, microbatches, 0)
        rows = late(schedule.actions, schedule.layout)
        rows[1] = receives_first(rows[1])
        made = as_programs(rows, schedule.layout, unit_durations, moves_at_once)
        if microbatches == 2:
            assert set(cycles(made).values()) == {None}
        else:
            found = pairs_in_cycle(made.programs, made.transfers, "pair")
            assert found == {("3SEND_B0", "1RECV_F2"), ("0SEND_F2", "2RECV_B0")}


def receives_first(row):
    """Swap each send with a receive that follows it."""
    row = list(row)
    for place in range(len(row) - 1):
        here, after = row[place : place + 2]
        if isinstance(here, Aside) and isinstance(after, Aside) and (here.kind[:4], after.kind[:4]) == ("SEND", "RECV"):
            row[place : place + 2] = [after, here]
    return row


def test_the_order_of_pytorch_172668_is_pytorchs_own_lowering_and_runs_as_it_is() -> None:
    schedule = evaluated_with_transfers("interleaved", 2, 4, 2, 0)
    for rows in (lower_as_pytorch(schedule.actions, schedule.layout), lowered_by_time(schedule)):
        made = as_programs(rows, schedule.layout, unit_durations, moves_at_once)
        assert set(cycles(made).values()) == {None}


def test_megatrons_warmup_flush_with_one_communicator_a_rank() -> None:
    """On every rank of the ring, the receive for the next computation stands before the send of the last result."""
    (row,) = [row for row in golden()["programs_transfer_0.05"] if "flush" in row["program"]]
    programs, transfers = program_row(row)
    assert run(programs, transfers, queues("pair")).makespan * 20 > 0
    for communicators in ("way", "rank"):
        with pytest.raises(RendezvousDeadlockError) as caught:
            run(programs, transfers, queues(communicators))
        cycle = caught.value.cycle
        assert sorted(held.device for held in cycle) == [0, 1, 2, 3]
        for held in cycle:
            assert held.end.is_send
            assert not held.by.is_send
