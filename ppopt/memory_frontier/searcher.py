"""A process that searches, started by `ppopt.memory_frontier.searchers`; it ends with the one that started it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from ppopt.memory_frontier.job import Answer, Failure, Job
from ppopt.optimization.optimize import optimize_each
from ppopt.processes import end_with
from ppopt.result import Schedule


def main() -> None:
    """Do jobs until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(os.getppid())
    channel: Connection[Answer, Job] = Connection(os.dup(sys.stdin.fileno()))
    with suppress(EOFError, BrokenPipeError):
        channel.send(None)  # from now on a signal does no harm
        while True:
            job = channel.recv()
            channel.send(_answered(job))


def _answered(job: Job) -> Answer:
    """Do a job; SIGINT ends a search, with the best so far."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return next((each for each in optimize_each(job.pipeline, job.options) if isinstance(each, Schedule)), None)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        return None
    except Exception as error:  # the one that asked tells it, for nobody reads what is printed here
        return Failure(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
