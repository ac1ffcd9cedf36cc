from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import InputError, Pipeline
from reports.memory import memory_steps
from solver.errors import InfeasibleError
from tests.examples import examples
from tests.running import call_ppopt


def pipeline(devices: int = 4, **memory: Any) -> Pipeline:
    return Pipeline.from_mapping(
        {
            "devices": devices,
            "stages": devices,
            "microbatches": 2 * devices,
            "times": {"forward": 1, "backward_input": 1, "backward_weight": 1},
            "memory": {"activation": 2, **memory},
        }
    )


def test_static_memory_is_part_of_every_peak() -> None:
    plain = ppopt.evaluate(pipeline(), "1f1b")
    held = ppopt.evaluate(pipeline(static=[10, 20, 30, 40]), "1f1b")
    assert plain.peak_memory == (8, 6, 4, 2)
    assert held.peak_memory == (18, 26, 34, 42)
    assert held.makespan == plain.makespan
    assert held.to_dict()["peak_memory"] == [18, 26, 34, 42]


def test_it_counts_twice_where_a_placement_keeps_two_copies() -> None:
    plain = ppopt.evaluate(pipeline(), "dualpipe")
    held = ppopt.evaluate(pipeline(static=[10, 20, 30, 40]), "dualpipe")
    assert [with_it - without for with_it, without in zip(held.peak_memory, plain.peak_memory, strict=True)] == [50] * 4


def test_it_counts_for_every_stage_of_a_device() -> None:
    made = pipeline(static=[10, 20, 30, 40]).recut(8)
    assert [float(cost.static) for cost in made.costs] == [5, 5, 10, 10, 15, 15, 20, 20]
    interleaved, there_and_back = (ppopt.evaluate(made, name) for name in ("interleaved", "dualpipe-v"))
    assert [steps[0][1] for steps in memory_steps(interleaved.problem, interleaved.rows)][1:] == [20, 30, 30]
    assert there_and_back.problem.static == [25, 25, 25, 25]


def test_it_counts_against_the_limit() -> None:
    tight = ppopt.evaluate(pipeline(static=[10, 10, 10, 0], limit=17), "1f1b")
    assert tight.over_limit == [0]
    assert not tight.fits
    assert ppopt.evaluate(pipeline(static=[10, 10, 10, 0], limit=18), "1f1b").fits


def test_the_checker_counts_it() -> None:
    tight = ppopt.evaluate(pipeline(static=[10, 0, 0, 0], limit=17), "1f1b")
    assert [str(found) for found in ppopt.violations(tight.problem, tight.rows)] == [
        f"memory: device 0 holds 18 at {3 * tight.problem.ticks_per_unit}, but has 17"
    ]
    roomy = ppopt.evaluate(pipeline(static=[10, 0, 0, 0], limit=18), "1f1b")
    assert not ppopt.violations(roomy.problem, roomy.rows)


def test_a_limit_below_the_static_memory_alone_is_a_violation_too() -> None:
    made = ppopt.evaluate(pipeline(activation=0, static=[0, 0, 9, 0], limit=8), "1f1b")
    assert made.over_limit == [2]
    assert [found.kind for found in ppopt.violations(made.problem, made.rows)] == ["memory"]


@pytest.mark.parametrize(
    ("static", "message"),
    [
        ([0, 11, 0, 0], "device 1 needs at least 13 for one microbatch of stage 1, 11 of it static; the limit is 12"),
        ([0, 0, 0, 13], "device 3 needs at least 15 for one microbatch of stage 3, 13 of it static; the limit is 12"),
    ],
)
def test_what_cannot_fit_is_refused_before_the_search(static: list[int], message: str) -> None:
    with pytest.raises(InfeasibleError, match=message):
        ppopt.optimize(pipeline(static=static, limit=12), time_limit=1)


def test_a_bidirectional_placement_may_not_fit_where_a_linear_one_does() -> None:
    made = pipeline(static=5, limit=10)
    assert ppopt.optimize(made, time_limit=5).fits
    with pytest.raises(InfeasibleError, match=r"stage 3, 10 of it static; the limit is 10 .*bidirectional"):
        ppopt.optimize(made, placement="bidirectional", time_limit=5)


@settings(max_examples=examples(8))
@given(st.lists(st.integers(0, 6), min_size=3, max_size=3), st.integers(2, 8), st.sampled_from(["makespan", "span"]))
def test_searching_with_it_is_searching_with_less_room(static: list[int], room: int, objective: Any) -> None:
    def found(**memory: Any) -> Any:
        made = pipeline(3, **memory).model_copy(update={"microbatches": 4})
        return ppopt.optimize(made, objective=objective, time_limit=60, seed=1)

    held, free = found(static=static, limit=[room + each for each in static]), found(limit=room)
    assert held.status == free.status == "optimal"
    assert held.objective_value == free.objective_value
    assert held.bound == free.bound
    assert all(held <= room + each for held, each in zip(held.peak_memory, static, strict=True))


def test_idle_time_is_explained_by_what_is_left_beside_it() -> None:
    held = ppopt.evaluate(pipeline(static=[7, 0, 3, 1], limit=[15, 8, 11, 9]), "zb-h1")
    free = ppopt.evaluate(pipeline(limit=8), "zb-h1")
    assert held.waiting == free.waiting


def test_memory_over_time_begins_with_it() -> None:
    held = ppopt.evaluate(pipeline(static=[0, 10, 20, 30]), "1f1b")
    free = ppopt.evaluate(pipeline(), "1f1b")
    for device, (with_it, without) in enumerate(
        zip(memory_steps(held.problem, held.rows), memory_steps(free.problem, free.rows), strict=True)
    ):
        base = 10 * device
        assert [(time, level - base) for time, level in with_it if level > base or time] == without
        assert with_it[0][0] == 0
        assert all(one < two for (one, _), (two, _) in pairwise(with_it))


def test_a_configuration_keeps_it() -> None:
    mapping = pipeline(static=[0, 10, 20, 30]).to_mapping()
    assert mapping["memory"] == {"activation": 2, "static": [0, 10, 20, 30]}
    assert Pipeline.from_mapping(mapping).costs[2].static == 20
    assert "static" not in pipeline().to_mapping()["memory"]
    with pytest.raises(InputError, match=r"^memory.static: stage 1: must be at least 0; found -1$"):
        pipeline(static=[0, -1, 0, 0])


def test_a_schedule_file_is_checked_with_it(tmp_path: Any) -> None:
    order = tmp_path / "order.csv"
    order.write_text("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n")
    config = tmp_path / "model.yaml"
    config.write_text("devices: 2\nmicrobatches: 2\nmemory: {activation: 2, static: [5, 0], limit: 8}\n")
    checked = call_ppopt("check", str(order), "-c", str(config))
    assert "is where the device holds most: 9; its limit is 8" in checked.stdout + checked.stderr


def test_a_search_spares_memory_with_the_static_part_in_view() -> None:
    made = pipeline(2, static=[9, 0]).model_copy(update={"microbatches": 3})
    found = ppopt.optimize(made, split_backward=False, time_limit=60)
    assert found.status == "optimal"
    # the shortest schedule needs two microbatches on device 0; device 1 has room for any number
    assert max(found.peak_memory) == found.peak_memory[0] == 13


def test_two_copies_are_only_said_to_be_missing_where_they_are() -> None:
    for memory, said in (({}, True), ({"static": 1}, False)):
        made = ppopt.optimize(pipeline(2, **memory), placement="bidirectional", time_limit=1)
        assert any("two copies of the weights" in note for note in made.notes) == said
