"""Long pipelines are searched by their first microbatches and written out once, at the end."""

from __future__ import annotations

import signal

import pytest

import ppopt
from ppopt import Pipeline, Standing
from ppopt.optimization.optimize import optimize_each
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.periodic import PeriodicSchedule
from ppopt.optimization.unwritten import Unwritten
from strategies.problem import search_problem

TIMES = {"forward": 185, "backward_input": 181, "backward_weight": 93}
LONG = 200


def pipeline(microbatches: int = LONG, stages: int = 4, limit: int = 6, **more: object) -> Pipeline:
    mapping = {"devices": 4, "stages": stages, "microbatches": microbatches, "times": TIMES, "p2p_latency": 20}
    return Pipeline.from_mapping({**mapping, "memory": {"limit": limit}, **more})


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the number of microbatches of each problem that is written."""
    sizes: list[int] = []
    plain = search_problem.build_problem

    def noted(pipeline: Pipeline, *arguments: object) -> object:
        sizes.append(pipeline.microbatches)
        return plain(pipeline, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(search_problem, "build_problem", noted)
    return sizes


@pytest.mark.parametrize(
    ("placement", "stages", "limit", "seconds"), [("linear", 4, 4, 20), ("v", 8, 8, 1), ("v", 8, 6, 1)]
)
def test_first_answers_cost_the_same_whatever_the_number(
    placement: str, stages: int, limit: int, seconds: float, written: list[int]
) -> None:
    """Bound and schedule of all microbatches exist before more than three per device are written."""
    sizes: list[int] = []

    def tell(at: Standing) -> None:
        if at.best is not None and at.bound and not sizes:
            sizes.append(max(written))

    found = ppopt.optimize(pipeline(LONG, stages, limit), placement=placement, time_limit=seconds, progress=tell)
    assert sizes
    assert sizes[0] <= 3 * 4
    assert found.status != "optimal" or written.count(LONG) == 1
    assert len(found.rows) == 3 * stages * LONG
    assert ppopt.violations(found.problem, found.rows) == []
    assert max(found.peak_memory) <= limit


@pytest.mark.slow
def test_a_steady_middle_makes_a_look_at_the_whole_needless(
    monkeypatch: pytest.MonkeyPatch, written: list[int]
) -> None:
    """Pipelines too long to anneal as a whole are searched by their first microbatches as long as there is time."""
    monkeypatch.setattr("ppopt.optimization.sizes.MANY_OPS", 500)
    monkeypatch.setattr("solver.search.long_search.LARGEST_WHOLE", 500)
    plain, ended = Unwritten.run, []

    def run(self: Unwritten, workers: int) -> None:
        plain(self, workers)
        ended.append(max(written))

    monkeypatch.setattr(Unwritten, "run", run)
    given = pipeline(LONG, 8, 7)
    found = ppopt.optimize(given, placement="v", time_limit=4, workers=1)
    assert ended
    assert ended[0] <= 3 * 4
    assert not isinstance(found, PeriodicSchedule)
    assert len(found.rows) == 3 * 8 * LONG
    assert ppopt.violations(found.problem, found.rows) == []
    published = [ppopt.evaluate(given, name) for name in ("zb-v", "v-half", "v-min")]
    assert all(found.makespan <= each.makespan for each in published if max(each.peak_memory) <= 7)


def test_an_interrupted_search_is_written_out_too(written: list[int]) -> None:
    def end(at: Standing) -> None:
        if at.best is not None:
            signal.raise_signal(signal.SIGINT)

    found = ppopt.optimize(pipeline(LONG, 8, 6), placement="v", time_limit=60, progress=end)
    assert found.interrupted
    assert written.count(LONG) == 1
    assert len(found.rows) == 3 * 8 * LONG
    assert ppopt.violations(found.problem, found.rows) == []


@pytest.mark.parametrize(("placement", "stages"), [("linear", 4), ("v", 8), ("bidirectional", 4)])
def test_without_time_there_is_an_answer(placement: str, stages: int) -> None:
    found = ppopt.optimize(pipeline(LONG, stages), placement=placement, time_limit=0)
    assert found.bound is not None
    assert 0 < found.bound <= found.makespan
    assert len(found.rows) == 3 * stages * LONG


def test_what_is_known_holds_and_standings_only_get_better() -> None:
    given = pipeline(LONG, 8, 6)
    told: list[Standing] = []
    first = ppopt.optimize(given, placement="v", time_limit=1, progress=told.append, starts=[])
    assert first.bound is not None
    bests = [at.best for at in told if at.best is not None]
    assert bests == sorted(bests, reverse=True)
    assert [at.bound for at in told] == sorted(at.bound for at in told)
    assert [at.seconds for at in told] == sorted(at.seconds for at in told)
    again = ppopt.optimize(given, placement="v", time_limit=0.5, starts=[first])
    assert again.makespan <= first.makespan
    options = SearchOptions(placement="v", time_limit=0.5, known=first.bound_held_by)
    (second,) = optimize_each(given, options)
    assert isinstance(second, ppopt.Schedule)
    assert second.bound is not None
    assert second.bound >= first.bound


@pytest.mark.parametrize("more", [{"p2p": "links"}, {"p2p": "rendezvous"}])
def test_what_needs_every_operation_is_searched_as_a_whole(more: dict[str, object], written: list[int]) -> None:
    found = ppopt.optimize(pipeline(60, 4, 4, **more), time_limit=1)
    assert max(written) == written[0] == 60
    assert len(found.rows) == 3 * 4 * 60
