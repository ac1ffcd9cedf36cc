"""`ppopt.frontier` returns correct results, keeps its time limit, and can be continued."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from click.testing import CliRunner

import ppopt
from ppopt import Frontier, InputError, Pipeline
from ppopt.commands.cli import cli
from ppopt.commands.pages import write_frontier
from ppopt.memory_frontier import find
from ppopt.memory_frontier.curves import Curves, FoundSchedule, Record
from ppopt.memory_frontier.explore import Exploration
from ppopt.memory_frontier.job import Failure, Job
from ppopt.memory_frontier.searchers import Searchers
from ppopt.optimization.cuts import searched_cut
from ppopt.optimization.options import SearchOptions
from ppopt.schedules.schedule import BETWEEN
from solver.bounds.bound import Bound
from solver.errors import TimeTooShortError
from strategies.problem.search_problem import build_search_problem
from tests.brute_force import optimum
from tests.evaluated import evaluated, pipeline
from tests.running import call_ppopt, interrupted

COSTS = pipeline(4, 8, p2p_latency=0.25, memory={"limit": 3})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frontier") / "found.json"


@pytest.fixture(scope="module")
def searched(saved: Path) -> Frontier:
    return ppopt.frontier(COSTS, time_limit=5, points=6, workers=2, save_to=saved)


def assert_sound(frontier: Frontier) -> None:
    """Check that curves are monotone, no bound is above a makespan, and no comparable schedule is below a curve."""
    for before, after in pairwise(frontier.points):
        assert before.limit < after.limit
        assert before.makespan >= after.makespan
        assert before.bound >= after.bound
    for point in frontier.points:
        assert point.bound <= point.makespan
        assert (point.status == "optimal") == (point.bound == point.makespan)
        assert max(point.schedule.peak_memory) <= point.limit
        assert ppopt.violations(point.schedule.problem, point.schedule.rows, memory=False) == []
    for place, published in enumerate(frontier.published):
        if place in frontier.comparable:
            memory = max(published.peak_memory)
            assert (
                min(each.makespan for each in frontier.stairs if max(each.peak_memory) <= memory) <= published.makespan
            )
            assert all(point.makespan <= published.makespan for point in frontier.points if point.limit >= memory)
            assert all(bound <= published.makespan for upto, bound in frontier.bounds if upto >= memory)


def test_a_frontier_is_sound(searched: Frontier) -> None:
    assert_sound(searched)
    assert len(searched.published) == 25 + 1  # the last: zb-auto, run again within the limit
    assert searched.points[0].limit == 1
    assert searched.points[-1].makespan == searched.top.makespan
    assert searched.points[-1].limit == max(searched.top.peak_memory)
    assert 3 in [point.limit for point in searched.points]
    assert searched.searched == ("linear", "interleaved", "v", "bidirectional")
    assert any(each.is_searched for each in (point.schedule for point in searched.points))
    assert searched.points[-1].bound >= searched.highest_bound


@pytest.mark.parametrize("limits", [[1.5, 2], pytest.param([1, 1.5, 2, 3], marks=pytest.mark.slow)], ids=str)
def test_the_optimum_is_found_at_every_limit_of_a_small_pipeline(limits: list[float]) -> None:
    costs = pipeline(2, 3, stages=2, p2p_latency=0.5)
    frontier = ppopt.frontier(costs, placement="linear", limits=limits, time_limit=60, workers=1)
    assert [point.limit for point in frontier.points] == limits
    for point in frontier.points:
        exact = optimum(costs.with_limit(Fraction(point.limit)), "linear", split=True, overlap=False)
        assert exact is not None
        assert point.bound <= exact <= point.makespan
        assert (point.makespan, point.status) == (float(exact), "optimal")


def test_a_later_run_goes_on(searched: Frontier, saved: Path) -> None:
    again = ppopt.frontier(COSTS, time_limit=0, limits=[point.limit for point in searched.points], save_to=saved)
    assert [point.to_dict() for point in again.points] == [point.to_dict() for point in searched.points]
    chosen = ppopt.frontier(COSTS, time_limit=0, points=6, save_to=saved)
    assert [point.limit for point in chosen.points] == [point.limit for point in searched.points]
    more = ppopt.frontier(COSTS.with_limit(None), placement="linear", time_limit=0, limits=[2], save_to=saved)
    assert set(json.loads(saved.read_text())["placements"]) == set(searched.searched)
    more = ppopt.frontier(COSTS.with_limit(None), time_limit=0, limits=[2], save_to=saved)
    assert more.points[0].makespan <= min(each.makespan for each in searched.stairs if max(each.peak_memory) <= 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "is damaged: it is not JSON"),
        (lambda text: text.replace('"searched": true', '"searched": false', 1), "is damaged: its checksum"),
        (lambda text: text.replace(ppopt.__version__, "0.0.7", 1), "was written by ppopt 0.0.7, and this is"),
        (lambda text: text.replace("ppopt-frontier-2", "ppopt-frontier-1", 1), "was written by ppopt"),
        (lambda text: '{"pipeline": 3}', "was not written by `ppopt frontier --save`"),
        (lambda text: "[" * 100_000, "is damaged: it is not JSON"),
    ],
)
@pytest.mark.usefixtures("searched")
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, saved: Path, change: Any, message: str) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(change(saved.read_text()))
    before = broken.read_bytes()
    with pytest.raises(InputError, match=message) as refused:
        ppopt.frontier(COSTS, time_limit=0, save_to=broken)
    assert "\n" not in str(refused.value)
    assert "name another file, or delete it" in str(refused.value)
    assert broken.read_bytes() == before


@pytest.mark.usefixtures("searched")
def test_a_file_of_another_pipeline_is_refused(saved: Path) -> None:
    with pytest.raises(InputError, match=r"belongs to another pipeline \(microbatches differs\)"):
        ppopt.frontier(pipeline(4, 9, p2p_latency=0.25), time_limit=0, save_to=saved)
    with pytest.raises(InputError, match="was searched without --overlap"):
        ppopt.frontier(COSTS, time_limit=0, overlap=True, save_to=saved)


def test_static_memory_counts() -> None:
    costs = pipeline(4, 8, memory={"static": 5})
    frontier = ppopt.frontier(costs, time_limit=0)
    assert frontier.points[0].limit == 6
    assert_sound(frontier)
    twofold = ppopt.frontier(costs, placement="bidirectional", time_limit=0)
    assert twofold.points[0].limit == 11
    assert not any("two copies" in note for note in twofold.notes)
    alone = ppopt.frontier(pipeline(2, 4, memory={"activation": 0, "static": 5}), time_limit=1, workers=1)
    assert alone.points[0].limit == 5
    assert alone.points[-1].limit in (5, 10)
    assert_sound(alone)


def test_blocks_that_save_time_need_to_be_allowed() -> None:
    costs = pipeline(2, 4, overlap=0.5)
    without, allowed = (
        ppopt.frontier(costs, time_limit=1, limits=[8], workers=1, overlap=overlap) for overlap in (False, True)
    )
    for frontier, comparable in ((without, False), (allowed, True)):
        place = next(place for place, each in enumerate(frontier.published) if each.strategy == "dualpipe")
        assert (place in frontier.comparable) == comparable
        assert_sound(frontier)
    assert allowed.highest_bound <= without.highest_bound
    assert without.sentence.endswith("Bounds and proofs hold without overlapped blocks.")
    assert without.to_dict()["bounds_hold"] == "without overlapped blocks"
    assert "hold" not in allowed.sentence


def test_gathered_parameters_alone_make_a_frontier() -> None:
    sharding = {"all_gather": 1, "weights": 2, "resident": "auto"}
    mapping = {"devices": 2, "stages": 4, "microbatches": 4, "memory": {"activation": 0}, "sharding": sharding}
    made = ppopt.frontier(ppopt.Pipeline.from_mapping(mapping), placement="v", limits=[2, 4], time_limit=1, workers=1)
    assert [point.schedule.resident for point in made.points] == [1, 2]
    assert made.points[0].makespan > made.points[1].makespan


def test_without_time_everything_is_there() -> None:
    frontier = ppopt.frontier(pipeline(3, 5), time_limit=0)
    assert_sound(frontier)
    assert any("not evaluated" in reason for _, reason in frontier.left_out)
    assert any("no memory is given" in note for note in frontier.notes)
    assert frontier.seconds < 30


# ---- the choice of the next search


def exploration(**more: Any) -> Exploration:
    model = pipeline(4, 8, stages=4)
    records = []
    for name in ("linear", "v"):
        cut, layout = searched_cut(model, name, SearchOptions())
        made = Record(name, cut, layout, build_search_problem(cut, layout))
        made.add(FoundSchedule.of(evaluated({"linear": "zb-h1", "v": "v-min"}[name], cut)))
        records.append(made)
    told: dict[str, Any] = {
        "limits": [Fraction(4), Fraction(5)],
        "points": 2,
        "wanted": [],
        "earlier": [],
        "processes": 2,
    } | more
    return Exploration(model, Curves(records), SearchOptions(), ends=monotonic() + 1e6, on_progress=str, **told)


def test_a_placement_that_cannot_gain_is_not_searched() -> None:
    explored = exploration()
    linear, v = explored.curves.records
    assert {explored._next([]).limit, explored._next([]).limit} == {None}
    linear.prove(Bound(10**6, "load"), None)
    chosen = [explored._next([]) for _ in range(4)]
    assert {job.placement for job in chosen} == {"v"}
    assert {job.limit for job in chosen[:2]} == {4, 5}
    v.prove(Bound(10**6, "load"), None)
    assert explored._next([]) is None


def test_the_largest_gap_for_its_time_comes_next() -> None:
    explored = exploration()
    linear, v = explored.curves.records
    explored.spent = {(name, limit): 1.0 for name in ("linear", "v") for limit in (Fraction(4), Fraction(5), None)}
    linear.prove(Bound(10**6, "load"), None)
    shortest = explored.curves.best_at(None).makespan * v.problem.ticks_per_unit
    v.prove(Bound(int(shortest * 9 / 10), "load"), None)
    v.prove(Bound(int(shortest * 99 / 100), "load"), Fraction(4))
    first = explored._next([])
    assert first.limit in (5, None)
    assert first.options.known == v.best_proof(first.limit).bound
    assert first.options.starts == (v.best_at(first.limit).schedule,)
    explored.spent = dict.fromkeys(explored.spent, 1e3) | {("v", Fraction(4)): 1.0}
    assert explored._next([]).limit == 4
    busy = [Job("v", Fraction(4), explored.model, SearchOptions())]
    assert explored._next(busy).limit in (5, None)


def test_time_that_gained_nothing_counts_twice() -> None:
    explored = exploration()
    linear, _ = explored.curves.records
    job = explored._next([])
    assert (job.placement, job.limit) == ("linear", None)
    took = explored.spent["linear", None]
    explored._take(job, replace(linear.found[-1].schedule, bound_held_by=Bound(1, "load")))
    assert explored.spent["linear", None] == took  # a first bound
    explored._take(job, linear.found[-1].schedule)
    assert explored.spent["linear", None] == 2 * took
    explored._take(job, None)
    assert explored.spent["linear", None] == 2 * took


def test_what_goes_wrong_in_a_search_is_told() -> None:
    explored = exploration()
    wrong = replace(explored._next([]), pipeline="none")
    with Searchers(1) as searchers:
        searchers.give(wrong)
        answers: list[Any] = []
        while not answers:
            answers = searchers.answers(30)
    assert isinstance(answers[0][1], Failure)
    explored._take(*answers[0])
    assert explored.faults["linear"].startswith("internal error: the search without a limit: AttributeError: 'str'")
    assert [explored._next([]).placement for _ in range(3)] == ["v"] * 3


def test_a_process_that_dies_is_counted_and_the_others_go_on() -> None:
    job = exploration()._next([])
    with Searchers(2) as searchers:
        searchers.give(job)
        searchers._searchers[0].process.kill()
        assert searchers.answers(30) == [(job, None)]
        assert (searchers.died, searchers.idle, searchers.jobs) == (1, 1, [])


def test_a_start_that_meets_a_known_bound_ends_the_search() -> None:
    costs = pipeline(4, 8)
    start = ppopt.evaluate(costs, "zb-h1")
    ticks = int(start.makespan * start.problem.ticks_per_unit)
    options = SearchOptions(time_limit=20, starts=[start], known=Bound(ticks, "load"))
    made = next(ppopt.optimize_each(replace_limit(costs, 4), options))
    assert isinstance(made, ppopt.Schedule)
    assert (made.status, made.makespan) == ("optimal", start.makespan)


def replace_limit(costs: ppopt.Pipeline, limit: int) -> ppopt.Pipeline:
    return costs.with_limit(Fraction(limit))


# ---- the command


def test_json_is_as_documented() -> None:
    result = call_ppopt("frontier", "--devices", "2", "--microbatches", "4", "--time-limit", "1", "--format", "json")
    assert result.returncode == 0, result.stderr
    written = json.loads(result.stdout)
    assert list(written) == ["points", "published"]
    keys = ["limit", "placement", "makespan", "bound", "gap", "status", "runs_in"]
    assert all(list(point) == keys for point in written["points"])
    assert all(list(each) == ["strategy", "memory", "makespan", "runs_in"] for each in written["published"])
    limits = [point["limit"] for point in written["points"]]
    assert limits == sorted(limits)


def test_tables_pictures_and_the_page_are_written(tmp_path: Path) -> None:
    for name in ("frontier.svg", "frontier.png", "page.html"):
        option = "--report" if name.endswith("html") else "--chart"
        arguments = ["frontier", "--time-limit", "0", "--limits", "4,2", option, str(tmp_path / name)]
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        assert (tmp_path / name).stat().st_size > 10_000
    assert "over best" in result.stdout
    table = CliRunner().invoke(cli, ["frontier", "--time-limit", "0", "--limits", "4,2", "--format", "csv"])
    rows = table.stdout.splitlines()
    assert rows[0] == "limit,placement,makespan,bound,gap,status,runs_in"
    assert [row.split(",")[0] for row in rows[1:]] == ["2.0", "4.0"]


def test_the_limits_that_a_picture_compares_are_searched_and_their_figures_are_those_of_the_table(
    tmp_path: Path,
) -> None:
    """Both limits are among the points, so the bracket has the figures of the table, also with 16 digits."""
    for limits in (["--limits", "4"], []):
        svg = tmp_path / "bracket.svg"
        shape = ["--devices", "2", "--microbatches", "4", "--time-limit", "1", "--format", "json", *limits]
        ends = ["--from", "1.2000000000000002", "--to", "2", "--chart", str(svg)]
        result = call_ppopt("frontier", *shape, *ends)
        assert result.returncode == 0, result.stderr
        points = {point["limit"]: point["makespan"] for point in json.loads(result.stdout)["points"]}
        before, after = points[1.2000000000000002], points[2.0]
        assert before > after
        assert f"{before:g} → {after:g}" in svg.read_text()
        assert f"{100 * (1 - after / before):.2f}% shorter" in svg.read_text()


def test_a_slide_compares_limits_exactly() -> None:
    found = ppopt.frontier(COSTS, time_limit=0, limits=[2, 4])
    least = max(found.stairs[-1].figures.peaks)
    just_below = least - Fraction(1, 10**25)
    title = found.slide(compared=(just_below - 1, just_below)).to_dict()
    steps = [each["mark"]["text"] for each in title["layer"] if isinstance(each["mark"].get("text"), list)]
    assert f"{found.stairs[-1].makespan:g}" not in steps[0][1].split()
    with pytest.raises(InputError, match="from: must be at least"):
        found.slide(compared=(Fraction(1, 100), 4))
    with pytest.raises(InputError, match="from: must be below --to"):
        found.slide(compared=(4, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limits", "4,x"], "error: --limits: must be auto or numbers such as 4,6,8; found 'x'"),
        (["--limits", "1,,2"], "error: --limits: must be auto or numbers such as 4,6,8; number 2 of '1,,2' is empty"),
        (["--limits", "1,2,"], "error: --limits: must be auto or numbers such as 4,6,8; number 3 of '1,2,' is empty"),
        (["--limits", "nan"], "error: --limits: must be a finite number; found NaN"),
        (["--limits", ","], "error: --limits: must be auto or at least one number; none is given"),
        (["--limits", "0.9,4"], "error: --limits: must be at least 1, with which one microbatch at a time runs"),
        (["--points", "0"], "Invalid value for '--points': 0 is not in the range"),
        (["--points", "3", "--limits", "4"], "error: --points: lets ppopt choose limits, but --limits names them"),
        (["--placement", "w"], "Invalid value for '--placement'"),
        (["--chart", "frontier.pdf"], "error: --chart: 'frontier.pdf' must end in .png or .svg"),
        (["--from", "2"], "error: --from: marks memory limits in an image; add --chart FILE.svg"),
        (["--from", "2", "--chart", "a.svg"], "error: --from: names one end of what is compared; give --to as well"),
        (["--to", "2", "--chart", "a.svg"], "error: --to: names one end of what is compared; give --from as well"),
        (["--from", "3", "--to", "3", "--chart", "a.svg"], "error: --from: must be below --to; found 3 and 3"),
        (["--from", "1", "--to", "x", "--chart", "a.svg"], "error: --to: 'x' is not a number"),
        (["--from", "0.5", "--to", "3", "--chart", "a.svg"], "error: --from: must be at least 1, with which one"),
        (["--save", "absent/file.json"], "absent/file.json: the folder absent does not exist"),
        (["-c", "none.yaml"], "error: memory.activation: must be above 0 on some stage for a memory frontier"),
    ],
)
def test_bad_input_is_answered_in_a_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        Path("none.yaml").write_text("devices: 2\nmicrobatches: 4\nmemory: {activation: 0}\n")
        result = CliRunner().invoke(cli, ["frontier", *arguments], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert sum(line.startswith(("error:", "Error:")) for line in result.stderr.splitlines()) == 1


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="points: must be a whole number of at least 1; found 0"):
        ppopt.frontier(COSTS, points=0)
    with pytest.raises(InputError, match="limits: must be auto or numbers such as 4, 6, 8; found 3"):
        ppopt.frontier(COSTS, limits=3)
    with pytest.raises(InputError, match="placement: 'w' is not known"):
        ppopt.frontier(COSTS, placement="w")


def searchers(mark: str) -> Iterator[int]:
    """Yield the search processes of the command with this mark in its environment, and of no other test's."""
    for entry in Path("/proc").iterdir():
        try:
            is_searcher = b"ppopt.memory_frontier.searcher" in (entry / "cmdline").read_bytes()
            if is_searcher and mark.encode() in (entry / "environ").read_bytes():
                yield int(entry.name)
        except OSError:
            continue


@pytest.mark.slow
def test_an_interrupt_keeps_what_there_is(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    options = ["--devices", "8", "--microbatches", "16", "--time-limit", "120", "--format", "json", "--save", str(file)]
    ended = interrupted(
        "frontier", *options, told="[1-9][0-9]* of [0-9]+ limits searched", env=os.environ | {"MARK": str(tmp_path)}
    )
    assert ended.returncode == 0, ended.stderr
    assert "the searches were interrupted" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert json.loads(ended.stdout)["points"]
    assert file.exists()
    assert list(searchers(str(tmp_path))) == []


def test_a_page_leaves_out_no_schedule(tmp_path: Path, searched: Frontier) -> None:
    page = tmp_path / "page.html"
    write_frontier(str(page), searched, "costs.yaml", ["ppopt", "frontier"])
    section = searched.section("costs.yaml")
    names = {each.summary.name for each in section.schedules}
    assert {each.strategy for each in searched.published} <= names
    assert section.frontier is not None
    for point in section.frontier.points:
        assert point.rank is not None
        assert section.schedules[point.rank].summary.figures.makespan == point.makespan
    for each in section.frontier.published:
        assert each.rank is not None
        assert section.schedules[each.rank].summary.name in each.name.split(BETWEEN)
    text = page.read_text()
    assert all(f'id="timeline-0-{rank}"' in text for rank in range(len(section.schedules)))


def test_a_frontier_shows_itself(searched: Frontier) -> None:
    assert repr(searched).startswith(f"<Frontier of {len(searched.points)} limits: From a limit of 1 to ")
    assert "<img" in searched._repr_html_()
    assert replace(searched, interrupted=True)._search_sentence.count("interrupted") == 1


def test_what_cannot_be_written_out_in_time_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """No order of all microbatches is replayed; the error says how long that would take."""
    sizes: list[int] = []
    plain = find.replay_orders

    def noted(label: str, pipeline: Pipeline, *rest: Any, **options: Any) -> Any:
        sizes.append(pipeline.microbatches)
        return plain(label, pipeline, *rest, **options)

    monkeypatch.setattr(find, "replay_orders", noted)
    given = Pipeline.from_mapping({"devices": 4, "microbatches": 20_000})
    with pytest.raises(TimeTooShortError, match=r"linear: writing 240,000 operations out .* takes about \d+\.\d s"):
        ppopt.frontier(given, time_limit=1)
    assert sizes
    assert max(sizes) < 20_000


def test_the_command_says_that_the_time_is_too_short() -> None:
    result = call_ppopt("frontier", "--devices", "4", "--microbatches", "20000", "--time-limit", "1")
    assert result.returncode == 4
    assert "writing 240,000 operations out" in result.stderr
    assert "Traceback" not in result.stderr
