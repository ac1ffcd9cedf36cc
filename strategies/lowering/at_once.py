"""Places communication so that no transfer waits for its receive: every receive is posted before anything else."""

from __future__ import annotations

from collections.abc import Sequence

from solver.problem import Key
from solver.programs import Transfer
from strategies.lowering.transfers import Crossings, receive, send
from strategies.model.actions import PipelineAction
from strategies.order_files.schedule_file import Token


def lower_at_once(orders: Sequence[Sequence[PipelineAction]], crossings: Crossings) -> list[list[Token]]:
    """Post every receive at the beginning, in the order of its sends, and every send behind its producer."""
    lowered: list[list[Token]] = [[] for _ in orders]
    for order in orders:
        for action in order:
            for transfer in crossings.produced(action):
                lowered[crossings.devices(transfer)[1]].append(receive(transfer))
    for row, order in zip(lowered, orders, strict=True):
        for action in order:
            row += [action, *map(send, crossings.produced(action))]
    return lowered


def queues_of_their_own(key: Key, _: Transfer) -> Key:
    """Give every transfer a queue of its own: it waits for nothing."""
    return key
