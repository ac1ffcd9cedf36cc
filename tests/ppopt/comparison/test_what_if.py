from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline
from ppopt.comparison.what_if import what_if
from reports.page.what_if import controls_of
from reports.what_if import WhatIf
from tests.evaluated import evaluated, pipeline

TIMES: dict[str, list[float]] = {
    "forward": [1, 1.5, 1, 2],
    "backward_input": [1, 1, 2, 3],
    "backward_weight": [1, 1, 1, 0.5],
}
EPSILON = Fraction(1, 10**6)


def model(times: dict[str, Any], latency: Any = 0.25, **more: Any) -> Pipeline:
    return Pipeline.from_mapping({"devices": 4, "microbatches": 8, "times": times, "p2p_latency": latency, **more})


def changed(key: str, stages: list[int], factor: Fraction) -> dict[str, Any]:
    return {
        name: [
            Fraction(str(value)) * (factor if name == key and stage in stages else 1)
            for stage, value in enumerate(values)
        ]
        for name, values in TIMES.items()
    }


@pytest.mark.exhaustive(5)
@pytest.mark.parametrize("strategy", ["1f1b", "zb-h1", "interleaved:stages=12", "dualpipe", "1f1b-overlap"])
@pytest.mark.parametrize("overlap", [0, 0.3, 1.4])
def test_effects_are_what_a_little_less_and_more_does(strategy: str, overlap: float) -> None:
    given = model(TIMES, overlap=overlap)
    schedule = evaluated(strategy, given)
    found = what_if(given, [schedule]).schedules[0]
    assert found is not None
    effects = {effect.label: effect for effect in found.effects}
    titles = {"forward": "forward", "backward_input": "input backward", "backward_weight": "weight backward"}
    cases = [(f"{title} of stage {stage}", key, [stage]) for key, title in titles.items() for stage in range(4)]
    cases += [("all forwards", "forward", [0, 1, 2, 3]), ("all weight backwards", "backward_weight", [0, 1, 2, 3])]
    for label, key, stages in cases:
        for sign in (1, -1):
            after = evaluated(strategy, model(changed(key, stages, 1 + sign * EPSILON), overlap=overlap))
            assert after.orders == schedule.orders
            difference = sign * (after.makespan / schedule.makespan - 1) / float(EPSILON)
            effect = effects.get(label)
            expected = 0.0 if effect is None else effect.growing if sign == 1 else effect.shrinking
            assert difference == pytest.approx(expected, abs=1e-4), (label, sign)
    slower = evaluated(strategy, model(TIMES, Fraction(1, 4) * (1 + EPSILON), overlap=overlap))
    assert (slower.makespan / schedule.makespan - 1) / float(EPSILON) == pytest.approx(
        effects["latency"].growing, abs=1e-4
    )


@pytest.mark.parametrize("strategy", ["1f1b", "zb-h1", "dualpipe", "interleaved:stages=8"])
def test_effects_of_overhead_and_on_a_slow_device_are_what_more_of_it_does(strategy: str) -> None:
    each = {"forward": Fraction(1, 2), "backward": Fraction(1, 4), "backward_input": Fraction(1, 5)}
    slow = {"slowdown": {2: Fraction(3, 2)}, "overlap": 0.3, "step": {"after": 9}}
    given = model(TIMES, overhead=each, **slow)
    schedule = evaluated(strategy, given)
    found = what_if(given, [schedule]).schedules[0]
    assert found is not None
    effects = {effect.label: effect for effect in found.effects}
    more = {key: value * (1 + EPSILON) for key, value in each.items()}
    longer = {
        "overhead": model(TIMES, overhead=more, **slow),
        "forward of stage 2": model(changed("forward", [2], 1 + EPSILON), overhead=each, **slow),
        "everything on device 2": model(
            TIMES, overhead=each, **(slow | {"slowdown": {2: Fraction(3, 2) * (1 + EPSILON)}})
        ),
    }
    for label, costs in longer.items():
        difference = (evaluated(strategy, costs).makespan / schedule.makespan - 1) / float(EPSILON)
        assert difference == pytest.approx(effects[label].growing if label in effects else 0, abs=1e-4), label


def test_a_block_with_a_kink_here_shrinks_and_grows_differently() -> None:
    given = pipeline(4, 8, times={"forward": 2, "backward": 2, "backward_input": 1, "backward_weight": 1}, overlap=0.5)
    found = what_if(given.with_stages(4), [evaluated("dualpipe", given)]).schedules[0]
    assert found is not None
    effects = {effect.label: effect for effect in found.effects}
    assert effects["all forwards"].shrinking < effects["all forwards"].growing


def test_what_cannot_be_replayed_is_left_out() -> None:
    given = model(TIMES)
    found = what_if(given, [evaluated("1f1b", given), evaluated("1f1b", pipeline(4, 8, stages=4))])
    assert found.schedules[0] is not None
    assert found.schedules[1] is None


def test_transfers_that_all_take_the_same_are_one_latency() -> None:
    def found(devices: int, **more: Any) -> WhatIf:
        given = Pipeline.from_mapping({"devices": devices, "stages": devices, "microbatches": 4, **more})
        return what_if(given, [evaluated("1f1b", given)])

    by_bytes = {"latency": 0.5, "bytes": 3, "bandwidth": 4}
    nodes = {"latency": {"node": 0.5, "network": Fraction(1, 3)}, "devices_per_node": 2}
    assert found(4, communication=by_bytes) == found(4, p2p_latency=1.25)
    assert found(4, communication=by_bytes).latency == 1.25
    assert found(4, communication=nodes).schedules[0] is None
    assert found(2, communication=nodes) == found(2, p2p_latency=0.5)
    assert found(1, communication=by_bytes).schedules[0] is not None


@pytest.mark.parametrize("communication", [3, 0])
def test_blocks_of_layers_with_parts_are_not_replayed_on_other_costs(communication: float) -> None:
    parts = {"forward": [2, {"comm": communication}], "backward": [{"comm": communication}, 3]}
    moe = {"name": "moe", "count": 8, "forward": 5, "backward": 6, "parts": parts}
    given = Pipeline.from_mapping({"devices": 2, "microbatches": 6, "layers": [moe]})
    found = ppopt.compare(given, ["zb-v", "dualpipe-v"], optimize=False)
    section = found.section(replayable=True)
    assert section.what_if is not None
    names = [each.summary.name for each in section.schedules]
    assert [names[at] for at, each in enumerate(section.what_if.schedules) if each is None] == ["dualpipe-v"]
    controls = controls_of(section)
    assert controls is not None
    (left_out,) = controls.left_out
    assert left_out.startswith("dualpipe-v")
    assert left_out.endswith("(its blocks last as long as the parts of layers)") == bool(communication)
