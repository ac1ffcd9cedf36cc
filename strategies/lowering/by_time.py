"""Places communication by time, in one order of all transfers, so that no device can deadlock or cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from strategies.lowering.gradients_and_shards import with_reduced_gradients, with_shards
from strategies.lowering.transfers import Crossings, receive, send
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Aside, Token

BY_TIME = "time"
"""The name of this placement, which is no framework's own."""


def lower_by_time(
    orders: Sequence[Sequence[PipelineAction]],
    placement: Placement,
    ends: Mapping[PipelineAction, int],
    *,
    shards: bool = False,
    beside: Sequence[Sequence[Token]] | None = None,
) -> list[list[Token]]:
    """Place communication in the order in which its producers end.

    All transfers are sorted by the end of their producer, with ties broken in a fixed way. Each device posts its sends
    and receives in that one order. A send stands right after its producer. A receive stands as early as the order
    allows: right after the device's previous transfer, whatever is computed meanwhile.

    The result cannot deadlock, whether communicators serve an edge, a pair, a way or a rank each, and whatever the real
    durations are. Proof: put every transfer at the end of its producer, and sort transfers and actions into one total
    order by the times of the replay (ties by the order of a device and by dependencies). Then everything waits only for
    earlier elements of that order. An action waits for the actions before it on its device, and for the transfers of
    its inputs. A transfer waits for the transfers before it on its queues, which are earlier by construction, and for
    the computations that precede the posting of its two ends: for a send, its producer and everything before the
    producer; for a receive, everything before the device's previous transfer. So there is no cycle of waiting. All
    devices post their ends in the same order, so nothing crosses.

    Parameters
    ----------
    orders : sequence of sequence of (Op or Block)
        The computations of each device.
    placement : Placement
        Which device, or which two, hold each stage.
    ends : mapping of (Op or Block) to int
        The end of each action in a replay without queues.
    shards : bool
        Whether to place UNSHARD and RESHARD as well.
    beside : sequence of sequence of token, optional
        The computations of each device with all that is done beside them, if that is placed already.

    Returns
    -------
    list of list of token
        The lowered order, with REDUCE_GRAD after the last backward of each stage.
    """
    crossings = Crossings(placement)
    behind: list[list[list[Token]]] = [[[] for _ in range(len(order) + 1)] for order in orders]
    last = [0] * len(orders)  # how many actions precede each device's last transfer
    for producer, place, transfer in _by_end(orders, crossings, ends):
        behind[producer][place].append(send(transfer))
        last[producer] = place
        receiver = crossings.devices(transfer)[1]
        behind[receiver][last[receiver]].append(receive(transfer))
    rows = beside or [with_reduced_gradients(with_shards(order) if shards else order) for order in orders]
    return [_merged(row, places) for row, places in zip(rows, behind, strict=True)]


def _by_end(
    orders: Sequence[Sequence[PipelineAction]], crossings: Crossings, ends: Mapping[PipelineAction, int]
) -> list[tuple[int, int, Op]]:
    """List all transfers in their order, each with its producer's device and the number of actions before it there.

    If producers end together, backwards go first, then results of earlier stages.
    """
    steps = _steps_at_one_moment(orders, crossings, ends)
    found = [
        (ends[action], steps.get(action, 0), transfer.kind, transfer.stage, transfer.microbatch, device, place)
        for device, order in enumerate(orders)
        for place, action in enumerate(order, start=1)
        for transfer in crossings.produced(action)
    ]
    found.sort()
    return [(device, place, Op(stage, kind, number)) for _, _, kind, stage, number, device, place in found]


def _steps_at_one_moment(
    orders: Sequence[Sequence[PipelineAction]], crossings: Crossings, ends: Mapping[PipelineAction, int]
) -> dict[PipelineAction, int]:
    """Return the length of the longest chain before each action that must follow others ending at the same moment."""
    previous = {after: before for order in orders for before, after in pairwise(order)}
    producer = {transfer: action for order in orders for action in order for transfer in crossings.produced(action)}
    steps: dict[PipelineAction, int] = {}

    def before(action: PipelineAction) -> list[PipelineAction]:
        found = [producer[transfer] for transfer in crossings.consumed(action)]
        found += [previous[action]] if action in previous else []
        return [each for each in found if ends[each] == ends[action]]

    open_actions = [action for order in orders for action in order if before(action)]
    while open_actions:
        action = open_actions[-1]
        missing = [each for each in before(action) if each not in steps and before(each)]
        if missing:
            open_actions += missing
            continue
        open_actions.pop()
        steps[action] = 1 + max(steps.get(each, 0) for each in before(action))
    return steps


def _merged(row: Sequence[Token], behind: Sequence[Sequence[Token]]) -> list[Token]:
    merged = list(behind[0])
    places = iter(behind[1:])
    for token in row:
        merged.append(token)
        if not isinstance(token, Aside):
            merged += next(places)
    return merged
