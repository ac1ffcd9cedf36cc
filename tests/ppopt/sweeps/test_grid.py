from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ppopt import InputError, Pipeline
from ppopt.sweeps.grid import Grid, read_grid
from ppopt.sweeps.job import jobs_of
from ppopt.sweeps.keys import check_key, with_value

BASE = {"devices": 4, "microbatches": 8}


LONG = {"from": 0, "to": 1}


def grid(**more: Any) -> Grid:
    return read_grid({"base": BASE, "axes": {"microbatches": [4, 8]}, "run": "1f1b"} | more)


def test_axes_are_lists_ranges_or_values_that_move_together(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("devices: 4\nmicrobatches: 8\nmemory: {activation: 2}\n")
    file = tmp_path / "grid.yaml"
    file.write_text(
        """
base: base.yaml
axes:
  memory.limit: {from: 4, to: 16, steps: 7}
  p2p_latency: {from: 0, to: 0.1, steps: 4}
  size: [{devices: 2, microbatches: 4}, {devices: 4, microbatches: 16}]
  lists: {times.forward: [1, 2], times.backward: [2, 3]}
run: [1f1b, "interleaved:stages=8", optimize: v]
time_limit: 2.5
"""
    )
    read = read_grid(file)
    points = list(read.points())
    assert read.jobs == 3 * len(points) == 3 * 7 * 4 * 2 * 2
    assert [axis.shown(0) for axis in read.axes] == [
        4,
        0,
        "devices=2, microbatches=4",
        "times.forward=1, times.backward=2",
    ]
    assert [read.axes[0].shown(place) for place in range(7)] == [4, 6, 8, 10, 12, 14, 16]
    assert read.axes[1].points[1]["p2p_latency"] == Fraction(1, 30)
    last = points[-1].mapping
    assert last is not None
    assert last["memory"] == {"activation": 2, "limit": 16}
    assert (last["devices"], last["microbatches"], last["times"]) == (4, 16, {"forward": 2, "backward": 3})
    assert read.effort.seconds == 2.5
    assert read_grid(file, time_limit=1).effort.seconds == 1
    assert [run.name for run in read.runs] == ["1f1b", "interleaved:stages=8", "optimize:v"]


@pytest.mark.parametrize(
    ("mapping", "key", "value", "expected"),
    [
        (
            {**BASE, "times": {"forward": 1, "backward": 2}},
            "times.forward.3",
            5,
            {"forward": [1, 1, 1, 5], "backward": 2},
        ),
        ({**BASE, "times": {"forward": [1, 2, 3, 4], "backward": 2}}, "times.forward.0", 9, {"forward": [9, 2, 3, 4]}),
        (
            {**BASE, "times": {"forward": {0: 1, 1: 1, 2: 1, 3: 1}}},
            "times.forward.2",
            7,
            {"forward": {0: 1, 1: 1, 2: 7, 3: 1}},
        ),
        (BASE, "times.forward", 3, {"forward": 3}),
        (BASE, "times.forward.1", 3, {"forward": [1, 3, 1, 1]}),
    ],
)
def test_one_stage_can_vary(mapping: dict[str, Any], key: str, value: int, expected: dict[str, Any]) -> None:
    before = repr(mapping)
    changed = with_value(mapping, key, value)["times"]
    assert {name: changed[name] for name in expected} == expected
    assert repr(mapping) == before


def test_layers_vary_by_name_or_place() -> None:
    layers = [{"name": "embedding", "forward": 1, "backward": 2}, {"name": "head", "forward": 3, "backward": 6}]
    by_name = with_value({**BASE, "layers": layers}, "layers.head.forward", 4)
    by_place = with_value({**BASE, "layers": layers}, "layers.1.forward", 4)
    assert by_name == by_place
    assert by_name["layers"][1]["forward"] == 4
    assert layers[1]["forward"] == 3


def test_overhead_slow_devices_and_the_end_of_a_step_can_vary() -> None:
    assert with_value(BASE, check_key("overhead", ""), 3)["overhead"] == 3
    assert with_value(BASE, check_key("step.after", ""), 3)["step"] == {"after": 3}
    each = with_value({**BASE, "overhead": {"backward": 1}}, check_key("overhead.forward", ""), 3)["overhead"]
    assert each == {"backward": 1, "forward": 3}
    assert with_value({**BASE, "overhead": 2}, "overhead.forward", 3)["overhead"] == {"backward": 2, "forward": 3}
    for given in ({2: 2}, {"2": 2}, [1, 1, 2]):
        mapping = with_value({**BASE, "slowdown": given}, check_key("slowdown.1", ""), 1.5)
        factors = Pipeline.from_mapping({**mapping, "devices": 4}).slowdown
        assert factors == (1, 1.5, 2, 1)
    with pytest.raises(InputError, match="did you mean overhead"):
        check_key("overhead.backward_inputs", "")


def test_mappings_can_be_values_of_one_key() -> None:
    read = grid(
        axes={
            "slowdown": [{1: 1.25}, {2: 1.5, 3: 2}],
            "overhead": {"forward": [1, 2], "backward": [3, 4]},
            "step": [{"after": 5}],
        }
    )
    assert [[axis.shown(place) for place in range(len(axis.points))] for axis in read.axes] == [
        ["1=1.25", "2=1.5, 3=2"],
        ["forward=1, backward=3", "forward=2, backward=4"],
        ["after=5"],
    ]
    *_, last = read.points()
    assert last.mapping is not None
    made = Pipeline.from_mapping(last.mapping)
    assert made.slowdown == (1, 1, 1.5, 2)
    assert (made.overheads["F"], made.overheads["B"], made.after) == (2, 4, 5)


def test_one_device_can_have_another_limit() -> None:
    assert with_value({**BASE, "memory": {"limit": 3}}, "memory.limit.2", 9)["memory"]["limit"] == [3, 3, 9, 3]


def test_all_that_is_run_at_a_point_is_of_one_model() -> None:
    jobs = list(jobs_of(grid(axes={"devices": [2, 4]}, run=["1f1b", "zb-v"])))
    assert [job.mapping and job.mapping["stages"] for job in jobs] == [2, 2, 4, 4]
    alone = list(jobs_of(grid(axes={"devices": [2, 4]}, run=["zb-v"])))
    assert [job.mapping and job.mapping["stages"] for job in alone] == [4, 8]


def test_a_value_that_does_not_work_spoils_no_other() -> None:
    jobs = list(jobs_of(grid(axes={"microbatches": [0, 8]})))
    assert [job.mapping for job in jobs] == [BASE | {"microbatches": 0}, BASE | {"stages": 4}]


def test_a_job_is_known_by_its_configuration_run_and_effort() -> None:
    def keys(**more: Any) -> list[str]:
        return [job.key for job in jobs_of(grid(**more))]

    latency = {"p2p_latency": [1, 0.5]}
    assert keys(axes=latency) == keys(axes={"p2p_latency": [1.0, 0.5]}, seed=5)
    assert keys() != keys(base=BASE | {"p2p_latency": 0.1})
    assert keys(run={"optimize": "v"}) == keys(run="optimize: v")
    assert keys(run={"optimize": "v"}) != keys(run={"optimize": "v"}, seed=5)
    assert keys(run={"optimize": "v"}) != keys(run={"optimize": {"placement": "v", "overlap": True}})
    assert keys(run="zb_h1") == keys(run="ZB-H1")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"axes": {}}, "axes: must name at least one key that varies"),
        ({"axes": None}, "axes: must name at least one key that varies"),
        ({"axes": {"microbatchs": [1]}}, "axes: microbatchs is not a key of a configuration; did you mean mic"),
        ({"axes": {"memory.limits": [1]}}, "axes: memory.limits is not a key of a configuration; did you mean m"),
        ({"axes": {"times": [1]}}, "axes: times is not a key of a configuration"),
        ({"axes": {"times.forward.x": [1]}}, "axes: times.forward.x is not a key"),
        ({"axes": {"microbatches": []}}, "axes.microbatches: must have at least one value; found none"),
        ({"axes": {"microbatches": 3}}, "axes.microbatches: must be a list of values, or {from, to, steps}; found 3"),
        ({"axes": {"microbatches": [4, 4.0]}}, "axes.microbatches: names 4.0 twice"),
        ({"axes": {"devices": {"from": 1, "to": 3}}}, "axes.devices.steps: is missing"),
        ({"axes": {"devices": {"from": 1, "to": 3, "steps": 1.5}}}, "axes.devices.steps: must be a whole number"),
        ({"axes": {"devices": {"from": 1, "to": 3, "steps": 10**9}}}, "a whole number from 2 to 100,000; found 10"),
        ({"axes": {"devices": {"from": 1, "to": 3, "step": 2}}}, "axes.devices.step: is not a known key"),
        (
            {"axes": {"size": {"devices": [2, 4], "microbatches": [4, 8, 16]}}},
            "axes.size.microbatches: must have as many values as devices, 2; found 3",
        ),
        (
            {"axes": {"size": [{"devices": 2, "microbatches": 4}, {"devices": 2}]}},
            "axes.size: entry 2 must set the same keys as the first; microbatches is missing",
        ),
        ({"axes": {"devices": [2], "s": [{"devices": 4}]}}, "axes.s: sets devices, as axis devices does"),
        ({"run": []}, "run: is missing"),
        ({"run": ["1f2b"]}, "run: '1f2b' is not known; did you mean 1f1b?"),
        ({"run": {"optimise": "v"}}, "run: optimise is no search; did you mean optimize?"),
        ({"run": {"optimize": "w"}}, "run: optimize: placement: 'w' is not known"),
        ({"run": {"optimize": {"overlaps": True}}}, "'overlaps' is not an option of it; did you mean overlap?"),
        ({"run": {"plan": {"strategy": "1f2b"}}}, "run: plan: strategy: '1f2b' is not known"),
        ({"run": {"plan": {"recompute": "all"}}}, "run: plan: recompute: 'all' is not known; allowed are none"),
        ({"run": ["zb_h1", "zb-h1"]}, "run: zb-h1 is named twice"),
        ({"axis": 1}, "axis: is not a known key; did you mean axes? Allowed are base, axes, run, time_limit, seed"),
        ({"base": None}, "base: is missing"),
        ({"base": "nowhere.yaml"}, "nowhere.yaml: cannot be read: No such file"),
        ({"base": {"devices": 4, "microbatchs": 3}}, "microbatchs: is not a known key; did you mean microbatches?"),
        ({"time_limit": -1}, "time_limit: must be at least 0 seconds; found -1"),
        ({"axes": {"p2p_latency": LONG | {"steps": 1001}, "overlap": LONG | {"steps": 2000}}}, "axes: are 2,002,000"),
    ],
)  # fmt: skip
def test_wrong_grids_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        grid(**more)
    assert message in str(caught.value)


def test_a_value_that_does_not_work_is_no_mistake_of_the_grid() -> None:
    assert grid(axes={"microbatches": [0, 8]}).jobs == 2
    assert grid(axes={"times.forward.9": [1]}, base=BASE | {"stages": 16}).jobs == 1
    with pytest.raises(InputError, match=r"times\.forward\.9: there are only 4 stages, 0 to 3"):
        grid(axes={"times.forward.9": [1]})
    with pytest.raises(InputError, match="a grid must be a mapping"):
        read_grid([1])  # type: ignore[arg-type]


def test_times_that_neither_base_nor_axes_give_are_one() -> None:
    point = next(grid(axes={"times.forward": [3], "times.backward_input.2": [5]}).points())
    assert point.mapping is not None
    assert point.mapping["times"] == {"forward": 3, "backward_input": [1, 1, 5, 1], "backward_weight": 1}


def test_what_is_read_makes_pipelines() -> None:
    for point in grid(axes={"memory.limit": {"from": 1, "to": 2, "steps": 7}}).points():
        assert point.mapping is not None
        assert Pipeline.from_mapping(point.mapping).limits[0] is not None
