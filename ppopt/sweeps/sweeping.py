"""Runs a sweep: finished jobs are read from its folder, the rest are run, and all are combined in one table."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ppopt.process.cores import usable_cores
from ppopt.process.version import __version__
from ppopt.sweeps.engine import run_all
from ppopt.sweeps.grid import Axis, Grid, read_grid
from ppopt.sweeps.job import FAILED, FIGURES, Figures, Job, jobs_of, run_job
from ppopt.sweeps.journal import Journal
from solver.counted import counted
from solver.errors import InputError
from strategies.model.numbers import shown

if TYPE_CHECKING:
    import pandas as pd

    from reports.sweeps.content import SweepShown

MOST_UNCONFIRMED = 5_000
"""More jobs than this need a confirmation."""

SECONDS_OF_SAMPLE = 3.0
SAMPLE = 5
"""To predict the time of evaluations, at most this many jobs are run, for at most about this many seconds."""


@dataclass(frozen=True)
class SweepStanding:
    """The progress of a sweep.

    Attributes
    ----------
    jobs : int
        The number of jobs.
    done : int
        How many are finished, by an earlier run or this one.
    running : int
        How many are running.
    seconds_left : float or None
        The estimated time for the rest, from the jobs finished in this run; None before the first.
    """

    jobs: int
    done: int
    running: int
    seconds_left: float | None

    @property
    def left(self) -> int:
        """The number of jobs not started yet."""
        return self.jobs - self.done - self.running


OnProgress = Callable[[SweepStanding], None]
"""Called before the first job, and after each finished job once it is on disk."""


@dataclass(frozen=True)
class Outcome:
    """The results of a sweep.

    Attributes
    ----------
    grid : Grid
        The grid.
    rows : list of dict
        One row per finished job, in the order of the grid: the values of the axes, then `FIGURES`.
    jobs : int
        The number of jobs.
    ran : int
        How many jobs this run finished; the others were finished before, or are unfinished.
    interrupted : bool
        Whether Ctrl-C ended the sweep.
    """

    grid: Grid
    rows: list[dict[str, Any]] = field(default_factory=list)
    jobs: int = 0
    ran: int = 0
    interrupted: bool = False

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The rows of jobs that could not run."""
        return [row for row in self.rows if row["status"] == FAILED]

    def shown(self, title: str) -> SweepShown:
        """Make the presentation of the sweep on a page."""
        from reports.sweeps.content import AxisShown, SweepShown

        axes = [
            AxisShown(axis.name, [axis.shown(place) for place in range(len(axis.points))]) for axis in self.grid.axes
        ]
        names, base = [run.name for run in self.grid.runs], self.grid.base
        return SweepShown(
            title, axes, names, self.rows, self.jobs, str(base.get("unit", "")), str(base.get("source", ""))
        )

    def frame(self) -> pd.DataFrame:
        """Make a table of the rows."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=[*(axis.name for axis in self.grid.axes), *FIGURES])


class EndedError(InputError):
    """A sweep ended before all jobs were run, for instance because of a full disk.

    Attributes
    ----------
    outcome : Outcome
        The results so far.
    """

    def __init__(self, message: str, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(message)


def sweep(
    grid: str | os.PathLike[str] | Mapping[str, Any],
    folder: str | os.PathLike[str] | None = None,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    time_limit: float | None = None,
    confirmed: bool = False,
) -> pd.DataFrame:
    """Run schedules and searches on a grid of configurations.

    Parameters
    ----------
    grid : path or mapping
        The grid (see docs/how-to/sweep.md): ``base``, ``axes``, ``run``.
    folder : path, optional
        The folder in which results are stored as they come in. A sweep that ended early continues from there.
    jobs : int, optional
        The number of processes; by default one per core.
    cluster : str, optional
        The address of a Dask cluster, or ``"local"`` for one on this machine.
    time_limit : float, optional
        Seconds for each search; by default the grid's value, or else 10.
    confirmed : bool
        Whether more than 5,000 jobs may be run.

    Returns
    -------
    pandas.DataFrame
        One row per job: the values of the axes, ``strategy``, ``makespan``, ``bound``, ``gap``, ``bubble_ratio``,
        ``peak_memory`` (of the fullest device), ``fits``, ``status``, ``stages``, ``seconds``, ``reason`` and others. A
        job that does not run has the status ``failed`` or ``infeasible``, and a reason.

    Raises
    ------
    InputError
        If something is wrong with the grid, the folder or the cluster.
    KeyboardInterrupt
        If Ctrl-C was pressed; results in the folder are kept.
    """
    read = read_grid(grid, time_limit=time_limit)
    if read.jobs > MOST_UNCONFIRMED and not confirmed:
        raise InputError(f"grid: has {read.jobs:,} jobs; confirmed=True runs more than {MOST_UNCONFIRMED:,}")
    outcome = run_sweep(read, folder, workers=count_workers(jobs, cluster), cluster=cluster)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome.frame()


def count_workers(jobs: int | None, cluster: str | None) -> int:
    """Choose the number of processes.

    Raises
    ------
    InputError
        If the number is wrong, or given for a cluster with its own workers.
    """
    if jobs is None:
        return usable_cores()
    if isinstance(jobs, bool) or not isinstance(jobs, int) or not 1 <= jobs <= 1024:
        raise InputError(f"jobs: must be a whole number from 1 to 1024; found {shown(jobs)}")
    if cluster not in (None, "local"):
        raise InputError(
            "jobs: sets the number of processes on this machine; a cluster has its own. Give one of the two"
        )
    return jobs


def run_sweep(
    grid: Grid,
    folder: str | os.PathLike[str] | None,
    *,
    workers: int,
    cluster: str | None = None,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Run the jobs that are not finished yet.

    Parameters
    ----------
    grid, folder, cluster
        As for `sweep`.
    workers : int
        The number of processes.
    on_progress : callable, optional
        Called with the progress.

    Returns
    -------
    Outcome
        After Ctrl-C, of the finished jobs.

    Raises
    ------
    InputError
        As for `sweep`; an `EndedError` if some jobs may be finished.
    """
    every = list(jobs_of(grid))
    with Journal(folder) as journal:
        left = _left(every, journal.done)
        if left and journal.damaged:
            warnings.warn(_set_aside(journal.damaged), stacklevel=2)
        before = sum(job.key not in left for job in every)
        interrupted, ended_by = False, ""
        try:
            _run(
                list(left.values()), journal, _Teller(len(every), before, every, workers, on_progress), workers, cluster
            )
        except KeyboardInterrupt:
            interrupted = True
        except InputError as error:
            ended_by = str(error)
        rows = [{**job.values, **journal.done[job.key]} for job in every if job.key in journal.done]
        ran = sum(key in journal.done for key in left)
    outcome = Outcome(grid, rows, len(every), ran, interrupted)
    if ended_by:
        raise EndedError(ended_by, outcome)
    return outcome


def _left(every: list[Job], done: dict[str, Figures]) -> dict[str, Job]:
    """List the jobs to run, without duplicates; failed jobs are tried again."""
    for job in every:
        if job.key in done and done[job.key]["status"] == FAILED:
            del done[job.key]
    return {job.key: job for job in every if job.key not in done}


def _set_aside(damaged: Sequence[str]) -> str:
    others = f" (and {counted(len(damaged) - 1, 'other line')})" if len(damaged) > 1 else ""
    return f"{damaged[0]}{others}: was changed after it was written; it is left out, and its job is run again"


class _Teller:
    """Reports the progress of a sweep."""

    def __init__(self, jobs: int, before: int, every: list[Job], workers: int, tell: OnProgress | None) -> None:
        self.jobs, self.before, self.workers, self.tell = jobs, before, workers, tell
        self.alike: dict[str, int] = {}
        for job in every:
            self.alike[job.key] = self.alike.get(job.key, 0) + 1
        self.now = 0
        self.started = perf_counter()

    def finished(self, key: str | None = None) -> None:
        """Report, after a job."""
        self.now += 0 if key is None else self.alike[key]
        if self.tell is None:
            return
        left = self.jobs - self.before - self.now
        seconds = (perf_counter() - self.started) * left / self.now if self.now else None
        self.tell(SweepStanding(self.jobs, self.before + self.now, min(left, self.workers), seconds))


def _run(left: list[Job], journal: Journal, teller: _Teller, workers: int, cluster: str | None) -> None:
    teller.finished()
    if not left:
        return
    for key, figures in run_all(left, min(workers, len(left)), cluster, __version__):
        journal.record(key, figures)
        teller.finished(key)


def foresee(grid: Grid, workers: int) -> float:
    """Predict the most seconds that a sweep takes, from a few evaluations spread over it.

    Searches count with their whole time limit.
    """
    counts = [len(axis.points) for axis in grid.axes]
    searches = sum(run.is_search for run in grid.runs)
    points = grid.jobs // len(grid.runs)
    quick = [run for run in grid.runs if not run.is_search]
    total = points * searches * grid.effort.seconds
    if quick:
        began, taken = perf_counter(), 0
        for part in range(SAMPLE):
            if taken and perf_counter() - began > SECONDS_OF_SAMPLE:
                break
            places = [min(count - 1, part * count // SAMPLE) for count in counts]
            one = Grid(grid.base, grid.axes, (quick[part % len(quick)],), grid.effort)
            _try_one(one, places)
            taken += 1
        total += points * len(quick) * (perf_counter() - began) / taken
    return total / workers


def _try_one(grid: Grid, places: list[int]) -> None:
    axes = tuple(Axis(axis.name, (axis.points[place],)) for axis, place in zip(grid.axes, places, strict=True))
    run_job(next(jobs_of(Grid(grid.base, axes, grid.runs, grid.effort))))
