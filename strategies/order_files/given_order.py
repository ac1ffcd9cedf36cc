"""An order that the user gives in a file, instead of naming a published one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from strategies.model.actions import PipelineAction
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Token


@dataclass(frozen=True)
class GivenOrder:
    """An order read from a file and found free of faults.

    Attributes
    ----------
    name : str
        The file, as the user named it.
    placement : Placement
        Which device holds which stage, according to the file.
    orders : list of list of (Op or Block)
        The actions of each device.
    notes : tuple of str
        Notes on the parts of the file that were left out.
    lowered : list of list of (Op, Block, Aside or None), or None
        The cells of the file, if it holds communication.
    beside : list of list of (Op, Block, Aside or None), or None
        The cells of the file, if it says what runs beside computing: gathers, releases, reductions, copies.
    """

    name: str
    placement: Placement
    orders: Sequence[Sequence[PipelineAction]]
    notes: tuple[str, ...] = ()
    lowered: Sequence[Sequence[Token | None]] | None = None
    beside: Sequence[Sequence[Token | None]] | None = None

    def notes_on(self, lowering: str | None) -> tuple[str, ...]:
        """Return the notes on what was left out; with lowering ``given``, communication was not."""
        if lowering != "given":
            return self.notes
        return tuple(note for note in self.notes if " were set aside: " not in note)

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of devices, stages and microbatches in the file."""
        placement = self.placement
        return {
            "devices": placement.devices,
            "stages": len(placement.homes[0]),
            "microbatches": placement.microbatches,
        }

    def __str__(self) -> str:
        return self.name


Named: TypeAlias = str | GivenOrder
"""A published schedule by its name with options, or an order from a file."""
