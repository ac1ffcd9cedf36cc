"""Schedules in periodic form have the same figures as the whole schedule, written out."""

from __future__ import annotations

from pathlib import Path

import pytest

import ppopt
from ppopt import Pipeline
from ppopt.evaluation.evaluate import replay_orders
from ppopt.optimization.foreseeing import to_export
from ppopt.optimization.periodic import PeriodicSchedule
from ppopt.optimization.unwritten import Long
from ppopt.process.time_limit import Afterwards, TimeLimit
from solver.errors import InputError
from strategies.language.registry import Strategy
from strategies.model.placements import make_placement
from strategies.problem.search_problem import Allowed
from tests.running import call_ppopt

TIMES = {"forward": 185, "backward_input": 181, "backward_weight": 93}


def pipeline(microbatches: int, stages: int = 4, **more: object) -> Pipeline:
    mapping = {"devices": 4, "stages": stages, "microbatches": microbatches, "times": TIMES, "p2p_latency": 20}
    return Pipeline.from_mapping({**mapping, "memory": {"limit": 6}, **more})


@pytest.fixture
def few_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.optimization.sizes.MOST_SEARCHED_OPS", 500)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("few_are_written")
@pytest.mark.parametrize(
    ("placement", "stages", "more"),
    [
        ("linear", 4, {}),
        ("linear", 4, {"memory": {"limit": 3}}),
        ("v", 8, {}),
        ("interleaved", 8, {"memory": {"limit": 12}}),
        ("bidirectional", 4, {"overlap": 0.5}),
    ],
)
def test_the_whole_is_as_long_as_was_said(placement: str, stages: int, more: dict[str, object]) -> None:
    given = pipeline(100, stages, **more)
    found = ppopt.optimize(given, placement=placement, overlap="overlap" in more, time_limit=3)
    assert isinstance(found, PeriodicSchedule)
    whole = found.whole()
    replayed = replay_orders("whole", given, whole.layout, whole.actions, "graph", check_memory=True)
    assert ppopt.violations(replayed.problem, replayed.rows) == []
    assert replayed.figures == found.figures
    assert found.bound is not None
    assert found.bound <= found.makespan
    assert found.operations == len(replayed.rows) >= len(found.rows)
    assert found.to_dict()["microbatches"] == 100
    assert any("are written out" in note for note in found.notes)


@pytest.mark.usefixtures("few_are_written")
def test_a_long_linear_pipeline_is_proven_optimal_and_exported(tmp_path: Path) -> None:
    found = ppopt.optimize(pipeline(400), time_limit=20)
    assert found.status == "optimal"
    found.export(tmp_path / "order.csv")
    made = ppopt.evaluate(pipeline(400), tmp_path / "order.csv")
    assert made.makespan == found.makespan


@pytest.mark.slow
def test_memory_for_fewer_microbatches_than_devices_has_periods_of_as_many() -> None:
    """Three microbatches take R + 2(W − 2l) = 1783, which CP-SAT proves to be the least, 50,000 times."""
    found = ppopt.optimize(pipeline(150_000, memory={"limit": 3}), time_limit=6)
    assert isinstance(found, PeriodicSchedule)
    assert found.makespan <= 50_000 * 1783 + 4 * (185 + 181 + 40) + 93
    assert found.period == 3
    assert max(found.peak_memory) == 3


@pytest.mark.usefixtures("few_are_written")
def test_its_communication_is_placed_in_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole schedule is replayed for this, unless it is too long."""
    found = ppopt.optimize(pipeline(100), time_limit=1)
    assert isinstance(found, PeriodicSchedule)
    found.export(tmp_path / "order.csv", lowered=True)
    checked = ppopt.check_schedule_file(str(tmp_path / "order.csv"))
    assert not checked.faults
    monkeypatch.setattr("ppopt.optimization.periodic.MOST_LOWERED_OPS", 1000)
    with pytest.raises(InputError, match="1,200 operations; at most 1,000 are written with their communication"):
        found.export(tmp_path / "order.csv", lowered=True)


@pytest.mark.usefixtures("few_are_written")
def test_time_is_left_for_the_file() -> None:
    """The time to write the order of many microbatches is estimated in proportion to their number."""
    strategies: list[Strategy] = []

    def seconds(microbatches: int, *, exported: bool = True, time_limit: float = 1000.0) -> float:
        given = pipeline(microbatches)
        placement = make_placement("linear", 4, 4, microbatches)
        limit = TimeLimit(time_limit, Afterwards(exported=exported))
        return to_export(Long(given, placement, Allowed(), strategies), 12 * microbatches, limit)

    assert seconds(100_000, exported=False) == 0.0
    assert 0 < seconds(10_000) < seconds(1_000_000)
    assert seconds(2_000_000, time_limit=1.0) <= 0.8


@pytest.mark.usefixtures("few_are_written")
@pytest.mark.parametrize(("placement", "stages"), [("linear", 4), ("v", 8), ("bidirectional", 4)])
def test_without_time_one_microbatch_runs_after_the_other(placement: str, stages: int) -> None:
    given = pipeline(100, stages)
    found = ppopt.optimize(given, placement=placement, time_limit=0)
    assert isinstance(found, PeriodicSchedule)
    whole = found.whole()
    replayed = replay_orders("whole", given, whole.layout, whole.actions, "graph", check_memory=True)
    assert replayed.figures == found.figures
    assert found.bound is not None
    assert 0 < found.bound <= found.makespan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pipeline(2_600_000), "at most 30,000,000 are searched"),
        (Pipeline.from_mapping({"devices": 400, "microbatches": 400, "times": TIMES}), "at least 1600 microbatches"),
    ],
)
def test_what_is_too_much_is_refused_with_the_reason(given: Pipeline, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ppopt.optimize(given, time_limit=1)


def test_a_span_of_so_much_is_refused() -> None:
    with pytest.raises(InputError, match="at most 300,000 are searched for the span"):
        ppopt.optimize(pipeline(100_000), objective="span", time_limit=1)


def test_the_command_shows_a_hundred_thousand_microbatches() -> None:
    sizes = ["--devices", "4", "--microbatches", "100000", "--memory-limit", "4", "--time-limit", "30"]
    times = [f"--time={key}={value}" for key, value in TIMES.items()]
    result = call_ppopt("optimize", *sizes, *times, "--explain")
    assert result.returncode == 0, result.stderr
    assert "optimal" in result.stdout
    assert "of 1,200,000 operations" in result.stderr


def test_what_needs_every_operation_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.optimization.sizes.MOST_WRITTEN_OPS", 500)
    given = pipeline(60)
    assert isinstance(ppopt.optimize(given, time_limit=0.3), PeriodicSchedule)
    start = ppopt.evaluate(given, "zb-h1")
    for found in (
        ppopt.optimize(given, time_limit=0.3, starts=[start]),
        ppopt.optimize(given, time_limit=0.3, objective="span"),
        ppopt.optimize(pipeline(60, p2p="links"), time_limit=0.3),
        ppopt.optimize(pipeline(15, stages=12), placement="interleaved", time_limit=0.3),  # too short to repeat
    ):
        assert not isinstance(found, PeriodicSchedule)
        assert found.layout.microbatches == found.pipeline.microbatches
