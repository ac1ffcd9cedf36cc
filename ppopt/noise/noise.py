"""The noise: of each operation, as measured, and of each device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppopt.noise.spread_file import Spreads
from reports.numbers import percent
from solver.errors import InputError
from strategies.model.numbers import check_seed, shown

MOST_SAMPLES = 1_000_000
LARGEST_VARIATION = 10.0
"""A coefficient of variation above this must be a mistake: 5 % is 0.05."""

USUAL_SAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How times vary around the configured ones.

    Attributes
    ----------
    operation : float
        The coefficient of variation of each operation: its standard deviation ÷ its mean, which is the configured
        time. 0 for none.
    spreads : Spreads or None
        Measured spreads of the times of each stage instead; the medians are the configured times.
    device : float or mapping of int to float
        The coefficient of variation of the speed of every device, or of some: in one draw, the same factor applies to
        everything that the device runs. 0 for none.
    samples : int
        The number of draws.
    seed : int
        Their seed.

    Raises
    ------
    InputError
        If a value is wrong.
    """

    operation: float = 0.0
    spreads: Spreads | None = None
    device: float | Mapping[int, float] = 0.0
    samples: int = USUAL_SAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_variation("noise", self.operation)
        devices = self.device.items() if isinstance(self.device, Mapping) else [(0, self.device)]
        for device, variation in devices:
            if isinstance(device, bool) or not isinstance(device, int) or device < 0:
                raise InputError(f"noise_device: must name a device by a whole number from 0; found {shown(device)}")
            _refuse_variation("noise_device", variation)
        if self.spreads is not None and self.operation:
            raise InputError("spread: says how each operation varies, and so does noise; give one of the two")
        _refuse_count("samples", self.samples, 1, MOST_SAMPLES)
        check_seed(self.seed)

    def variation_of(self, device: int) -> float:
        """Return the coefficient of variation of a device's speed."""
        return self.device.get(device, 0.0) if isinstance(self.device, Mapping) else self.device

    @property
    def varies_by_device(self) -> bool:
        """Whether any device's speed varies."""
        return any(self.device.values()) if isinstance(self.device, Mapping) else bool(self.device)

    def refuse_unknown_devices(self, devices: int) -> None:
        """Refuse noise for a device that a pipeline does not have.

        Raises
        ------
        InputError
            With the pipeline's devices.
        """
        named = self.device if isinstance(self.device, Mapping) else {}
        for device in named:
            if device >= devices:
                raise InputError(f"noise_device: there is no device {device}; the devices are 0 to {devices - 1}")

    def __str__(self) -> str:
        parts = [f"each operation {percent(self.operation)}"] if self.operation else []
        if self.spreads is not None:
            parts.append(f"spreads of {self.spreads.name}")
        if isinstance(self.device, Mapping):
            parts += [f"device {device} {percent(each)}" for device, each in self.device.items() if each]
        elif self.device:
            parts.append(f"each device {percent(self.device)}")
        return ", ".join(parts) or "none"

    def to_dict(self) -> dict[str, Any]:
        """Return the noise as plain values."""
        device = dict(self.device) if isinstance(self.device, Mapping) else self.device
        return {
            "operation": self.operation,
            "spread": None if self.spreads is None else self.spreads.name,
            "device": {str(key): value for key, value in device.items()} if isinstance(device, dict) else device,
            "seed": self.seed,
        }


def _refuse_variation(name: str, value: object) -> None:
    good = not isinstance(value, bool) and isinstance(value, (int, float)) and 0 <= value <= LARGEST_VARIATION
    if not good or not math.isfinite(value):  # type: ignore[arg-type]
        raise InputError(
            f"{name}: must be a coefficient of variation from 0 to {LARGEST_VARIATION:g}, such as 0.05; "
            f"found {shown(value)}"
        )


def _refuse_count(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"{name}: must be a whole number from {least:,} to {most:,}; found {shown(value)}")
