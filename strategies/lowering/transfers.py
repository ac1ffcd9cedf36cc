"""The transfers of an order: the results that cross devices, and the actions that send and receive them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from solver.programs import End
from strategies.lowering.stream_action import StreamAction
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import TRANSFERS, WAITS, Aside, Token, ops_of

SENDS, RECEIVES = {"F": "SEND_F", "B": "SEND_B"}, {"F": "RECV_F", "B": "RECV_B"}


@dataclass(frozen=True)
class Crossings:
    """The results that cross devices in a placement.

    A transfer is named after its producer: ``Op(stage, "F" or "B", microbatch)``; an I produces the same result as a B.

    Parameters
    ----------
    placement : Placement
        Which device holds which stage.
    """

    placement: Placement

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.placement.homes[0])

    @cached_property
    def homes_of(self) -> tuple[tuple[int, ...], ...]:
        """For each microbatch, the device of each stage."""
        return tuple(homes for part, homes in self.placement.directions() for _ in part)

    def home(self, stage: int, microbatch: int) -> int:
        """Return the device on which a microbatch passes through a stage."""
        return self.homes_of[microbatch][stage]

    def consumer_stage(self, transfer: Op) -> int:
        """Return the stage that uses a result; it lies outside the model if nothing uses the result."""
        return transfer.stage + (1 if transfer.kind == "F" else -1)

    def devices(self, transfer: Op) -> tuple[int, int]:
        """Return the devices that send and receive a transfer."""
        return self.home(transfer.stage, transfer.microbatch), self.home(
            self.consumer_stage(transfer), transfer.microbatch
        )

    def crosses(self, transfer: Op) -> bool:
        """Return whether another device uses a result."""
        taken = self.consumer_stage(transfer)
        return 0 <= taken < self.stages and len(set(self.devices(transfer))) == 2

    def produced(self, action: PipelineAction | Token) -> Iterator[Op]:
        """Yield the transfers that an action produces; in a block, the forward's comes first."""
        for op in ops_of(action):
            if op.kind != "W":
                transfer = op._replace(kind="F" if op.kind == "F" else "B")
                if self.crosses(transfer):
                    yield transfer

    def consumed(self, action: PipelineAction | Token) -> Iterator[Op]:
        """Yield the transfers that an action waits for; in a block, the forward's comes first."""
        for op in ops_of(action):
            if op.kind == "W":
                continue
            forward = op.kind == "F"
            source = op.stage - 1 if forward else op.stage + 1
            transfer = Op(source, "F" if forward else "B", op.microbatch)
            if 0 <= source < self.stages and self.crosses(transfer):
                yield transfer

    def all(self) -> Iterator[Op]:
        """Yield every transfer."""
        for microbatch in range(self.placement.microbatches):
            for stage in range(self.stages):
                yield from filter(self.crosses, (Op(stage, kind, microbatch) for kind in "FB"))


def send(transfer: Op) -> Aside:
    """Return the action that sends a result."""
    return Aside(transfer.stage, SENDS[transfer.kind], transfer.microbatch)


def receive(transfer: Op) -> Aside:
    """Return the action that receives a result, named by the stage that uses it."""
    taken = transfer.stage + (1 if transfer.kind == "F" else -1)
    return Aside(taken, RECEIVES[transfer.kind], transfer.microbatch)


def end_of(action: Aside) -> End | None:
    """Return the end of a transfer that an action is; None if it neither sends nor receives."""
    if action.kind not in TRANSFERS:
        return None
    assert action.microbatch is not None
    kind = action.kind[-1]
    if action.kind.startswith("SEND"):
        return End(Op(action.stage, kind, action.microbatch), True)
    source = action.stage - (1 if kind == "F" else -1)
    return End(Op(source, kind, action.microbatch), False)


def waited_send(action: Aside) -> Op | None:
    """Return the transfer whose send an action waits for; None if it waits for none."""
    if action.kind not in WAITS:
        return None
    assert action.microbatch is not None
    return Op(action.stage, action.kind[-1], action.microbatch)


def wait_for_send(transfer: Op) -> Aside:
    """Return the action that waits until a result is sent; the inverse of `waited_send`."""
    return Aside(transfer.stage, f"WAIT_{SENDS[transfer.kind]}", transfer.microbatch)


def token_of(end: End) -> Aside:
    """Return the action for an end of a transfer, or for a side action."""
    if not isinstance(end.transfer, Op):
        assert isinstance(end.transfer, StreamAction)
        return end.transfer.action
    return send(end.transfer) if end.is_send else receive(end.transfer)


def is_lowered(rows: Iterable[Iterable[Token | None]]) -> bool:
    """Return whether rows hold sends or receives, or waits for them."""
    kinds = (*TRANSFERS, *WAITS)
    return any(isinstance(token, Aside) and token.kind in kinds for row in rows for token in row)


def has_beside(rows: Iterable[Iterable[Token | None]]) -> bool:
    """Return whether rows hold anything beside computations and transfers."""
    return any(isinstance(token, Aside) and end_of(token) is None for row in rows for token in row)


def computing(rows: Sequence[Sequence[Token | None]]) -> list[list[PipelineAction]]:
    """Return the actions that compute."""
    return [[token for token in row if token is not None and not isinstance(token, Aside)] for row in rows]
