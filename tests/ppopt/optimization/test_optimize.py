from __future__ import annotations

import json
import random
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import InfeasibleError, InputError, Pipeline, Schedule
from ppopt.commands.cli import cli
from ppopt.optimization.starts import fitting_strategies
from tests.brute_force import optimum
from tests.examples import examples
from tests.running import interrupted

PLACEMENTS = ("linear", "interleaved", "v", "bidirectional")


def optimized(costs: Pipeline, seconds: float = 20, **options: Any) -> Schedule:
    made = ppopt.optimize(costs, time_limit=seconds, **options)
    assert ppopt.violations(made.problem, made.rows) == []
    assert made.bound is not None
    assert made.bound <= made.objective_value
    assert (made.status == "optimal") == (made.bound == made.objective_value)
    return made


def costs_of(p: int, m: int, times: tuple[float, ...], latency: float = 0, **memory: Any) -> Pipeline:
    per_stage = dict(zip(("forward", "backward_input", "backward_weight"), times, strict=True))
    return Pipeline.from_mapping(
        {"devices": p, "microbatches": m, "times": per_stage, "p2p_latency": latency, "memory": memory}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("placement", "p", "m", "times", "latency", "limit", "best"),
    [
        ("linear", 4, 8, (1, 1, 1), 0, 3, 31),
        ("linear", 8, 16, (1, 1, 1), 0, 5, 68),
        ("linear", 8, 16, (185, 181, 93), 20, 8, 9815),
        ("linear", 8, 32, (3, 2, 2), 0, 8, 245),
        ("linear", 8, 32, (185, 181, 93), 0, 8, 16599),
        ("v", 4, 8, (1, 1, 1), 0, 8, 51),
        ("v", 4, 8, (1, 1, 1), 0, 6, 53),
        ("interleaved", 4, 8, (185, 181, 93), 10, 11, 7929),
    ],
)
def test_known_optima_are_found_and_proven(
    placement: str, p: int, m: int, times: tuple[float, ...], latency: float, limit: float, best: float
) -> None:
    made = optimized(costs_of(p, m, times, latency, limit=limit), 150, placement=placement)
    assert made.makespan == best
    assert made.status == "optimal"


def random_costs(chance: random.Random, placement: str, p: int, m: int) -> Pipeline:
    stages = {"linear": p, "bidirectional": p, "v": 2 * p, "interleaved": 2 * p}[placement]

    def numbers(low: int, high: int) -> list[int]:
        return [chance.randint(low, high) for _ in range(stages)]

    activation = numbers(1, 3)
    needed = max(sum(activation[stage] for stage in held) for held in stages_of(placement, p, stages))
    memory: dict[str, Any] = {
        "activation": activation,
        "held_for_weight": [chance.randint(0, each) for each in activation],
    }
    if chance.random() < 0.7:
        memory["limit"] = needed + chance.randint(0, 3)
    times = {key: numbers(1, 5) for key in ("forward", "backward_input", "backward_weight")}
    times["overlapped_forward_backward"] = numbers(4, 9)
    return Pipeline.from_mapping(
        {
            "devices": p,
            "stages": stages,
            "microbatches": m,
            "times": times,
            "memory": memory,
            "p2p_latency": chance.choice([0, 0, 1, 2.5]),
        }
    )


def stages_of(placement: str, p: int, stages: int) -> list[list[int]]:
    if placement == "v":
        return [[device, 2 * p - 1 - device] for device in range(p)]
    if placement == "interleaved":
        return [list(range(device, stages, p)) for device in range(p)]
    return [[stage] for stage in range(stages)]


@pytest.mark.slow
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("split", "overlap"), [(True, False), (False, False), (True, True), (False, True)])
def test_small_optima_are_those_of_an_exhaustive_search(placement: str, split: bool, overlap: bool) -> None:
    chance = random.Random(f"{placement} {split} {overlap}")
    several_chunks = placement in ("interleaved", "v")
    for p, m in ((1, 2), (2, 1 if split and overlap else 2)) if several_chunks else ((1, 3), (2, 2), (3, 2)):
        costs = random_costs(chance, placement, p, m)
        best = optimum(costs, placement, split=split, overlap=overlap)
        made = optimized(costs, 60, placement=placement, split_backward=split, overlap=overlap)
        assert best is not None
        assert Fraction(made.bound).limit_denominator(1000) <= best
        assert made.makespan == float(best), costs.to_mapping()
        assert made.status == "optimal", (made.makespan, made.bound, costs.to_mapping())


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize("factor", [1, 1.5, 2])
def test_never_worse_than_the_zero_bubble_schedules_on_their_own_profiles(data: Path, row: int, factor: float) -> None:
    profile = json.loads((data / "zero_bubble_profiles.json").read_text())["rows"][row]
    times = tuple(profile[key] for key in ("forward", "backward_input", "backward_weight"))
    limit = factor * profile["devices"]
    costs = costs_of(profile["devices"], profile["microbatches"], times, profile["p2p_latency"], limit=limit)
    made = optimized(costs, 3)
    for name in ("zb-h1", "zb-h2", "zb1p"):
        published = ppopt.evaluate(costs, name, engine="graph")
        if max(published.peak_memory) <= limit:
            assert made.makespan <= published.makespan


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, Pipeline, bool]:
    placement = draw(st.sampled_from(PLACEMENTS))
    p = draw(st.integers(1, 3)) * (2 if placement == "bidirectional" else 1)
    chance = random.Random(draw(st.integers(0, 10**6)))
    return placement, random_costs(chance, placement, p, draw(st.integers(1, 2 * p + 2))), draw(st.booleans())


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(searches())
def test_never_worse_than_a_published_schedule_that_fits(case: tuple[str, Pipeline, bool]) -> None:
    placement, costs, overlap = case
    made = optimized(costs, 0.3, placement=placement, overlap=overlap)
    for strategy in fitting_strategies(costs, placement, split_backward=True):
        if strategy.overlaps and not overlap:
            continue
        try:
            published = ppopt.evaluate(costs, strategy.name, engine="graph")
        except InputError:
            continue
        limits = [float("inf") if limit is None else limit for limit in published.limits]
        if all(peak <= limit for peak, limit in zip(published.peak_memory, limits, strict=True)):
            assert made.makespan <= published.makespan
            assert made.bound is not None
            assert made.bound <= published.makespan


def test_the_least_memory_is_told_and_is_enough() -> None:
    costs = costs_of(4, 3, (1, 1, 1), limit=1.5, activation=1)
    with pytest.raises(InfeasibleError) as told:
        ppopt.optimize(costs, placement="v")
    assert "device 0 needs at least" in str(told.value)
    for limit, feasible in ((2, True), (1.999, False)):
        costs = costs_of(4, 3, (1, 1, 1), limit=limit, activation=1)
        whole = Pipeline.from_mapping({**costs.to_mapping(), "stages": 8})
        if feasible:
            assert max(optimized(whole, 2, placement="v").peak_memory) == 2
        else:
            with pytest.raises(InfeasibleError, match="device 0 needs at least 2 for one microbatch of stages 0 and 7"):
                ppopt.optimize(whole, placement="v")


@pytest.mark.parametrize(
    ("p", "m", "placement"),
    [(1, 1, "linear"), (1, 5, "v"), (4, 1, "linear"), (2, 1, "bidirectional"), (1, 2, "interleaved")],
)
def test_the_smallest_pipelines(p: int, m: int, placement: str) -> None:
    made = optimized(costs_of(p, m, (2, 1, 1)), placement=placement)
    assert made.status == "optimal"
    if p == 1:
        assert made.makespan == made.ideal


def test_a_stage_a_thousand_times_as_long_and_seventeen_digits() -> None:
    times = {"forward": [1, 1000, 1, 1], "backward_input": 1.2345678901234567, "backward_weight": 0.98765432109876543}
    made = optimized(
        Pipeline.from_mapping({"devices": 4, "microbatches": 6, "times": times, "memory": {"limit": 3}}), 10
    )
    assert made.gap is not None
    assert made.gap < 1e-12


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_any_number_of_workers(workers: int) -> None:
    assert optimized(costs_of(4, 8, (1, 1, 1), limit=3), workers=workers).makespan == 31


def test_one_worker_is_deterministic() -> None:
    costs = costs_of(4, 8, (3, 5, 2), 1, limit=3)
    first, second = (optimized(costs, 20, workers=1, seed=7) for _ in range(2))
    assert first.makespan == second.makespan
    assert first.orders == second.orders


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize("objective", ["makespan", "span"])
@pytest.mark.parametrize("limit", [0.0, 0.1, 1.0])
def test_the_time_limit_holds(limit: float, objective: str) -> None:
    costs = costs_of(8, 64, (185, 181, 93), 20, limit=6)
    started = time.process_time()
    made = optimized(costs, limit, objective=objective, workers=2)
    assert time.process_time() - started < 2 * (1.1 * limit + 4)  # of the processor, however busy the machine is
    assert made.status in ("feasible", "optimal")


def test_progress_is_told() -> None:
    told: list[ppopt.Standing] = []
    ppopt.optimize(costs_of(4, 8, (1, 1, 1), limit=3), progress=told.append)
    assert told[-1].best == told[-1].bound == 31
    bests = [standing.best for standing in told if standing.best is not None]
    assert bests == sorted(bests, reverse=True)


def test_the_span_can_be_the_objective() -> None:
    made = optimized(costs_of(4, 8, (1, 1, 1), limit=7), objective="span")
    assert made.span == made.bound == 24
    assert made.to_dict()["objective"] == "span"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["optimize", *arguments], catch_exceptions=False)


def test_the_table_puts_the_published_schedules_beside_it() -> None:
    result = run("--devices", "4", "--microbatches", "8", "--memory-limit", "3", "--explain")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    in_a_pipe_as_long_as_they_are = [line for line in lines if "is over the memory limit" in line]
    assert in_a_pipe_as_long_as_they_are
    assert max(len(line) for line in lines if line not in in_a_pipe_as_long_as_they_are) <= 80
    assert lines[1].split()[:2] == ["*", "optimized-linear"]
    assert any(line.startswith("! 1f1b") for line in lines)
    assert "With room for one more activation (a limit 1 higher), the quick bound" in " ".join(lines)


def test_json_carries_bound_gap_and_explanation() -> None:
    result = run("--devices", "2", "--microbatches", "4", "--explain", "--format", "json", "--placement", "all")
    whole = json.loads(result.stdout)
    best = [row for row in whole["schedules"] if row["strategy"].startswith("optimized-")]
    assert [row["strategy"].removeprefix("optimized-") for row in best] == list(PLACEMENTS)
    assert all(row["status"] == "optimal" and row["gap"] == 0 and row["explanation"] for row in best)


def test_infeasible_exits_with_3_and_bad_arguments_with_2() -> None:
    result = run("--memory-limit", "0.5")
    assert result.exit_code == 3
    assert "device 0 needs at least 1 for one microbatch of stage 0; the limit is 0.5" in result.stderr
    for arguments in (["--time-limit", "nan"], ["--time-limit", "-1"], ["--workers", "0"], ["--placement", "x"]):
        assert run(*arguments).exit_code == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("after", [0, 2])
def test_ctrl_c_returns_the_best_so_far(after: float) -> None:
    pipeline = ["--devices", "8", "--microbatches", "32", "--placement", "v", "--memory-limit", "5"]
    ended = interrupted("optimize", *pipeline, "--format", "json", "--time-limit", "120", after=after)
    assert ended.returncode == 0, ended.stderr
    assert "interrupted" in ended.stderr
    assert json.loads(ended.stdout)["schedules"][0]["status"] == "feasible"


def test_a_command_that_does_not_exist_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["optimise"])
    assert result.exit_code == 2
    assert "Did you mean 'optimize'?" in result.stderr


def test_all_placements_fit_80_columns() -> None:
    result = run("--placement", "all", "--time-limit", "8")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "optimized-bidirectional  " in result.stdout


def test_files_are_written(tmp_path: Path) -> None:
    result = run("--devices", "2", "--save", str(tmp_path / "t.csv"), "--trace", str(tmp_path / "t.json"), "--draw")
    assert result.exit_code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.csv", "t.json"]
    assert "device 1" in result.stdout


def test_a_result_that_is_not_proven_says_why_its_search_ended() -> None:
    tight = Pipeline.from_mapping({"devices": 4, "microbatches": 12, "memory": {"limit": 2}})
    late = ppopt.optimize(tight, time_limit=0, workers=1)
    assert (late.status, late.ended) == ("feasible", "when the time was up")
    sharding = {"all_gather": 0.2, "reduce_scatter": 0.2}
    gathered = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "sharding": sharding})
    early = ppopt.optimize(gathered, time_limit=20, workers=1)
    assert early.status == "feasible"
    assert early.ended == "since the bound is met as long as nothing waits or runs beside computing"
    assert early.to_dict()["ended"] == early.ended
    proven = ppopt.optimize(Pipeline.from_mapping({"devices": 2, "microbatches": 4}), time_limit=20, workers=1)
    assert (proven.status, proven.ended) == ("optimal", "")


def test_a_robust_choice_that_is_not_the_shortest_says_that_another_meets_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = Pipeline.from_mapping({"devices": 2, "microbatches": 4})
    longer = ppopt.evaluate(pipeline, "1f1b")
    monkeypatch.setattr("ppopt.optimization.one_search.choose_robust", lambda *_: (longer, "robust: this one"))
    found = ppopt.optimize(pipeline, time_limit=20, workers=1, robust=ppopt.Noise(operation=0.3))
    assert found.makespan > (found.bound or 0)
    assert (found.status, found.ended) == (
        "feasible",
        "since the bound is met by a schedule that is worse under noise",
    )


def test_the_line_below_the_table_says_why_the_search_ended() -> None:
    given = ["--devices", "4", "--microbatches", "12", "--memory-limit", "2", "--time-limit", "0"]
    text = " ".join(CliRunner().invoke(cli, ["optimize", *given]).stdout.split())
    assert " s, when the time was up (4 devices, " in text
