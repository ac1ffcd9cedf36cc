"""Counts the buffers that a device holds for what it receives, from its program alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from solver.programs import Compute, Post, Program
from strategies.lowering.as_program import LoweredPrograms
from strategies.lowering.transfers import Crossings
from strategies.model.actions import Op
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import ops_of

Size = Callable[[Op], Fraction | None]
"""Returns the bytes of a transfer, if they are known."""


class ReceiveBuffers(NamedTuple):
    """The most buffers that a device holds at once for what it receives.

    Positions in the device's program count, not times: a buffer is held from the post of its receive to the end of a
    computation.

    Attributes
    ----------
    unused : int
        Up to the end of the first computation that uses what is received: an F, or a B or I.
    held : int
        Up to the end of the last backward that reads it, the B or W of the same stage and microbatch: a forward's
        input is read by its backward as well. These are the slots of a single pool for the device.
    pooled : int
        The same, with a pool for each stage and direction, each as large as it must be: as in pytorch#196465.
    unused_bytes, held_bytes : Fraction or None
        The most bytes at once, where the size of each is known.
    """

    unused: int
    held: int
    pooled: int
    unused_bytes: Fraction | None = None
    held_bytes: Fraction | None = None


def receive_buffers(
    lowered: LoweredPrograms, placement: Placement, size: Size | None = None
) -> tuple[ReceiveBuffers, ...]:
    """Count the receive buffers of each device.

    Parameters
    ----------
    lowered : LoweredPrograms
        Programs in which each receive is posted before it is used.
    placement : Placement
        Which device holds which stage.
    size : callable, optional
        The bytes of a transfer.
    """
    crossings = Crossings(placement)
    return tuple(_of_device(program, crossings, size or _unknown) for program in lowered.programs)


def _unknown(_: Op) -> None:
    return None


def by_figure(buffers: Sequence[ReceiveBuffers]) -> Mapping[str, Any]:
    """Return plain values for JSON: for each known figure a list with one entry for each device."""
    values = {key: [getattr(each, key) for each in buffers] for key in ReceiveBuffers._fields}
    return {
        key: [float(each) if isinstance(each, Fraction) else each for each in column]
        for key, column in values.items()
        if None not in column
    }


@dataclass(slots=True)
class _Level:
    """An amount that changes, and the most that it was."""

    now: Fraction | int = 0
    most: Fraction | int = 0

    def change(self, by: Fraction | int) -> None:
        self.now += by
        if by > 0 and self.now > self.most:
            self.most = self.now


def _of_device(program: Program, crossings: Crossings, size: Size) -> ReceiveBuffers:
    unused, held, unused_bytes, held_bytes = (_Level() for _ in range(4))
    pools: dict[tuple[int, str], _Level] = defaultdict(_Level)
    known = True
    posted: dict[Op, Fraction | None] = {}
    for instruction in program:
        for transfer in _received(instruction):
            bytes_ = posted[transfer] = size(transfer)
            known = known and bytes_ is not None
            for level in (unused, held, pools[transfer.stage, transfer.kind]):
                level.change(1)
            for level in (unused_bytes, held_bytes):
                level.change(bytes_ or 0)
        if isinstance(instruction, Compute):
            action: Any = instruction.name
            for transfer in crossings.consumed(action):
                unused.change(-1)
                unused_bytes.change(-(posted[transfer] or 0))
            for transfer in _read_last(action):
                if transfer in posted:
                    held.change(-1)
                    pools[transfer.stage, transfer.kind].change(-1)
                    held_bytes.change(-(posted.pop(transfer) or 0))
    return ReceiveBuffers(
        unused=int(unused.most),
        held=int(held.most),
        pooled=int(sum(level.most for level in pools.values())),
        unused_bytes=Fraction(unused_bytes.most) if known else None,
        held_bytes=Fraction(held_bytes.most) if known else None,
    )


def _received(instruction: object) -> Iterator[Op]:
    if isinstance(instruction, Post):
        for end in instruction.ends:
            if not end.is_send:
                assert isinstance(end.transfer, Op)
                yield end.transfer


def _read_last(action: Any) -> Iterator[Op]:
    """Yield the results that nothing reads after an action: those that its stage received for its microbatch."""
    for op in ops_of(action):
        if op.kind in "BW":
            yield Op(op.stage - 1, "F", op.microbatch)
            yield Op(op.stage + 1, "B", op.microbatch)
