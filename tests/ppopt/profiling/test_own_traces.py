"""A trace that ppopt wrote gives back exactly the costs that made it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline, Schedule
from ppopt.commands.measuring import compare_with_measured
from ppopt.commands.printing import write_traces
from ppopt.profiling.read import read_measurement
from ppopt.profiling.timeline import orders_of
from tests.evaluated import evaluated
from tests.running import call_ppopt

RAW = {"forward": 1.2345678901234567, "backward_input": 1.0000000000000002, "backward_weight": 0.9876543210987654}
UNEVEN = {
    "forward": [1.1, 0.7, 2.3, 1.9],
    "backward_input": [1.3, 0.9, 2.1, 1.7],
    "backward_weight": [0.8, 0.6, 1.5, 1.4],
}
LAYERS = [
    {"name": "embedding", "forward": 0.3, "backward": 0.5, "static": 2, "latest_stage": 0},
    {"name": "decoder", "count": 11, "forward": 1.1, "backward": 2.3, "activation": 0.75, "static": 1.5},
]

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("1f1b", {"unit": "ms"}),
    "v": ("zbv", {"unit": "ms", "stages": 8}),
    "interleaved": ("interleaved", {"unit": "us", "stages": 8, "p2p_latency": 0.25}),
    "bidirectional": ("chimera", {"unit": "s"}),
    "bidirectional blocks": ("dualpipe", {"overlap": 0.3, "overhead": 0.05}),
    "blocks with a time of their own": (
        "1f1b-overlap",
        {"times": {"forward": 1, "backward": 2, "overlapped_forward_backward": 2.5}},
    ),
    "W of its own": ("zb1p", {"times": UNEVEN, "memory": {"activation": 1.5, "held_for_weight": 0.5, "limit": 9}}),
    "raw floats": ("zb-h1", {"times": RAW, "p2p_latency": 0.12345678901234567, "unit": "ms"}),
    "no unit": ("gpipe", {}),
    "a unit of one's own": ("gpipe", {"unit": "ticks"}),
    "nanoseconds": ("1f1b", {"unit": "ns"}),
    "overhead by kind": (
        "zb1p",
        {"unit": "ms", "overhead": {"forward": 0.1, "backward": 0.2, "backward_input": 0.15, "backward_weight": 0.05}},
    ),
    "a slow device": ("1f1b", {"unit": "ms", "slowdown": {2: 1.3}, "overhead": 0.1}),
    "rendezvous": ("1f1b", {"unit": "ms", "p2p": "rendezvous", "p2p_latency": 0.3}),
    "batched": ("1f1b", {"unit": "ms", "framework": "megatron", "p2p_latency": 0.2}),
    "layers": ("1f1b", {"unit": "ms", "layers": LAYERS, "times": None}),
    "one microbatch": ("1f1b", {"unit": "us", "microbatches": 1}),
    "one device": ("gpipe", {"unit": "us", "devices": 1}),
    "after the step": ("1f1b", {"unit": "ms", "step": {"after": 3.5}}),
}

DIFFERING: dict[str, tuple[str, dict[str, Any]]] = {
    "sizes": (
        "zb-h1",
        {"microbatches": [{"count": 2, "size": 2, "attention": 4}, {"size": 0.1234567890123456}, {"count": 5}]},
    ),
    "documents": (
        "1f1b",
        {"microbatches": [{"documents": [300, 777]}, {"count": 3}], "tokens": 1000, "feed": "pyramid"},
    ),
    "the best feed": ("1f1b", {"microbatches": [{"size": 3}, {"size": 0.5}, {"count": 4}], "feed": "best"}),
    "bidirectional and different": ("chimera", {"microbatches": [{"count": 3}, {"count": 3, "size": 2}]}),
    "slices": ("seq1f1b", {"microbatches": [{"count": 12, "slices": 3}], "tokens": 1000}),
    "slices of documents": (
        "seq1f1b",
        {
            "microbatches": [{"documents": [300, 450], "slices": 2, "cut": "equal"}, {"slices": [9, 991]}],
            "tokens": 1000,
        },
    ),
    "a strategy's own slices": ("seq1f1b:slices=4", {"microbatches": 5, "tokens": 4096}),
}


def schedule_of(case: str) -> Schedule:
    strategy, more = (CASES | DIFFERING)[case]
    mapping = {"devices": 4, "microbatches": 8, "times": RAW if "raw" in case else UNEVEN, **more}
    if mapping.get("stages", 4) != 4 or (mapping["devices"] != 4 and "times" not in more):
        mapping["times"] = {"forward": 1.1, "backward_input": 1.3, "backward_weight": 0.7}
    given = {key: value for key, value in mapping.items() if value is not None}
    return evaluated(strategy, Pipeline.from_mapping(given))


def written(path: Path, schedules: Sequence[Schedule]) -> Path:
    write_traces(str(path), schedules)
    return path


@pytest.mark.parametrize("case", [*CASES, *DIFFERING])
def test_a_trace_gives_back_the_costs_that_made_it(case: str, tmp_path: Path) -> None:
    schedule = schedule_of(case)
    trace = written(tmp_path / "trace.json", [schedule])
    found = ppopt.profile(trace)
    assert found.pipeline == schedule.pipeline
    assert found.placement == schedule.placement
    assert found.orders == schedule.orders
    costs = tmp_path / "costs.yaml"
    costs.write_text(found.to_yaml())
    assert Pipeline.from_file(costs) == schedule.pipeline


@pytest.mark.parametrize("case", DIFFERING)
def test_microbatches_that_differ_are_read_back_but_not_as_noise_or_as_measured(case: str, tmp_path: Path) -> None:
    schedule = schedule_of(case)
    trace = written(tmp_path / "trace.json", [schedule])
    found = ppopt.profile(trace)
    again = ppopt.evaluate(found.pipeline, schedule.strategy)
    assert again.exact_makespan == schedule.exact_makespan
    assert again.orders == schedule.orders
    for write in (found.spread_csv, found.spread_yaml):
        with pytest.raises(InputError, match="and a spread takes only those that are alike"):
            write()
    alike = evaluated("1f1b", Pipeline.from_mapping({"devices": 4, "microbatches": schedule.pipeline.microbatches}))
    for predicted in (schedule, alike):
        with pytest.raises(InputError, match="and --against takes only those that are alike"):
            compare_with_measured(predicted, [str(trace)], None)


def test_a_slice_is_named_by_stage_microbatch_and_slice(tmp_path: Path) -> None:
    trace = written(tmp_path / "trace.json", [schedule_of("slices")])
    events = [each for each in json.loads(trace.read_text())["traceEvents"] if each["ph"] == "X"]
    (one,) = (each for each in events if each["args"] == {"stage": 3, "microbatch": 34} and each["name"][0] == "F")
    assert one["name"] == "F 3.11.1"


@pytest.mark.parametrize("case", CASES)
def test_a_trace_held_against_its_own_prediction_shows_no_difference(case: str, tmp_path: Path) -> None:
    schedule = schedule_of(case)
    trace = written(tmp_path / "trace.json.gz", [schedule])
    measured = read_measurement(trace)
    assert orders_of(measured.actions, measured.devices) == [list(order) for order in schedule.actions]
    against = compare_with_measured(schedule, [str(trace)], None)
    after = float(schedule.pipeline.after)
    assert against.measured.makespan == pytest.approx(schedule.makespan - after, rel=1e-9)
    assert against.measured.overhead == pytest.approx(schedule.overhead, abs=1e-5)
    assert len(against.differences) == 1 + bool(after)
    assert "+0.00%" in against.differences[0] or "−0.00%" in against.differences[0]


def test_a_searched_schedule_is_read_back_as_well(tmp_path: Path) -> None:
    costs = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "times": RAW, "memory": {"limit": 2}, "unit": "us"})
    found = ppopt.optimize(costs, time_limit=2)
    profile = ppopt.profile(written(tmp_path / "trace.json", [found]))
    assert profile.pipeline == found.pipeline
    assert profile.orders == found.orders


def test_of_several_schedules_the_one_that_is_predicted_is_read(tmp_path: Path) -> None:
    schedules = [schedule_of("linear"), schedule_of("W of its own")]
    trace = written(tmp_path / "trace.json", schedules)
    assert ppopt.profile(trace).pipeline == schedules[0].pipeline
    assert "holds 2 schedules, of which 1f1b was read" in " ".join(ppopt.profile(trace).notes)
    against = compare_with_measured(schedules[1], [str(trace)], None)
    assert against.measured.makespan == pytest.approx(schedules[1].makespan)


def test_the_unit_of_an_unnamed_unit_is_the_users(tmp_path: Path) -> None:
    schedule = schedule_of("no unit")
    trace = written(tmp_path / "trace.json", [schedule])
    for unit in ("s", "ms", "us"):
        measured = compare_with_measured(schedule, [str(trace)], unit).measured
        assert measured.makespan == pytest.approx(schedule.makespan, rel=1e-9)


def test_a_cut_that_no_decimal_writes_is_named(tmp_path: Path) -> None:
    given = Pipeline.from_mapping({"devices": 4, "stages": 4, "microbatches": 8, "times": RAW})
    schedule = evaluated("interleaved:stages=12", given)
    found = ppopt.profile(written(tmp_path / "trace.json", [schedule]))
    assert any("rounded to 16 digits" in note for note in found.notes)
    exact, read = schedule.pipeline.work[5], found.pipeline.work[5]
    assert float(read.forward) == pytest.approx(float(exact.forward), rel=1e-15)


def test_commands_write_and_read_it(tmp_path: Path) -> None:
    trace, costs = tmp_path / "trace.json", tmp_path / "costs.yaml"
    options = ["--microbatches", "6", "--time", "forward=1.25", "--time", "backward=2.5", "--p2p-latency", "0.5"]
    call_ppopt("evaluate", "1f1b", *options, "--trace", str(trace))
    told = call_ppopt("profile", str(trace), "-o", str(costs))
    assert "the costs are those that 1f1b was made from" in told.stderr
    assert "not measured" not in told.stdout
    first, second = (
        json.loads(call_ppopt("evaluate", "1f1b", *each, "--format", "json").stdout)
        for each in (options, ["-c", str(costs)])
    )
    del first["schedules"][0]["seconds"], second["schedules"][0]["seconds"]
    assert first["schedules"] == second["schedules"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "is damaged or ends too early; write the trace again"),
        (lambda text: text.replace('"unit": "ms"', '"units": "ms"', 1), "trace.json: 1f1b: units: is not a known key"),
        (lambda text: text.replace('"tid": 3', '"tid": 7'), "has device 7, but its configuration has devices: 4"),
        (lambda text: text.replace('"ph": "X"', '"ph": "Y"'), "1f1b has no operation in it"),
        (lambda text: text.replace('"ppopt": [{', '"ppopt": [], "x": [{', 1), "otherData.ppopt: must list schedules"),
    ],
)
def test_a_damaged_trace_is_refused_in_one_line(damage: Any, message: str, tmp_path: Path) -> None:
    trace = written(tmp_path / "trace.json", [schedule_of("linear")])
    trace.write_text(damage(trace.read_text()))
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        ppopt.profile(trace)
    assert message in str(caught.value)


def test_what_does_not_go_with_it_is_named(tmp_path: Path) -> None:
    traces = [written(tmp_path / name, [schedule_of("linear")]) for name in ("a.json", "b.json")]
    with pytest.raises(InputError, match="is a second trace of ppopt; one file holds all devices"):
        ppopt.profile(traces)
    with pytest.raises(InputError, match="skip: must be 0 for a trace of ppopt, which holds one step; found 1"):
        ppopt.profile(traces[0], skip=1)
