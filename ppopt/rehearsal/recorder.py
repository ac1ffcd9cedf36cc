"""Records when each action of a worker runs, and controls how long it waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter_ns, sleep
from typing import Any

SPIN = 150_000
"""Nanoseconds of busy waiting at the end of a wait, because a sleep ends about 0.1 ms late."""


def wait_until(moment: int) -> None:
    """Return at a moment of `perf_counter_ns`, to within microseconds if the machine is not busy."""
    while (left := moment - perf_counter_ns()) > SPIN:
        sleep((left - SPIN) / 1e9)
    while perf_counter_ns() < moment:
        pass


class NotedPops(dict[Any, Any]):
    """Receives in flight; when the runtime removes one to wait for it, the time is recorded."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def pop(self, *key: Any) -> Any:
        """Remove a receive, and record the time."""
        self.recorder.asked = perf_counter_ns()
        return super().pop(*key)


class NamedOps(list[Any]):
    """Sends or receives of one result, with its name.

    Parameters
    ----------
    ops : list
        As a stage of the runtime makes them.
    name : (int, str, int)
        The stage and kind of the result's producer, and the microbatch.
    """

    def __init__(self, ops: list[Any], name: tuple[int, str, int]) -> None:
        super().__init__(ops)
        self.name = name


@dataclass
class Recorder:
    """Times of a worker's actions.

    Attributes
    ----------
    durations : list of dict
        For each stage, the nanoseconds that F, B, I and W should take.
    latency : list of (int, int)
        For each stage, the least nanoseconds from departure to arrival of the result of its forward, and of its
        backward; empty if there is no latency.
    departures : mapping or None
        Shared memory in which all processes record when they sent each result; None if there is no such latency.
    peers : list of int
        For each stage, the rank that holds it.
    queued : bool
        Whether results depart when a queue has moved them, rather than when they are posted.
    """

    durations: list[dict[str, int]]
    latency: list[tuple[int, int]] = field(default_factory=list)
    departures: Any = None
    peers: list[int] = field(default_factory=list)
    queued: bool = False
    on: bool = False
    asked: int | None = None
    deadline: int = 0
    running: tuple[int, str, int] | None = None
    started: int = 0
    rows: list[tuple[int, str, int, int, int, int]] = field(default_factory=list)

    def wait(self) -> None:
        """Wait until the running action has lasted as long as it should."""
        if self.on:
            wait_until(self.deadline)

    def begin(self, stage: int, kind: str, microbatch: int) -> None:
        """Record that an action has its inputs and starts."""
        self.running = (stage, kind, microbatch)
        if not self.on:
            return
        if self.latency and kind != "W":
            self._await_arrival(stage, kind, microbatch)
        self.started = perf_counter_ns()
        self.deadline = self.started + self.durations[stage][kind]

    def end(self) -> None:
        """Record that the running action has ended."""
        ended = perf_counter_ns()
        if self.on and self.running is not None:
            asked = self.started if self.asked is None else self.asked
            self.rows.append((*self.running, asked, self.started, ended))
        self.asked = self.running = None

    def depart(self, stage: int, kind: str, microbatch: int) -> None:
        """Record that a result is sent."""
        if self.departures is not None and not self.queued:
            self.departures[self._place(stage, kind, microbatch)] = perf_counter_ns()

    def arrive(self, stage: int, kind: str, microbatch: int) -> None:
        """Record that a queue has moved a result here."""
        if self.departures is not None:
            self.departures[self._place(stage, kind, microbatch)] = perf_counter_ns()

    def _await_arrival(self, stage: int, kind: str, microbatch: int) -> None:
        source = stage - 1 if kind == "F" else stage + 1
        if 0 <= source < len(self.peers) and self.peers[source] != self.peers[stage]:
            left = self.departures[self._place(source, kind, microbatch)]
            wait_until(left + self.latency[source][kind != "F"])

    def _place(self, stage: int, kind: str, microbatch: int) -> int:
        stages = len(self.peers)
        return ((microbatch * stages) + stage) * 2 + (kind != "F")


def record_stage(stage: Any, recorder: Recorder) -> None:
    """Make a stage of the runtime report its actions to the recorder."""
    index = stage.stage_index
    forward, backward, weight = stage.forward_one_chunk, stage.backward_one_chunk, stage.backward_weight_one_chunk
    send_forward, send_backward = stage.get_fwd_send_ops, stage.get_bwd_send_ops
    receive_forward, receive_backward = stage.get_fwd_recv_ops, stage.get_bwd_recv_ops

    def recorded(kind: str, call: Any, microbatch: int, arguments: Any, named: Any) -> Any:
        recorder.begin(index, kind, microbatch)
        result = call(microbatch, *arguments, **named)
        recorder.end()
        return result

    def sent(kind: str, call: Any, microbatch: int) -> Any:
        recorder.depart(index, kind, microbatch)
        return NamedOps(call(microbatch), (index, kind, microbatch))

    def backward_recorded(microbatch: int, *arguments: Any, **named: Any) -> Any:
        return recorded("B" if named.get("full_backward", True) else "I", backward, microbatch, arguments, named)

    stage.forward_one_chunk = lambda chunk, *rest, **named: recorded("F", forward, chunk, rest, named)
    stage.backward_one_chunk = backward_recorded
    stage.backward_weight_one_chunk = lambda chunk, *rest, **named: recorded("W", weight, chunk, rest, named)

    def received(source: int, kind: str, call: Any, microbatch: int) -> Any:
        return NamedOps(call(microbatch), (source, kind, microbatch))

    stage.get_fwd_recv_ops = lambda chunk: received(index - 1, "F", receive_forward, chunk)
    stage.get_bwd_recv_ops = lambda chunk: received(index + 1, "I", receive_backward, chunk)
    stage.get_fwd_send_ops = lambda chunk: sent("F", send_forward, chunk)
    stage.get_bwd_send_ops = lambda chunk: sent("I", send_backward, chunk)
