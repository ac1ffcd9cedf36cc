"""Writes a lowered order as programs, in the way that PyTorch's runtime executes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from solver.problem import Key
from solver.programs import Compute, End, Instruction, Post, SideAction, Transfer, Wait
from strategies.lowering.transfers import Crossings, end_of, waited_send
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
        Keyed by their producers, see `Crossings`.
    columns : list of list of int
        The column of the cell that each instruction comes from; for a wait, that of the action that waits.
    sides : mapping of Key to SideAction
        The side actions that the programs post.
    """

    programs: list[list[Instruction]]
    transfers: dict[Key, Transfer]
    columns: list[list[int]]
    sides: Mapping[Key, SideAction] = field(default_factory=dict)


def as_programs(
    rows: Sequence[Sequence[Token | None]],
    placement: Placement,
    duration: Callable[[PipelineAction], int],
    moving: Callable[[Op], tuple[int, int]],
) -> LoweredPrograms:
    """Write a lowered order as programs.

    Each send and each receive is posted on its own, where it stands. An action waits for the receives of its inputs.
    It waits for a send where a `WAIT_SEND` says so. All other waits for sends come at the very end, where they delay
    nothing.

    Parameters
    ----------
    rows : sequence of sequence of token or None
        The cells of each device, without faults.
    placement : Placement
        Which device holds which stage.
    duration : callable
        The duration of an action, in ticks.
    moving : callable
        The time of a transfer on the link and its latency after that, in ticks.
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
    posted: dict[End, int] = {}
    for column, token in enumerate(row):
        if isinstance(token, Aside):
            waited = waited_send(token)
            end = end_of(token)
            if waited is not None:
                program.append(Wait(posted[End(waited, True)]))
                columns.append(column)
            elif end is not None:
                posted[end] = len(program)
                program.append(Post((end,)))
                columns.append(column)
        elif token is not None:
            waits = [Wait(posted[End(transfer, False)]) for transfer in crossings.consumed(token)]
            program += [*waits, Compute(token, duration(token))]
            columns += [column] * (len(waits) + 1)
    return program, columns


def unit_durations(_: PipelineAction) -> int:
    """Return one tick for every action: a deadlock does not depend on durations."""
    return 1


def moves_at_once(_: Op) -> tuple[int, int]:
    """Return one tick on the link and no latency for every transfer."""
    return 1, 0
