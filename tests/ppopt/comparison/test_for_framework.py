"""Commands restricted to what a framework runs."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from click.testing import CliRunner

import ppopt
from ppopt.commands.cli import cli
from ppopt.comparison import compare as comparing
from ppopt.comparison.comparison import Comparison
from ppopt.comparison.margins import MarginsSoFar
from ppopt.optimization.options import SearchOptions
from ppopt.planning.options import PlanOptions
from ppopt.process.time_limit import MOMENT, TimeLimit
from reports.page.section_view import SectionView
from solver.errors import InfeasibleError, InputError
from strategies.layouts.runs_in import FRAMEWORKS
from tests.evaluated import pipeline
from tests.planned_models import uneven

COSTS = pipeline(4, 8)


@pytest.fixture(scope="module")
def every() -> Comparison:
    return ppopt.compare(COSTS, optimize=False)


@pytest.mark.parametrize("name", [each.name for each in FRAMEWORKS])
def test_a_comparison_shows_only_what_the_framework_runs(name: str, every: Comparison) -> None:
    made = ppopt.compare(COSTS, optimize=False, framework=name)
    assert made.schedules
    assert all(name in [each.name for each in schedule.runs_in] for schedule in made.schedules)
    expected = {each.strategy for each in every.schedules if name in each.to_dict()["runs_in"]}
    assert expected <= {each.strategy for each in made.schedules}
    assert "by framework" not in made.verdict
    assert made.to_dict()["framework"] == name


def test_what_it_does_not_run_is_left_out_with_the_reason() -> None:
    made = ppopt.compare(pipeline(4, 8), ["1f1b", "zb-h1"], optimize=False, framework="megatron")
    assert [each.strategy for each in made.schedules] == ["1f1b"]
    assert dict(made.left_out)["zb-h1"].startswith("Megatron-Core does not run it; it runs 1f1b, interleaved")


def test_megatron_is_shown_with_its_best_options() -> None:
    """Of interleaving, the shortest of all chunks and groups that Megatron takes is there."""
    costs = pipeline(4, 12, stages=4)
    made = ppopt.compare(costs, framework="megatron", time_limit=30)
    assert not any(schedule.is_searched for schedule in made.schedules)
    labels = [f"interleaved:stages={4 * v},group_size={g}" for v in (2, 3, 4) for g in (4, 6, 12)]
    least = min(ppopt.evaluate(costs, label).makespan for label in labels)
    assert made.winner is not None
    assert made.winner.makespan <= least
    found = ppopt.optimize(costs, framework="megatron", time_limit=30)
    assert found.makespan == made.winner.makespan
    assert found.bound is not None
    assert found.bound <= found.makespan


def test_searches_are_restricted_to_placements_that_it_loads() -> None:
    assert SearchOptions(placement="all", framework="pytorch").placements == ["linear", "interleaved", "v"]
    assert SearchOptions(placement="wave", framework="pytorch").placements == ["wave"]
    assert SearchOptions(placement="all", framework="megatron").placements == []
    found = ppopt.optimize(pipeline(2, 4), framework="pytorch", time_limit=1)
    assert [each.name for each in found.runs_in] == ["pytorch"]


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (SearchOptions, {"placement": "linear", "framework": "primus"}, "placement: Primus loads no order from outside"),
    (
        SearchOptions,
        {"placement": "bidirectional", "framework": "pytorch"},
        "placement: PyTorch loads orders on linear",
    ),
    (SearchOptions, {"framework": "pytorh"}, "framework: 'pytorh' is not known; did you mean pytorch?"),
    (PlanOptions, {"free": True, "framework": "deepspeed"}, "free: DeepSpeed loads no order from outside"),
    (
        PlanOptions,
        {"recompute": "per-stage", "framework": "megatron"},
        "recompute: Megatron-Core takes none or uniform-k",
    ),
]


@pytest.mark.parametrize(("options", "given", "message"), WRONG)
def test_what_cannot_go_together_is_one_line(options: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        options(**given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_where_nothing_of_it_fits_that_is_infeasible() -> None:
    costs = pipeline(4, 8, memory={"limit": 2})
    with pytest.raises(InfeasibleError, match="no schedule of DeepSpeed fits the memory limit; 1f1b holds 4 of 2"):
        ppopt.optimize(costs, framework="deepspeed", time_limit=1)


@pytest.mark.parametrize("name", ["megatron", "deepspeed", "pytorch"])
def test_a_plan_is_one_that_the_framework_takes(name: str) -> None:
    found = ppopt.plan(uneven(), stages_per_device=[1, 2], framework=name, time_limit=3)
    assert found.best is not None
    assert all(name in [each.name for each in plan.schedule.runs_in] for plan in found)
    if name != "pytorch":
        title = {"megatron": "Megatron-Core", "deepspeed": "DeepSpeed"}[name]
        assert all(plan.exports[title].is_whole for plan in found)


def test_a_frontier_needs_orders_to_be_loaded() -> None:
    with pytest.raises(InputError, match="framework: Megatron-Core loads no order from outside"):
        ppopt.frontier(pipeline(2, 2), framework="megatron", time_limit=0)
    found = ppopt.frontier(pipeline(2, 2), framework="pytorch", time_limit=0)
    assert found.searched == ("linear", "interleaved", "v")
    assert all("pytorch" in [each.name for each in schedule.runs_in] for schedule in found.published)


@pytest.mark.parametrize("command", ["compare", "optimize", "frontier", "plan"])
def test_a_wrong_name_on_the_command_line_names_the_nearest(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--for", "megatrn"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --for: 'megatrn' is not known; did you mean megatron? Known are megatron,")
    assert len(result.stderr.splitlines()) == 1


def test_on_the_command_line_infeasible_is_3_and_one_line() -> None:
    result = CliRunner().invoke(cli, ["optimize", "--for", "deepspeed", "--memory-limit", "2"])
    assert result.exit_code == 3
    assert result.stderr == (
        "infeasible: no schedule of DeepSpeed fits the memory limit; 1f1b holds 4 of 2 on device 0\n"
    )


@pytest.mark.parametrize("command", ["compare", "plan", "frontier", "optimize"])
def test_what_runs_and_whose_communication_it_has_are_two_options(command: str, tmp_path: Path) -> None:
    layers = tmp_path / "layers.yaml"
    layers.write_text("devices: 2\nmicrobatches: 4\nlayers: [{name: block, count: 4, forward: 1, backward: 2}]\n")
    given = ["-c", str(layers), "--framework", "zero-bubble", "--time-limit", "2"]
    made = CliRunner().invoke(cli, [command, *given, "--for", "pytorch", "--format", "json"], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    if command != "frontier":  # whose result says nothing of its pipeline
        assert json.loads(made.stdout)["pipeline"]["framework"] == "zero-bubble"


def test_the_verdict_is_about_what_the_framework_runs() -> None:
    """Others may be faster, so the fastest is not that of all."""
    limited = pipeline(4, 16, memory={"activation": 1, "static": 1, "limit": 20})
    made = ppopt.compare(limited, optimize=False, framework="megatron")
    name = made.shown.schedules[0].strategy
    assert made.verdict.startswith(f"{name} is the fastest that Megatron-Core runs and fits the memory limit, ")
    view = SectionView(made.section(), 0)
    assert " ".join(filter(None, [view.lead, view.margin, view.frameworks])) == made.verdict


def test_a_framework_that_searches_nothing_keeps_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Margins have what is left of the limit, not five seconds beside it."""
    ends: list[float] = []

    def noted(_: object, deadline: float) -> MarginsSoFar:
        ends.append(deadline)
        return MarginsSoFar()

    monkeypatch.setattr(comparing, "margins_of", noted)
    began = perf_counter()
    ppopt.compare(pipeline(4, 16), framework="deepspeed", time_limit=2)
    assert ends[0] <= began + 2 + 0.5


@pytest.mark.parametrize(("interrupted", "kept"), [(False, 3.0), (True, MOMENT)])
def test_margins_keep_their_time_when_a_search_is_late(
    interrupted: bool, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[float] = []

    def noted(_: object, deadline: float) -> MarginsSoFar:
        ends.append(deadline)
        return MarginsSoFar()

    monkeypatch.setattr(comparing, "margins_of", noted)
    late = comparing._ComparisonSoFar(lambda _: None, TimeLimit(0.0), for_margins=3.0)
    late.limit.interrupted = interrupted
    began = perf_counter()
    late.find_margins(ppopt.compare(pipeline(4, 16), ["1f1b"], optimize=False), limited=True)
    assert began + kept <= ends[-1] <= perf_counter() + kept
