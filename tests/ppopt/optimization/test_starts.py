"""A search is never worse than the schedules given to it, or than published ones, with or without proposed options."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

import ppopt
from ppopt import B, DeadlockError, F, InputError, Pipeline, Schedule, Step, strategy
from ppopt.commands.cli import cli
from ppopt.optimization.published_beside import compared_with_published
from ppopt.optimization.starts import fitting_strategies, published_orders
from solver.search.sweep import Sweeper
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem

STAGES = {"linear": 4, "interleaved": 8, "v": 8, "bidirectional": 4}


def costs(placement: str, m: int = 8, latency: float = 0) -> Pipeline:
    stages = STAGES[placement]
    times = {
        "forward": [10 + stage for stage in range(stages)],
        "backward": [19 + stage for stage in range(stages)],
        "backward_input": [10 + stage for stage in range(stages)],
        "backward_weight": 10,
        "overlapped_forward_backward": [25 + 2 * stage for stage in range(stages)],
    }
    return Pipeline.from_mapping({"devices": 4, "microbatches": m, "p2p_latency": latency, "times": times})


def made_or_none(pipeline: Pipeline, name: str, **options: int) -> Schedule | None:
    try:
        return ppopt.evaluate(pipeline, name, engine="graph", **options)
    except DeadlockError:
        return None


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize("placement", STAGES)
@pytest.mark.parametrize(("split", "overlap"), [(True, True), (True, False), (False, True)])
def test_every_published_schedule_is_a_start_as_good_as_itself(placement: str, split: bool, overlap: bool) -> None:
    pipeline = costs(placement)
    layout = make_placement(placement, 4, STAGES[placement], 8)
    problem = build_search_problem(pipeline, layout, split_backward=split, overlap=overlap)
    sweeper = Sweeper(problem)
    tried = 0
    for each in fitting_strategies(pipeline, placement, split_backward=split):
        for options in each.variants(pipeline):
            orders = published_orders(problem, pipeline, each, options)
            assert orders is not None
            published = made_or_none(pipeline, each.name, **options)
            value = sweeper.objective(orders, "makespan")
            assert (value is None) == (published is None)
            if published is not None and value is not None and (overlap or not each.overlaps):
                assert value / problem.ticks_per_unit <= published.makespan
                assert sweeper.memory(orders)[0] / problem.amounts_per_unit == max(published.peak_memory)
                tried += 1
    assert tried or placement in ("v", "bidirectional")  # the published schedules of these two overlap


@pytest.fixture
def only_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop every search after its starts, since anything found later says nothing about them."""
    monkeypatch.setattr("solver.search.portfolio.run_tools", lambda *_: None)


def deadlocked() -> Pipeline:
    times = {"forward": 8, "backward": 15, "overlapped_forward_backward": 17.25}
    return Pipeline.from_mapping({"devices": 8, "stages": 16, "microbatches": 20, "times": times, "p2p_latency": 0.5})


def test_where_the_default_deadlocks_the_first_proposal_that_runs_stands_in_for_it(only_starts: None) -> None:
    pipeline = deadlocked()
    assert made_or_none(pipeline, "interleaved-overlap") is None
    published = ppopt.evaluate(pipeline, "interleaved-overlap", "graph", group_size=10)
    made = ppopt.optimize(pipeline, placement="interleaved", overlap=True)
    assert made.makespan <= published.makespan
    beside, _ = compared_with_published(made)
    names = [schedule.strategy for schedule in beside]
    assert {"interleaved:group_size=10", "interleaved-overlap:group_size=10", "looped-bfs"} <= set(names)
    assert all(made.makespan <= schedule.makespan for schedule in beside)


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("latency", [0, 3, 10])
@pytest.mark.parametrize("m", [12, 22])
def test_with_time_no_proposed_option_is_better(
    m: int, latency: float, only_starts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = costs("interleaved", m, latency)
    made = ppopt.optimize(pipeline, placement="interleaved", overlap=True)
    assert made.notes == ()
    for each in fitting_strategies(pipeline, "interleaved", split_backward=True):
        for options in each.variants(pipeline):
            published = made_or_none(pipeline, each.name, **options)
            assert published is None or made.makespan <= published.makespan
    monkeypatch.setattr("ppopt.optimization.published_starts.MOMENT", 0.0)
    hurried = ppopt.optimize(pipeline, placement="interleaved", time_limit=0)
    assert any("the search did not start from" in note and "interleaved" in note for note in hurried.notes)


@strategy("hurried", placement="linear", proposals={"depth": lambda pipeline: range(2, 2 + pipeline.microbatches)})
def hurried(pipeline: Pipeline, device: int, *, depth: int = 1) -> Iterator[Step]:
    """Deadlock unless the last device begins with a backward."""
    warmup = min(pipeline.microbatches, depth + 2 - device if device < pipeline.devices - 1 else 0)
    if depth < 4:
        yield from B
    yield from F * warmup
    yield from (F + B) * (pipeline.microbatches - warmup)
    yield from B * (warmup - (depth < 4))


def test_a_schedule_of_ones_own_needs_nothing_but_its_proposals(
    monkeypatch: pytest.MonkeyPatch, only_starts: None
) -> None:
    monkeypatch.setattr("ppopt.optimization.starts.all_strategies", lambda: {"hurried": hurried})
    monkeypatch.setattr("strategies.language.orders.find_strategy", lambda _name: hurried)
    made = ppopt.optimize(costs("linear"))
    (beside,), _ = compared_with_published(made)
    assert beside.strategy == "hurried:depth=4"
    assert made.makespan <= beside.makespan


def test_a_comparison_shows_what_runs_in_place_of_what_deadlocks() -> None:
    made = ppopt.compare(deadlocked(), ["interleaved-overlap", "interleaved:group_size=9"], optimize=False)
    assert [each.strategy for each in made.schedules] == ["interleaved-overlap:group_size=10"]
    assert [name for name, _ in made.left_out] == ["interleaved-overlap", "interleaved:group_size=9"]


def test_a_comparison_searches_from_what_was_typed(tmp_path: Path, only_starts: None) -> None:
    pipeline = costs("interleaved", 13, 4)
    best = min(
        (each for size in range(4, 14) if (each := made_or_none(pipeline, "interleaved", group_size=size))),
        key=lambda each: each.makespan,
    )
    file = tmp_path / "mine.csv"
    best.export(file)
    group = best.strategy.partition(":")[2]
    for mine in (f"interleaved:{group},stages=8", str(file)):
        made = ppopt.compare(pipeline, [mine], placement="interleaved")
        found = next(each for each in made.schedules if each.is_searched)
        assert found.makespan <= best.makespan


def layered(limit: float | None = None) -> Pipeline:
    layers = [
        {"name": "block", "count": 10, "forward": 3, "backward": 6, "activation": 1},
        {"name": "head", "forward": 4, "backward": 8, "activation": 2},
    ]
    memory = {} if limit is None else {"limit": limit}
    return Pipeline.from_mapping({"devices": 4, "microbatches": 10, "layers": layers, "memory": memory})


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize(
    "pipeline",
    [
        deadlocked(),
        deadlocked().with_limit(Fraction(12)),
        costs("interleaved", 13, 4),
        layered(),
        layered(24),
        Pipeline.from_mapping({"devices": 4, "microbatches": 1, "times": {"forward": 1.1, "backward": 1.7000000001}}),
    ],
    ids=["blocks", "blocks, limited", "odd", "layers", "layers, limited", "one microbatch"],
)
def test_no_search_ends_behind_what_was_replayed_for_the_same_table(
    pipeline: Pipeline, only_starts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppopt.optimization.one_search.offer_published", lambda *_: [])  # as if there were no time
    made = ppopt.compare(pipeline, time_limit=30)  # which nothing uses up
    compared = 0
    for found in (each for each in made.schedules if each.is_searched):
        same = [each for each in made.schedules if each.layout.homes == found.layout.homes and each.fits]
        rivals = [each.makespan for each in same if each.pipeline == found.pipeline]
        assert all(found.makespan <= rival for rival in rivals)
        compared += len(rivals) > 1
    assert compared


def test_what_is_shorter_for_its_number_of_stages_is_named() -> None:
    times = {"forward": 1, "backward": 2, "backward_input": 1.9, "backward_weight": 0.1}  # splitting gains little
    pipeline = Pipeline.from_mapping({"devices": 4, "stages": 8, "microbatches": 4, "times": times})
    made = ppopt.compare(pipeline, ["interleaved:stages=16"], placement="interleaved", time_limit=1)
    (best, found) = made.schedules
    assert best.makespan < found.makespan
    assert made.notes == (
        "interleaved:stages=16 is shorter than optimized-interleaved, whose search had 8 stages; 16 were not searched",
    )


def test_a_search_starts_from_schedules_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = costs("linear", latency=4)
    good = ppopt.optimize(pipeline, time_limit=1)
    monkeypatch.setattr("solver.search.portfolio.run_tools", lambda *_: None)
    whole = ppopt.evaluate(pipeline, "1f1b")
    other = ppopt.evaluate(pipeline, "dualpipe-v")
    assert ppopt.optimize(pipeline).makespan > good.makespan
    again = ppopt.optimize(pipeline, starts=[whole, other, good])
    assert again.makespan <= good.makespan
    assert ppopt.optimize(pipeline, split_backward=False, starts=[good]).makespan <= whole.makespan
    with pytest.raises(InputError, match="starts: must be schedules; found"):
        ppopt.optimize(pipeline, starts=["1f1b"])  # type: ignore[list-item]


def test_the_table_is_consistent_with_the_promise(only_starts: None) -> None:
    options = ["--devices", "4", "--microbatches", "13", "--stages", "12", "--placement", "interleaved"]
    result = CliRunner().invoke(cli, ["optimize", *options, "--format", "csv"])
    rows = [line.split(",") for line in result.stdout.splitlines()]
    makespans = {row[0]: float(row[rows[0].index("makespan")]) for row in rows[1:]}
    assert any(name.startswith("interleaved:group_size=") for name in makespans)
    assert makespans["optimized-interleaved"] == min(makespans.values())


def test_proposals_are_few_and_the_default_comes_first() -> None:
    from strategies.language.registry import all_strategies

    for each, m in itertools.product(all_strategies().values(), (1, 7, 120)):
        pipeline = costs("interleaved", m)
        variants = list(each.variants(pipeline))
        assert variants[0] == {}
        assert len(variants) <= 1 + 5 * len(each.proposals)
        assert all(options.keys() <= each.options.keys() for options in variants)
