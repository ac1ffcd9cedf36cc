"""Planning cuts and orders together: bounds for every order, against exhaustive search on tiny models."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations_with_replacement, cycle, pairwise
from random import Random
from time import perf_counter, sleep
from typing import Any

import pytest

import ppopt
from ppopt.cutting.partitions import Partitions
from ppopt.cutting.work_bound import work_bound
from ppopt.planning.free_order import FreeOptions, FreeOrder
from solver.deadline import OutOfTimeError
from strategies.model.cuts import check_cut
from strategies.model.placements import Placement, make_placement
from strategies.problem.search_problem import build_search_problem
from tests.every_cut import every_recomputation
from tests.planned_models import instances, pipeline, pipeline_of
from tests.solver.bounds.exact_optimum import ExactModel

SHAPES = [("linear", 2, 1), ("linear", 3, 1), ("interleaved", 2, 2), ("v", 2, 2)]


def tiny(seed: int, devices: int, placement: str) -> ppopt.Pipeline:
    """Draw a model of three or four layers, half of them with a limit."""
    random = Random(seed)
    kinds: list[dict[str, Any]] = []
    for number in range(random.randint(1, 2)):
        activation = random.randint(1, 4)
        kinds.append(
            {
                "name": f"kind {number}",
                "count": random.randint(1, 2 if placement == "linear" else 3),
                "forward": random.randint(1, 6),
                "backward_input": random.randint(1, 6),
                "backward_weight": random.randint(1, 6),
                "activation": activation,
                "held_for_weight": random.randint(0, activation),
                "static": random.randint(0, 2),
            }
        )
    kinds.append({"name": "head", "forward": 2, "backward": 4, "activation": 1, "earliest_stage": -1})
    limit = random.choice([None, random.randint(6, 16)])
    return pipeline(kinds, devices, random.randint(2, 3), latency=random.choice([0, 0, 1]), limit=limit)


def cuts_of(model: ppopt.Pipeline, stages: int, *, empty: bool) -> list[tuple[int, ...]]:
    assert model.layers is not None
    total, found = model.layers.total, []
    for inner in combinations_with_replacement(range(total + 1), stages - 1):
        cut = tuple(after - before for before, after in pairwise((0, *inner, total)))
        try:
            check_cut(model.layers, cut, empty=empty)
        except ppopt.InputError:
            continue
        found.append(cut)
    return found


def exact(model: ppopt.Pipeline, placement: str, *, split: bool) -> Fraction | None:
    """Find the best order of a cut exhaustively; None if nothing fits."""
    stages = len(model.costs)
    placed = make_placement(placement, model.devices, stages, model.microbatches)
    problem = build_search_problem(model, placed, split_backward=split)
    value = ExactModel(problem, chains=True).solve()
    return None if value is None else Fraction(value, problem.ticks_per_unit)


def layout(model: ppopt.Pipeline, name: str, per_device: int) -> Placement:
    return make_placement(name, model.devices, per_device * model.devices, model.microbatches)


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize(("seed", "split"), [(0, True), (1, False)])
@pytest.mark.parametrize(("name", "devices", "per_device"), SHAPES)
def test_no_bound_is_above_the_best_order_of_a_cut_and_the_best_cut_is_found(
    name: str, devices: int, per_device: int, split: bool, seed: int
) -> None:
    model = tiny(seed + 10 * per_device, devices, name)
    placement = layout(model, name, per_device)
    best: dict[tuple[int, ...], Fraction] = {}
    for cut in cuts_of(model, per_device * devices, empty=True):
        value = exact(model.with_cut(cut), name, split=split)
        if value is not None:
            best[cut] = value
    cuts = Partitions(model, placement, perf_counter() + 60, split_backward=split, empty=True, recompute=False)
    yielded: dict[tuple[int, ...], Fraction] = {}
    while (bound := cuts.bound(perf_counter() + 60, None)) is not None:
        yielded[cuts.take()] = bound
    assert list(yielded.values()) == sorted(yielded.values())
    assert best.keys() <= yielded.keys()
    assert all(yielded[cut] <= value for cut, value in best.items())
    found = FreeOrder(model, placement, FreeOptions(split_backward=split, workers=1)).run(perf_counter() + 20)
    assert found.makespan == min(best.values(), default=None)
    assert found.makespan is None or found.bound == found.makespan
    assert found.is_infeasible == (not best)


@pytest.mark.parametrize("seed", range(3))
def test_recomputation_makes_no_bound_wrong(seed: int) -> None:
    """The bound of all cuts with any recomputation is not above the optimum of a cut that recomputes everything."""
    model = tiny(70 + seed, 2, "linear")
    assert model.layers is not None
    mapping = model.to_mapping()
    for kind in mapping["layers"][:-1]:
        kind["recompute"] = {"activation": 0}
    model = ppopt.Pipeline.from_mapping(mapping | {"memory": {"limit": 9}})
    cuts = Partitions(
        model, layout(model, "linear", 1), perf_counter() + 60, split_backward=True, empty=True, recompute=True
    )
    bound = cuts.bound(perf_counter() + 60, None)
    assert model.layers is not None
    for cut in cuts_of(model, 2, empty=True):
        for every in (True, False):
            counts = [count - (place == 1) if every else 0 for place, count in enumerate(cut)]
            value = exact(model.with_cut(cut, counts), "linear", split=True)
            assert value is None or (bound is not None and bound <= value)


@pytest.mark.parametrize(("name", "per_device"), [("linear", 1), ("v", 2)])
def test_no_bound_is_above_a_cut_of_which_single_glued_layers_are_recomputed(name: str, per_device: int) -> None:
    glued = {"name": "glued", "count": 4, "glue": 2, "forward": 2, "backward_input": 3, "backward_weight": 1}
    head = {"name": "head", "forward": 1, "backward": 3, "activation": 1, "earliest_stage": -1}
    model = pipeline([{**glued, "activation": 4, "recompute": {"activation": 1, "time": 1}}, head], 2, 2, limit=12)
    assert model.layers is not None
    placement = layout(model, name, per_device)
    until = perf_counter() + 60
    cuts = Partitions(model, placement, until, split_backward=True, empty=True, recompute=True)
    bound = cuts.bound(until, None)
    assert bound is not None
    values = {
        (cut, again): value
        for cut in cuts_of(model, 2 * per_device, empty=True)
        for again in every_recomputation(model.layers, cut, "per-stage")
        if (value := exact(model.with_cut(cut, again), name, split=True)) is not None
    }
    assert bound <= min(values.values())
    assert any(count % 2 for _, again in values for count, _ in again)
    found = FreeOrder(model, placement, FreeOptions(workers=1, recompute=True)).run(perf_counter() + 5)
    assert found.bound <= min(values.values())


@pytest.mark.parametrize("name", ["dsv3-1f1b-p8v1m16", "free-v-dense16-dualpipe-v-p4v2m8-p4v2m8"])
def test_known_instances_are_closed(name: str) -> None:
    known = instances()[name]
    model = pipeline_of(known)
    placement = layout(model, known["placement"], known["stages_per_device"])
    found = FreeOrder(model, placement, FreeOptions(empty=False, workers=1)).run(perf_counter() + 30)
    assert found.makespan == found.bound == Fraction(known["value"])


def test_cuts_are_searched_however_low_the_bound_of_others_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    model, placement = tiny(3, 2, "v"), make_placement("v", 2, 4, 2)
    cuts = cycle(cuts_of(model, 4, empty=True))
    monkeypatch.setattr(Partitions, "bound", lambda *_: Fraction(1))
    monkeypatch.setattr(Partitions, "take", lambda _: next(cuts))
    found = FreeOrder(model, placement, FreeOptions(least_seconds=0.1)).run(perf_counter() + 1.5)
    assert found.searched
    assert found.best is not None
    assert found.bound == work_bound(model.layers, model)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_cut_of_a_start_is_searched(recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_cuts: Partitions, deadline: float, _below: Fraction | None) -> Any:
        sleep(max(0.01, min(0.5, deadline - perf_counter())))
        raise OutOfTimeError

    model = tiny(3, 2, "v")
    start = ppopt.evaluate(model, "v-min")
    monkeypatch.setattr(Partitions, "bound", never)
    options = FreeOptions(recompute=recompute, least_seconds=0.1)
    found = FreeOrder(model, start.layout, options, [start]).run(perf_counter() + 3)
    assert found.searched
    assert not found.is_infeasible
    assert found.bound <= start.exact_makespan
    assert found.makespan is not None
    assert found.makespan <= start.exact_makespan


def test_a_start_is_never_made_worse() -> None:
    model = pipeline_of(instances()["free-dense32-1f1b-p8v1m16-lat0"])
    start = ppopt.evaluate(model, "zb-h1")
    found = FreeOrder(model, layout(model, "linear", 1), FreeOptions(workers=1), [start]).run(perf_counter() + 0.01)
    assert found.makespan is not None
    assert found.makespan <= start.exact_makespan


def test_what_has_no_time_raises_nothing_but_says_so() -> None:
    model = pipeline_of(instances()["free-dense32-1f1b-p8v1m16-lat0"])
    with pytest.raises(OutOfTimeError):
        Partitions(
            model, layout(model, "linear", 1), perf_counter() - 1, split_backward=True, empty=True, recompute=False
        )
    assert FreeOrder(model, layout(model, "linear", 1), FreeOptions()).run(perf_counter() - 1).best is None


def test_without_time_the_work_is_the_bound() -> None:
    model = tiny(2, 2, "v")
    assert model.layers is not None
    costs = model.layers.sum_of_costs
    work = model.microbatches * (costs.forward + costs.backward_input + costs.backward_weight) / model.devices
    found = FreeOrder(model, layout(model, "v", 2), FreeOptions(), []).run(perf_counter() - 1)
    assert found.bound == work > 0
