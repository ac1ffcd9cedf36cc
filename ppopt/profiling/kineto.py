"""Traces of torch.profiler: the ranges that a pipeline's runtime opens for its actions.

The file is streamed; only ranges of actions, receives and step marks are kept.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import ijson  # type: ignore[import-untyped]

from ppopt.profiling.files import READ_ERRORS, opened
from ppopt.profiling.receives import Receive, Waits
from ppopt.profiling.recognition import Recognised
from ppopt.profiling.recordings import OF_THE_RANK, Range, Recording, StepMark
from solver.counted import counted
from solver.errors import InputError
from strategies.model.actions import Op
from strategies.model.numbers import in_one_line

_ACTION = re.compile(
    r"(?<!\w)PP:(?:(\d{1,9})([FBIW])(\d{1,9})|\((\d{1,9})([FB])(\d{1,9});(\d{1,9})([FB])(\d{1,9})\)OVERLAP_F_B)(?!\w)",
    re.ASCII,
)
_TRANSFER = re.compile(r"(?<!\w)PP:(\d{1,9})(SEND|RECV)_([FB])(\d{1,9})(?!\w)", re.ASCII)
_PLAIN = re.compile(r"(Forward|Backward) (\d{1,9})", re.ASCII)
_STEP = re.compile(r"ProfilerStep#(\d{1,9})", re.ASCII)
_RECEIVE = re.compile(r"(?:^|\b|:)(?:i?recv_?|wait)(?:$|\b)", re.ASCII)

GPU, GRAPH, CPU = "gpu_user_annotation", "kernel", "user_annotation"
_PREFERRED = (GPU, GRAPH, CPU, "cpu_op", "")
"""Categories in which to look for actions, best first: work on the streams, or else on the CPU."""

WHAT_TO_TURN_ON = (
    "they come from the schedules of torch.distributed.pipelining that run an order (_PipelineScheduleRuntime and its "
    "descendants), or from record_function('PP:0F0') around your own actions; record_shapes and with_stack are not "
    "needed"
)


class _Event(NamedTuple):
    ops: tuple[Op, ...]
    start: float
    end: float
    lane: str


@dataclass
class _TraceParts:
    """The parts of a trace that are kept."""

    actions: dict[str, list[_Event]] = field(default_factory=lambda: defaultdict(list))
    plain: list[_Event] = field(default_factory=list)
    transfers: list[tuple[str, re.Match[str], float, float]] = field(default_factory=list)
    receives: list[Receive] = field(default_factory=list)
    marks: dict[str, list[StepMark]] = field(default_factory=lambda: defaultdict(list))
    latest_kernel: dict[str, _Event] = field(default_factory=dict)
    kernels: int = 0
    of_nccl: bool = False
    events: int = 0
    unusable: int = 0
    broken: str = ""

    def add(self, event: object) -> None:
        """Keep an event if it is relevant."""
        self.events += 1
        if not isinstance(event, dict):
            return
        name, category = event.get("name"), str(event.get("cat", ""))
        if category == "kernel":
            self.kernels += 1
            arguments = event.get("args")
            name = arguments.get("name") if isinstance(arguments, dict) else None
        if isinstance(name, str) and event.get("ph") == "X":
            self._sort_in(event, name, category)

    def _sort_in(self, event: Mapping[str, Any], name: str, category: str) -> None:
        kinds = (_ACTION, _TRANSFER, _STEP, _PLAIN)
        matches = [pattern.search(name) if pattern is not _PLAIN else pattern.fullmatch(name) for pattern in kinds]
        received = _RECEIVE.search(name) if not any(matches) else None
        if not any(matches) and not received:
            return
        span = _span(event)
        if span is None:
            self.unusable += 1
            return
        start, end = span
        action, transfer, step, plain = matches
        lane = f"{event.get('pid')}/{event.get('tid')}"
        if action:
            self._add_action(_Event(_ops(action), start, end, lane), category)
        elif transfer:
            self.transfers.append((category, transfer, start, end))
        elif step:
            self.marks[category].append(StepMark(int(step[1]), start, end))
        elif plain:
            op = Op(OF_THE_RANK, plain[1][0], int(plain[2]))
            self.plain.append(_Event((op,), start, end, lane))
        elif category in ("user_annotation", "cpu_op", ""):
            self.of_nccl |= name.startswith("nccl")
            self.receives.append(Receive(start, end, lane))

    def _add_action(self, event: _Event, category: str) -> None:
        if category != GRAPH:
            self.actions[category if category in _PREFERRED else ""].append(event)
            return
        last = self.latest_kernel.get(event.lane)
        if last and last.ops == event.ops and event.start >= last.start:
            self.latest_kernel[event.lane] = last._replace(end=max(last.end, event.end))
            return
        if last:
            self.actions[GRAPH].append(last)
        self.latest_kernel[event.lane] = event

    def finish(self) -> None:
        """Close the ranges that consist of kernels."""
        self.actions[GRAPH] += self.latest_kernel.values()
        self.latest_kernel = {}


def _ops(found: re.Match[str]) -> tuple[Op, ...]:
    if found[1] is not None:
        return (Op(int(found[1]), found[2], int(found[3])),)
    halves = (Op(int(found[4]), found[5], int(found[6])), Op(int(found[7]), found[8], int(found[9])))
    return tuple(sorted(halves, key=lambda op: "FB".index(op.kind)))


def _span(event: Mapping[str, Any]) -> tuple[float, float] | None:
    """Read an event's times in milliseconds; None if they are not times."""
    start, duration = event.get("ts"), event.get("dur")
    for value in (start, duration):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
    assert isinstance(start, (int, float))
    assert isinstance(duration, (int, float))
    if duration < 0 or abs(start) > 1e18 or duration > 1e15:
        return None
    return start / 1000, (start + duration) / 1000


def read_trace(file: Recognised, first_base: int) -> Recording:
    """Read the trace of a rank.

    Parameters
    ----------
    file : Recognised
        The trace.
    first_base : int
        The nanosecond from which times are counted.

    Raises
    ------
    InputError
        If the trace has no range of a pipeline's action.
    """
    found = _collect(file.path, file.prefix)
    name = in_one_line(file.path)
    category = next((each for each in _PREFERRED if found.actions.get(each)), None)
    events = found.actions[category] if category is not None else found.plain
    if not events:
        raise InputError(f"{name}: {_nothing_in(found)}; {WHAT_TO_TURN_ON}")
    shift = _shift(file.head, first_base)
    on_streams = category in (GPU, GRAPH)
    events = _on_one_stream(events) if on_streams else _outermost(events)
    waits = Waits(found.receives, _arrivals(found, category), on_streams=on_streams)
    run = Recording(
        path=name,
        rank=_rank(file.head),
        ranges=[Range(ops, start + shift, end + shift, waited) for ops, start, end, waited in waits.apply(events)],
        host=_text(file.head.get("host_name")),
        has_base=_base(file.head) is not None,
        groups=_groups(file.head),
        marks=[StepMark(mark.number, mark.start + shift, mark.end + shift) for mark in _marks(found, category)],
        neighbours=_neighbours(found),
        may_hold_waits=not (on_streams or found.receives),
        parts_blocks=not on_streams,
        is_whole=not found.broken,
    )
    run.notes += _notes(name, found, category)
    return run


def _collect(path: Path, prefix: str) -> _TraceParts:
    found = _TraceParts()
    with opened(path) as file:
        try:
            for event in ijson.items(file, prefix, use_float=True):
                found.add(event)
        except (ijson.JSONError, UnicodeDecodeError, ValueError, OverflowError, RecursionError, *READ_ERRORS) as error:
            found.broken = "ends too early" if _is_cut(error) else "is damaged"
    found.finish()
    return found


def _is_cut(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, EOFError) or "premature eof" in text or "incomplete" in text or "parse error" in text


def _nothing_in(found: _TraceParts) -> str:
    if found.broken:
        return f"{found.broken}, and has no range of a pipeline action (such as PP:0F0) up to that point"
    if found.unusable:
        return f"{found.unusable} ranges of pipeline actions have no usable time (ts and dur, not negative)"
    return f"none of its {found.events:,} events is a range of a pipeline action (such as PP:0F0)"


def _on_one_stream(events: list[_Event]) -> list[_Event]:
    """Take each action once: from the stream with the most work, or from another if that stream lacks it."""
    busy: Counter[str] = Counter()
    for event in events:
        busy[event.lane] += round((event.end - event.start) * 1e6)
    kept: list[_Event] = []
    have: set[tuple[Op, ...]] = set()
    for lane, _ in busy.most_common():
        added = [event for event in events if event.lane == lane and event.ops not in have]
        kept += added
        have |= {event.ops for event in added}
    return sorted(kept, key=lambda event: event.start)


def _outermost(events: list[_Event]) -> list[_Event]:
    """Drop ranges that lie inside a range of the same action, opened by a wrapper."""
    kept: list[_Event] = []
    for event in sorted(events, key=lambda event: (event.start, -event.end)):
        if kept and kept[-1].ops == event.ops and event.end <= kept[-1].end:
            continue
        kept.append(event)
    return kept


def _arrivals(found: _TraceParts, category: str | None) -> list[tuple[int, str, int, float, float]]:
    wanted = (GPU,) if category in (GPU, GRAPH) else (CPU, "cpu_op", "")
    return [
        (int(match[1]), match[3], int(match[4]), start, end)
        for where, match, start, end in found.transfers
        if match[2] == "RECV" and where in wanted
    ]


def _neighbours(found: _TraceParts) -> set[int]:
    steps = {("SEND", "F"): 1, ("RECV", "B"): 1, ("SEND", "B"): -1, ("RECV", "F"): -1}
    return {int(match[1]) + steps[match[2], match[3]] for _, match, _, _ in found.transfers}


def _marks(found: _TraceParts, category: str | None) -> list[StepMark]:
    return found.marks.get(category or CPU) or found.marks.get(CPU) or []


def _notes(name: str, found: _TraceParts, category: str | None) -> Iterator[str]:
    if found.broken:
        yield f"{name}: {found.broken}; the {found.events:,} events before that were used"
    if found.unusable:
        yield f"{name}: {found.unusable} ranges without a usable time (ts and dur, not negative) were skipped"
    if category not in (GPU, GRAPH) and (found.kernels or found.of_nccl):
        yield (
            f"{name}: is from a GPU, but has ranges only on the CPU, so they show how long *launching* the work took; "
            "profile with ProfilerActivity.CUDA so that the ranges are on the streams, too"
        )
    only_on_cpu = {event.ops for event in found.actions[CPU]} - {event.ops for event in found.actions[category or CPU]}
    if only_on_cpu:
        example = next(iter(sorted(only_on_cpu)))[0]
        verbs = ("is", "was") if len(only_on_cpu) == 1 else ("are", "were")
        some = f"{counted(len(only_on_cpu), 'action')}, such as {example},"
        yield f"{name}: {some} {verbs[0]} not on the streams and {verbs[1]} skipped"
    if category == GRAPH:
        yield f"{name}: its actions were assembled from the kernels of CUDA graphs"


def _base(head: Mapping[str, Any]) -> int | None:
    value = head.get("baseTimeNanoseconds")
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**20 else None


def first_base(heads: list[Mapping[str, Any]]) -> int:
    """Return the nanosecond from which the times of several traces are counted."""
    return min((base for head in heads if (base := _base(head)) is not None), default=0)


def _shift(head: Mapping[str, Any], first: int) -> float:
    base = _base(head)
    return 0.0 if base is None else (base - first) / 1e6


def _rank(head: Mapping[str, Any]) -> int | None:
    info = head.get("distributedInfo")
    rank = info.get("rank") if isinstance(info, dict) else None
    return rank if isinstance(rank, int) and not isinstance(rank, bool) and 0 <= rank < 10**9 else None


def _groups(head: Mapping[str, Any]) -> list[tuple[int, ...]]:
    info = head.get("distributedInfo")
    listed = info.get("pg_config") if isinstance(info, dict) else None
    groups = [group.get("ranks") for group in listed if isinstance(group, dict)] if isinstance(listed, list) else []
    return [tuple(ranks) for ranks in groups if isinstance(ranks, list) and all(isinstance(r, int) for r in ranks)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
