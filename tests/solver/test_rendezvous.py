"""Programs, their times and their deadlocks, against golden data, a simulation, and an independent checker."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.errors import InputError
from solver.program_faults import check_programs, find_crossings
from solver.programs import Compute, End, Post, Transfer, Wait, blocking
from solver.rendezvous import RendezvousDeadlockError, departures, run
from solver.rendezvous_checker import run_violations
from strategies.model.communicators import COMMUNICATORS, queues
from tests.event_simulation import Simulation, asynchronous_makespan
from tests.lowered_orders import golden, program_row

PROGRAMS = golden()["programs_transfer_0.05"]


@pytest.mark.parametrize("row", PROGRAMS, ids=lambda row: f"{row['program']}-{row['devices']}-{row['microbatches']}")
def test_frameworks_programs_take_as_long_as_an_independent_replay_says(row) -> None:
    programs, transfers = program_row(row)
    check_programs(programs, transfers)
    assert find_crossings(programs, transfers) == []
    for name in COMMUNICATORS:
        if row[name] == "dead":
            with pytest.raises(RendezvousDeadlockError):
                run(programs, transfers, queues(name))
        else:
            made = run(programs, transfers, queues(name))
            assert Fraction(made.makespan, 20) == Fraction(row[name])
            assert run_violations(programs, transfers, queues(name), made) == []


def test_there_are_programs_that_run_and_one_that_hangs() -> None:
    assert len(PROGRAMS) == 13
    assert [row["program"] for row in PROGRAMS if "dead" in (row["way"], row["rank"])] == [
        "megatron_interleaved(v=2,overlap,flush,deallocate)"
    ]


@st.composite
def programs_with_transfers(draw):
    """Draw any programs: sends and receives in any order, in groups of any size, awaited anywhere or nowhere."""
    devices = draw(st.integers(2, 4))
    lanes = st.lists(st.integers(0, devices - 1), min_size=2, max_size=2, unique=True)
    transfers = {
        number: Transfer(*lane, draw(st.integers(0, 3)), draw(st.integers(0, 2)))
        for number, lane in enumerate(draw(st.lists(lanes, max_size=8)))
    }
    programs = []
    for device in range(devices):
        ends = [End(key, True) for key, each in transfers.items() if each.source == device]
        ends += [End(key, False) for key, each in transfers.items() if each.destination == device]
        ends = draw(st.permutations(ends)) if draw(st.booleans()) else ends
        program = []
        posts = []
        while ends or draw(st.booleans()):
            what = draw(st.sampled_from("cpw" if posts else "cp"))
            if what == "c":
                program.append(Compute((device, len(program)), draw(st.integers(0, 3))))
            elif what == "w":
                program.append(Wait(draw(st.sampled_from(posts))))
            elif ends:
                count = draw(st.integers(1, min(3, len(ends))))
                posts.append(len(program))
                program.append(Post(tuple(ends[:count])))
                ends = ends[count:]
        programs.append(program)
    return programs, transfers


QUEUES = {
    "one": lambda key, transfer: None,
    "edge": lambda key, transfer: transfer[:2],
    "pair": lambda key, transfer: frozenset(transfer[:2]),
    "odd": lambda key, transfer: key % 2,
}


@given(programs_with_transfers(), st.sampled_from(sorted(QUEUES)))
def test_the_replay_equals_the_simulation_and_passes_the_checker(made, name) -> None:
    programs, transfers = made
    check_programs(programs, transfers)
    simulation = Simulation(programs, transfers, QUEUES[name])
    completes = simulation.run()
    try:
        found = run(programs, transfers, QUEUES[name])
    except RendezvousDeadlockError as error:
        assert not completes
        assert_is_a_cycle(error, programs, transfers)
        return
    assert completes
    assert {key: moved.start for key, moved in found.transfers.items()} == simulation.starts
    assert [[tuple(each) for each in row] for row in found.computed] == simulation.computed
    assert run_violations(programs, transfers, QUEUES[name], found) == []


def assert_is_a_cycle(error: RendezvousDeadlockError, programs, transfers) -> None:
    cycle = error.cycle
    assert cycle
    for held, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        assert held.by.transfer == after.transfer
        assert held.end.transfer == held.transfer
        home = transfers[held.by.transfer]
        assert held.device == (home.source if held.by.is_send else home.destination)
        if held.waiting is not None:
            wait = programs[held.device][held.waiting]
            assert held.by in programs[held.device][wait.post].ends


@pytest.mark.no_cover
@given(programs_with_transfers())
def test_more_queues_are_never_slower(made) -> None:
    programs, transfers = made
    spans = []
    for one in (programs, blocking(programs)):
        for name in ("edge", "pair", "one"):
            try:
                spans.append(run(one, transfers, QUEUES[name]).makespan)
            except RendezvousDeadlockError:
                spans.append(10**9)
    assert spans[:3] == sorted(spans[:3])
    assert all(loose <= strict for loose, strict in zip(spans[:3], spans[3:], strict=True))
    if spans[0] < 10**9:
        alone = asynchronous_makespan(programs, transfers)
        assert alone is not None
        assert alone <= spans[0]


@given(programs_with_transfers(), st.data())
def test_the_checker_finds_what_was_moved(made, data) -> None:
    programs, transfers = made
    try:
        found = run(programs, transfers, QUEUES["one"])
    except RendezvousDeadlockError:
        return
    if not found.transfers:
        return
    key = data.draw(st.sampled_from(sorted(found.transfers)))
    moved = found.transfers[key]
    earlier = moved._replace(start=moved.start - 1, end=moved.end - 1)
    if max(moved.sendable, moved.receivable) == moved.start:
        broken = replace(found, transfers=found.transfers | {key: earlier})
        assert run_violations(programs, transfers, QUEUES["one"], broken)
    longer = moved._replace(end=moved.end + 1)
    assert run_violations(programs, transfers, QUEUES["one"], replace(found, transfers=found.transfers | {key: longer}))


def test_the_first_cycle_is_told_and_not_one_that_it_causes() -> None:
    """Devices 0 and 1 hang by themselves; 2 and 3 also wait for each other, but only because of a send that 1 owes."""
    transfers = {
        "a": Transfer(0, 1, 1), "b": Transfer(1, 0, 1), "c": Transfer(1, 2, 1),
        "d": Transfer(2, 3, 1), "e": Transfer(3, 2, 1),
    }  # fmt: skip
    sends, receives = ({key: Post((End(key, is_send),)) for key in transfers} for is_send in (True, False))
    programs = [
        [Compute("long", 9), sends["a"], receives["b"]],
        [Compute("longer", 9), sends["b"], receives["a"], sends["c"]],
        [receives["c"], sends["d"], receives["e"]],
        [sends["e"], receives["d"]],
    ]
    with pytest.raises(RendezvousDeadlockError) as caught:
        run(programs, transfers, QUEUES["one"])
    assert [held.transfer for held in caught.value.cycle] == ["a", "b"]
    assert "a ← b ← a" in str(caught.value)


def test_a_device_that_waits_before_it_posts_is_told_with_its_wait() -> None:
    transfers = {"a": Transfer(0, 1, 1), "b": Transfer(1, 0, 1)}
    programs = [
        [Post((End("b", False),)), Wait(0), Compute("x", 1), Post((End("a", True),))],
        [Post((End("a", False),)), Wait(0), Compute("y", 1), Post((End("b", True),))],
    ]
    with pytest.raises(RendezvousDeadlockError) as caught:
        run(programs, transfers, QUEUES["edge"])
    assert [(held.transfer, held.queued, held.waiting) for held in caught.value.cycle] == [
        ("a", False, 1),
        ("b", False, 1),
    ]
    assert asynchronous_makespan(programs, transfers) is None
    assert departures(programs, transfers) == {}


def test_crossed_receives_are_found_with_both_places() -> None:
    transfers = {key: Transfer(0, 1, 1) for key in "abc"}
    programs = [
        [Post((End(key, True),)) for key in "abc"],
        [Compute("x", 1), *(Post((End(key, False),)) for key in "acb")],
    ]
    (crossing,) = find_crossings(programs, transfers)
    assert crossing == ("b", "c", (0, 1), (1, 2))


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ([[Post((End("a", True),))], []], "the receive of a is never posted"),
        ([[], [Post((End("a", False),))]], "the send of a is never posted"),
        ([[Post((End("a", True), End("a", False)))], []], "the receive of a belongs to device 1"),
        ([[Post((End("a", True),)), Post((End("a", True),))], []], "the send of a is posted twice"),
        ([[Post((End("z", True),))], []], "the send of z belongs to no transfer"),
        ([[Post((End("a", True),)), Wait(1)], [Post((End("a", False),))]], "instruction 1 waits for 1, which is no"),
    ],
)
def test_programs_without_sense_are_refused(programs, message) -> None:
    with pytest.raises(InputError, match=message):
        check_programs(programs, {"a": Transfer(0, 1, 1)})
