"""One process of a rehearsal: a pipeline rank that runs orders in PyTorch's runtime.

`ppopt.rehearsal.crew` starts it. It reads jobs as lines of JSON from standard input and answers on standard output. It
ends when standard input does, so it never outlives its parent.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any

from ppopt.rehearsal.recorder import NotedPops, Recorder, record_stage

WARM_UPS = 2
"""Steps without waits before the measured ones: the first infers shapes and opens connections."""


class Line:
    """The connection to the parent process.

    Attributes
    ----------
    jobs : queue
        The jobs to run.
    recorder : Recorder or None
        The recorder of the running job.
    """

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.recorder: Recorder | None = None
        self._lock = threading.Lock()
        self._answers = os.dup(1)
        os.dup2(2, 1)  # output of libraries must not mix with answers
        self.session: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=self._listen, daemon=True).start()

    def answer(self, **message: Any) -> None:
        """Send a message."""
        left = memoryview(json.dumps(message).encode() + b"\n")
        with self._lock:
            while left:
                left = left[os.write(self._answers, left) :]

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message == "where":
                with suppress(OSError):
                    self.answer(where=self._where())
            else:
                self.jobs.put(message)
        _remove(Path(self.session["folder"]))
        os._exit(1)

    def _where(self) -> str:
        recorder = self.recorder
        if recorder is None:
            return "starts up"
        if recorder.running is not None:
            return "runs {}{}{}".format(*recorder.running)
        return "waits for another rank" + (" after {}{}{}".format(*recorder.rows[-1][:3]) if recorder.rows else "")


def _remove(folder: Path, attempts: int = 10) -> None:
    """Remove the folder that all processes share; others may be removing it at the same time."""
    for _ in range(attempts):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        sleep(0.1)


def main() -> None:
    """Run jobs until standard input ends."""
    line = Line()
    try:
        _work(line)
    except BaseException as error:
        traceback.print_exc()
        with suppress(OSError):
            line.answer(error=f"{type(error).__name__}: {error}")
        threading.Event().wait()  # until standard input ends


def _work(line: Line) -> None:
    import torch
    import torch.distributed as dist

    _sleep_exactly()
    torch.set_num_threads(1)
    session = line.session
    dist.init_process_group(
        "gloo",
        init_method=Path(session["folder"], "store").as_uri(),
        rank=session["rank"],
        world_size=session["processes"],
        timeout=timedelta(days=1),
    )
    from torch.distributed.pipelining import schedules  # noqa: F401  # loaded before the freeze

    gc.collect()
    gc.freeze()  # objects of libraries stay alive: collections between steps then skip them
    line.answer(torch=torch.__version__)
    while True:
        line.answer(result=Job(line.jobs.get(), session["rank"], line).run())


def _sleep_exactly() -> None:
    """Ask Linux not to bundle timers, which delays a sleep by up to 50 µs to save power."""
    import ctypes

    set_timer_slack = 29
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_timer_slack, 1, 0, 0, 0)


class Job:
    """An order to run for some steps.

    Parameters
    ----------
    job : dict
        The message from `ppopt.rehearsal.crew`.
    rank : int
        The rank of this process.
    line : Line
        The connection to the parent process.
    """

    def __init__(self, job: dict[str, Any], rank: int, line: Line) -> None:
        from torch.distributed.pipelining.schedules import _PipelineScheduleRuntime

        from ppopt.rehearsal.waiting_stage import batch, gradients_without_pipeline, loss

        self.job, self.rank = job, rank
        self.microbatches: int = job["microbatches"]
        self.recorder = line.recorder = self._recorder()
        self.stages = [self._stage(stage) for stage, home in enumerate(job["homes"]) if home == rank]
        self.inputs, self.targets = batch(self.microbatches)
        self.reference = gradients_without_pipeline(len(job["homes"]), self.microbatches)
        self.runtime = _PipelineScheduleRuntime(self.stages, self.microbatches, loss_fn=loss, scale_grads=True)
        self.runtime._load_csv(job["order"], format=job["format"])
        self.runtime.fwd_recv_ops = NotedPops(self.recorder)
        self.runtime.bwd_recv_ops = NotedPops(self.recorder)

    def _recorder(self) -> Recorder:
        job = self.job
        departures = None
        if job["latency"]:
            with Path(job["departures"]).open("r+b") as file:
                departures = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
        latency = [(forward, backward) for forward, backward in job["latency"]]
        queued = job["communicators"] != "async"
        return Recorder(job["durations"], latency, departures, job["homes"], queued)

    def _stage(self, index: int) -> Any:
        import torch
        from torch.distributed.pipelining import PipelineStage

        from ppopt.rehearsal.waiting_stage import WaitingStage

        module = WaitingStage(index, self.recorder.wait)
        stage = PipelineStage(module, index, len(self.job["homes"]), torch.device("cpu"))
        record_stage(stage, self.recorder)
        return stage

    def run(self) -> dict[str, Any]:
        """Run the steps.

        Returns
        -------
        dict
            ``actions``: rows of step, stage, kind, microbatch, and the times (ns) of asking for the input, of the start
            and of the end; ``gradient_difference``: the largest one, see `waiting_stage.largest_difference`.
        """
        gc.collect()
        gc.disable()
        differences: list[float] = []
        actions: list[list[Any]] = []
        with self._profiler() as profiler, self._communicators():
            for step in range(-WARM_UPS, self.job["steps"]):
                self.recorder.on = step >= 0
                self._step()
                differences += self._differences()
                actions += [[step, *row] for row in self.recorder.rows]
                self.recorder.rows.clear()
                if profiler is not None and step >= -1:
                    profiler.step()
        gc.enable()
        return {"actions": actions, "gradient_difference": max(differences)}

    @contextmanager
    def _communicators(self) -> Iterator[None]:
        """Run sends and receives in queues, if the job asks for that."""
        if self.job["communicators"] == "async":
            yield
            return
        from torch.distributed.pipelining import schedules

        from ppopt.rehearsal.communicator_queues import CommunicatorQueues

        queues = CommunicatorQueues(self.job["communicators"], self.job["transfer"], self.recorder)
        usual = schedules._batch_p2p
        schedules._batch_p2p = queues.post
        try:
            yield
        finally:
            schedules._batch_p2p = usual
            queues.close()

    def _step(self) -> None:
        import torch.distributed as dist

        for stage in self.stages:
            stage.submod.zero_grad(set_to_none=True)
        gc.collect()
        first = (self.inputs,) if self.job["homes"][0] == self.rank else ()
        last = {"target": self.targets, "losses": []} if self.job["homes"][-1] == self.rank else {}
        dist.barrier()
        self.runtime.step(*first, **last, return_outputs=False)

    def _differences(self) -> list[float]:
        from ppopt.rehearsal.waiting_stage import largest_difference

        return [largest_difference(stage.submod, self.reference[stage.stage_index]) for stage in self.stages]

    def _profiler(self) -> AbstractContextManager[Any]:
        """Make a profiler that writes a trace of the measured steps, if requested."""
        if self.job["trace"] is None:
            return nullcontext()
        from torch import profiler

        return profiler.profile(  # type: ignore[no-any-return]  # torch is not looked into
            activities=[profiler.ProfilerActivity.CPU],
            schedule=profiler.schedule(wait=0, warmup=1, active=self.job["steps"], repeat=1),
            on_trace_ready=lambda trace: trace.export_chrome_trace(
                str(Path(self.job["trace"], f"rank{self.rank}.json"))
            ),
        )


if __name__ == "__main__":
    main()
