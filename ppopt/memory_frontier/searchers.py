"""Search processes, one per core: gives them jobs, waits for their answers, and ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from ppopt.memory_frontier.job import Answer, Job


@dataclass(eq=False)
class _Searcher:
    process: subprocess.Popen[bytes]
    channel: Connection[Any, Any]
    job: Job | None = None
    is_ready: bool = False  # set when the process reports that its modules are loaded


class Searchers:
    """A pool of search processes. Use it as a context manager: all processes end with it.

    Parameters
    ----------
    processes : int
        The number of processes.

    Attributes
    ----------
    died : int
        The number of processes that ended unexpectedly.
    """

    def __init__(self, processes: int) -> None:
        self.died = 0
        self._searchers: list[_Searcher] = []
        try:
            for _ in range(processes):
                self._searchers.append(_start())
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    @property
    def idle(self) -> int:
        """The number of idle processes."""
        return sum(searcher.job is None for searcher in self._searchers)

    @property
    def jobs(self) -> list[Job]:
        """The running jobs."""
        return [searcher.job for searcher in self._searchers if searcher.job is not None]

    def give(self, job: Job) -> None:
        """Give a job to an idle process."""
        searcher = next(each for each in self._searchers if each.job is None)
        searcher.job = job
        with suppress(OSError):  # it has died; `answers` notices that
            searcher.channel.send(job)

    def answers(self, seconds: float) -> list[tuple[Job, Answer]]:
        """Wait for answers, at most this many seconds.

        Returns
        -------
        list of (Job, Answer)
            Each job with its answer; None if the process has died.
        """
        busy = {each.channel: each for each in self._searchers if each.job is not None}
        answered: list[tuple[Job, Answer]] = []
        for channel in wait(list(busy), max(0.0, seconds)):
            assert isinstance(channel, Connection)
            searcher = busy[channel]
            job, answer = searcher.job, None
            assert job is not None
            try:
                answer = channel.recv()
                if not searcher.is_ready:
                    searcher.is_ready = True
                    continue
                searcher.job = None
            except (EOFError, OSError):
                self.died += 1
                self._searchers.remove(searcher)
                _close(searcher)
            answered.append((job, answer))
        return answered

    def interrupt(self) -> None:
        """End all running jobs: each answers with its best so far, if it has started."""
        for searcher in self._searchers:
            if searcher.job is not None and searcher.is_ready:
                searcher.process.send_signal(signal.SIGINT)
            else:
                searcher.job = None

    def last_answers(self, seconds: float) -> list[tuple[Job, Answer]]:
        """End all running jobs, and wait at most this many seconds for their answers."""
        self.interrupt()
        ends = perf_counter() + seconds
        answered: list[tuple[Job, Answer]] = []
        while self.jobs and (left := ends - perf_counter()) > 0:
            answered += self.answers(left)
        return answered

    def _end(self) -> None:
        for searcher in self._searchers:
            searcher.process.kill()
        for searcher in self._searchers:
            _close(searcher)
        self._searchers = []


def _start() -> _Searcher:
    ours, theirs = Pipe()
    try:
        process = subprocess.Popen(  # runs this same Python
            [sys.executable, "-P", "-m", "ppopt.memory_frontier.searcher"],
            stdin=theirs.fileno(),  # a socket that carries jobs in and answers out
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C goes only to this process, which passes it on
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return _Searcher(process, ours)


def _environment() -> dict[str, str]:
    home = str(Path(__file__).parents[2])
    paths: Sequence[str] = [home, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _close(searcher: _Searcher) -> None:
    searcher.process.wait()
    searcher.channel.close()
