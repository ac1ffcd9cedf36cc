"""Runs jobs in this process, on the cores of this machine, or on a cluster; joblib handles the latter two."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from ppopt.process.processes import end_with, starting_processes
from ppopt.sweeps.cluster import open_cluster
from ppopt.sweeps.job import Figures, Job, OtherVersionError, run_job
from solver.counted import counted
from solver.errors import InputError

MOST_CRASHES = 3
"""The most worker processes that may die in a row, with no job finished in between, before a sweep gives up."""

Finished = tuple[str, Figures]


def run_all(jobs: Sequence[Job], workers: int, cluster: str | None, version: str) -> Iterator[Finished]:
    """Run jobs, and yield them in the order in which they finish.

    Parameters
    ----------
    jobs : sequence of Job
        The jobs.
    workers : int
        The number of processes on this machine; 1 for this process alone.
    cluster : str or None
        The address of a Dask cluster, or ``local`` for one with ``workers`` processes on this machine.
    version : str
        The version of ppopt here.

    Yields
    ------
    tuple of (str, dict)
        The key and the figures of a job.

    Raises
    ------
    InputError
        If the cluster does not answer, a worker has another version, or workers keep dying.
    """
    if cluster is not None:
        with open_cluster(cluster, workers, version) as client:
            yield from _on_cluster(client, jobs, version)
    elif workers == 1:
        yield from map(run_job, jobs)
    else:
        yield from _on_cores(jobs, workers)


def _on_cores(jobs: Sequence[Job], workers: int) -> Iterator[Finished]:
    """Run jobs in processes; if one of them dies, restart all with the remaining jobs."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    left = {job.key: job for job in jobs}
    crashes = 0
    while left:
        try:
            for key, figures in _parallel(
                list(left.values()), n_jobs=workers, initializer=end_with, initargs=(os.getpid(),)
            ):
                del left[key]
                crashes = 0
                yield key, figures
        except TerminatedWorkerError:
            crashes += 1
            if crashes == MOST_CRASHES:
                raise InputError(
                    f"sweep: a worker process died {counted(crashes, 'time')} in a row (out of memory?); "
                    f"{counted(len(left), 'job')} {'is' if len(left) == 1 else 'are'} left. Try fewer --jobs"
                ) from None


def _parallel(jobs: Sequence[Job], **options: Any) -> Iterator[Finished]:
    from joblib import Parallel, delayed

    with starting_processes():
        generator = Parallel(return_as="generator_unordered", **options)(delayed(run_job)(job) for job in jobs)
    with closing(generator):
        yield from generator


def _on_cluster(client: Any, jobs: Sequence[Job], version: str) -> Iterator[Finished]:
    from joblib import parallel_config

    from ppopt.sweeps.cluster import failures

    try:
        with parallel_config(backend="dask", client=client):
            yield from _parallel(jobs, pre_dispatch="all", batch_size=1)
    except OtherVersionError as error:
        raise InputError(
            f"cluster: a worker that joined has ppopt {error}, this is {version}; install the same"
        ) from None
    except failures() as error:
        raise InputError(f"cluster: {' '.join(str(error).split())[:200]}; what is done is kept") from None
