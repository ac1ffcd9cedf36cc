"""A search process, started by `ppopt.memory_frontier.searchers`; it ends when its parent does."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from time import perf_counter

from ppopt.memory_frontier.job import Answer, Failure, Job, OverCuts
from ppopt.optimization.optimize import optimize_each
from ppopt.planning.free_order import FreeOptions, FreeOrder
from ppopt.process.processes import end_with
from ppopt.schedules.schedule import Schedule


def main() -> None:
    """Run jobs until none are left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(os.getppid())
    channel: Connection[Answer, Job] = Connection(os.dup(sys.stdin.fileno()))
    with suppress(EOFError, BrokenPipeError):
        channel.send(None)  # from now on, a signal is safe
        while True:
            job = channel.recv()
            channel.send(_answered(job))


def _answered(job: Job) -> Answer:
    """Run a job; SIGINT ends its search, with the best so far."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return _over_cuts(job) if job.layout is not None else _on_its_cut(job)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        return None
    except Exception as error:  # reported by the parent: output printed here is lost
        return Failure(f"{type(error).__name__}: {error}")


def _on_its_cut(job: Job) -> Schedule | None:
    options = replace(job.options, starts=_starts(job))
    return next((each for each in optimize_each(job.pipeline, options) if isinstance(each, Schedule)), None)


def _over_cuts(job: Job) -> OverCuts:
    assert job.layout is not None
    options = job.options
    ends = perf_counter() + options.time_limit
    how = FreeOptions(
        split_backward=options.split_backward,
        workers=options.workers,
        seed=options.seed,
        least_seconds=job.least_seconds,
        begins_with_start=True,
    )
    found = FreeOrder(job.pipeline, job.layout, how, _starts(job), known=job.known).run(ends)
    return OverCuts(found.best, found.bound)


def _starts(job: Job) -> list[Schedule]:
    """Return the starts with this search's limit and without their bounds, which hold for other limits."""
    return [
        replace(each, pipeline=each.pipeline.with_limit(job.limit), proven=None, bound_held_by=None)
        for each in job.options.starts
    ]


if __name__ == "__main__":
    main()
