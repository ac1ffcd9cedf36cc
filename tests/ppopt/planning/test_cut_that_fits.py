"""A search uses a cut with which one microbatch fits if there is one, and says infeasible only if there is none.

The reference tries every cut, by the rules alone: a device holds the static memory of both copies of its stages, and
one activation of every stage that a microbatch passes through there.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations_with_replacement, pairwise
from random import Random
from typing import Any

import pytest

import ppopt
import ppopt.cutting.quick
from ppopt import InfeasibleError, Pipeline, TimeTooShortError
from ppopt.cutting.quick import planned_for_search
from ppopt.optimization.cuts import planned
from solver.deadline import OutOfTimeError
from strategies.model.placements import PLACEMENTS, make_placement

USUAL = ["linear", "interleaved", "v", "bidirectional"]

SPLIT_OPEN: dict[str, Any] = {
    "devices": 2,
    "microbatches": 2,
    "layers": [
        {"name": "block", "count": 1, "forward": 1, "backward_input": 4, "backward_weight": 2, "activation": 4},
        {"name": "tail", "count": 2, "forward": 3, "backward": 3, "activation": 2, "static": 1},
    ],
    "memory": {"limit": 6},
}
"""One microbatch fits as 1 + 2 layers on two devices that keep two copies, but not as 2 + 1."""


def _homes(placement: str, devices: int, stages: int) -> list[list[int]]:
    """Return for each direction the device of each stage."""
    if placement == "interleaved":
        return [[stage % devices for stage in range(stages)]]
    there = [stage if stage < devices else 2 * devices - 1 - stage for stage in range(stages)]
    return [there, there[::-1]] if placement == "bidirectional" else [there]


def _every_cut(layers: list[dict[str, Any]], stages: int) -> Iterator[list[list[dict[str, Any]]]]:
    """Yield every cut as the layers of each stage."""
    each = [kind for kind in layers for _ in range(kind["count"])]
    places = [number for kind in layers for number in range(kind["count"])]
    for ends in combinations_with_replacement(range(len(each) + 1), stages - 1):
        if any(end < len(each) and places[end] % each[end].get("glue", 1) for end in ends):
            continue
        bounds = [0, *ends, len(each)]
        held = [each[start:stop] for start, stop in pairwise(bounds)]
        if all(
            kind.get("earliest_stage", 0) % stages <= stage <= kind.get("latest_stage", -1) % stages
            for stage, kinds in enumerate(held)
            for kind in kinds
        ):
            yield held


def _needs(held: list[list[dict[str, Any]]], homes: list[list[int]], devices: int) -> list[Fraction]:
    def total(key: str, device: int, direction: list[int]) -> Fraction:
        kinds = [kind for stage, home in enumerate(direction) if home == device for kind in held[stage]]
        return sum((Fraction(str(kind.get(key, 0))) for kind in kinds), Fraction(0))

    return [
        sum(total("static", device, each) for each in homes) + max(total("activation", device, each) for each in homes)
        for device in range(devices)
    ]


def _drawn(draw: Random, devices: int, stages: int, *, digits: bool) -> list[dict[str, Any]]:
    def amount(least: int) -> float:
        return draw.uniform(least, 6) if digits else draw.randint(least, 6)

    kinds: list[dict[str, Any]] = []
    for number in range(draw.randint(1, 3)):
        glue = draw.choice([1, 1, 2])
        kind = {"name": f"kind {number}", "count": glue * draw.randint(1, 2), "glue": glue, "activation": amount(1)}
        kind |= {"forward": draw.randint(1, 3), "backward": draw.randint(2, 4)}
        kinds.append(kind | ({"static": amount(0)} if draw.random() < 0.4 else {}))
    if draw.random() < 0.3:
        kinds[0]["latest_stage"] = draw.randrange(stages)
    if draw.random() < 0.3:
        kinds[-1]["earliest_stage"] = draw.randrange(-devices, 0)
    return kinds


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("digits", [False, True])
@pytest.mark.parametrize("placement", USUAL)
@pytest.mark.parametrize("in_time", [True, False])
def test_infeasible_is_said_if_and_only_if_no_cut_fits(
    placement: str, digits: bool, in_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Random(f"{placement} {digits} {in_time}")
    told = {True: 0, False: 0}
    monkeypatch.setattr(ppopt.cutting.quick, "SECONDS_TO_FIT", 60.0)  # however busy the machine is
    if not in_time:  # the cut that comes with the bound is too late
        monkeypatch.setattr(ppopt.cutting.quick, "_of_bound", lambda *_: None)
        monkeypatch.setattr(ppopt.cutting.quick, "cut_of_published", lambda *_: None)
    for _ in range(16):
        devices = draw.choice([2, 2, 3])
        stages = devices * (PLACEMENTS[placement].stages_per_device or 2)
        layers = _drawn(draw, devices, stages, digits=digits)
        homes = _homes(placement, devices, stages)
        needs = [_needs(held, homes, devices) for held in _every_cut(layers, stages)]
        if not needs:
            continue
        least = min(map(max, needs))
        limits = [
            float(least * draw.choice([Fraction(tenths, 10) for tenths in (8, 9, 10, 11)])) for _ in range(devices)
        ]
        limits = limits if draw.random() < 0.3 else [limits[0]] * devices
        exact = [Fraction(str(limit)) for limit in limits]
        fits = any(all(need <= limit for need, limit in zip(each, exact, strict=True)) for each in needs)
        mapping = {"devices": devices, "microbatches": 2, "layers": layers, "memory": {"limit": limits}}
        pipeline = Pipeline.from_mapping(mapping).with_stages(stages)
        layout = make_placement(placement, devices, stages, 2)
        try:
            cut = planned_for_search(pipeline, layout, 0.5, split_backward=True)
        except InfeasibleError as error:
            assert not fits, mapping
            said = str(error)
            assert said.startswith("infeasible: no cut of the layers fits; in ["), said
            if len(set(limits)) == 1:
                assert f"the {placement} placement is {float(least):.10g})" in said
        else:
            assert fits, mapping
            found = _needs(_held(layers, cut.layers_per_stage or ()), homes, devices)
            assert all(need <= limit for need, limit in zip(found, exact, strict=True)), mapping
        told[fits] += 1
    assert min(told.values()) > 0, told


def _held(layers: list[dict[str, Any]], cut: tuple[int, ...]) -> list[list[dict[str, Any]]]:
    each = iter([kind for kind in layers for _ in range(kind["count"])])
    return [[next(each) for _ in range(count)] for count in cut]


def test_a_search_and_a_comparison_find_a_schedule_where_only_another_cut_fits() -> None:
    pipeline = Pipeline.from_mapping(SPLIT_OPEN)
    found = ppopt.optimize(pipeline, placement="bidirectional", time_limit=1, workers=1)
    assert found.fits
    assert found.pipeline.layers_per_stage == (1, 2)
    compared = ppopt.compare(pipeline, placement="bidirectional", time_limit=4, workers=1)
    assert not compared.infeasible
    assert compared.winner is not None


def test_of_a_given_cut_it_is_the_cut_that_does_not_fit() -> None:
    pipeline = Pipeline.from_mapping(SPLIT_OPEN | {"layers_per_stage": [2, 1]})
    message = r"with layers_per_stage \[2, 1\] device 0 needs .* bidirectional placement and this cut is 8\)"
    with pytest.raises(InfeasibleError, match=message):
        ppopt.optimize(pipeline, placement="bidirectional", time_limit=1, workers=1)


def test_without_the_time_to_look_at_other_cuts_nothing_is_called_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object) -> None:
        raise OutOfTimeError

    monkeypatch.setattr("ppopt.optimization.cuts._planned_once", planned)  # no cut of another test
    monkeypatch.setattr("ppopt.cutting.least_memory_cut.roomiest_cut", late)
    with pytest.raises(TimeTooShortError, match=r"no schedule found: with layers_per_stage \[2, 1\] device 0 needs"):
        ppopt.optimize(Pipeline.from_mapping(SPLIT_OPEN), placement="bidirectional", time_limit=1, workers=1)
    every = ppopt.optimize(Pipeline.from_mapping(SPLIT_OPEN), placement="all", time_limit=2, workers=1)
    assert every.fits
