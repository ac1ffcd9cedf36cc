"""Running CP-SAT so that it can be stopped: by a deadline, by a caller, by Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ortools.sat.python import cp_model

POLL_SECONDS = 0.05


def solve(
    model: cp_model.CpModel,
    *,
    deadline: float,
    workers: int = 1,
    seed: int = 0,
    stop: Callable[[], bool] | None = None,
) -> tuple[cp_model.CpSolver, cp_model.CpSolverStatus]:
    """Solve a model in a thread of its own, and stop it when it is time.

    CP-SAT's own handler would swallow Ctrl-C, so it is switched off; the main thread waits in short steps instead and
    stops the search before the interrupt goes on.

    Parameters
    ----------
    model : CpModel
        What is solved.
    deadline : float
        A time of `time.perf_counter`.
    workers, seed : int
        As CP-SAT knows them.
    stop : callable or None
        Asked again and again; the search ends when it says yes.
    """
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed
    solver.parameters.catch_sigint_signal = False
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.max_time_in_seconds = max(0.01, deadline - time.perf_counter())
    found = [cp_model.UNKNOWN]
    thread = threading.Thread(target=lambda: found.append(solver.solve(model)), daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            if time.perf_counter() > deadline or (stop is not None and stop()):
                solver.stop_search()
    finally:
        while thread.is_alive():  # a request before the search has begun is lost
            solver.stop_search()
            thread.join(POLL_SECONDS)
    return solver, found[-1]
