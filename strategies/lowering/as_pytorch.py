"""How PyTorch 2.13 places communication in an order of computations (`_PipelineScheduleRuntime`)."""

from __future__ import annotations

from collections.abc import Sequence

from solver.errors import InputError
from strategies.lowering.gradients_and_shards import with_reduced_gradients, with_shards
from strategies.lowering.transfers import Crossings, end_of, receive, send
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Aside, Token


def lower_as_pytorch(
    orders: Sequence[Sequence[PipelineAction]], placement: Placement, *, deferred: bool = False
) -> list[list[Token]]:
    """Place communication as PyTorch's runtime does when it loads an order of computations.

    All devices take turns. In its turn a device offers its next action. If the inputs have been received or computed
    there, the action is appended to the device's list, followed by its sends, and the matching receives are appended to
    the receivers' lists as they are then. So both ends of a transfer enter the lists at the same moment, and nothing
    can cross or deadlock. But a turn is one action of any duration, so a receive may end up far ahead of sends that are
    ready.

    Parameters
    ----------
    orders : sequence of sequence of (Op or Block)
        The computations of each device.
    placement : Placement
        Which device holds which stage; each stage must be on one device.
    deferred : bool
        Whether to move receives afterwards as with ``defer_pp_recv=True``; see `defer_receives`.

    Raises
    ------
    InputError
        If the placement is bidirectional, which PyTorch cannot run, or the order deadlocks.
    """
    if len(placement.homes) > 1:
        raise InputError("is bidirectional: PyTorch's runtime has one device for each stage, and cannot lower it")
    per_device = [with_reduced_gradients(with_shards(order)) for order in orders]
    lowered = _RoundRobin(Crossings(placement), per_device).take()
    return defer_receives(lowered, placement) if deferred else lowered


class _RoundRobin:
    """The lists of the devices while they take turns."""

    def __init__(self, crossings: Crossings, orders: Sequence[Sequence[Token]]) -> None:
        self.crossings, self.orders = crossings, orders
        self.lowered: list[list[Token]] = [[] for _ in orders]
        self.next = [0] * len(orders)
        self.posted: set[Op] = set()

    def take(self) -> list[list[Token]]:
        """Take turns until every action is placed."""
        open_devices = [device for device, order in enumerate(self.orders) if order]
        while open_devices:
            taken = [self._advance(device) for device in open_devices]
            if not any(taken):
                device = open_devices[0]
                first = self.orders[device][self.next[device]]
                raise InputError(f"the order deadlocks: device {device} never gets to {first}")
            open_devices = [device for device in open_devices if self.next[device] < len(self.orders[device])]
        return self.lowered

    def _advance(self, device: int) -> bool:
        token = self.orders[device][self.next[device]]
        if any(transfer not in self.posted for transfer in self.crossings.consumed(token)):
            return False
        self.next[device] += 1
        self.lowered[device].append(token)
        for transfer in self.crossings.produced(token):
            self.lowered[device].append(send(transfer))
            self.lowered[self.crossings.devices(transfer)[1]].append(receive(transfer))
            self.posted.add(transfer)
        return True


def defer_receives(lowered: Sequence[Sequence[Token]], placement: Placement) -> list[list[Token]]:
    """Move each receive to just before its consumer, as PyTorch does with ``defer_pp_recv=True``.

    Before a send to a higher rank, the pending receives from that rank are put back first. PyTorch does this to prevent
    deadlocks, but it does not prevent them; nor does it keep the receives of a pair in the order of its sends.

    Parameters
    ----------
    lowered : sequence of sequence of token
        A lowered order, as `lower_as_pytorch` returns it.
    placement : Placement
        Which device holds which stage.
    """
    crossings = Crossings(placement)
    return [_deferred(device, row, crossings) for device, row in enumerate(lowered)]


def _deferred(device: int, row: Sequence[Token], crossings: Crossings) -> list[Token]:
    pending: dict[Op, int] = {}  # the sender of each transfer
    moved: list[Token] = []
    for token in row:
        end = end_of(token) if isinstance(token, Aside) else None
        if end is not None:
            assert isinstance(end.transfer, Op)
            source, destination = crossings.devices(end.transfer)
            if not end.is_send:
                pending[end.transfer] = source
                continue
            if device < destination:
                first = [transfer for transfer, sender in pending.items() if sender == destination]
            else:
                first = []
        else:
            first = [] if isinstance(token, Aside) else [op for op in crossings.consumed(token) if op in pending]
        for transfer in first:
            del pending[transfer]
            moved.append(receive(transfer))
        moved.append(token)
    return moved
