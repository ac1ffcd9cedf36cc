"""Logs of Primus: what a run was comes out of them, and what is missing is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline, Schedule
from ppopt.profiling.read import read_measurement
from tests.ppopt.profiling.made_traces import COSTS, Machine, write, write_primus

PP8 = Path(__file__).parents[2] / "data" / "primus_pp8"
"""A run on eight GPUs: 20 iterations of 1F1B with 16 microbatches."""


def made(strategy: str, *, devices: int = 4, microbatches: int = 8, chunks: int = 1, **keys: Any) -> Schedule:
    mapping = {"devices": devices, "stages": devices * chunks, "microbatches": microbatches, "times": COSTS, **keys}
    return ppopt.evaluate(Pipeline.from_mapping(mapping), strategy, engine="graph")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a folder that holds a copy of the run."""
    return Path(shutil.copytree(PP8, tmp_path / "run"))


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        ppopt.profile(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("config", [True, False])
def test_sizes_placement_order_and_times_of_a_real_run(run: Path, config: bool) -> None:
    if not config:
        (run / "config.json").unlink()
    profile = ppopt.profile(run)
    sizes = profile.measurement
    assert (sizes.devices, sizes.stages, sizes.microbatches, profile.placement) == (8, 8, 16, "linear")
    assert profile.orders == made("1f1b", devices=8, microbatches=16).orders
    assert sizes.skipped == {0: "warm-up: the first step infers shapes and allocates memory"}
    events = json.loads((run / "pp_rank_7.json").read_text())
    forwards = [
        end - start
        for number in range(2, 21)
        for start, end in zip(events[str(number)]["fwd_start"], events[str(number)]["fwd_end"], strict=True)
    ]
    assert float(profile.pipeline.work[7].forward) == pytest.approx(median(forwards), rel=1e-5)
    totals = [each["total"] for each in list(json.loads((run / "pp_rank_0.json").read_text()).values())[1:]]
    assert profile.step_time == pytest.approx(median(totals), rel=1e-3)
    assert {key: len(each) for key, each in profile.spreads.items()} == {"forward": 8, "backward": 8}


def test_clocks_that_begin_anew_are_aligned_step_by_step(tmp_path: Path) -> None:
    schedule = made("1f1b", p2p_latency=0.5)
    paths = write_primus(tmp_path, schedule, Machine(steps=3, warm_up=1.0))
    for number, path in enumerate(paths):
        edit(path, lambda content, by=0.8 * number: move(content["2"], by))
    steps: dict[int, list[float]] = {}
    for action in read_measurement(tmp_path, skip=0).actions:
        steps.setdefault(action.step, []).extend([action.start, action.end])
    assert {step: max(times) - min(times) for step, times in steps.items()} == pytest.approx(
        dict.fromkeys(range(3), schedule.makespan), rel=1e-3
    )


def move(events: dict[str, Any], by: float) -> None:
    for key, values in events.items():
        if key.endswith(("_start", "_end")):
            events[key] = [value + by for value in values]


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize(
    ("strategy", "chunks", "microbatches", "named"),
    [
        ("1f1b", 1, 3, False),
        ("1f1b", 1, 1, False),
        ("interleaved", 2, 8, False),
        ("interleaved", 3, 4, False),
        ("interleaved", 2, 8, True),
        ("zb-h1", 1, 8, True),
        ("zb-h1", 1, 8, False),
        ("zb-v", 2, 8, True),
        ("1f1b-v", 2, 8, True),
        ("dualpipe-v", 2, 10, True),
    ],
)
def test_the_order_of_a_run(
    strategy: str, chunks: int, microbatches: int, named: bool, config: bool, tmp_path: Path
) -> None:
    schedule = made(strategy, chunks=chunks, microbatches=microbatches, p2p_latency=0.3)
    write_primus(tmp_path, schedule, Machine(steps=3), named=named, config=config)
    profile = ppopt.profile(tmp_path)
    assert profile.orders == schedule.orders
    assert profile.placement == schedule.placement


def test_longer_groups_of_microbatches_follow_from_the_forwards_at_the_beginning(tmp_path: Path) -> None:
    schedule = made("interleaved:group_size=8", chunks=2, microbatches=16)
    write_primus(tmp_path, schedule, Machine(steps=3))
    assert ppopt.profile(tmp_path).orders == schedule.orders
    (tmp_path / "config.json").unlink()
    assert "begins with 9 of 32 forwards, which tells neither the number of chunks nor" in refusal(tmp_path)


def test_a_missing_rank_is_named(run: Path) -> None:
    (run / "pp_rank_3.json").unlink()
    assert (
        f"{run}: pp_rank_3.json is missing: pp_size in config.json is 8; add the logs of all pipeline ranks"
        == refusal(run)
    )
    (run / "pp_rank_7.json").unlink()
    assert "pp_rank_3.json, pp_rank_7.json are missing" in refusal(run)
    (run / "config.json").unlink()
    assert "pp_rank_3.json, pp_rank_7.json are missing: the number of ranks in these logs is 8" in refusal(run)


def test_fields_that_other_runs_lack(run: Path) -> None:
    whole = ppopt.profile(run)
    write(run / "config.json", {"pp_size": 8, "vpp_size": 1, "micro_batches": 16})
    for rank in range(8):
        edit(run / f"pp_rank_{rank}.json", without_totals)
    assert ppopt.profile(run).pipeline.times == whole.pipeline.times
    write(run / "config.json", {"pp_size": 8})
    assert ppopt.profile(run).pipeline.times == whole.pipeline.times


def without_totals(content: dict[str, Any]) -> None:
    for events in content.values():
        del events["total"], events["memory"]
        events["wgrad_start"] = events["wgrad_end"] = events["fwd_chunk"] = []


def test_fewer_steps_and_steps_of_other_kinds(run: Path) -> None:
    for rank in range(8):
        edit(run / f"pp_rank_{rank}.json", lambda content: [content.pop(str(number)) for number in range(6, 21)])
    assert len(ppopt.profile(run).steps) == 4
    for rank in range(8):
        edit(run / f"pp_rank_{rank}.json", only_forwards)
    profile = ppopt.profile(run)
    assert len(profile.steps) == 3
    assert any("pp_rank_0.json: iterations without a backward were left out: 5" in note for note in profile.notes)
    edit(run / "pp_rank_2.json", lambda content: content.pop("4"))
    assert "was not recorded on device 2" in ppopt.profile(run).measurement.skipped.values()


def only_forwards(content: dict[str, Any]) -> None:
    content["5"]["bwd_start"] = content["5"]["bwd_end"] = []


def test_a_ramp_of_the_batch_counts_whole_steps_only(tmp_path: Path) -> None:
    small, large = (
        write_primus(tmp_path / name, made("1f1b", microbatches=count), Machine(steps=4, warm_up=1.0))
        for name, count in (("small", 4), ("large", 8))
    )
    for first, second in zip(small, large, strict=True):
        ramp = json.loads(first.read_text())
        edit(second, lambda content, ramp=ramp: content.update({"1": ramp["1"], "2": ramp["2"]}))
    profile = ppopt.profile(tmp_path / "large")
    assert profile.measurement.microbatches == 8
    assert len(profile.steps) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content["3"]["fwd_end"].pop(), "iteration 3: fwd_start has 16 times and fwd_end 15"),
        (lambda content: content["3"].update(bwd_end=[0.0] * 16), "iteration 3: bwd_end[0] is 0, before its start"),
        (lambda content: content["3"].update(fwd_start="x"), "iteration 3: fwd_start: must be a list of milliseconds"),
        (lambda content: content.update(last=1), "must map iterations to their events; found 'last': 1"),
        (lambda content: content["3"].update(fwd_chunk=[0]), "fwd_chunk: must have one entry for each of 16"),
        (lambda content: [halve(events) for events in content.values()], "has 8 forwards and 8 backwards"),
    ],
)
def test_a_malformed_log_is_named(change: Any, told: str, run: Path) -> None:
    edit(run / "pp_rank_5.json", change)
    message = refusal(run)
    assert message.startswith(f"{run / 'pp_rank_5.json'}: ")
    assert told in message


def halve(events: dict[str, Any]) -> None:
    for name in ("fwd", "bwd"):
        for edge in ("start", "end"):
            del events[f"{name}_{edge}"][8:]


def test_a_configuration_alone_or_of_another_run(run: Path) -> None:
    assert "is Primus' config.json; give the pp_rank_*.json beside it" in refusal(run / "config.json")
    write(run / "config.json", {"pp_size": 4})
    assert "is from rank 7, but pp_size in config.json is 4" in refusal(run)
    write(run / "config.json", {"pp_size": 8, "num_mbs": 8})
    assert any("num_mbs 8, but the logs have 16 microbatches" in note for note in ppopt.profile(run).notes)
    write(run / "config.json", {"pp_size": "8"})
    assert "pp_size: must be a whole number of at least 1; found '8'" in refusal(run)
