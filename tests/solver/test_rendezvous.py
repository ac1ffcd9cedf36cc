"""Programs, their times and their deadlocks, against golden data, a simulation, and an independent checker."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solver.errors import InputError
from solver.program_faults import check_programs, find_crossings
from solver.programs import NO_SIDES, Compute, End, Post, SideAction, Transfer, Wait, blocking
from solver.rendezvous import RendezvousDeadlockError, departures, run
from solver.rendezvous_checker import run_violations
from strategies.model.communicators import COMMUNICATORS, queues
from tests.event_simulation import Simulation, asynchronous_makespan
from tests.examples import examples
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


def side_actions(devices, random):
    """Make side actions on streams, some of which serve several devices; some follow others."""
    names = [f"side {number}" for number in range(random.randint(1, 6))]
    sides = {}
    for name in names:
        device = random.randrange(devices)
        stream = random.choice(["shared", ("own", device), ("other", device)])
        follows = random.sample(names, min(len(names), random.choice([0, 0, 1, 2])))
        sides[name] = SideAction(device, stream, random.randint(0, 3), tuple(follows))
    return sides


@st.composite
def programs_with_transfers(draw, beside=False):
    """Draw any programs: sends and receives in any order, in groups of any size, awaited anywhere or nowhere."""
    devices = draw(st.integers(2, 4))
    lanes = st.lists(st.integers(0, devices - 1), min_size=2, max_size=2, unique=True)
    transfers = {
        number: Transfer(*lane, draw(st.integers(0, 3)), draw(st.integers(0, 2)))
        for number, lane in enumerate(draw(st.lists(lanes, max_size=8)))
    }
    sides = side_actions(devices, Random(draw(st.integers(0, 2**20)))) if beside else {}
    programs = []
    for device in range(devices):
        ends = [End(key, True) for key, each in transfers.items() if each.source == device]
        ends += [End(key, False) for key, each in transfers.items() if each.destination == device]
        ends += [End(key, True) for key, each in sides.items() if each.device == device]
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
    return (programs, transfers, sides) if beside else (programs, transfers)


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


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.large_base_example])
@given(programs_with_transfers(beside=True), st.sampled_from(sorted(QUEUES)))
def test_side_actions_run_as_in_the_simulation_and_pass_the_checker(made, name) -> None:
    programs, transfers, sides = made
    check_programs(programs, transfers, sides)
    simulation = Simulation(programs, transfers, QUEUES[name], sides)
    completes = simulation.run()
    try:
        found = run(programs, transfers, QUEUES[name], sides)
    except RendezvousDeadlockError as error:
        assert not completes
        assert_is_a_cycle(error, programs, transfers, sides)
        return
    assert completes
    starts = {key: each.start for key, each in (found.transfers | found.sides).items()}
    assert starts == simulation.starts
    assert [[tuple(each) for each in row] for row in found.computed] == simulation.computed
    assert run_violations(programs, transfers, QUEUES[name], found, sides) == []


@settings(suppress_health_check=[HealthCheck.large_base_example])
@given(programs_with_transfers(beside=True), st.data())
def test_the_checker_finds_a_side_action_that_was_moved(made, data) -> None:
    programs, transfers, sides = made
    try:
        found = run(programs, transfers, QUEUES["one"], sides)
    except RendezvousDeadlockError:
        return
    key = data.draw(st.sampled_from(sorted(sides)))
    ran = found.sides[key]
    for times in (ran._replace(start=ran.start - 1, end=ran.end - 1), ran._replace(end=ran.end + 1)):
        broken = replace(found, sides=found.sides | {key: times})
        assert run_violations(programs, transfers, QUEUES["one"], broken, sides)


def test_a_reload_that_waits_for_room_which_only_a_later_offload_makes_is_a_cycle() -> None:
    copies = {"O": SideAction(0, "copy", 2), "R": SideAction(0, "copy", 2, follows=("O",))}
    forward, backward = Compute("F", 1), Compute("B", 1)
    offload, reload = (Post((End(key, True),)) for key in "OR")
    made = run([[forward, offload, reload, Wait(2), backward]], {}, QUEUES["one"], copies)
    assert (made.sides["O"], made.sides["R"], made.computed[0][1].start) == ((1, 1, 3), (3, 3, 5), 5)
    for program in (
        [forward, reload, offload, Wait(1), backward],  # the offload stands behind the reload on the stream
        [forward, reload, Wait(1), backward, offload],  # the device waits for the reload before it posts the offload
    ):
        with pytest.raises(RendezvousDeadlockError) as caught:
            run([program], {}, QUEUES["one"], copies)
        assert {held.transfer for held in caught.value.cycle} == {"R", "O"}


def test_devices_share_a_stream_in_the_order_of_time() -> None:
    copies = {device: SideAction(device, "link", 4) for device in (0, 1)}
    programs = [[Compute(device, 3 - device), Post((End(device, True),))] for device in (0, 1)]
    made = run(programs, {}, QUEUES["one"], copies)
    assert made.sides == {1: (2, 2, 6), 0: (6, 6, 10)}
    assert made.makespan == 10


def assert_is_a_cycle(error: RendezvousDeadlockError, programs, transfers, sides=NO_SIDES) -> None:
    cycle = error.cycle
    assert cycle
    for held, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        assert held.by.transfer == after.transfer
        assert held.end.transfer == held.transfer
        if held.by.transfer in sides:
            if not held.queued and held.waiting is None:
                assert held.by.transfer in sides[held.transfer].follows
            continue
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
