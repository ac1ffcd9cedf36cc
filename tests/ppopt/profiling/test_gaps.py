"""Overhead and latency come out of a trace as they were put in, and where they cannot be told apart, a note says so."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest

import ppopt
from ppopt import Pipeline, Schedule
from ppopt.noise.spread_file import read_spreads
from ppopt.profiling.gaps import _for_all_keys, measure_gaps
from ppopt.profiling.measurement import MeasuredAction
from ppopt.profiling.profile_result import Profile
from tests.ppopt.profiling.made_traces import COSTS, Machine, write_primus, write_timers, write_traces

PP8 = Path(__file__).parents[2] / "data" / "primus_pp8"
OVERHEAD, LATENCY = 1.8, 0.3


def made(strategy: str, *, devices: int = 4, microbatches: int = 8, latency: float = LATENCY) -> Schedule:
    chunks = 2 if strategy in ("interleaved", "zb-v", "dualpipe-v") else 1
    mapping = {"devices": devices, "stages": chunks * devices, "microbatches": microbatches, "p2p_latency": latency}
    times = {
        key: [value * (1 + 0.1 * (stage % 3)) for stage in range(chunks * devices)] for key, value in COSTS.items()
    }
    return ppopt.evaluate(Pipeline.from_mapping({**mapping, "times": times}), strategy, engine="graph")


def profiled(form: str, schedule: Schedule, folder: Path, overhead: float = OVERHEAD, noise: float = 0.0) -> Profile:
    machine = Machine(overhead=overhead, noise=noise, on_gpu=form == "gpu", warm_up=1.0)
    if form == "timers":
        machine.offsets = [0.0, 700.0, -300.0, 42.0]
        write_timers(folder, schedule, machine)
    elif form == "primus":
        write_primus(folder, schedule, machine, named=True)
    else:
        write_traces(folder, schedule, machine)
    return ppopt.profile(folder)


@pytest.mark.parametrize("form", ["timers", "primus", "gpu"])
@pytest.mark.parametrize("strategy", ["1f1b", "gpipe", "zb-h1", "interleaved", "zb-v", "dualpipe-v"])
def test_overhead_and_latency_come_out_as_they_were_put_in(strategy: str, form: str, tmp_path: Path) -> None:
    if form == "timers" and strategy in ("zb-v", "dualpipe-v"):
        form = "gpu"  # timers know no blocks, and no chunks but interleaved ones
    profile = profiled(form, made(strategy, microbatches=10 if strategy == "dualpipe-v" else 8), tmp_path)
    assert profile.pipeline.overhead is not None
    assert [float(each) for each in profile.pipeline.overhead.each] == pytest.approx([OVERHEAD] * 4, abs=0.02)
    assert float(profile.pipeline.p2p_latency) == pytest.approx(LATENCY, abs=0.02)


@pytest.mark.parametrize("strategy", ["1f1b", "zb-h1", "interleaved"])
def test_a_replay_with_overhead_takes_as_long_as_the_step(strategy: str, tmp_path: Path) -> None:
    profile = profiled("timers", made(strategy), tmp_path)
    replay = ppopt.evaluate(profile.pipeline, strategy)
    assert replay.makespan == pytest.approx(OVERHEAD + profile.step_time, rel=1e-4)  # that of the first operation


def test_noise_moves_them_little(tmp_path: Path) -> None:
    profile = profiled("gpu", made("1f1b"), tmp_path, noise=0.03)
    assert list(profile.overhead_by_key.values()) == pytest.approx([OVERHEAD] * 2, rel=0.05)
    assert float(profile.pipeline.p2p_latency) == pytest.approx(LATENCY, abs=0.05)


def test_overhead_differs_by_the_operation_after_the_gap(tmp_path: Path) -> None:
    def overhead(kind: str) -> float:
        return {"F": 0.5, "I": 1.0, "W": 0.25}[kind]

    actions = [
        MeasuredAction(0, 0, 0, kind, microbatch, start, start + 5.0 - overhead(kind))
        for microbatch in range(4)
        for kind, start in (
            (kind, 15.0 * microbatch + 5.0 * place + overhead(kind)) for place, kind in enumerate("FIW")
        )
    ]
    assert measure_gaps(actions).taken == pytest.approx(
        {"forward": 0.5, "backward": 1.0, "backward_input": 1.0, "backward_weight": 0.25}
    )


def test_no_gaps_are_no_overhead(tmp_path: Path) -> None:
    profile = profiled("primus", made("zb-h1"), tmp_path, overhead=0.0)
    assert profile.pipeline.overhead is None
    assert "overhead" not in profile.to_yaml()
    assert float(profile.pipeline.p2p_latency) == pytest.approx(LATENCY, abs=0.02)


def test_devices_that_always_wait_are_named(tmp_path: Path) -> None:
    profile = profiled("timers", made("1f1b", microbatches=1), tmp_path)
    (note,) = (note for note in profile.notes if "cannot be told apart" in note)
    assert note == (
        "on devices 0 to 2 all backwards waited for their input, so overhead and latency cannot be told apart there; "
        "that on device 3, 1.8 ms, was taken"
    )
    assert float(profile.pipeline.p2p_latency) == pytest.approx(LATENCY, abs=0.02)


def test_where_every_operation_waits_the_sum_is_latency_and_a_note_says_so() -> None:
    round_trip = [MeasuredAction(0, stage % 2, stage, "F", 0, 7.1 * stage, 7.1 * stage + 5) for stage in range(6)]
    gaps = measure_gaps(round_trip)
    assert gaps.taken == {}
    assert gaps.latency is not None
    assert gaps.latency.median == pytest.approx(2.1)
    (note,) = gaps.notes
    assert note == (
        "each operation waited for data of another device, so overhead and latency cannot be told apart: their sum, "
        "2.1 ms, was taken as latency"
    )


def test_data_that_travels_during_the_overhead_has_no_latency_left(tmp_path: Path) -> None:
    actions = [
        MeasuredAction(0, device, device, kind, microbatch, start, start + 5)
        for device, kind, microbatch, start in (
            (0, "F", 0, 0.0),
            (0, "F", 1, 6.8),
            (0, "F", 2, 13.6),
            (1, "F", 0, 5.3),
            (1, "F", 1, 12.1),
            (1, "F", 2, 18.9),
        )
    ]
    gaps = measure_gaps(actions)
    assert gaps.taken["forward"] == pytest.approx(1.8)
    assert gaps.latency is not None
    assert gaps.latency.median == 0
    assert any("0.3 ms after they had been produced, less than the overhead" in note for note in gaps.notes)


def test_the_gaps_of_a_real_run_are_overhead() -> None:
    profile = ppopt.profile(PP8)
    assert list(profile.overhead_by_key.values()) == pytest.approx([0.78, 0.76], abs=0.03)
    assert float(profile.pipeline.p2p_latency) < 0.2
    without = profile.pipeline.model_copy(update={"overhead": None, "step": None})
    assert ppopt.evaluate(without, "1f1b").makespan < 0.985 * profile.step_time


def test_a_replay_of_a_real_run_takes_as_long_as_its_steps(tmp_path: Path) -> None:
    profile = ppopt.profile(PP8)
    steps = {step: [action for action in profile.measurement.actions if action.step == step] for step in profile.steps}
    usual = median(max(a.end for a in ran) - min(a.start for a in ran) for ran in steps.values())
    replay = ppopt.evaluate(profile.pipeline, "1f1b")
    assert replay.makespan == pytest.approx(usual, rel=0.002)
    spread = tmp_path / "spread.csv"
    spread.write_text(profile.spread_csv())
    (drawn,) = ppopt.under_noise([replay], ppopt.Noise(spreads=read_spreads(spread), samples=200))
    assert drawn.noise is not None
    assert drawn.noise.mean == pytest.approx(usual, rel=0.006)


def test_operations_that_are_slow_in_every_step_are_a_cost_of_the_step(tmp_path: Path) -> None:
    schedule = made("1f1b")
    write_primus(tmp_path, schedule, Machine(steps=5, overhead=OVERHEAD, warm_up=1.0))
    assert ppopt.profile(tmp_path).pipeline.step is None
    path = tmp_path / "pp_rank_0.json"
    content = json.loads(path.read_text())
    for events in content.values():
        events["bwd_end"][-1] += 4.0
    path.write_text(json.dumps(content))
    profile = ppopt.profile(tmp_path)
    assert profile.pipeline.step is not None
    assert float(profile.pipeline.step.after) == pytest.approx(4.0, abs=0.01)
    assert any("(0B7 4 ms); this lengthens the step by 4 ms" in note for note in profile.notes)


def test_memory_is_divided_where_devices_differ_in_the_microbatches_that_they_hold() -> None:
    profile = ppopt.profile(PP8)
    schedule = ppopt.evaluate(profile.pipeline, "1f1b")
    assert schedule.peak_memory == pytest.approx(profile.measurement.memory, rel=1e-4)
    assert float(profile.pipeline.costs[3].activation) == pytest.approx(7.4, abs=0.3)


def test_no_half_has_more_overhead_than_a_whole_backward() -> None:
    made = _for_all_keys({"forward": 0.02, "backward": 0.05, "backward_input": 0.08, "backward_weight": 0.01})
    assert made == {"forward": 0.02, "backward": 0.08, "backward_input": 0.08, "backward_weight": 0.01}
    ppopt.Pipeline.from_mapping({"devices": 2, "microbatches": 2, "overhead": made})
