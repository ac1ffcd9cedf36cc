"""The processes of a rehearsal: starts them, gives them jobs, and ends them whatever happens."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

ANSWER_SECONDS = 2.0
"""Seconds to wait for a hanging rank to report what it is doing."""


class RehearsalError(RuntimeError):
    """A rehearsal could not be completed; the message has one line per known fact."""


@dataclass
class _Worker:
    rank: int
    process: subprocess.Popen[bytes]
    log: Path
    received: bytearray = field(default_factory=bytearray)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, message: object) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it has died; its silence will show that
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def take(self, chunk: bytes) -> None:
        self.received += chunk
        *lines, rest = self.received.split(b"\n")
        self.received = bytearray(rest)
        self.messages += [json.loads(line) for line in lines]

    def answer(self, key: str) -> Any:
        """Return and remove the worker's message under a key; None if there is none."""
        found = next((message for message in self.messages if key in message), None)
        if found is None:
            return None
        self.messages.remove(found)
        return found[key]

    def close(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()

    def last_words(self, lines: int = 3) -> list[str]:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4000))
            written = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        return [line for line in written if line][-lines:]


class Crew:
    """Local processes, one per pipeline rank, that run orders. Use it as a context manager: they all end with it.

    Parameters
    ----------
    processes : int
        The number of processes.
    """

    def __init__(self, processes: int) -> None:
        self.torch = ""
        self._folder = tempfile.TemporaryDirectory(prefix="ppopt-rehearsal-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        try:
            for rank in range(processes):
                self._start(rank, processes)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _start(self, rank: int, processes: int) -> None:
        log = self.folder / f"rank{rank}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(  # runs this same Python
                [sys.executable, "-P", "-m", "ppopt.rehearsal.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(self.folder),
                start_new_session=True,  # Ctrl-C goes only to this process, which ends them
            )
        worker = _Worker(rank, process, log)
        self._workers.append(worker)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        worker.tell({"rank": rank, "processes": processes, "folder": str(self.folder)})

    def run(self, job: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
        """Have every rank run a job.

        Parameters
        ----------
        job : dict
            As `ppopt.rehearsal.worker.Job` reads it.
        seconds : float
            The time limit; for the first job it includes the start of the processes.

        Returns
        -------
        list of dict
            The answer of each rank.

        Raises
        ------
        RehearsalError
            If a rank fails, ends or hangs.
        """
        deadline = monotonic() + seconds
        for worker in self._workers:
            worker.tell(job)
        if not self.torch:
            self.torch = self._answers("torch", deadline, seconds)[0]
        return self._answers("result", deadline, seconds)

    def _answers(self, key: str, deadline: float, seconds: float) -> list[Any]:
        answers: dict[int, Any] = {}
        while True:
            for worker in self._workers:
                if worker.rank not in answers and (said := worker.answer(key)) is not None:
                    answers[worker.rank] = said
            missing = [worker for worker in self._workers if worker.rank not in answers]
            if not missing:
                return [answers[worker.rank] for worker in self._workers]
            if monotonic() >= deadline:
                raise self._hung(missing, seconds)
            self._listen(deadline)

    def _listen(self, deadline: float, *, strict: bool = True) -> None:
        """Wait for a message; if ``strict``, raise the errors of the workers."""
        for key, _ in self._selector.select(max(0.0, deadline - monotonic())):
            worker: _Worker = key.data
            chunk = os.read(key.fd, 1 << 16)
            worker.take(chunk)
            if not chunk:
                self._selector.unregister(key.fileobj)
            if not strict:
                continue
            if error := worker.answer("error"):
                raise RehearsalError(f"rank {worker.rank}: {' '.join(str(error).split())[:500]}")
            if not chunk:
                raise self._ended(worker)

    def _ended(self, worker: _Worker) -> RehearsalError:
        status = worker.process.wait()
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return RehearsalError("\n".join([f"rank {worker.rank} {how} before the rehearsal was over", *_quoted(worker)]))

    def _hung(self, workers: list[_Worker], seconds: float) -> RehearsalError:
        for worker in workers:
            worker.tell("where")
        deadline = monotonic() + ANSWER_SECONDS
        while monotonic() < deadline and not all(any("where" in each for each in one.messages) for one in workers):
            self._listen(deadline, strict=False)
        lines = [f"not finished after {seconds:g} s (see --timeout)"]
        for worker in workers:
            lines += [f"rank {worker.rank} {worker.answer('where') or 'does not answer'}", *_quoted(worker)]
        return RehearsalError("\n".join(lines))

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.close()
        self._selector.close()
        self._folder.cleanup()


def _quoted(worker: _Worker) -> list[str]:
    return [f"rank {worker.rank} wrote: {line[:300]}" for line in worker.last_words()]


def _environment(folder: Path) -> dict[str, str]:
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    home = str(Path(__file__).parents[2])
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TORCH_", "GLOO_"))}
    return kept | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MASTER_ADDR": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": loopback,
        "TMPDIR": str(folder),  # PyTorch leaves folders in it
        "PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")])),
    }
