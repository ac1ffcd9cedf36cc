"""A job of a sweep: one run on one configuration, on any machine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ppopt.process.internal_error import as_reason
from ppopt.process.version import __version__
from ppopt.schedules.schedule import Schedule
from ppopt.sweeps.grid import Grid, Point
from ppopt.sweeps.runs import Effort, SweepRun, stages_of_times
from solver.errors import InfeasibleError, InputError, TimeTooShortError
from solver.exact import exact
from strategies.model.pipeline import Pipeline

Figures = dict[str, Any]
"""The result of a job, as plain values."""

FIGURES = (
    "strategy", "makespan", "bound", "gap", "bubble_ratio", "peak_memory", "fits", "status", "stages", "seconds",
    "reason", "notes", "lacks_second_copy",
)  # fmt: skip
"""The columns of a sweep's rows after those of its axes."""

FAILED, INFEASIBLE = "failed", "infeasible"
"""The status of a job that could not run, and of a search that proved that nothing fits the memory."""


@dataclass(frozen=True)
class Job:
    """One run on one configuration.

    Attributes
    ----------
    key : str
        An identifier: the same for the same configuration, run, effort of a search, and version.
    values : mapping of str to object
        The point's position on the axes, as shown.
    mapping : dict or None
        The configuration; None if there is none.
    run : SweepRun
        The run.
    effort : Effort
        The time limit and seed of a search.
    fault : str
        Why there is no configuration.
    version : str
        The version of ppopt where the sweep was started.
    process : int
        The process that started it.
    """

    key: str
    values: Mapping[str, Any]
    mapping: dict[str, Any] | None
    run: SweepRun
    effort: Effort
    fault: str
    version: str
    process: int


class OtherVersionError(Exception):
    """A worker has another version of ppopt than the sweep."""


def jobs_of(grid: Grid) -> Iterator[Job]:
    """List the jobs of a grid, point by point."""
    settled: dict[str, int | None] = {}
    for point in grid.points():
        mapping = point.mapping if point.mapping is None else _settled(point, grid, settled)
        text = _canonical(point.mapping if mapping is None else mapping)
        for run in grid.runs:
            yield Job(
                key=_key(text or point.fault, run, grid.effort),
                values=point.values,
                mapping=mapping,
                run=run,
                effort=grid.effort,
                fault=point.fault,
                version=__version__,
                process=os.getpid(),
            )


def _settled(point: Point, grid: Grid, known: dict[str, int | None]) -> dict[str, Any]:
    """Fix the number of stages that open times are meant for: all runs at a point share one model."""
    mapping = dict(point.mapping or {})
    if "stages" in mapping or "layers" in mapping:
        return mapping
    shape = repr((mapping.get("devices"), [key for part in ("times", "memory") for key in _lists(mapping.get(part))]))
    if shape not in known:
        try:
            pipeline = Pipeline.from_mapping(mapping)
            known[shape] = None if pipeline.stages is not None else stages_of_times(pipeline, grid.runs)
        except InputError:
            return mapping  # each of its jobs will fail with the reason
    stages = known[shape]
    return mapping if stages is None else {**mapping, "stages": stages}


def _lists(part: object) -> list[tuple[str, int]]:
    entries = part.items() if isinstance(part, Mapping) else ()
    return [(str(key), len(value)) for key, value in entries if isinstance(value, (list, tuple, Mapping))]


def _key(configuration: str, run: SweepRun, effort: Effort) -> str:
    told: list[Any] = [configuration, run.kind, run.name, repr(run.options), __version__]
    if run.order is not None:
        told.append([[str(action) for action in order] for order in run.order.orders])
    if run.is_search:
        told.append([effort.seconds, effort.seed])
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:40]


def _canonical(value: object) -> str:
    """Write a configuration such that equal ones give the same text: 4, 4.0 and 4e0 are one number."""
    return json.dumps(_with_exact_numbers(value), sort_keys=True) if value else ""


def _with_exact_numbers(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _with_exact_numbers(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_exact_numbers(inner) for inner in value]
    if isinstance(value, (int, float, Decimal, Fraction)) and not isinstance(value, bool):
        try:
            return f"{exact(value)}"
        except (ValueError, OverflowError):
            return str(value)
    return value if isinstance(value, (bool, str)) or value is None else repr(value)


def run_job(job: Job) -> tuple[str, Figures]:
    """Run a job; an error becomes its result.

    Returns
    -------
    tuple of (str, dict)
        Its key, and `FIGURES`.

    Raises
    ------
    OtherVersionError
        If ppopt has another version here.
    KeyboardInterrupt
        If Ctrl-C was pressed: a search's schedule at that point is not a result.
    """
    if __version__ != job.version:
        raise OtherVersionError(__version__)
    if os.getpid() != job.process and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the sweep, which then ends its workers
    try:
        if job.mapping is None:
            raise InputError(job.fault)
        return job.key, _figures(job, job.run.execute(Pipeline.from_mapping(job.mapping), job.effort))
    except InfeasibleError as error:
        return job.key, _without_schedule(job, INFEASIBLE, str(error))
    except (InputError, TimeTooShortError) as error:
        return job.key, _without_schedule(job, FAILED, str(error))
    except Exception as error:  # an internal error in one job must not lose the others
        return job.key, _without_schedule(job, FAILED, as_reason(job.run.name, error))


def _figures(job: Job, schedule: Schedule) -> Figures:
    if schedule.interrupted:
        raise KeyboardInterrupt
    values = (
        job.run.name,
        schedule.objective_value,
        schedule.bound,
        schedule.gap,
        schedule.bubble_ratio,
        max(schedule.peak_memory),
        schedule.fits,
        schedule.status,
        schedule.pipeline.stages,
        schedule.seconds,
        "",
        "; ".join(schedule.notes),
        schedule.lacks_second_copy,
    )
    return dict(zip(FIGURES, values, strict=True))


def _without_schedule(job: Job, status: str, reason: str) -> Figures:
    known = {"strategy": job.run.name, "status": status, "reason": "; ".join(reason.splitlines())}
    return dict.fromkeys(FIGURES) | {"notes": ""} | known
