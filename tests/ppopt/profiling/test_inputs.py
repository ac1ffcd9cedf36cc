"""Any input gives a profile or one clear line."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline
from ppopt.profiling.measurement import MeasuredAction
from ppopt.profiling.read import read_measurement
from tests.evaluated import evaluated
from tests.ppopt.profiling.made_traces import COSTS, Machine, span, write, write_traces


@pytest.fixture
def traces(tmp_path: Path) -> list[Path]:
    return write_traces(tmp_path, made_schedule(), Machine(steps=3))


def made_schedule() -> ppopt.Schedule:
    mapping = {"devices": 4, "stages": 4, "microbatches": 4, "times": COSTS, "p2p_latency": 0.5}
    return evaluated("1f1b", Pipeline.from_mapping(mapping))


def refusal(*paths: Path) -> str:
    with pytest.raises(InputError) as caught:
        ppopt.profile(paths)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; allowed are traces of torch.profiler"),
        (b"  \n", "is empty"),
        (b"\xef\xbb\xbf[]", "none of its 0 events"),
        (b"hello", "is not a trace: lexical error"),
        (b"\x00\xff\xfe", "is not a trace: "),
        (b"\x1f\x8bnot really", "is not a trace: "),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"{}", "is JSON, but not a trace"),
        (b"3", "is JSON, but not a trace"),
        (b'{"a": NaN}', "is not a trace: "),
        (b'{"schemaVersion": 1, "trace', "ends too early, before its first event"),
        (
            b'{"traceEvents": []}',
            "none of its 0 events is a range of a pipeline action (such as PP:0F0); they come from",
        ),
        (b'{"traceEvents": 3}', "none of its 0 events"),
        (b"[]", "none of its 0 events"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"format": "ppopt-rehearsal-1"}', "measurement: must be a mapping; found None"),
        (b'{"forward-0-start": 1}', "0F0 has 1 starts and 0 ends"),
        (b'{"forward-0-start": 2, "forward-0-end": 1}', "0F0 ends at 1, before it starts at 2"),
        (b'{"forward-0-start": "x", "forward-0-end": 1}', "forward-0-start: must be milliseconds"),
    ],
)
def test_what_is_no_trace(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(str(path))
    assert any(each in message for each in told.split("|")), message


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.json") == f"{tmp_path / 'no.json'}: cannot be read: No such file or directory"
    assert "has no trace in it; traces end in .json" in refusal(tmp_path)
    assert "none is named" in refusal()
    with pytest.raises(InputError, match="found 3"):
        ppopt.profile(3)  # type: ignore[arg-type]


def test_a_missing_rank(traces: list[Path]) -> None:
    assert "no rank ran stage 1 of 0 to 3; add the trace of the rank that holds it" in refusal(traces[0], *traces[2:])
    assert "no rank ran stage 3 of 0 to 3" in refusal(*traces[:3])
    assert "no rank ran stage 0 of 0 to 3" in refusal(*traces[1:])


def test_half_a_bidirectional_pipeline(tmp_path: Path) -> None:
    mapping = {"devices": 4, "stages": 4, "microbatches": 8, "times": COSTS}
    paths = write_traces(tmp_path, evaluated("dualpipe", Pipeline.from_mapping(mapping)))
    assert "stage 0 ran only 4 of 8 microbatches; add the trace of the other rank" in refusal(*paths[1:])


def test_a_rank_that_is_there_twice(traces: list[Path]) -> None:
    copy = traces[0].with_name("copy.json")
    copy.write_bytes(traces[0].read_bytes())
    assert (
        refusal(*traces, copy)
        == f"{copy}: is from rank 0, and so is {traces[0]}; give one file per rank, all from one run"
    )
    assert "is named twice" in refusal(*traces, traces[0].parent / "." / traces[0].name)


@pytest.mark.parametrize("name", ["a{}", "rank{}_step9", "step9-{}", "x"])
def test_ranks_that_only_the_names_or_the_order_tell(name: str, traces: list[Path]) -> None:
    folder = traces[0].with_name(name)
    folder.mkdir()
    paths = []
    for rank, trace in enumerate(traces):
        content = json.loads(trace.read_text())
        del content["distributedInfo"]
        (folder / str(rank)).mkdir()
        paths.append(write(folder / str(rank) / f"{name.format(rank)}.json", content))
    profile = ppopt.profile(paths[::-1] if "{}" in name else paths)
    assert profile.orders == made_schedule().orders
    assert any("they were taken in the order given" in note for note in profile.notes) == ("{}" not in name)


def test_kinds_do_not_mix(traces: list[Path]) -> None:
    log = write(traces[0].with_name("log.json"), {"forward-0-start": 0, "forward-0-end": 1})
    message = refusal(*traces, log)
    assert (
        f"{log}: is a Megatron timer log, but {traces[0]} is a torch.profiler trace; give files of one kind" in message
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_trace_is_used_as_far_as_it_goes(traces: list[Path], packed: bool) -> None:
    content = traces[1].read_bytes()
    traces[1].write_bytes(
        gzip.compress(content, 0)[: len(content) * 9 // 10] if packed else content[: len(content) * 9 // 10]
    )
    profile = ppopt.profile(traces)
    assert any(
        re.search(r"rank1_trace.json: ends too early; the [\d,]+ events before that were used", note)
        for note in profile.notes
    )
    assert profile.measurement.skipped[2] == "is incomplete on device 1"
    assert float(profile.pipeline.costs[1].forward) == pytest.approx(5, abs=0.01)


def test_a_trace_that_ends_in_its_first_step(traces: list[Path]) -> None:
    content = traces[1].read_bytes()
    traces[1].write_bytes(content[: len(content) // 4])
    profile = ppopt.profile(traces)
    assert any("no step is complete" in note or "only complete step" in note for note in profile.notes)


def test_durations_that_are_none(traces: list[Path]) -> None:
    def spoil(content: dict[str, Any]) -> None:
        ranges = [event for event in content["traceEvents"] if re.fullmatch(r"PP:1[FB]3", event["name"])]
        for event, bad in zip(ranges, (-1, "5", None, 1e300, True, [1]), strict=True):
            event["dur"] = bad

    edit(traces[1], spoil)
    profile = ppopt.profile(traces)
    assert any(
        "6 ranges without a usable time (ts and dur, not negative) were skipped" in note for note in profile.notes
    )


def test_not_a_number_in_the_middle(traces: list[Path]) -> None:
    text = traces[1].read_text()
    place = text.index('"dur":', len(text) * 9 // 10)
    traces[1].write_text(text[:place] + '"dur": NaN' + text[text.index(",", place) :])
    assert any("rank1_trace.json: is damaged; the " in note for note in ppopt.profile(traces).notes)


def test_launch_times_are_told_from_work(tmp_path: Path) -> None:
    events = [span("PP:0F0", 0, 1), span("PP:0B0", 1, 2), span("gemm", 0, 1, "kernel", 7)]
    profile = ppopt.profile(write(tmp_path / "rank0.json", {"traceEvents": events}))
    assert any("ProfilerActivity.CUDA" in note for note in profile.notes)


def test_cuda_graphs(tmp_path: Path) -> None:
    kernels = [(0, 1, "PP:0F0"), (1, 3, "PP:0F0"), (3, 4, "PP:0B0"), (5, 9, "PP:0B0")]
    events: list[Any] = [span("gemm", start, end, "kernel", 7) for start, end, _ in kernels]
    for event, (_, _, name) in zip(events, kernels, strict=True):
        event["args"]["name"] = name
    measurement = read_measurement(write(tmp_path / "rank0.json", events))
    assert [(action.kind, action.start, action.end) for action in measurement.actions] == [("F", 0, 3), ("B", 3, 9)]


@pytest.mark.parametrize("name", ["## PP:0F0 ##", "nn.Module: PP:0F0", "PP:0F0 (fused)"])
def test_names_with_something_around_them(name: str, tmp_path: Path) -> None:
    events = [span(name, 0, 1), span(name.replace("F", "B"), 1, 2), span("XPP:0F1", 3, 4), span("PP:0F1x", 4, 5)]
    measurement = read_measurement(write(tmp_path / "rank0.json", events))
    assert [action.kind for action in measurement.actions] == ["F", "B"]


def test_ranges_that_name_no_stage(tmp_path: Path) -> None:
    for rank in range(2):
        events = [span(f"Forward {mb}", 10 * mb + 5 * rank, 10 * mb + 5 * rank + 4) for mb in range(2)]
        events += [span("wait", 10 * mb + 5 * rank, 10 * mb + 5 * rank + 1, "cpu_op") for mb in range(2)]
        events += [span(f"Backward {mb}", 50 + 10 * mb - 5 * rank, 54 + 10 * mb - 5 * rank) for mb in range(2)]
        write(tmp_path / f"rank{rank}.json", {"traceEvents": events})
    profile = ppopt.profile(tmp_path)
    assert profile.orders == [["0F0", "0F1", "0B0", "0B1"], ["1F0", "1F1", "1B0", "1B1"]]
    assert [float(cost.forward) for cost in profile.pipeline.work] == [3, 3]
    assert any("name no stage" in note for note in profile.notes)


def test_backwards_that_are_split_on_some_stages_only(tmp_path: Path) -> None:
    events = [
        span("PP:0F0", 0, 2),
        span("PP:1F0", 2, 4),
        span("PP:1I0", 4, 5),
        span("PP:1W0", 5, 8),
        span("PP:0B0", 8, 12),
    ]
    profile = ppopt.profile(write(tmp_path / "rank0.json", {"traceEvents": events}))
    assert [float(cost.backward) for cost in profile.pipeline.costs] == [4, 4]
    assert [float(cost.backward_input) for cost in profile.pipeline.costs] == [1, 1]


@pytest.mark.parametrize("b_times", [1, 3])
def test_a_backward_and_halves_that_contradict_each_other(b_times: int, tmp_path: Path) -> None:
    names = ["F0", "I0", "W0", *(f"{kind}{mb}" for mb in range(1, 1 + b_times) for kind in "FB")]
    durations = {"F": 2, "I": 1, "W": 3, "B": 8}
    moment, events = 0, []
    for name in names:
        events.append(span(f"PP:0{name}", moment, moment + durations[name[0]]))
        moment += durations[name[0]]
    profile = ppopt.profile(write(tmp_path / "rank0.json", {"traceEvents": events}))
    costs = profile.pipeline.costs[0]
    assert (costs.backward, costs.backward_input) == ((8, 2) if b_times == 3 else (4, 1))
    assert any("I + W" in note for note in profile.notes)


def test_forwards_alone_are_not_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "rank0.json", [span("PP:0F0", 0, 1)])
    assert "stage 0 has no whole backward (B, or I and W); record whole training steps" in refusal(path)


def answer(traces: list[Path]) -> str:
    try:
        ppopt.profile(traces).to_yaml()
    except InputError as error:
        return str(error)
    return ""


def test_mutated_traces_never_give_a_traceback(traces: list[Path]) -> None:
    """Each mutation ends in a profile or in one line."""
    original = traces[1].read_bytes()
    chance = random.Random(0)
    told = 0
    for round_ in range(60):
        content = bytearray(original[: chance.randrange(len(original))] if round_ % 3 == 0 else original)
        for _ in range(chance.choice((1, 5, 50))):
            if content:
                content[chance.randrange(len(content))] = chance.randrange(256)
        traces[1].write_bytes(bytes(content))
        message = answer(traces)
        assert "\n" not in message
        told += message != ""
    assert told


def test_mutated_values_never_give_a_traceback(traces: list[Path]) -> None:
    original = json.loads(traces[1].read_text())
    chance = random.Random(1)
    odd = (None, True, -1, 0, 1e18, 10**30, "", "PP:0F0", "PP:9F9", "PP:1B0", [], {}, [None], {"rank": "x"})
    for _ in range(60):
        content = json.loads(json.dumps(original))
        for _ in range(chance.choice((1, 4, 30))):
            where = chance.choice(
                [content, content.get("distributedInfo"), *chance.choices(original["traceEvents"], k=8)]
            )
            where = (
                chance.choice(content["traceEvents"]) if where is None or where in original["traceEvents"] else where
            )
            if isinstance(where, dict) and where and content["traceEvents"]:
                key = chance.choice([key for key in where if key != "traceEvents"])
                where[key] = chance.choice(odd)
        write(traces[1], content)
        assert "\n" not in answer(traces)


def test_timer_logs_of_megatron(tmp_path: Path) -> None:
    schedule = evaluated(
        "1f1b", Pipeline.from_mapping({"devices": 2, "microbatches": 3, "times": COSTS, "p2p_latency": 1})
    )
    for device, rows in schedule.timeline.groupby("device"):
        log = {}
        for row in rows.itertuples():
            name = {"F": "forward", "B": "backward"}[row.op]
            log[f"{name}-{row.microbatch}-start"] = row.start + 1000 * device
            log[f"{name}-{row.microbatch}-end"] = row.end + 1000 * device
        write(tmp_path / f"timers_{device}.json", log | {"optimizer": 3})
    profile = ppopt.profile(tmp_path)
    assert profile.orders == schedule.orders
    assert [float(cost.forward) for cost in profile.pipeline.costs] == [5, 5]
    assert profile.measurement.offsets == pytest.approx((0, -1000), abs=1)
    assert any("entries that are neither forwards nor backwards" in note for note in profile.notes)


def test_timer_logs_with_virtual_stages(tmp_path: Path) -> None:
    for rank in range(2):
        log = {}
        for chunk in range(2):
            begin = 10 * (2 * chunk + rank)
            log |= {f"forward-{chunk}-0-start": begin, f"forward-{chunk}-0-end": begin + 3}
            log |= {f"backward-{chunk}-0-start": 90 - begin, f"backward-{chunk}-0-end": 96 - begin}
        write(tmp_path / f"{rank}.json", log)
    profile = ppopt.profile(tmp_path)
    assert profile.placement == "interleaved"
    assert profile.orders[1] == ["1F0", "3F0", "3B0", "1B0"]


def rehearsal(**changes: Any) -> dict[str, Any]:
    rows = [
        MeasuredAction(step, 0, 0, kind, 0, 10 * step + start, 10 * step + end, 0.0, None)
        for step in range(3)
        for kind, start, end in (("F", 0, 2), ("B", 2, 5))
    ]
    measurement = {"devices": 1, "stages": 1, "microbatches": 1, "actions": [list(row) for row in rows]}
    measurement |= {"skipped": {"0": "warm-up"}, "offsets": [0.0], "notes": ["made up"]}
    return {"format": "ppopt-rehearsal-1", "measurement": measurement | changes}


def test_what_a_rehearsal_wrote(tmp_path: Path) -> None:
    path = write(tmp_path / "run.json", rehearsal())
    profile = ppopt.profile(path)
    assert profile.steps == [1, 2]
    assert profile.measurement.notes == ("made up",)
    assert (float(profile.pipeline.costs[0].forward), float(profile.pipeline.costs[0].backward)) == (2, 3)
    assert list(read_measurement(path, skip=2).skipped) == [0, 1]
    assert "one file holds all ranks" in refusal(path, write(tmp_path / "again.json", rehearsal()))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"devices": 0}, "measurement.devices: must be a whole number of at least 1; found 0"),
        ({"actions": []}, "measurement.actions: must be a list of actions; found []"),
        (
            {"actions": [[0, 0]]},
            "entry 0: must be a list of step, device, stage, kind, microbatch, start, end, waited, block",
        ),
        ({"actions": [[0, 5, 0, "F", 0, 0, 1, None, None]]}, "device must be a whole number from 0 to 0; found 5"),
        ({"actions": [[0, 0, 0, "X", 0, 0, 1, None, None]]}, "kind must be one of F, B, I, W; found 'X'"),
        ({"actions": [[0, 0, 0, "F", 0, 2, 1, None, None]]}, "start and end must be milliseconds in that order"),
        ({"actions": [[0, 0, 0, "F", 0, 0, 1, -1, None]]}, "waited must be milliseconds or null; found -1"),
        ({"skipped": {"x": "y"}}, "measurement.skipped: must map steps to reasons"),
        ({"skipped": {"0": "", "1": "", "2": ""}}, "no step is left"),
        ({"offsets": [1, 2]}, "measurement.offsets: must be milliseconds, one per device"),
    ],
)
def test_a_rehearsal_with_a_mistake(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    assert told in refusal(write(tmp_path / "run.json", rehearsal(**changes)))
