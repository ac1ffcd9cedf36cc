"""No result is shorter than its proven bound, by however little."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from click.testing import CliRunner

import ppopt
from ppopt.commands.cli import cli
from ppopt.comparison import ranking
from ppopt.comparison.ranking import with_bound
from ppopt.optimization import one_search
from ppopt.optimization.ladders import measure_ladders
from ppopt.optimization.periodic import PeriodicSchedule
from ppopt.optimization.published_beside import compared_with_published
from tests.evaluated import evaluated, pipeline

LITTLE = Fraction(1, 10**30)
"""A difference far below the precision of a float."""

COSTS = pipeline(4, 8, p2p_latency=0.1)
LAYERS = ppopt.Pipeline.from_mapping(
    {"devices": 2, "microbatches": 4, "layers": [{"name": "block", "count": 4, "forward": 1, "backward": 2}]}
)


def test_a_schedule() -> None:
    made = evaluated("zb-h1", COSTS)
    for objective, value in (("makespan", made.exact_makespan), ("span", made.exact_span)):
        assert float(value) == getattr(made, objective)
        given: Any = {"objective": objective}
        proven = replace(made, **given, proven=value)
        assert (proven.bound, proven.gap) == (float(value), 0)
        with pytest.raises(ppopt.InternalError, match=r"zb-h1: .* is below the bound"):
            replace(made, **given, proven=value + LITTLE)


def test_a_schedule_that_is_written_out_in_part() -> None:
    made = ppopt.optimize(pipeline(4, 20_000), time_limit=5, workers=1)
    assert isinstance(made, PeriodicSchedule)
    assert float(made.exact_makespan) == made.makespan
    assert made.exact_makespan > max(row.end for row in made.rows) / made.problem.ticks_per_unit
    with pytest.raises(ppopt.InternalError, match=r"optimized-linear: .* is below the bound"):
        replace(made, proven=made.exact_makespan + LITTLE)


def test_a_plan() -> None:
    (made,) = ppopt.plan(LAYERS, ["1f1b"], stages_per_device=[1], time_limit=5, workers=1)
    assert replace(made, bound=made.exact_makespan).gap == 0
    with pytest.raises(ppopt.InternalError, match=r"1f1b: .* is below the bound"):
        replace(made, bound=made.exact_makespan + LITTLE)


def test_a_point_of_a_frontier() -> None:
    made = evaluated("zb-h1", COSTS)
    assert ppopt.Point(4, made, made.exact_makespan).status == "optimal"
    assert ppopt.Point(4, made, made.exact_makespan - LITTLE).status == "feasible"
    with pytest.raises(ppopt.InternalError, match=r"within 4: .* is below the bound"):
        ppopt.Point(4, made, made.exact_makespan + LITTLE)


def test_a_row_of_a_comparison() -> None:
    made = evaluated("zb-h1", COSTS)
    (ladder,) = measure_ladders([made]).ladders
    assert with_bound(made, ladder).proven == ladder.bound
    with pytest.raises(ppopt.InternalError, match=r"zb-h1: .* is below the bound"):
        with_bound(made, replace(ladder, order=-LITTLE, memory=ladder.memory + ladder.order + LITTLE))


def test_what_does_not_fit_the_memory_has_no_bound_of_what_does() -> None:
    found = ppopt.optimize(pipeline(4, 8, memory={"limit": 2}), time_limit=2, workers=1)
    beside, _ = compared_with_published(found)
    assert {each.fits for each in beside} == {True, False}
    assert all((each.bound is None) == (not each.fits) for each in beside)


def test_a_fault_on_one_placement_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = one_search.check_result

    def check(search: Any, result: Any) -> None:
        if result.placement == "v":
            raise ppopt.InternalError("optimized-v: 1 is below the bound 2")
        plain(search, result)

    monkeypatch.setattr(one_search, "check_result", check)
    found = ppopt.optimize(pipeline(2, 4), placement="all", time_limit=4, workers=1)
    assert found.placement != "v"
    assert "internal error: optimized-v: 1 is below the bound 2" in found.notes
    with pytest.raises(ppopt.InternalError, match="optimized-v: 1 is below the bound 2"):
        ppopt.optimize(pipeline(2, 4), placement="v", time_limit=2, workers=1)
    command = ["optimize", "--devices", "2", "--microbatches", "4", "--placement", "all", "--time-limit", "4"]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 1
    assert "optimized-linear" in result.stdout
    assert result.stderr.splitlines()[-1] == "error: internal error: optimized-v: 1 is below the bound 2"


def test_a_row_that_is_below_its_bound_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ranking.with_bound

    def with_bound(schedule: Any, ladder: Any) -> Any:
        above = replace(ladder, order=-LITTLE, memory=ladder.memory + ladder.order + LITTLE)
        return plain(schedule, above if schedule.strategy == "zb-h1" else ladder)

    monkeypatch.setattr(ranking, "with_bound", with_bound)
    found = ppopt.compare(COSTS, ["1f1b", "zb-h1"], optimize=False)
    assert [each.strategy for each in found.schedules] == ["1f1b"]
    (fault,) = found.internal_errors
    assert fault.startswith("zb-h1: ")
    assert "is below the bound" in fault
