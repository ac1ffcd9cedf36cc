"""Runs CP-SAT such that it can always be stopped: by a deadline, by a callback that is polled, by Ctrl-C."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeAlias

from ortools.sat.python import cp_model

from solver.states import Answer

POLL_SECONDS = 0.05
"""Seconds between two calls of ``stop``."""

GRACE_SECONDS = 30.0
"""Seconds to wait for CP-SAT to stop before its thread is abandoned; it was never seen to need one second."""

Values: TypeAlias = list[int]
"""The values of the watched variables, in their order."""

_STATUS: Mapping[cp_model.CpSolverStatus, Answer] = {
    cp_model.OPTIMAL: "optimal",
    cp_model.FEASIBLE: "feasible",
    cp_model.INFEASIBLE: "infeasible",
    cp_model.UNKNOWN: "unknown",
}


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes
    ----------
    status : {"optimal", "feasible", "infeasible", "unknown"}
        ``unknown``: stopped before anything was found or proven.
    bound : int or None
        A proven lower bound of the objective; None if nothing was proven (a run stopped inside presolve reports 0,
        which means nothing).
    values : list of int or None
        The watched variables in the best solution.
    """

    status: Answer
    bound: int | None
    values: Values | None


def run(
    model: cp_model.CpModel,
    watched: Sequence[cp_model.IntVar] = (),
    *,
    deadline: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
    workers: int = 1,
    seed: int = 0,
    on_solution: Callable[[Values], None] | None = None,
    on_bound: Callable[[int], None] | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Result:
    """Solve a model in a separate thread.

    Parameters
    ----------
    model : CpModel
        The model.
    watched : sequence of IntVar
        The variables whose values are reported.
    deadline : float
        When to stop, on the clock of `time.perf_counter`.
    stop : callable
        Called every 0.05 s; the run stops when it returns True.
    workers, seed : int
        CP-SAT's number of workers and its seed.
    on_solution : callable, optional
        Called with the values of the watched variables in every better solution, in the calling thread.
    on_bound : callable, optional
        Called with every better bound of the objective, in the calling thread.
    parameters : mapping, optional
        Further parameters of CP-SAT.

    Returns
    -------
    Result
        The result. The run ends soon after a stop, whatever CP-SAT is doing.
    """
    return Interruptible(model, watched, workers, seed, dict(parameters or {})).run(
        deadline, stop, on_solution, on_bound
    )


@dataclass
class Interruptible:
    """One solve that stops promptly when asked.

    CP-SAT's own handling of Ctrl-C swallows the signal, and kills the interpreter at a later solve. So it is switched
    off, and the main thread stays interruptible.
    """

    model: cp_model.CpModel
    watched: Sequence[cp_model.IntVar]
    workers: int = 1
    seed: int = 0
    parameters: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._solver = cp_model.CpSolver()
        self._events: queue.SimpleQueue[Values | float] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._status = cp_model.UNKNOWN
        self._values: Values | None = None

    def run(
        self,
        deadline: float,
        stop: Callable[[], bool],
        on_solution: Callable[[Values], None] | None,
        on_bound: Callable[[int], None] | None,
    ) -> Result:
        """Solve until proven, stopped or out of time; see `run`."""
        if stop() or perf_counter() >= deadline:
            return Result("unknown", None, None)
        self._set_parameters(deadline)
        thread = threading.Thread(target=self._solve, name="cp-sat", daemon=True)
        thread.start()
        try:
            while thread.is_alive() and not stop() and perf_counter() < deadline:
                self._report_next(on_solution, on_bound, POLL_SECONDS)
        finally:
            self._end(thread)
        while not self._events.empty():
            self._report_next(on_solution, on_bound, 0.0)
        if self._failure is not None:
            raise self._failure
        return self._result(finished=not thread.is_alive())

    def _set_parameters(self, deadline: float) -> None:
        parameters = self._solver.parameters
        parameters.catch_sigint_signal = False
        parameters.num_workers = self.workers
        parameters.random_seed = self.seed % 2**31  # searches add to the user's seed
        if deadline < math.inf:
            parameters.max_time_in_seconds = max(0.01, deadline - perf_counter())
        for name, value in self.parameters.items():
            setattr(parameters, name, value)

    def _solve(self) -> None:
        try:
            self._solver.best_bound_callback = self._events.put
            self._status = self._solver.solve(self.model, _Watcher(self.watched, self._events))
        except BaseException as error:  # passed to the waiting thread
            self._failure = error
        finally:
            self._events.put(-math.inf)  # wakes the waiting thread

    def _report_next(
        self,
        on_solution: Callable[[Values], None] | None,
        on_bound: Callable[[int], None] | None,
        patience: float,
    ) -> None:
        try:
            event = self._events.get(timeout=patience) if patience else self._events.get_nowait()
        except queue.Empty:
            return
        if isinstance(event, list):
            self._values = event
            if on_solution:
                on_solution(event)
        elif on_bound and math.isfinite(event):
            on_bound(_as_bound(event))

    def _end(self, thread: threading.Thread) -> None:
        """Repeat the stop until the solver obeys: a stop before its start is lost."""
        patience = perf_counter() + GRACE_SECONDS
        while thread.is_alive() and perf_counter() < patience:
            self._solver.stop_search()
            thread.join(POLL_SECONDS)

    def _result(self, finished: bool) -> Result:
        if not finished:
            return Result("feasible" if self._values else "unknown", None, self._values)
        if self._status == cp_model.MODEL_INVALID:
            raise AssertionError(f"CP-SAT refuses the model: {self.model.validate()}")
        status = _STATUS[self._status]
        if status == "infeasible":
            return Result(status, None, None)
        if self._values is None and status != "unknown":
            self._values = [self._solver.value(variable) for variable in self.watched]
        bound = self._solver.best_objective_bound if self.model.has_objective() else 0.0
        return Result(status, _as_bound(bound) if bound > 0 else None, self._values)


def _as_bound(value: float) -> int:
    """Convert CP-SAT's bound, a float, to an integer without rounding it up by more than its own error."""
    return math.ceil(value - 1e-6)


class _Watcher(cp_model.CpSolverSolutionCallback):
    """Copies every solution out of the solver's thread."""

    def __init__(self, watched: Sequence[cp_model.IntVar], events: queue.SimpleQueue[Values | float]) -> None:
        super().__init__()
        self._watched = watched
        self._events = events

    def on_solution_callback(self) -> None:
        """Copy the values of the watched variables."""
        self._events.put([self.value(variable) for variable in self._watched])
