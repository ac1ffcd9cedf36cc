"""Placing communication by time: one order of all transfers, which no device can deadlock or cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from strategies.lowering.gradients_and_shards import with_reduced_gradients, with_shards
from strategies.lowering.transfers import Crossings, receive, send
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Aside, Token


def lower_by_time(
    orders: Sequence[Sequence[PipelineAction]],
    placement: Placement,
    ends: Mapping[PipelineAction, int],
    *,
    shards: bool = False,
) -> list[list[Token]]:
    """Place communication in the order in which its producers end.

    All transfers are sorted by the end of their producer, and those that end together in a fixed way. Each device posts
    its sends and receives in that one order. A send stands behind its producer; a receive as early as the order allows,
    directly behind the device's transfer before it, whatever is computed meanwhile.

    It cannot deadlock, whether communicators serve an edge, a pair, a way or a rank each, and whatever the durations
    really are. For put every transfer at the end of its producer, into one total order with all actions by the times of
    the replay (of equal times, by the order of a device and what waits for what). Then all that ever waits points
    forward in it: an action waits for those before it on its device, and for the transfers of its inputs; a transfer
    for those before it on its queues, by construction, and for what was computed before its ends were posted: a send's
    producer and what precedes that, and for a receive what precedes the device's transfer before it. So nothing waits
    in a circle. Both ends of a transfer stand in the same order, so nothing crosses.

    Parameters
    ----------
    orders : sequence of sequence of (Op or Block)
        What each device computes.
    placement : Placement
        Which device holds which stage, or two of them.
    ends : mapping of (Op or Block) to int
        When each action ends in a replay without queues.
    shards : bool
        Whether UNSHARD and RESHARD are placed as well.

    Returns
    -------
    list of list of token
        With REDUCE_GRAD behind the last backward of each stage.
    """
    crossings = Crossings(placement)
    behind: list[list[list[Token]]] = [[[] for _ in range(len(order) + 1)] for order in orders]
    last = [0] * len(orders)  # the place behind which each device's last transfer stands
    for producer, place, transfer in _by_end(orders, crossings, ends):
        behind[producer][place].append(send(transfer))
        last[producer] = place
        receiver = crossings.devices(transfer)[1]
        behind[receiver][last[receiver]].append(receive(transfer))
    return [_merged(order, places, placement, shards=shards) for order, places in zip(orders, behind, strict=True)]


def _by_end(
    orders: Sequence[Sequence[PipelineAction]], crossings: Crossings, ends: Mapping[PipelineAction, int]
) -> list[tuple[int, int, Op]]:
    """List all transfers in their order, each with its producer's device and how many actions stand before it there.

    Of those whose producers end together, backwards go first, then what earlier stages produce.
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
    """Count for actions that take no time how many others that end at the same moment must precede them."""
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


def _merged(
    order: Sequence[PipelineAction], behind: Sequence[Sequence[Token]], placement: Placement, *, shards: bool
) -> list[Token]:
    computed: list[Token] = list(order)
    lowered = with_reduced_gradients(with_shards(computed) if shards else computed, placement.microbatches)
    merged = list(behind[0])
    places = iter(behind[1:])
    for token in lowered:
        merged.append(token)
        if not isinstance(token, Aside):
            merged += next(places)
    return merged
