"""An action of a device on one of its streams, which names its side action in programs."""

from __future__ import annotations

from typing import NamedTuple

from strategies.order_files.schedule_file import Aside


class StreamAction(NamedTuple):
    """What a device does on a stream.

    Attributes
    ----------
    device : int
        The device.
    action : Aside
        The action.
    turn : int
        How often the device has done the same before.
    """

    device: int
    action: Aside
    turn: int = 0

    def __str__(self) -> str:
        return str(self.action)
