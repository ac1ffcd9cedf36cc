"""Timer logs of a patched Megatron, in PP-Emulation's format: one flat JSON per rank, in milliseconds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ppopt.profiling.files import number_in
from ppopt.profiling.recordings import Range, Recording
from solver.errors import InputError
from strategies.model.actions import Op
from strategies.model.numbers import in_one_line, shown

TIMER_KEY = re.compile(r"(forward|backward(?:_input|_weight|_D|_W)?)-(\d{1,9})(?:-(\d{1,9}))?-(start|end)", re.ASCII)
_KINDS = {
    "forward": "F",
    "backward": "B",
    "backward_input": "I",
    "backward_D": "I",
    "backward_weight": "W",
    "backward_W": "W",
}


class _Timer(NamedTuple):
    kind: str
    chunk: int
    microbatch: int


def is_timer_log(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is a timer log."""
    return any(TIMER_KEY.fullmatch(key) for key in content)


def read_timer_logs(logs: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Recording]:
    """Read the logs of all ranks.

    Ranks are the numbers at the end of the files' names, or the order of the files unless every name has a number of
    its own. A rank's chunk is stage p·chunk + rank.

    Raises
    ------
    InputError
        If a time is missing or is not a time.
    """
    logs = list(logs)
    numbers = [number_in(path) for path, _ in logs]
    by_name = None not in numbers and len(set(numbers)) == len(numbers)
    order = sorted(range(len(logs)), key=lambda place: (numbers[place] or 0) if by_name else place)
    runs = [_read_log(*logs[place], device, len(logs)) for device, place in enumerate(order)]
    if not by_name and len(logs) > 1:
        runs[0].notes.append("the files' names do not say which rank each is from; they were taken in the order given")
    return runs


def _read_log(path: str, content: Mapping[str, Any], rank: int, ranks: int) -> Recording:
    times: dict[_Timer, dict[str, list[float]]] = {}
    others = 0
    for key, value in content.items():
        found = TIMER_KEY.fullmatch(key)
        if not found:
            others += 1
            continue
        chunk, microbatch = (0, found[2]) if found[3] is None else (int(found[2]), found[3])
        timer = _Timer(_KINDS[found[1]], int(chunk), int(microbatch))
        times.setdefault(timer, {})[found[4]] = _moments(path, key, value)
    ranges = sorted(
        (each for timer, moments in times.items() for each in _ranges(path, timer, moments, rank, ranks)),
        key=lambda each: each.start,
    )
    run = Recording(path, rank, ranges)
    if others:
        run.notes.append(f"{in_one_line(path)}: {others} entries that are neither forwards nor backwards were skipped")
    return run


def _moments(path: str, key: str, value: Any) -> list[float]:
    values: list[Any] = value if isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, (int, float)) or not math.isfinite(each):
            raise InputError(
                f"{in_one_line(path)}: {key}: must be milliseconds, a number or a list of them; found {shown(each)}"
            )
    return [float(each) for each in values]


def _ranges(path: str, timer: _Timer, moments: dict[str, list[float]], rank: int, ranks: int) -> list[Range]:
    starts, ends = moments.get("start", []), moments.get("end", [])
    op = Op(ranks * timer.chunk + rank, timer.kind, timer.microbatch)
    if len(starts) != len(ends):
        raise InputError(
            f"{in_one_line(path)}: {op} has {len(starts)} starts and {len(ends)} ends; each start needs its end"
        )
    for start, end in zip(starts, ends, strict=True):
        if end < start:
            raise InputError(f"{in_one_line(path)}: {op} ends at {end:g}, before it starts at {start:g}")
    return [Range((op,), start, end) for start, end in zip(starts, ends, strict=True)]
