"""An order that a user gives, beside the published ones that users name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from strategies.model.actions import PipelineAction
from strategies.model.placements import Placement
from strategies.order_files.schedule_file import Token


@dataclass(frozen=True)
class GivenOrder:
    """An order that was read from a file and found to be without fault.

    Attributes
    ----------
    name : str
        The file, as it was named.
    placement : Placement
        Which device holds which stage, read off the file.
    orders : list of list of (Op or Block)
        The actions of each device.
    notes : tuple of str
        What of the file was left out.
    lowered : list of list of (Op, Block, Aside or None), or None
        Its cells, where the file holds communication.
    """

    name: str
    placement: Placement
    orders: Sequence[Sequence[PipelineAction]]
    notes: tuple[str, ...] = ()
    lowered: Sequence[Sequence[Token | None]] | None = None

    def notes_on(self, lowering: str | None) -> tuple[str, ...]:
        """Tell what of the file was left out; its communication was not where it is run as ``given``."""
        if lowering != "given":
            return self.notes
        return tuple(note for note in self.notes if " were set aside: " not in note)

    @property
    def sizes(self) -> dict[str, int]:
        """How many devices, stages and microbatches the file has."""
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
