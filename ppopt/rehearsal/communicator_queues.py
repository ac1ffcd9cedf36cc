"""Communicators of a rehearsal: queues of blocking sends and receives. Only workers import this."""

from __future__ import annotations

import queue
import threading
from collections.abc import Hashable, Sequence
from time import perf_counter_ns
from typing import Any, NamedTuple

import torch.distributed as dist

from ppopt.rehearsal.recorder import NamedOps, Recorder, wait_until


class _Posted:
    """A pending send or receive, for PyTorch's runtime to wait for."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._error: BaseException | None = None

    def wait(self) -> None:
        """Wait until it is done."""
        self._done.wait()
        if self._error is not None:
            raise self._error

    def finish(self, error: BaseException | None = None) -> None:
        """Mark it as done."""
        self._error = error
        self._done.set()


class _Entry(NamedTuple):
    op: Any
    name: tuple[int, str, int] | None
    posted: _Posted


class CommunicatorQueues:
    """Runs the operations that PyTorch's runtime posts, one after the other on each communicator.

    gloo ends a blocking send when its receive has been posted. So a transfer is a rendezvous here, as with NCCL, and
    operations queued after one that waits have to wait as well.

    Parameters
    ----------
    communicators : {"edge", "pair", "rank"}
        One queue for each directed pair of ranks, for each pair, or for everything.
    transfer : list of (int, int)
        For each stage, the nanoseconds for which the result of its forward, and of its backward, occupies its queues at
        both ends.
    recorder : Recorder
        Notified when results arrive.
    """

    def __init__(self, communicators: str, transfer: Sequence[Sequence[int]], recorder: Recorder) -> None:
        self.communicators, self.transfer, self.recorder = communicators, transfer, recorder
        self._queues: dict[Hashable, queue.SimpleQueue[_Entry | None]] = {}

    def post(self, ops: Sequence[Any], _description: str | None = None) -> list[_Posted]:
        """Accept the arguments of PyTorch's ``_batch_p2p``."""
        name = ops.name if isinstance(ops, NamedOps) else None
        posted: list[_Posted] = []
        for op in ops:
            entry = _Entry(op, name, _Posted())
            self._queue(op).put(entry)
            posted.append(entry.posted)
        return posted

    def _queue(self, op: Any) -> queue.SimpleQueue[_Entry | None]:
        keys: dict[str, Hashable] = {
            "rank": None,
            "pair": op.group_peer,
            "edge": (op.group_peer, op.op is dist.isend),
        }
        key = keys[self.communicators]
        if key not in self._queues:
            self._queues[key] = queue.SimpleQueue()
            threading.Thread(target=self._serve, args=(self._queues[key],), daemon=True).start()
        return self._queues[key]

    def _serve(self, entries: queue.SimpleQueue[_Entry | None]) -> None:
        while (entry := entries.get()) is not None:
            try:
                self._do(entry)
                entry.posted.finish()
            except BaseException as error:
                entry.posted.finish(error)

    def _do(self, entry: _Entry) -> None:
        op = entry.op
        if op.op is dist.isend:
            dist.send(op.tensor, group=op.group, tag=op.tag, group_dst=op.group_peer)
        else:
            dist.recv(op.tensor, group=op.group, tag=op.tag, group_src=op.group_peer)
        if entry.name is None:
            return
        stage, kind, _ = entry.name
        if self.recorder.on and (moving := self.transfer[stage][kind != "F"]):
            wait_until(perf_counter_ns() + moving)
        if op.op is not dist.isend:
            self.recorder.arrive(*entry.name)

    def close(self) -> None:
        """End the queues; nothing may be posted afterwards."""
        for each in self._queues.values():
            each.put(None)
