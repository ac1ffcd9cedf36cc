"""A lowered order as programs, as PyTorch's runtime goes through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from solver.problem import Key
from solver.programs import Compute, Instruction, Post, Transfer, Wait
from strategies.lowering.transfers import Crossings, end_of
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Aside, Token


@dataclass(frozen=True)
class LoweredPrograms:
    """The programs of a lowered order.

    Attributes
    ----------
    programs : list of list of Instruction
        One for each device.
    transfers : dict of Key to Transfer
        Called by their producers, see `Crossings`.
    columns : list of list of int
        For each instruction the cell that it comes from; for a wait, the action that waits.
    """

    programs: list[list[Instruction]]
    transfers: dict[Key, Transfer]
    columns: list[list[int]]


def as_programs(
    rows: Sequence[Sequence[Token | None]],
    placement: Placement,
    duration: Callable[[PipelineAction], int],
    moving: Callable[[Op], tuple[int, int]],
) -> LoweredPrograms:
    """Write a lowered order as programs.

    Each send and each receive is posted on its own, in its place. An action waits for the receives of its inputs. Sends
    are waited for at the very end, which delays nothing.

    Parameters
    ----------
    rows : sequence of sequence of token or None
        The cells of each device, without fault.
    placement : Placement
        Which device holds which stage.
    duration : callable
        How long an action takes, in ticks.
    moving : callable
        How long a transfer moves, and how much later it arrives, in ticks.
    """
    crossings = Crossings(placement)
    transfers: dict[Key, Transfer] = {
        transfer: Transfer(*crossings.devices(transfer), *moving(transfer)) for transfer in crossings.all()
    }
    programs: list[list[Instruction]] = []
    columns: list[list[int]] = []
    for row in rows:
        program, places = _program(row, crossings, duration)
        programs.append(program)
        columns.append(places)
    return LoweredPrograms(programs, transfers, columns)


def _program(
    row: Sequence[Token | None], crossings: Crossings, duration: Callable[[PipelineAction], int]
) -> tuple[list[Instruction], list[int]]:
    program: list[Instruction] = []
    columns: list[int] = []
    received: dict[Op, int] = {}
    for column, token in enumerate(row):
        if isinstance(token, Aside):
            end = end_of(token)
            if end is not None:
                if not end.is_send:
                    assert isinstance(end.transfer, Op)
                    received[end.transfer] = len(program)
                program.append(Post((end,)))
                columns.append(column)
        elif token is not None:
            waits = [Wait(received[transfer]) for transfer in crossings.consumed(token)]
            program += [*waits, Compute(token, duration(token))]
            columns += [column] * (len(waits) + 1)
    return program, columns


def unit_durations(_: PipelineAction) -> int:
    """Take every action to last one tick: what hangs does so whatever the durations are."""
    return 1


def moves_at_once(_: Op) -> tuple[int, int]:
    """Take every transfer to move one tick, with no latency."""
    return 1, 0
