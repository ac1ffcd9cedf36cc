"""``communication``, ``p2p``, ``communicators`` and ``lowering``: the costs of transfers, and the rules of waiting."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ppopt
from ppopt.commands.cli import cli
from ppopt.comparison.ranking import comparison_of
from ppopt.optimization.ladders import measure_ladders
from reports.charts.timeline_layout import transfer_rows
from reports.ladder import STEPS
from reports.page.columns import columns
from reports.page.tables import number_titles, numbers
from solver.replay import replay
from solver.search.sweep import Sweeper
from strategies.model.communicators import COMMUNICATORS
from tests.brute_force import optimum
from tests.examples import examples
from tests.lowered_orders import TIMES, golden

SIZES = {"devices": 4, "stages": 8, "microbatches": 8, "times": TIMES}


def pipeline(**more: Any) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_mapping({**SIZES, **more})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def test_latency_alone_is_what_p2p_latency_is_short_for() -> None:
    long = ppopt.evaluate(pipeline(communication={"latency": 0.2}), "interleaved")
    short = ppopt.evaluate(pipeline(p2p_latency=0.2), "interleaved")
    assert long.rows == short.rows
    split = ppopt.evaluate(pipeline(communication={"latency": 0.05, "transfer": 0.15}), "interleaved")
    assert split.makespan == short.makespan


def test_hops_differ_by_boundary_and_by_class() -> None:
    given = {
        "latency": {"node": 0.1, "network": 0.5},
        "bytes": [10, 20, 30, 40, 50, 60, 70],
        "bytes_backward": 100,
        "bandwidth": {"node": 100, "network": 10},
        "devices_per_node": 2,
    }
    costs = pipeline(communication=given)
    assert costs.hop(0, 0, 1, "F") == (Fraction(1, 10), Fraction(1, 10))
    assert costs.hop(1, 1, 2, "F") == (2, Fraction(1, 2))
    assert costs.hop(1, 2, 1, "B") == (10, Fraction(1, 2))
    assert costs.hop(0, 0, 0, "F") == (0, 0)
    lags = {
        (str(before), str(after)): Fraction(lag, problem.ticks_per_unit)
        for problem in [ppopt.evaluate(costs, "interleaved").problem]
        for before, after, lag in problem.precedences
    }
    assert lags["0F0", "1F0"] == Fraction(2, 10)
    assert lags["1F0", "2F0"] == Fraction(25, 10)
    assert lags["2B0", "1B0"] == Fraction(105, 10)


def test_hops_of_boundaries_are_taken_along_to_another_cut() -> None:
    costs = ppopt.Pipeline.from_mapping(
        {"devices": 2, "stages": 4, "microbatches": 4, "times": TIMES, "communication": {"transfer": [1, 2, 3]}}
    )
    assert costs.communication is not None
    assert costs.recut(2).communication.transfer == (2,)  # the boundary in the middle
    assert costs.recut(8).communication.transfer == (1, 1, 2, 2, 3, 3, 3)  # inside a split stage: the larger end
    assert costs.recut(4) is costs
    assert ppopt.Pipeline.from_mapping(costs.to_mapping()) == costs


def test_a_search_with_uneven_hops_finds_what_exhaustive_search_finds() -> None:
    costs = ppopt.Pipeline.from_mapping(
        {
            "devices": 3, "stages": 3, "microbatches": 2, "times": {"forward": [1, 2, 1], "backward": [2, 2, 3]},
            "communication": {"transfer": [1, 3], "latency": 1},
        }
    )  # fmt: skip
    found = ppopt.optimize(costs, split_backward=False, time_limit=60, workers=1)
    assert found.status == "optimal"
    assert Fraction(found.makespan) == optimum(costs, "linear", split=False, overlap=False)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"communication": {"bandwidth": 0, "bytes": 1}}, "communication.bandwidth: must be greater than 0; found 0"),
        ({"communication": {"bytes": 5}}, "communication.bytes: needs bandwidth"),
        ({"communication": {"bandwidth": 5}}, "communication.bandwidth: needs bytes"),
        ({"communication": {"bytes_backward": 5}}, "communication.bytes_backward: needs bytes"),
        ({"communication": {"transfer": 1, "bytes": 5, "bandwidth": 1}}, "communication.transfer: contradicts bytes"),
        (
            {"communication": {"transfer": [1, 2]}},
            "transfer: must have one entry for each of the 7 boundaries between 8 stages; found 2 entries",
        ),
        ({"communication": {"devices_per_node": 3}}, "devices_per_node: must divide the 4 devices; found 3"),
        ({"communication": {"latency": {"node": 1, "network": 2}}}, "needs devices_per_node"),
        ({"communication": {"latency": {"nod": 1, "network": 2}}}, "'nod' is not a known key; did you mean node?"),
        ({"communication": {"latency": {"node": 1}}}, "network is missing"),
        ({"communication": {"latncy": 1}}, "communication.latncy: is not a known key; did you mean latency?"),
        ({"communication": {"latency": 1}, "p2p_latency": 1}, "p2p_latency: is short for communication.latency"),
        ({"p2p": "link"}, "p2p: must be one of async, links, rendezvous, batched; found 'link'; did you mean links?"),
        ({"communicators": "pair"}, "communicators: applies to p2p: rendezvous; found p2p: async"),
        ({"p2p": "links", "lowering": "timed"}, "lowering: applies to p2p: rendezvous; found p2p: links"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_a_line(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ppopt.InputError) as caught:
        pipeline(**more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_of_boundaries_need_stages() -> None:
    open_stages = {key: value for key, value in SIZES.items() if key != "stages"}
    with pytest.raises(
        ppopt.InputError, match=r"communication\.transfer: has one entry a boundary, so it needs stages"
    ):
        ppopt.Pipeline.from_mapping({**open_stages, "communication": {"transfer": [1, 1, 1]}})


@settings(max_examples=examples(40), deadline=None)
@given(
    st.sampled_from(["interleaved", "dualpipe-v", "zb-v", "looped-bfs", "hanayo", "interleaved-overlap", "chimera"]),
    st.sampled_from([2, 4]),
    st.sampled_from([Fraction(1, 20), Fraction(1, 2), Fraction(3)]),
)
def test_links_take_one_result_after_the_other(name: str, devices: int, transfer: Fraction) -> None:
    costs = {"devices": devices, "microbatches": 8, "times": TIMES, "communication": {"transfer": transfer}}
    waits = ppopt.evaluate(ppopt.Pipeline.from_mapping({**costs, "p2p": "links"}), name)
    passes = ppopt.evaluate(ppopt.Pipeline.from_mapping(costs), name)
    assert ppopt.violations(waits.problem, waits.rows, memory=False) == []
    assert Sweeper(waits.problem).starts(waits.actions) == replay(waits.problem, waits.actions)
    starts = {row.task: row.start for row in passes.rows}
    assert all(row.start >= starts[row.task] for row in waits.rows)
    assert float(waits.unhindered_makespan) == passes.makespan
    assert {row.task: row.start for row in waits.rows} == link_by_link(waits)


@st.composite
def cuts_with_empty_stages(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw schedules, most of them with blocks, on models in which some stage has no layers."""
    name, per_device = draw(
        st.sampled_from([("interleaved-overlap", 2), ("1f1b-overlap", 1), ("dualpipe-v", 2), ("dualpipe", 1)])
    )
    devices = draw(st.sampled_from([2, 4]))
    stages = per_device * devices
    cut = draw(st.lists(st.integers(0, 2), min_size=stages, max_size=stages).filter(lambda cut: 0 in cut and any(cut)))
    layer = {"name": "decoder", "count": sum(cut), "forward": 2, "backward": 4}
    mapping = {"devices": devices, "microbatches": 2 * devices, "layers": [layer], "layers_per_stage": cut}
    mapping["communication"] = {"transfer": draw(st.sampled_from([0, 1, 3])), "latency": draw(st.sampled_from([0, 1]))}
    return name, mapping | draw(st.sampled_from([{}, {"overlap": 0.5}]))


@settings(max_examples=examples(60), deadline=None)
@given(cuts_with_empty_stages())
@example(
    (
        "interleaved-overlap",
        {
            "devices": 2,
            "microbatches": 2,
            "layers": [{"name": "a", "count": 4, "forward": 2, "backward": 4}],
            "layers_per_stage": [1, 1, 2, 0],
            "communication": {"transfer": 1},
        },
    )
)
def test_blocks_that_take_no_time_have_their_turn_on_a_link(case: tuple[str, dict[str, Any]]) -> None:
    name, mapping = case
    waits = ppopt.evaluate(ppopt.Pipeline.from_mapping({**mapping, "p2p": "links"}), name)
    assert ppopt.violations(waits.problem, waits.rows, memory=False) == []
    assert {row.task: row.start for row in waits.rows} == link_by_link(waits)


@settings(max_examples=examples(40), deadline=None)
@given(cuts_with_empty_stages(), st.sampled_from(COMMUNICATORS))
def test_blocks_that_take_no_time_run_with_every_kind_of_waiting(
    case: tuple[str, dict[str, Any]], communicators: str
) -> None:
    name, mapping = case
    for more in ({"p2p": "rendezvous", "communicators": communicators}, {"p2p": "batched"}):
        made = ppopt.evaluate(ppopt.Pipeline.from_mapping({**mapping, **more}), name)
        assert ppopt.violations(made.problem, made.rows, memory=False) == []
        assert float(made.unhindered_makespan) <= made.makespan


def link_by_link(schedule: ppopt.Schedule) -> dict[object, int]:
    """Find the starts from the rule itself: delay actions repeatedly until none comes before its input."""
    starts = dict.fromkeys((row.task for row in schedule.rows), 0)
    while (later := put_off(schedule, starts)) != starts:
        starts = later
    return starts


def put_off(schedule: ppopt.Schedule, starts: dict[object, int]) -> dict[object, int]:
    """Start each action after the previous one on its device, and not before its inputs are there."""
    inputs = arrivals(schedule, starts)
    later: dict[object, int] = {}
    free = [0] * schedule.problem.devices
    for order, device in zip(schedule.actions, range(len(free)), strict=True):
        for action in order:
            tasks = tuple(action) if isinstance(action, ppopt.Block) else (action,)
            start = max([free[device], *(inputs.get(task, 0) for task in tasks)])
            later.update(dict.fromkeys(tasks, start))
            free[device] = start + schedule.problem.duration(action)
    return later


def arrivals(schedule: ppopt.Schedule, starts: dict[object, int]) -> dict[object, int]:
    """Return when the inputs of each operation are there, if each link takes one result after another."""
    problem, rows = schedule.problem, schedule.rows
    ends = {row.task: starts[row.task] + row.end - row.start for row in rows}
    turn = {row.task: place for place, row in enumerate(rows)}
    free: dict[tuple[int, int], int] = {}
    there: dict[object, int] = {}
    for before, after, lag in sorted(problem.precedences, key=lambda each: turn[each[0]]):
        arrival = ends[before] + lag
        if (before, after) in problem.moves:
            moving = problem.moves[before, after]
            link = problem.tasks[before].device, problem.tasks[after].device
            free[link] = max(free.get(link, 0), ends[before]) + moving
            arrival = free[link] + lag - moving
        there[after] = max(there.get(after, 0), arrival)
    return there


@pytest.mark.parametrize("lowering", ["timed", "pytorch"])
def test_rendezvous_takes_as_long_as_an_independent_replay_says(lowering: str) -> None:
    for row in golden()["replay_transfer_0.25"]:
        if (row["p"], row["m"]) != (4, 8) or (lowering == "pytorch" and row["torch_rank"] is None):
            continue
        for communicators in ("edge", "pair", "way", "rank"):
            costs = pipeline(
                stages=row["stages"], communication={"transfer": 0.25}, p2p="rendezvous", lowering=lowering,
                communicators=communicators,
            )  # fmt: skip
            made = ppopt.evaluate(costs, row["schedule"])
            assert made.makespan == row[f"{lowering.replace('pytorch', 'torch')}_{communicators}"]
            assert made.unhindered_makespan == Fraction(row["asynchronous"])
            assert ppopt.violations(made.problem, made.rows, memory=False) == []


def test_batches_are_those_of_the_frameworks() -> None:
    names = {"megatron_1f1b": "1f1b", "megatron_interleaved(v=2,)": "interleaved", "dualpipe_v": "dualpipe-v"}
    rows = [row for row in golden()["programs_transfer_0.05"] if row["program"] in names]
    assert len(rows) == 6
    for row in rows:
        name, devices = names[row["program"]], row["devices"]
        costs = ppopt.Pipeline.from_mapping(
            {
                "devices": devices, "stages": devices * (1 if name == "1f1b" else 2), "times": TIMES,
                "microbatches": row["microbatches"], "communication": {"transfer": 0.05}, "p2p": "batched",
            }
        )  # fmt: skip
        assert ppopt.evaluate(costs, name).makespan == float(Fraction(row["rank"]))
    for microbatches, makespan in ((8, 26.6), (16, 51.0)):
        costs = ppopt.Pipeline.from_mapping(
            {
                "devices": 4, "microbatches": microbatches, "times": TIMES, "communication": {"transfer": 0.05},
                "p2p": "batched",
            }
        )  # fmt: skip
        assert ppopt.evaluate(costs, "dualpipe").makespan == makespan


def test_orders_without_a_frameworks_program_are_placed_by_time_with_one_communicator_a_rank() -> None:
    """The figures are those of an independent replay."""
    rows = [row for row in golden()["replay_transfer_0.05"] if (row["p"], row["m"]) == (4, 8)]
    others = [row for row in rows if row["schedule"] not in ("1f1b", "interleaved", "dualpipe", "dualpipe-v")]
    assert len(others) == 5
    for row in others:
        costs = pipeline(stages=row["stages"], communication={"transfer": 0.05}, p2p="batched")
        made = ppopt.evaluate(costs, row["schedule"])
        assert (made.makespan, made.placed_by) == (row["timed_rank"], "time")


def test_ladders_set_apart_what_communication_costs() -> None:
    plain = pipeline(communication={"transfer": 0.25})
    for more in ({"p2p": "links"}, {"p2p": "rendezvous", "lowering": "pytorch", "communicators": "rank"}):
        for name in ("interleaved", "dualpipe-v", "zb-v"):
            made = ppopt.evaluate(pipeline(communication={"transfer": 0.25}, **more), name)
            (ladder,) = measure_ladders([made]).ladders
            assert float(ladder.makespan) == made.makespan
            assert float(ladder.makespan - ladder.communication) == ppopt.evaluate(plain, name).makespan
            assert all(getattr(ladder, step) >= 0 for step in STEPS)
            assert ladder.bound == measure_ladders([ppopt.evaluate(plain, name)]).ladders[0].bound


@pytest.mark.parametrize("more", [{"p2p": "batched"}, {"p2p": "rendezvous", "communicators": "rank"}])
def test_all_idle_time_is_explained_by_transfers_as_they_were(more: dict[str, str]) -> None:
    """With the lags that transfers had, a replay without waiting gives the same times."""
    costs = pipeline(communication={"transfer": 0.25, "latency": 0.1}, **more)
    made = ppopt.evaluate(costs, "interleaved")
    found = replay(made.problem_as_run, made.actions)
    assert {row.task: row.start for row in made.rows} == found
    assert sum(idle.latency for idle in made.waiting.devices) > 0


def test_only_what_meets_its_bound_is_optimal() -> None:
    costs = {"devices": 2, "stages": 4, "microbatches": 4, "times": TIMES, "communication": {"transfer": 0.5}}
    plain = ppopt.optimize(ppopt.Pipeline.from_mapping(costs), placement="v", time_limit=3, workers=1)
    for more in ({"p2p": "links"}, {"p2p": "rendezvous", "communicators": "rank"}, {"p2p": "batched"}):
        found = ppopt.optimize(ppopt.Pipeline.from_mapping({**costs, **more}), placement="v", time_limit=3, workers=1)
        assert found.makespan >= plain.bound
        assert (found.status == "optimal") == (found.makespan == found.bound)
        assert found.bound <= plain.makespan or plain.status != "optimal"


def test_the_table_and_json_say_what_communication_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {**SIZES, "communication": {"transfer": 0.05}, "p2p": "rendezvous", "communicators": "rank"}
    Path("c.json").write_text(json.dumps({**given, "lowering": "pytorch"}))
    table = run("evaluate", "interleaved", "zb-v", "-c", "c.json").stdout.splitlines()
    assert table[0].split()[-1] == "comm"
    assert table[1].split()[-1] == "+24.5%"
    (first, *_) = json.loads(run("evaluate", "interleaved", "-c", "c.json", "--format", "json").stdout)["schedules"]
    assert (first["p2p"], first["makespan"], first["makespan_async"]) == ("rendezvous", 71.85, 57.7)
    assert first["communication"] == pytest.approx(71.85 / 57.7 - 1)


HANGS = """\
0F0,0F1,0SEND_F0,0SEND_F1,2RECV_F0,2F0,2RECV_F1,2F1,2SEND_F0,2SEND_F1,2RECV_B0,2B0,2SEND_B0,2RECV_B1,2B1,2SEND_B1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD,2REDUCE_GRAD
1RECV_F0,1F0,1SEND_F0,1RECV_F1,1F1,1SEND_F1,3RECV_F0,3F0,3RECV_F1,3F1,3B0,3SEND_B0,3B1,3SEND_B1,1RECV_B0,1B0,1RECV_B1,1B1,1SEND_B0,1SEND_B1,1REDUCE_GRAD,3REDUCE_GRAD
"""


def test_a_file_that_hangs_is_refused_with_its_cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("h.csv").write_text(HANGS)
    given = {"devices": 2, "stages": 4, "microbatches": 2, "times": TIMES, "p2p": "rendezvous", "lowering": "given"}
    Path("c.json").write_text(json.dumps({**given, "communication": {"transfer": 0.05}, "communicators": "edge"}))
    result = run("evaluate", "h.csv", "-c", "c.json")
    assert result.exit_code == 0
    assert "set aside: ppopt places communication" not in result.stderr
    Path("c.json").write_text(json.dumps({**given, "communication": {"transfer": 0.05}, "communicators": "rank"}))
    result = run("evaluate", "h.csv", "-c", "c.json")
    assert result.exit_code == 2
    assert "h.csv: hangs with communicators: rank (one for all of a rank): " in result.stderr
    assert " stands behind " in result.stderr
    result = run("evaluate", "interleaved", "-c", "c.json")
    assert result.exit_code == 2
    assert "lowering: given takes a file that holds its communication" in result.stderr
    for command in ("evaluate", "check"):
        result = run(command, "h.csv", "-c", "c.json", "--recut")
        assert result.exit_code == 2
        assert "--recut: h.csv holds communication" in result.output


@pytest.mark.parametrize("more", [{"p2p": "links"}, {"p2p": "rendezvous", "lowering": "pytorch"}, {"p2p": "batched"}])
def test_timelines_draw_both_ends_of_every_transfer(more: dict[str, str]) -> None:
    made = ppopt.evaluate(pipeline(communication={"transfer": 0.5}, **more), "interleaved")
    drawn = columns(made.presented())["transfers"]
    crossing = sum(lag > 0 for _, _, lag in made.problem.precedences)
    assert {len(column) for column in drawn.values()} == {2 * crossing}
    assert min(drawn["waited"]) >= 0
    assert min(drawn["length"]) > 0
    moving = [row for row in transfer_rows(made.presented()) if row["state"] == "moves"]
    assert len(moving) == 2 * crossing
    assert all(row["end"] - row["start"] == pytest.approx(0.5) for row in moving)
    free = ppopt.evaluate(pipeline(communication={"transfer": 0.5}), "interleaved").presented()
    assert columns(free)["transfers"]["device"] == []


def test_the_checker_knows_links() -> None:
    made = ppopt.evaluate(pipeline(communication={"transfer": 3}, p2p="links"), "dualpipe-v")
    passes = ppopt.evaluate(pipeline(communication={"transfer": 3}), "dualpipe-v")
    assert ppopt.violations(made.problem, made.rows, memory=False) == []
    found = ppopt.violations(made.problem, passes.rows, memory=False)
    assert {each.kind for each in found} == {"link"}


@pytest.mark.parametrize("placement", ["v", "bidirectional"])
def test_a_search_with_links_takes_the_best_with_links(placement: str) -> None:
    """The case has full backwards shorter than both halves, blocks, and two results that need a link at once."""
    costs = {
        "devices": 2, "stages": 4 if placement == "v" else 2, "microbatches": 4, "overlap": 0.5, "p2p": "links",
        "times": {"forward": 2, "backward": 3.8, "backward_input": 2, "backward_weight": 2},
        "communication": {"transfer": 1.5},
    }  # fmt: skip
    found = ppopt.optimize(
        ppopt.Pipeline.from_mapping(costs), placement=placement, overlap=True, time_limit=1, workers=1
    )
    assert ppopt.violations(found.problem, found.rows) == []
    for name in ("dualpipe", "dualpipe-v", "zb-v", "chimera"):
        if (placement == "bidirectional") == (name in ("dualpipe", "chimera")):
            assert found.makespan <= ppopt.evaluate(found.pipeline, name).makespan
    assert found.bound <= found.makespan


def test_the_pages_numbers_say_what_communication_costs() -> None:
    costs = pipeline(communication={"transfer": 0.05}, p2p="rendezvous", lowering="pytorch", communicators="rank")
    section = comparison_of(costs, [ppopt.evaluate(costs, "interleaved")]).section("c.yaml")
    place = number_titles(section).index("communication")
    assert numbers(section)[0][place].text == "+24.5%"
    plain = pipeline(communication={"transfer": 0.05})
    assert "communication" not in number_titles(comparison_of(plain, [ppopt.evaluate(plain, "interleaved")]).section())


@pytest.mark.parametrize("microbatches", [2, 5, 6, 7])
def test_megatrons_interleaved_batches_take_multiples_of_the_devices(microbatches: int) -> None:
    sizes = {"devices": 4, "stages": 8, "microbatches": microbatches}
    times = {"forward": 1, "backward": 2}
    costs = ppopt.Pipeline.from_mapping({**sizes, "times": times, "communication": {"transfer": 2}, "p2p": "batched"})
    with pytest.raises(ppopt.InputError, match=rf"a multiple of the devices, 4, in batches; found {microbatches}$"):
        ppopt.evaluate(costs, "interleaved")
    assert ppopt.evaluate(costs, "1f1b").makespan > 0
