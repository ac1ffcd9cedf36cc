"""Files with ``WAIT_SEND_F`` and ``WAIT_SEND_B`` (pytorch#194121), and with actions that no PyTorch known here has."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt.rehearsal.rehearsing import Options, Plan
from solver.rendezvous import RendezvousDeadlockError, run
from strategies.lowering.as_program import as_programs
from strategies.lowering.as_pytorch import lower_as_pytorch
from strategies.lowering.transfers import wait_for_send
from strategies.model.actions import Op
from strategies.model.communicators import queues
from strategies.order_files.schedule_file import Aside, Token, parse_schedule, schedule_as_text
from tests.lowered_orders import evaluated_with_transfers
from tests.running import call_ppopt

PLAIN = """\
0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD
1RECV_F0,1F0,1RECV_F1,1B0,1SEND_B0,1F1,1B1,1SEND_B1,1REDUCE_GRAD
"""
WAITING = PLAIN.replace("0B0,", "0B0,0WAIT_SEND_F0,").replace("0B1,", "0B1,0WAIT_SEND_F1,")
"""The waits stand where pytorch#194121 places them: right after the backward of the same microbatch."""

TIMES = {"forward": 1, "backward": 2}
SIZES = {"devices": 2, "stages": 2, "microbatches": 2, "times": TIMES}
GIVEN = {**SIZES, "p2p": "rendezvous", "lowering": "given", "communication": {"transfer": 0.5}}
NEWER = (
    "a newer PyTorch has these (pytorch#194121); PyTorch 2.13 reads 0WAIT_SEND_F0 as 0W without a microbatch, and "
    "fails when it runs"
)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def checked(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    Path("my.csv").write_text(text)
    return call_ppopt("check", "my.csv", *options)


def test_waits_are_read_and_written_back_unchanged() -> None:
    file = parse_schedule(WAITING, "my.csv")
    assert not file.faults
    assert schedule_as_text(file.rows) == WAITING


def test_check_accepts_them_and_says_whose_they_are() -> None:
    result = checked(WAITING)
    assert result.returncode == 0
    assert result.stderr == f"note: my.csv: 2 WAIT_SEND_F: {NEWER}\n"
    assert "; no fault; runs with any communicators (edge, pair, way, rank)\n" in result.stdout
    (file,) = json.loads(checked(WAITING, "--format", "json").stdout)["files"]
    assert file["notes"] == [f"my.csv: 2 WAIT_SEND_F: {NEWER}"]
    assert "notes" not in json.loads(checked(PLAIN, "--format", "json").stdout)["files"][0]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_pytorch_2_13_reads_them_as_check_says() -> None:
    import torch
    from torch.distributed.pipelining.schedules import _Action

    if not torch.__version__.startswith("2.13."):
        pytest.skip("another PyTorch")
    assert repr(_Action.from_str("0WAIT_SEND_F3")) == "0W"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0F0,", "0WAIT_SEND_F0,0F0,", "column 1: 0WAIT_SEND_F0 comes before 0SEND_F0 (column 3), which it waits for"),
        ("0F1,", "0WAIT_SEND_F0,0WAIT_SEND_F0,0F1,", "column 4: 0WAIT_SEND_F0 appears twice; the first is in column 3"),
        ("0B0,", "0B0,0WAIT_SEND_F2,", "column 7: 0WAIT_SEND_F2 waits for 0SEND_F2, which is missing"),
        ("0B0,", "0B0,0WAIT_SEND_B0,", "column 7: 0WAIT_SEND_B0 waits for 0SEND_B0, which is missing"),
        ("0B1,", "0B1,1WAIT_SEND_B0,", "column 9: 1WAIT_SEND_B0 is on the wrong device: 1SEND_B0 is on device 1"),
    ],
)
def test_each_wait_belongs_to_one_send_before_it(old: str, new: str, expected: str) -> None:
    result = checked(PLAIN.replace(old, new, 1))
    assert result.returncode == 2
    assert [line for line in result.stdout.splitlines() if ": row " in line] == [
        f"my.csv: row 1 (device 0), {expected}"
    ]


def test_a_wait_holds_up_what_follows_it() -> None:
    """The send of 0F0 ends at 1.5: without waits 0F1 starts at 1, with a wait right after 0SEND_F0 at 1.5."""
    Path("c.json").write_text(json.dumps(GIVEN))
    early = PLAIN.replace("0SEND_F0,", "0SEND_F0,0WAIT_SEND_F0,")
    starts = {}
    for name, text in (("plain.csv", PLAIN), ("waiting.csv", WAITING), ("early.csv", early)):
        Path(name).write_text(text)
        made = ppopt.evaluate(ppopt.Pipeline.from_file("c.json"), name)
        starts[name] = {str(row.task): row.start / made.problem.ticks_per_unit for row in made.rows}
    assert starts["plain.csv"] == starts["waiting.csv"]  # completion is implied where PyTorch places them
    assert starts["plain.csv"]["0F1"] == 1
    assert starts["early.csv"]["0F1"] == 1.5
    assert (
        f"waiting.csv: 2 WAIT_SEND_F: {NEWER}"
        in ppopt.evaluate(ppopt.Pipeline.from_file("c.json"), "waiting.csv").notes
    )
    Path("c.json").write_text(json.dumps(SIZES))
    result = call_ppopt("evaluate", "waiting.csv", "-c", "c.json")
    assert "2 SEND_B, 2 RECV_B, 2 WAIT_SEND_F were set aside: ppopt places communication by itself" in result.stderr


def test_a_report_names_what_a_wait_costs() -> None:
    Path("c.json").write_text(json.dumps(GIVEN))
    Path("early.csv").write_text(PLAIN.replace("0SEND_F0,", "0SEND_F0,0WAIT_SEND_F0,"))
    result = call_ppopt("evaluate", "early.csv", "-c", "c.json", "--report", "r.html", "--trace", "t.json")
    assert result.returncode == 0
    assert Path("r.html").exists()


def test_a_wait_that_closes_a_circle_is_named() -> None:
    text = """\
0F0,0SEND_F0,0F1,0SEND_F1,0WAIT_SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD
1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1,1REDUCE_GRAD
"""
    result = checked(text)
    assert result.returncode == 2
    assert "0RECV_B0 (device 0, column 6) comes after 0WAIT_SEND_F1 (column 5), which waits for 0SEND_F1" in (
        result.stdout
    )
    assert "; runs with edge (" in result.stdout


class Apart:
    """A replay with a communicator for each edge, by repetition until nothing changes; shares nothing with the solver.

    Cells are texts. A transfer is named by its producer: stage, way and microbatch.
    """

    def __init__(self, rows: list[list[Token]], lengths: dict[str, int], moving: int) -> None:
        self.cells = [[str(token) for token in row] for row in rows]
        self.lengths, self.moving = lengths, moving
        self.done: list[list[int]] = [[0] for _ in rows]
        self.posted: dict[tuple[str, str], int] = {}
        self.ends: dict[str, int] = {}
        self.starts: dict[str, int] = {}
        home = {cell.partition("F")[0]: device for device, row in enumerate(self.cells) for cell in row if "F" in cell}
        self.queues: dict[tuple[int, int], list[str]] = defaultdict(list)
        for device, row in enumerate(self.cells):
            for verb, transfer in filter(None, map(self.communicated, row)):
                if verb == "SEND":
                    stage, way, _ = transfer.split()
                    self.queues[device, home[str(int(stage) + (1 if way == "F" else -1))]].append(transfer)
        self.sent = {transfer for queue in self.queues.values() for transfer in queue}

    @staticmethod
    def communicated(cell: str) -> tuple[str, str] | None:
        for verb in ("WAIT_SEND", "SEND", "RECV"):
            stage, found, rest = cell.partition(f"{verb}_")
            if found:
                source = int(stage) - (0 if verb != "RECV" else 1 if rest[0] == "F" else -1)
                return verb, f"{source} {rest[0]} {rest[1:]}"
        return None

    def needed(self, cell: str) -> list[str]:
        """Return the transfers that a cell waits for."""
        found = self.communicated(cell)
        if found is not None:
            return [found[1]] if found[0] == "WAIT_SEND" else []
        if cell not in self.lengths or "W" in cell:
            return []
        kind = next(letter for letter in "FBI" if letter in cell)
        stage, number = cell.split(kind)
        source = f"{int(stage) - 1} F {number}" if kind == "F" else f"{int(stage) + 1} B {number}"
        return [source] if source in self.sent else []

    def advance(self, device: int) -> bool:
        """Run the next cell of a device if it can run."""
        row, done = self.cells[device], self.done[device]
        if len(done) > len(row):
            return False
        cell = row[len(done) - 1]
        if any(each not in self.ends for each in self.needed(cell)):
            return False
        now = max([done[-1], *(self.ends[each] for each in self.needed(cell))])
        found = self.communicated(cell)
        if found is not None and found[0] != "WAIT_SEND":
            self.posted[found] = now
        elif cell in self.lengths:
            self.starts[cell] = now
            now += self.lengths[cell]
        done.append(now)
        return True

    def move(self, queue: list[str]) -> bool:
        """Run the next transfer of an edge if both its ends are posted."""
        gone = [each for each in queue if each in self.ends]
        free = self.ends[gone[-1]] if gone else 0
        for each in queue[len(gone) : len(gone) + 1]:
            if ("SEND", each) in self.posted and ("RECV", each) in self.posted:
                self.ends[each] = max(free, self.posted["SEND", each], self.posted["RECV", each]) + self.moving
                return True
        return False

    def run(self) -> dict[str, int] | None:
        """Return the start of each computation; None if it hangs."""
        while any([*map(self.advance, range(len(self.cells))), *map(self.move, self.queues.values())]):
            pass
        complete = all(len(done) == len(row) + 1 for done, row in zip(self.done, self.cells, strict=True))
        return self.starts if complete else None


def with_waits(rows: list[list[Token]], chance: random.Random) -> list[list[Token]]:
    """Insert waits for some sends, each anywhere after its send."""
    changed = [list(row) for row in rows]
    for row in changed:
        for token in [token for token in row if isinstance(token, Aside) and token.kind.startswith("SEND")]:
            if chance.random() < 0.5:
                assert token.microbatch is not None
                wait = wait_for_send(Op(token.stage, token.kind[-1], token.microbatch))
                row.insert(min(len(row), row.index(token) + 1 + chance.randrange(6)), wait)
    return changed


@pytest.mark.parametrize("name", ["1f1b", "interleaved", "zb-h1", "zb-v", "gpipe"])
def test_random_waits_take_the_times_of_an_independent_replay(name: str) -> None:
    schedule = evaluated_with_transfers(name, 3, 3 if name in ("1f1b", "zb-h1", "gpipe") else 6, 6, 0)
    plain = lower_as_pytorch(schedule.actions, schedule.layout)
    hung = held_up = 0
    for seed in range(20):
        chance = random.Random(seed)
        rows = with_waits(plain, chance)
        lengths = {str(action): chance.randint(1, 5) for order in schedule.actions for action in order}
        expected = Apart(rows, lengths, 2).run()
        made = as_programs(rows, schedule.layout, lambda action, of=lengths: of[str(action)], lambda _: (2, 0))
        try:
            found = run(made.programs, made.transfers, queues("edge"))
        except RendezvousDeadlockError:
            hung += 1
            assert expected is None
            continue
        assert {str(each.name): each.start for row in found.computed for each in row} == expected
        held_up += expected != Apart(plain, lengths, 2).run()
    assert held_up > 5
    assert hung < 15


UNKNOWN = PLAIN.replace("0SEND_F0,", "0SEND_F0,0WAIT_RECV_F0,").replace("1REDUCE_GRAD", "1REDUCE_GRAD,1GRAD_SYNC")
WHOSE = "is not an action; neither PyTorch 2.13 nor pytorch#194121 has"


def test_an_unknown_action_that_communicates_is_set_aside_where_only_the_order_counts() -> None:
    Path("my.csv").write_text(UNKNOWN)
    costs = ppopt.Pipeline.from_mapping(SIZES)
    made = ppopt.evaluate(costs, "my.csv")
    assert (
        "my.csv: 1 GRAD_SYNC, 1 WAIT_RECV_F were set aside: neither PyTorch 2.13 nor pytorch#194121 has them; by their "
        "names they communicate"
    ) in made.notes
    Path("plain.csv").write_text(PLAIN)
    assert made.makespan == ppopt.evaluate(costs, "plain.csv").makespan
    assert schedule_as_text(parse_schedule(UNKNOWN, "my.csv").rows) == UNKNOWN


@pytest.mark.parametrize("text", [UNKNOWN, "0F0,0B0,0GRAD_SYNC\n"])
def test_check_refuses_an_unknown_action_by_name(text: str) -> None:
    result = checked(text)
    assert result.returncode == 2
    assert f"GRAD_SYNC' {WHOSE} 'GRAD_SYNC'; allowed are e.g. 2F0" in result.stdout
    assert result.stdout.count(": row ") == (2 if text == UNKNOWN else 1)


@pytest.mark.parametrize("how", [{"lowering": "given"}, {"framework": "pytorch"}])
def test_only_the_files_own_communication_refuses_it(how: dict[str, Any]) -> None:
    Path("my.csv").write_text(UNKNOWN)
    keys = {**GIVEN, **how} if "lowering" in how else {**SIZES, **how}
    costs = ppopt.Pipeline.from_mapping(keys)
    if "framework" in how:
        assert ppopt.evaluate(costs, "my.csv").placed_by == "PyTorch"
        return
    with pytest.raises(ppopt.InputError, match=f"column 3: '0WAIT_RECV_F0' {WHOSE} 'WAIT_RECV_F'"):
        ppopt.evaluate(costs, "my.csv")


@pytest.mark.parametrize("cell", ["0OPTIM3", "0RECOMPUTE0", "0FORWARD_ONLY1"])
def test_an_unknown_action_that_may_compute_is_refused_everywhere(cell: str) -> None:
    Path("my.csv").write_text(PLAIN.replace("0F1,", f"{cell},0F1,"))
    with pytest.raises(ppopt.InputError, match=f"column 3: '{cell}' is not an action"):
        ppopt.evaluate(ppopt.Pipeline.from_mapping(SIZES), "my.csv")


def test_a_rehearsal_leaves_waits_out_and_says_so() -> None:
    Path("my.csv").write_text(WAITING)
    plan = Plan(ppopt.Pipeline.from_mapping(SIZES), "my.csv", Options(1, "ms", None, None))
    assert plan.lowered == parse_schedule(PLAIN, "my.csv").rows
    assert [note for note in plan.notes if "WAIT_SEND" in note] == [
        f"my.csv: 2 WAIT_SEND_F: {NEWER}",
        (
            "2 WAIT_SEND were left out, of the rehearsal and of the prediction: PyTorch 2.13 does not have them "
            "(pytorch#194121)"
        ),
    ]
