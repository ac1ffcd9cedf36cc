"""Separates an action's wait for its input from its work."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple, Protocol

from strategies.model.actions import Op

LEADING = 0.05
"""A wait inside an action is at its front if at most this share of the action, or `LEADING_MS`, lies before it."""

LEADING_MS = 0.2


class Receive(NamedTuple):
    """A receive, or a wait for one, as recorded on the CPU."""

    start: float
    end: float
    lane: str


class _Timed(Protocol):
    @property
    def ops(self) -> tuple[Op, ...]: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def lane(self) -> str: ...


Arrival = tuple[int, str, int, float, float]
"""A range around the posting of a receive, or a receive on a stream: stage, F or B, microbatch, start, end."""


Parted = tuple[tuple[Op, ...], float, float, float | None]
"""An action with its start and end, both without the wait, and the wait."""


class Waits:
    """When the inputs of a rank's actions arrived.

    On the CPU, a receive is posted in a range of its own (``PP:1RECV_F0``); an asynchronous event that starts in that
    range (``gloo:recv``) ends with the wait for it. On a GPU, the range lies on the communication stream and ends when
    the data has arrived.

    Parameters
    ----------
    receives : sequence of Receive
        The CPU's receives and waits.
    arrivals : sequence of tuple
        The ranges of receives.
    on_streams : bool
        Whether the ranges lie on a GPU's streams.
    """

    def __init__(self, receives: Sequence[Receive], arrivals: Sequence[Arrival], *, on_streams: bool) -> None:
        self._on_streams = on_streams
        self._by_lane: dict[str, list[Receive]] = defaultdict(list)
        for receive in sorted(receives):
            self._by_lane[receive.lane].append(receive)
        self._of_input: dict[tuple[int, str, int], list[tuple[float, float]]] = defaultdict(list)
        in_time = sorted(receives)
        starts = [receive.start for receive in in_time]
        for stage, way, microbatch, start, end in sorted(arrivals, key=lambda arrival: arrival[3]):
            inside = in_time[bisect_left(starts, start) : bisect_right(starts, end)]
            arrived = end if on_streams else max((receive.end for receive in inside), default=None)
            if arrived is not None:
                self._of_input[stage, way, microbatch].append((start, arrived))

    def apply(self, events: Sequence[_Timed]) -> Iterator[Parted]:
        """Cut the wait off the front of each action, and return its length if known.

        On the CPU, PyTorch runs the halves of a block one after the other, so the backward waits in the middle: from
        the expected end of the forward, given its usual duration, until the end of the receive. The block keeps its
        end and starts later by this wait, so that its duration is that of the work.
        """
        parted = list(self._with_front_cut_off(events))
        if self._on_streams:
            yield from parted
            return
        usual = _usual_forwards(parted)
        for event, part in zip(sorted(events, key=lambda event: event.start), parted, strict=True):
            yield self._with_middle_cut_out(event, part, usual) if len(event.ops) > 1 else part

    def _with_middle_cut_out(self, event: _Timed, part: Parted, usual: Mapping[int, float]) -> Parted:
        ops, start, end, waited = part
        arrived = max(self._posted(ops[1], event), default=None)
        if arrived is None or ops[0].stage not in usual:
            return part
        inner = min(max(0.0, arrived - start - usual[ops[0].stage]), end - start)
        return ops, start + inner, end, (waited or 0.0) + inner

    def _with_front_cut_off(self, events: Sequence[_Timed]) -> Iterator[Parted]:
        before: float | None = None
        for event in sorted(events, key=lambda event: event.start):
            arrived = self._arrival(event)
            start = event.start if arrived is None else min(max(event.start, arrived), event.end)
            yield event.ops, start, event.end, self._waited(event, start, arrived, before)
            before = event.end

    def _waited(self, event: _Timed, start: float, arrived: float | None, before: float | None) -> float | None:
        if arrived is None:
            return None
        if not self._on_streams:
            return start - event.start
        return 0.0 if before is None else max(0.0, min(arrived, start) - before)

    def _arrival(self, event: _Timed) -> float | None:
        if self._on_streams:
            return max((end for op in event.ops for end in self._posted(op, event)), default=None)
        return max((*self._posted(event.ops[0], event), *self._leading(event)), default=None)

    def _posted(self, op: Op, event: _Timed) -> Iterator[float]:
        """Yield the end of the receive posted for an action, the last one before the action's end."""
        key = (op.stage, "F" if op.kind == "F" else "B", op.microbatch)
        if op.kind == "W" or key not in self._of_input:
            return
        posted = self._of_input[key]
        place = bisect_right(posted, (event.end, float("inf"))) - 1
        if place >= 0:
            yield min(posted[place][1], event.end)

    def _leading(self, event: _Timed) -> Iterator[float]:
        """Yield the end of the consecutive waits at the front of an action."""
        lane = self._by_lane.get(event.lane, [])
        reached, slack = event.start, max(LEADING_MS, LEADING * (event.end - event.start))
        found = False
        for receive in lane[bisect_left(lane, (event.start,)) :]:
            if receive.start > min(reached + slack, event.end):
                break
            reached, found = max(reached, min(receive.end, event.end)), True
        if found:
            yield reached


def _usual_forwards(parted: Iterable[Parted]) -> dict[int, float]:
    """Return the usual duration of each stage's forward on its own."""
    durations: dict[int, list[float]] = defaultdict(list)
    for ops, start, end, _ in parted:
        if len(ops) == 1 and ops[0].kind == "F":
            durations[ops[0].stage].append(end - start)
    return {stage: median(each) for stage, each in durations.items()}
