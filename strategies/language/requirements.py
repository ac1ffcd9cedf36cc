"""A schedule's requirements on a pipeline as data, which can be listed, checked, and used to suggest sizes that fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Sizes(Protocol):
    """The sizes of a pipeline."""

    @property
    def devices(self) -> int:
        """Pipeline ranks."""

    @property
    def microbatches(self) -> int:
        """Microbatches of one step."""

    @property
    def are_sliced(self) -> bool:
        """Whether microbatches are cut into slices."""


@dataclass(frozen=True)
class Requirements:
    """The requirements of a schedule.

    Attributes
    ----------
    stages_per_device : int or None
        The exact number; None allows any whole number.
    default_stages_per_device : int
        The number that it takes if the configuration leaves the stages open.
    stages_come_in : int
        If any number is allowed, the stages of a device must be a multiple of this.
    stages_option : str or None
        The schedule's own option for the number of such multiples on a device: the waves of ``hanayo``.
    even_devices, even_microbatches : bool
        Whether their number must be even.
    microbatches_per_device, microbatches_less : int
        The least number of microbatches is the first times the devices, minus the second (but at least 1).
    takes_slices : bool
        Whether it runs slices of microbatches; others run them whole.
    """

    stages_per_device: int | None = 1
    default_stages_per_device: int = 1
    stages_come_in: int = 1
    stages_option: str | None = None
    even_devices: bool = False
    even_microbatches: bool = False
    microbatches_per_device: int = 0
    microbatches_less: int = 0
    takes_slices: bool = False

    def default_stages(self, devices: int) -> int:
        """Return how many stages the schedule takes on these devices by default."""
        return devices * (self.stages_per_device or self.default_stages_per_device)

    def takes_stages(self, stages: int, devices: int) -> bool:
        """Return whether this number of stages fits."""
        if self.stages_per_device is None:
            return stages % (self.stages_come_in * devices) == 0
        return stages == self.stages_per_device * devices

    def unmet(self, name: str, sizes: Sizes) -> str | None:
        """Say which requirement a pipeline does not meet, and which sizes would meet it; None if it fits.

        The number of stages is not checked: the same model can be cut into more or fewer.
        """
        if sizes.are_sliced and not self.takes_slices:
            return f"{name} needs whole microbatches, and these are cut into slices"
        if self.even_devices and sizes.devices % 2:
            return f"{name} needs an even number of devices; {_neighbours(sizes.devices, 2)} {sizes.devices} does not"
        least = max(1, self.microbatches_per_device * sizes.devices - self.microbatches_less)
        step = 2 if self.even_microbatches else 1
        if sizes.microbatches < least or sizes.microbatches % step:
            number = "an even number of" if step == 2 else "a number of"
            fits = _neighbours(sizes.microbatches, step, least)
            return f"{name} needs {number} microbatches ≥ {least}; {fits} {sizes.microbatches} does not"
        return None

    def describe(self) -> dict[str, str]:
        """Write the requirements on devices, stages and microbatches as text."""
        any_number = "k·p" if self.stages_come_in == 1 else f"{self.stages_come_in}k·p"
        stages = any_number if self.stages_per_device is None else ("p" if self.stages_per_device == 1 else "2p")
        less = f" − {self.microbatches_less}" if self.microbatches_less else ""
        times = "" if self.microbatches_per_device == 1 else f"{self.microbatches_per_device}"
        least = f"m ≥ {times}p{less}" if self.microbatches_per_device else ""
        parity = "m even" if self.even_microbatches else "any, in slices" if self.takes_slices else ""
        return {
            "devices": "p even" if self.even_devices else "any",
            "stages": stages,
            "microbatches": ", ".join(part for part in (parity, least) if part) or "any",
        }


def _neighbours(found: int, step: int, least: int = 1) -> str:
    """Name the nearest values that fit, below and above."""
    least += -least % step
    below, above = found - found % step, found + -found % step
    fitting = sorted({max(least, below), max(least, above), max(least, above) + (step if below < least else 0)})
    names = " and ".join(str(value) for value in fitting)
    return f"{names} {'fit' if len(fitting) > 1 else 'fits'},"
