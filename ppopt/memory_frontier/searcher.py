"""A process that searches, started by `ppopt.memory_frontier.searchers`; it ends with the one that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from time import sleep

from ppopt.memory_frontier.job import Answer, Failure, Job
from ppopt.optimization.optimize import optimize_each
from ppopt.result import Schedule

SECONDS_BETWEEN_LOOKS = 1.0


def main() -> None:
    """Do jobs until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
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


def _end_with(parent: int) -> None:
    """End when the process is gone that started this one: nobody would ask any more."""
    while os.getppid() == parent:
        sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    main()
