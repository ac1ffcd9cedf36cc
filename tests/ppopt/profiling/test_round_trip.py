"""Costs that were put into a trace come out of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline, Schedule
from ppopt.profiling.read import read_measurement
from tests.ppopt.profiling.made_traces import COSTS, Machine, write_traces


def evaluated(strategy: str, devices: int = 4, microbatches: int = 8, latency: float = 0.7, **times: Any) -> Schedule:
    stages = {"linear": 1, "bidirectional": 1}.get(placement(strategy), 2) * devices
    varied = {key: [value * (1 + 0.1 * (stage % 3)) for stage in range(stages)] for key, value in COSTS.items()}
    mapping = {"devices": devices, "stages": stages, "microbatches": microbatches, "p2p_latency": latency}
    return ppopt.evaluate(Pipeline.from_mapping({**mapping, "times": varied | times}), strategy, engine="graph")


def placement(strategy: str) -> str:
    return next(row["placement"] for row in ppopt.strategies() if row["name"] == strategy)


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("strategy", ["gpipe", "1f1b", "interleaved", "zb-h1", "zb1p"])
def test_costs_order_and_sizes(strategy: str, on_gpu: bool, tmp_path: Path) -> None:
    schedule = evaluated(strategy)
    write_traces(tmp_path, schedule, Machine(noise=0.02, on_gpu=on_gpu))
    profile = ppopt.profile(tmp_path)

    assert profile.placement == schedule.placement
    assert profile.orders == schedule.orders
    sizes = profile.measurement
    assert (sizes.devices, sizes.stages, sizes.microbatches) == (4, schedule.pipeline.stages, 8)
    used = {kind for kind in "FBIW" if any(kind in action for order in schedule.orders for action in order)}
    for found, true in zip(profile.pipeline.costs, schedule.pipeline.costs, strict=True):
        assert float(found.forward) == pytest.approx(float(true.forward), rel=0.03)
        if "B" in used:
            assert float(found.backward) == pytest.approx(float(true.backward), rel=0.03)
        if "I" in used:
            assert float(found.backward_input) == pytest.approx(float(true.backward_input), rel=0.03)
            assert float(found.backward_weight) == pytest.approx(float(true.backward_weight), rel=0.03)
    assert float(profile.pipeline.p2p_latency) == pytest.approx(0.7, rel=0.1)
    assert sizes.offsets == (0.0,) * 4
    assert sizes.skipped == {0: "warm-up: the first step infers shapes and allocates memory"}
    assert profile.step_time == pytest.approx(schedule.makespan, rel=0.05)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_overlapped_blocks(on_gpu: bool, tmp_path: Path) -> None:
    schedule = evaluated("dualpipe-v", microbatches=10, latency=0.0, overlapped_forward_backward=12.0)
    write_traces(tmp_path, schedule, Machine(on_gpu=on_gpu))
    profile = ppopt.profile(tmp_path)
    assert profile.orders == schedule.orders
    assert profile.placement == "v"
    if on_gpu:
        measured = profile.spreads["overlapped_forward_backward"]
        assert {stage: each.median for stage, each in measured.items()} == pytest.approx(dict.fromkeys(measured, 12.0))
        replay = ppopt.evaluate(profile.pipeline, "dualpipe-v")
        assert replay.makespan == pytest.approx(profile.step_time, rel=1e-3)


def test_without_noise_a_replay_of_the_costs_takes_as_long_as_the_step(tmp_path: Path) -> None:
    schedule = evaluated("zb1p")
    write_traces(tmp_path, schedule)
    profile = ppopt.profile(tmp_path)
    assert ppopt.evaluate(profile.pipeline, "zb1p").makespan == pytest.approx(profile.step_time, rel=1e-3)


@pytest.mark.parametrize("strategy", ["1f1b", "zb-h1", "interleaved"])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_clock_offsets_are_found(strategy: str, on_gpu: bool, tmp_path: Path) -> None:
    offsets = [0.0, *(random.Random(strategy).uniform(-3000, 3000) for _ in range(3))]
    write_traces(tmp_path, evaluated(strategy), Machine(noise=0.01, offsets=offsets, base=False, on_gpu=on_gpu))
    profile = ppopt.profile(tmp_path)
    for found, put_in in zip(profile.measurement.offsets, offsets, strict=True):
        assert found == pytest.approx(-put_in, abs=0.7)
    assert float(profile.pipeline.p2p_latency) == pytest.approx(0.7, abs=0.35)
    assert any("transfers in both directions pin them down" in note for note in profile.notes)


def test_clocks_of_one_host_that_contradict_the_order_are_moved_and_no_more_than_needed(tmp_path: Path) -> None:
    write_traces(tmp_path, evaluated("1f1b"), Machine(offsets=[0, 0, -2.0, 0]))
    measurement = read_measurement(tmp_path)
    assert measurement.offsets[2] - measurement.offsets[1] == pytest.approx(1.3, abs=0.01)
    assert measurement.offsets[0] == measurement.offsets[1] == measurement.offsets[3] == 0


def test_other_hosts_may_have_other_clocks(tmp_path: Path) -> None:
    write_traces(tmp_path, evaluated("1f1b"), Machine(offsets=[0, 0, 5, 5], hosts=("a", "a", "b", "b")))
    assert read_measurement(tmp_path).offsets == pytest.approx((0, 0, -5, -5), abs=0.01)


@pytest.mark.parametrize("apart", [False, True])
def test_copies_are_told_from_devices(apart: bool, tmp_path: Path) -> None:
    schedule = evaluated("interleaved")
    write_traces(tmp_path, schedule, Machine(on_gpu=True), copies=3, apart=apart, packed=True)
    profile = ppopt.profile(tmp_path)
    assert profile.measurement.devices == 4
    assert profile.orders == schedule.orders
    ranks = "0, 1, 2, 3" if apart else "0, 3, 6, 9"
    assert f"ranks {ranks} were taken as devices 0 to 3; the others are copies (3 of each)" in profile.notes


def test_one_copy_of_each_is_enough_whatever_the_ranks(tmp_path: Path) -> None:
    paths = write_traces(tmp_path, evaluated("1f1b"), copies=4)
    profile = ppopt.profile([path for path in paths if int(path.name[4:-11]) % 4 == 1])
    assert "ranks 1, 5, 9, 13 are devices 0 to 3" in profile.notes


def test_the_copies_of_a_bidirectional_pipeline(tmp_path: Path) -> None:
    write_traces(tmp_path, evaluated("dualpipe"), copies=2, apart=True)
    profile = ppopt.profile(tmp_path)
    assert (profile.measurement.devices, profile.placement) == (4, "bidirectional")


def test_an_outlier_does_not_count(tmp_path: Path) -> None:
    paths = write_traces(tmp_path, evaluated("1f1b"), Machine(steps=6, warm_up=1.0))
    for path in paths:
        stretch_last_step(path, 6)
    skipped = read_measurement(tmp_path).skipped
    assert list(skipped) == [0, 5]
    assert skipped[5].startswith("outlier: it lasts ")


def stretch_last_step(path: Path, steps: int) -> None:
    content = json.loads(path.read_text())
    events = [event for event in content["traceEvents"] if event["ts"] > 50_000]
    late = events[(steps - 1) * len(events) // steps :]
    first = late[0]["ts"]
    for event in late:
        event["ts"], event["dur"] = first + 2 * (event["ts"] - first), 2 * event["dur"]
    path.write_text(json.dumps(content))


def test_skip_is_obeyed(tmp_path: Path) -> None:
    write_traces(tmp_path, evaluated("1f1b"), Machine(warm_up=1.0))
    assert read_measurement(tmp_path, skip=0).skipped == {}
    assert list(read_measurement(tmp_path, skip=2).skipped) == [0, 1]
    everything = read_measurement(tmp_path, skip=9)
    assert everything.skipped == {}
    assert any("may include warm-up" in note for note in everything.notes)


def test_step_marks_that_begin_late_say_that_nothing_is_warm_up(tmp_path: Path) -> None:
    for path in write_traces(tmp_path, evaluated("1f1b"), Machine(warm_up=1.0, step_marks=True)):
        path.write_text(path.read_text().replace("ProfilerStep#", "ProfilerStep#1"))
        assert "ProfilerStep#10" in json.dumps(json.loads(path.read_text()))
    assert read_measurement(tmp_path).skipped == {}


@pytest.mark.parametrize("step_marks", [False, True])
def test_a_trace_that_begins_within_a_step(step_marks: bool, tmp_path: Path) -> None:
    schedule = evaluated("1f1b")
    for device, path in enumerate(write_traces(tmp_path, schedule, Machine(warm_up=1.0, step_marks=step_marks))):
        content = json.loads(path.read_text())
        content["traceEvents"] = [
            event
            for event in content["traceEvents"]
            if event["ts"] > 170_000 or (device == 3 and event["ts"] > 100_000) or "Step#0" in event["name"]
        ]
        path.write_text(json.dumps(content))
    profile = ppopt.profile(tmp_path, skip=0)
    assert profile.orders == schedule.orders
    assert profile.measurement.skipped == {0: "is incomplete on device 0"}


def test_ranks_with_different_numbers_of_steps(tmp_path: Path) -> None:
    path = write_traces(tmp_path, evaluated("1f1b"))[2]
    content = json.loads(path.read_text())
    content["traceEvents"] = content["traceEvents"][: len(content["traceEvents"]) * 7 // 10]
    path.write_text(json.dumps(content))
    measurement = read_measurement(tmp_path)
    assert list(measurement.skipped) == [2, 3, 0]
    assert any("the ranks have different numbers of steps (3 on 1, 4 on 3)" in note for note in measurement.notes)


@pytest.mark.parametrize("base", [False, True])
def test_waits_are_judged_by_the_producers_where_no_receive_was_recorded(base: bool, tmp_path: Path) -> None:
    schedule = evaluated("1f1b", latency=0.01)
    for path in write_traces(tmp_path, schedule, Machine(offsets=() if base else (0, 50, 90, 20), base=base)):
        content = json.loads(path.read_text())
        content["traceEvents"] = [event for event in content["traceEvents"] if "recv" not in event["name"]]
        path.write_text(json.dumps(content))
    profile = ppopt.profile(tmp_path)
    assert any("has no receives in its trace" in note for note in profile.notes)
    if base:
        for found, true in zip(profile.pipeline.costs, schedule.pipeline.costs, strict=True):
            assert float(found.forward) == pytest.approx(float(true.forward), rel=0.01)
