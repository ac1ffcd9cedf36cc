"""Transfers: which actions wait for actions on other devices, and how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ppopt.profiling.measurement import MeasuredAction


class Transfer(NamedTuple):
    """A result that went from one device to another.

    Attributes
    ----------
    producer, consumer : MeasuredAction
        The action that made the result, and the one that waited for it.
    before : MeasuredAction or None
        The previous action of the consumer's device.
    """

    producer: MeasuredAction
    consumer: MeasuredAction
    before: MeasuredAction | None

    @property
    def slack(self) -> float:
        """The time from the producer's end to the consumer's start."""
        return self.consumer.start - self.producer.end

    @property
    def was_waited_for(self) -> bool:
        """Whether the consumer's device was idle until the result arrived."""
        if self.consumer.waited is not None:
            ready = self.consumer.start - self.consumer.waited
            return self.consumer.waited > 0 and ready <= self.producer.end
        return self.before is not None and self.before.end <= self.producer.end


def transfers(actions: Iterable[MeasuredAction]) -> Iterator[Transfer]:
    """Yield the transfers of all steps; each of a block's two inputs is one transfer."""
    by_step: dict[int, list[MeasuredAction]] = defaultdict(list)
    for action in actions:
        by_step[action.step].append(action)
    for members in by_step.values():
        yield from _of_step(sorted(members, key=lambda action: (action.start, action.end)))


def _of_step(actions: Sequence[MeasuredAction]) -> Iterator[Transfer]:
    where = {(_way(action), action.stage, action.microbatch): action for action in actions if action.kind != "W"}
    last: dict[int, MeasuredAction] = {}
    open_block: dict[int, MeasuredAction | None] = {}
    for action in actions:
        before = last.get(action.device)
        if before and action.block is not None and before.block == action.block:
            before = open_block.get(action.device)
        else:
            open_block[action.device] = before
        last[action.device] = action
        producer = where.get((_way(action), action.stage - (1 if action.kind == "F" else -1), action.microbatch))
        if action.kind != "W" and producer and producer.device != action.device:
            yield Transfer(producer, action, before)


def _way(action: MeasuredAction) -> str:
    return "F" if action.kind == "F" else "B"
