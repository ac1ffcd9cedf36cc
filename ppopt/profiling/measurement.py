"""Measurements on real devices: when each action of each step ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from solver.errors import InputError
from strategies.model.numbers import shown
from strategies.model.pipeline import Pipeline

MILLISECONDS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
"""Milliseconds per unit of time of a configuration, by the unit's name."""

_SPELT = {"µs": "us", "μs": "us", "usec": "us", "msec": "ms", "sec": "s"}


def named_unit(pipeline: Pipeline) -> str | None:
    """Return the unit that a pipeline names, spelt as in `MILLISECONDS`; None for none of these."""
    own = _SPELT.get(pipeline.unit or "", pipeline.unit)
    return own if own in MILLISECONDS else None


def unit_of_times(pipeline: Pipeline, given: str | None) -> str:
    """Return the unit of a pipeline's times: as given, or else the pipeline's own, or else milliseconds.

    Parameters
    ----------
    pipeline : Pipeline
        Its ``unit`` counts if it is a known one.
    given : {"s", "ms", "us"} or None
        The user's unit.

    Raises
    ------
    InputError
        If the two contradict each other, or the given unit is unknown.
    """
    if given is not None and given not in MILLISECONDS:
        raise InputError(f"unit: must be one of {', '.join(MILLISECONDS)}; found {shown(given)}")
    own = named_unit(pipeline)
    if own is None:
        return given or "ms"
    if given not in (None, own):
        raise InputError(f"unit: {given} contradicts the configuration, whose unit is {pipeline.unit}")
    return own


class MeasuredAction(NamedTuple):
    """One operation of one step, as it ran.

    Attributes
    ----------
    step : int
        The step, counted from 0 by its device.
    device : int
        The pipeline rank.
    stage : int
        The stage.
    kind : str
        ``F``, ``B``, ``I`` or ``W``.
    microbatch : int
        The microbatch.
    start, end : float
        In milliseconds of one clock; an initial wait for inputs is excluded.
    waited : float or None
        Milliseconds of waiting for inputs before ``start``, if known.
    block : int or None
        A number shared by the two halves of an overlapped block of a device and step, if they ran as one.
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
        The pipeline's sizes.
    actions : tuple of MeasuredAction
        All measured actions, of all steps.
    skipped : dict of int to str
        Steps that do not count, with the reason, such as warm-up.
    offsets : tuple of float
        For each device, the milliseconds added to its clock; where it begins anew in each step, their median.
    notes : tuple of str
        Notes for the reader, e.g. which ranks were treated as copies of a device.
    memory : tuple of float
        For each device, the most memory that it held, in GiB; empty if that is unknown.
    configured : Pipeline or None
        For a trace of ppopt, the pipeline that its schedule was made from.
    """

    devices: int
    stages: int
    microbatches: int
    actions: tuple[MeasuredAction, ...]
    skipped: dict[int, str]
    offsets: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    memory: tuple[float, ...] = ()
    configured: Pipeline | None = None
