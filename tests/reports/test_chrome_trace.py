from __future__ import annotations

import gzip
import io
import json
import math
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt.commands.printing import write_traces
from ppopt.profiling.against import hold_against
from ppopt.profiling.measurement import MeasuredAction
from reports.chrome_trace import Traced, write_trace
from tests.evaluated import evaluated, pipeline


def events(*names: str) -> list[dict[str, Any]]:
    made = [evaluated(name, pipeline(4, 8, p2p_latency=0.5)) for name in names]
    file = io.StringIO()
    write_trace(file, [Traced(each.strategy, each.problem, each.rows) for each in made])
    found: list[dict[str, Any]] = json.loads(file.getvalue())["traceEvents"]
    return found


def test_every_operation_is_a_slice_on_its_devices_thread() -> None:
    made = evaluated("dualpipe", pipeline(4, 8, p2p_latency=0.5))
    slices = [event for event in events("dualpipe") if event["ph"] == "X"]
    assert len(slices) == len(made.rows)
    found = {
        (each["tid"], each["args"]["stage"], each["name"], each["args"]["microbatch"], each["ts"]) for each in slices
    }
    rows = made.timeline.itertuples(index=False)
    assert found == {
        (row.device, row.stage, f"{row.op} {row.stage}.{row.microbatch}", row.microbatch, row.start) for row in rows
    }


def test_colours_are_by_kind() -> None:
    """Perfetto colours by the name without its numbers, chrome://tracing by ``cname``."""
    slices = [event for event in events("zb1p", "dualpipe") if event["ph"] == "X"]
    kinds = {each["name"][0] for each in slices}
    assert kinds == set("FBIW")
    for colour in (lambda each: re.sub(r"( )?\d+", "", each["name"]), lambda each: each["cname"]):
        assert len({(each["name"][0], colour(each)) for each in slices}) == len({colour(each) for each in slices}) == 4


def test_slices_of_one_thread_nest() -> None:
    threads: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in events("dualpipe", "1f1b-overlap"):
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in threads.values():
        for (start, end), (next_start, next_end) in pairwise(sorted(slices)):
            assert next_start >= end or (start, end) == (next_start, next_end)


def test_flows_lead_from_inside_the_producer_to_the_start_of_the_consumer() -> None:
    flows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    found = events("zb1p", "interleaved")
    for event in found:
        if event["ph"] in "sf":
            flows[event["id"]].append(event)
    assert flows
    for sent, received in flows.values():
        assert (sent["ph"], received["ph"], received["bp"]) == ("s", "f", "e")
        assert received["ts"] - sent["ts"] >= 0.5
        assert any(
            e["ph"] == "X" and e["tid"] == sent["tid"] and e["ts"] <= sent["ts"] < e["ts"] + e["dur"] for e in found
        )


def test_memory_is_a_counter_that_ends_at_nothing() -> None:
    levels: dict[str, list[float]] = defaultdict(list)
    for event in events("1f1b"):
        if event["ph"] == "C":
            levels[event["name"]].append(event["args"]["activations"])
    assert {name: max(found) for name, found in levels.items()} == {f"memory of device {d}": 4 - d for d in range(4)}
    assert all(found[-1] == 0 for found in levels.values())


def test_a_compressed_trace_is_the_same(tmp_path: Path) -> None:
    schedules = [evaluated("dualpipe", pipeline(4, 8, p2p_latency=0.5))]
    plain, packed = tmp_path / "trace.json", tmp_path / "trace.json.gz"
    write_traces(str(plain), schedules)
    write_traces(str(packed), schedules)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


def test_searched_and_measured_schedules_are_traces_in_the_event_format() -> None:
    found = ppopt.optimize(pipeline(2, 4, p2p_latency=0.5), time_limit=2)
    actions = [
        MeasuredAction(0, row.device, row.stage, row.op, row.microbatch, row.start * 1.013, row.end * 1.013)
        for row in found.timeline.itertuples()
    ]
    shown = [found, hold_against(found, actions).measured]
    file = io.StringIO()
    write_trace(file, [Traced(each.strategy, each.problem, each.rows) for each in shown])
    whole = json.loads(file.getvalue())
    assert whole["displayTimeUnit"] == "ms"
    for event in whole["traceEvents"]:
        assert event["ph"] in "XMCsf"
        assert isinstance(event["pid"], int)
        assert event["ph"] == "M" or math.isfinite(event["ts"])
        assert event["ph"] != "X" or event["dur"] > 0
    ids = [(event["ph"], event["id"]) for event in whole["traceEvents"] if event["ph"] in "sf"]
    assert len(ids) == len(set(ids))
    assert {number for phase, number in ids if phase == "s"} == {number for phase, number in ids if phase == "f"}
    for process, schedule in enumerate(shown):
        slices = [event for event in whole["traceEvents"] if event["ph"] == "X" and event["pid"] == process]
        assert max(each["ts"] + each["dur"] for each in slices) == pytest.approx(schedule.makespan)
