"""A search starts from the schedules that trade memory for time: within their memory, its result is never longer."""

from __future__ import annotations

from pathlib import Path

import pytest

import ppopt
from ppopt.commands.pages import write_report
from solver.problem import Problem
from strategies.language.registry import Strategy, all_strategies
from strategies.model.pipeline import Pipeline
from tests.evaluated import pipeline

ON_A_V = ("v-half", "v-half-primus", "v-min", "v-min-primus", "1f1b-v", "zb-v", "zb-v-auto", "hanayo")

WHOLE = {name for name, each in all_strategies().items() if not each.requirements.takes_slices}
"""Those that run whole microbatches."""


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("name", ON_A_V)
def test_a_search_is_never_longer_than_a_schedule_at_its_memory(name: str) -> None:
    published = ppopt.evaluate(pipeline(4, 16), name, engine="graph")
    limit = max(published.peak_memory)
    searched = ppopt.optimize(pipeline(4, 16, memory={"limit": limit}), placement="v", time_limit=0)
    assert searched.makespan <= published.makespan
    assert max(searched.peak_memory) <= limit
    assert searched.bound <= searched.makespan


def test_zb_auto_starts_a_search_within_the_limit() -> None:
    costs = pipeline(4, 16, memory={"limit": 3}, p2p_latency=0.5)
    published = ppopt.evaluate(costs, "zb-auto", engine="graph")
    assert published.fits
    assert ppopt.optimize(costs, time_limit=0).makespan <= published.makespan


def test_waves_are_searched() -> None:
    costs = pipeline(2, 4, stages=8)
    published = ppopt.evaluate(costs, "hanayo", engine="graph")
    searched = ppopt.optimize(costs, placement="wave", time_limit=1, workers=1)
    assert (searched.placement, searched.pipeline.stages) == ("wave", 8)
    assert searched.bound <= searched.makespan <= published.makespan
    assert ppopt.optimize(pipeline(2, 4), placement="wave", time_limit=0).placement == "v"


def test_every_schedule_passes_the_check_of_its_exported_file(tmp_path: Path) -> None:
    for name in all_strategies():
        made = ppopt.evaluate(pipeline(4, 8), name, engine="graph")
        if made.placement != "bidirectional":
            made.export(tmp_path / "order.csv")
            assert ppopt.check_schedule_file(str(tmp_path / "order.csv")).faults == ()


@pytest.mark.slow
def test_a_page_shows_every_schedule(tmp_path: Path) -> None:
    comparison = ppopt.compare(pipeline(4, 8), optimize=False, engine="graph")
    assert comparison.left_out == ()
    assert {each.strategy.partition(":")[0] for each in comparison.schedules} == WHOLE
    assert all(each.bound <= each.makespan for each in comparison.schedules)
    write_report(str(tmp_path / "page.html"), [comparison], ["all"], ["ppopt", "compare"])
    page = (tmp_path / "page.html").read_text()
    assert all(name in page for name in WHOLE)


def test_long_after_the_time_is_up_no_further_schedule_is_offered_although_none_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of 4,000 microbatches took 0.3 s, a heuristic 3 s: the limit of 1 s became 7 s."""
    tried: list[str] = []

    def offer_nothing(_problem: Problem, _pipeline: Pipeline, strategy: Strategy, _options: object) -> None:
        tried.append(strategy.name)

    monkeypatch.setattr("ppopt.optimization.published_starts.published_orders", offer_nothing)
    pipeline = Pipeline.from_mapping({"devices": 2, "microbatches": 6, "memory": {"limit": 1}})
    made = ppopt.optimize(pipeline, placement="linear", time_limit=0)
    assert len(tried) > 3
    tried.clear()
    monkeypatch.setattr("ppopt.optimization.published_starts.QUICK", -1.0)
    monkeypatch.setattr("ppopt.optimization.published_starts.OVERRUN", -60.0)
    hurried = ppopt.optimize(pipeline, placement="linear", time_limit=0)
    assert not tried
    assert hurried.fits
    assert any("the search did not start from" in note for note in hurried.notes)
    assert hurried.makespan == made.makespan
