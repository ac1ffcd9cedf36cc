"""What was measured on real devices: when each action of each step ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from solver.errors import InputError
from strategies.model.numbers import shown
from strategies.model.pipeline import Pipeline

MILLISECONDS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
"""In one unit of time of a configuration, by the unit's name."""

_SPELT = {"µs": "us", "μs": "us", "usec": "us", "msec": "ms", "sec": "s"}


def unit_of_times(pipeline: Pipeline, given: str | None) -> str:
    """Return in what unit a pipeline's times are to be taken: as given, else as it says itself, else milliseconds.

    Parameters
    ----------
    pipeline : Pipeline
        Its ``unit`` counts where it is one of those that are known.
    given : {"s", "ms", "us"} or None
        What the user says besides.

    Raises
    ------
    InputError
        If the two contradict each other, or what is given is not known.
    """
    if given is not None and given not in MILLISECONDS:
        raise InputError(f"unit: must be one of {', '.join(MILLISECONDS)}; found {shown(given)}")
    own = _SPELT.get(pipeline.unit or "", pipeline.unit)
    if own not in MILLISECONDS:
        return given or "ms"
    if given not in (None, own):
        raise InputError(f"unit: {given} contradicts the configuration, whose unit is {pipeline.unit}")
    return own


class MeasuredAction(NamedTuple):
    """One operation of one step, as it ran.

    Attributes
    ----------
    step : int
        Which step, 0-based, as counted by its device.
    device : int
        The pipeline rank.
    stage : int
        The stage.
    kind : str
        ``F``, ``B``, ``I`` or ``W``.
    microbatch : int
        The microbatch.
    start, end : float
        When, in milliseconds of one clock, with the time that it waited for its inputs left out of the front.
    waited : float or None
        Milliseconds that it waited for its inputs before ``start``, where that is known.
    block : int or None
        The same number for the halves of an overlapped block of a device and step, where they ran as one.
    """

    step: int
    device: int
    stage: int
    kind: str
    microbatch: int
    start: float
    end: float
    waited: float | None = None
    block: int | None = None


@dataclass(frozen=True)
class Measurement:
    """A run of a pipeline.

    Attributes
    ----------
    devices, stages, microbatches : int
        Its sizes.
    actions : tuple of MeasuredAction
        All that was measured, of all steps.
    skipped : dict of int to str
        Steps that do not count, with the reason, such as warm-up.
    offsets : tuple of float
        For each device the milliseconds that were added to its clock.
    notes : tuple of str
        What a reader should know, e.g. which ranks were taken for copies of a device.
    """

    devices: int
    stages: int
    microbatches: int
    actions: tuple[MeasuredAction, ...]
    skipped: dict[int, str]
    offsets: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
