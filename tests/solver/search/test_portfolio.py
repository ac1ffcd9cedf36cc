"""The search on a scheduling problem that is no pipeline."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import permutations, product
from time import perf_counter
from typing import Any

import pytest

from solver.bounds.bound import Bound
from solver.checker import violations
from solver.errors import DeadlockError, InputError
from solver.numbered import place
from solver.problem import Hold, Orders, Problem, Task
from solver.replay import replay
from solver.search.compile_all import compile_all
from solver.search.local_search import LocalSearch
from solver.search.portfolio import search
from solver.search.state import Search, Standing

Job = Sequence[tuple[int, int]]
"""A job: the machine and the duration of each of its operations, in order."""

FT06: list[Job] = [
    [(2, 1), (0, 3), (1, 6), (3, 7), (5, 3), (4, 6)],
    [(1, 8), (2, 5), (4, 10), (5, 10), (0, 10), (3, 4)],
    [(2, 5), (3, 4), (5, 8), (0, 9), (1, 1), (4, 7)],
    [(1, 5), (0, 5), (2, 5), (3, 3), (4, 8), (5, 9)],
    [(2, 9), (1, 3), (4, 5), (5, 4), (0, 3), (3, 1)],
    [(1, 3), (3, 3), (5, 9), (0, 10), (4, 4), (2, 1)],
]
"""Fisher and Thompson, Probabilistic learning combinations of local job-shop scheduling rules, 1963."""

FT06_OPTIMUM = 55


def job_shop(jobs: Sequence[Job], machines: int) -> Problem:
    tasks = {(job, step): Task(*work) for job, steps in enumerate(jobs) for step, work in enumerate(steps)}
    waits = [((job, step - 1), (job, step), 0) for job, step in tasks if step]
    return Problem(machines, tasks, waits)


def check(problem: Problem, found: Search) -> None:
    rows = place(problem, found.orders, replay(problem, found.orders))
    assert violations(problem, rows) == []
    assert found.best == max(row.end for row in rows)


def test_a_job_shop_is_solved_to_its_known_optimum() -> None:
    problem = job_shop(FT06, 6)
    told: list[Standing] = []
    found = search(problem, seconds=60, progress=told.append)
    assert (found.status, found.best, found.bound) == ("optimal", FT06_OPTIMUM, FT06_OPTIMUM)
    assert (told[-1].best, told[-1].bound) == (FT06_OPTIMUM, FT06_OPTIMUM)
    check(problem, found)


def test_a_bound_and_an_order_of_tools_are_handed_in() -> None:
    """Local search alone proves nothing, but it ends as soon as it meets the bound that it was given."""
    problem = job_shop(FT06, 6)
    known = Bound(FT06_OPTIMUM, "path", details={"source": "the literature"})
    found = search(problem, first_bound=known, tools=["local search"], seconds=60)
    assert (found.status, found.best) == ("optimal", FT06_OPTIMUM)
    assert found.held_by is known
    check(problem, found)
    again = search(problem, first_bound=known, starts=[found.orders], tools=[], seconds=60)
    assert (again.status, again.orders) == ("optimal", found.orders)


@pytest.mark.exhaustive(2)
@pytest.mark.no_cover
@pytest.mark.parametrize("objective", ["makespan", "span"])
@pytest.mark.parametrize("seed", range(4))
def test_small_job_shops_have_the_optimum_of_an_exhaustive_search(seed: int, objective: str) -> None:
    draw = random.Random(seed)
    machines, count = draw.choice([(2, 4), (3, 3)])
    jobs = [[(machine, draw.randint(1, 9)) for machine in draw.sample(range(machines), machines)] for _ in range(count)]
    problem = job_shop(jobs, machines)
    found = search(problem, objective=objective, seconds=60, seed=seed)
    assert found.status == "optimal"
    assert found.best == min(values(problem, objective))


def values(problem: Problem, objective: str) -> Iterator[int]:
    """Yield the objectives of all orders that can run, at their earliest starts."""
    keys = [[key for key, task in problem.tasks.items() if task.device == device] for device in range(problem.devices)]
    for orders in product(*(permutations(each) for each in keys)):
        try:
            rows = place(problem, orders, replay(problem, orders))
        except DeadlockError:
            continue
        times = [[(row.start, row.end) for row in rows if row.device == device] for device in range(problem.devices)]
        spans = [max(end for _, end in each) - min(start for start, _ in each) for each in times]
        yield max(row.end for row in rows) if objective == "makespan" else max(spans)


def test_a_problem_without_a_schedule_is_found_out() -> None:
    """Each device has two jobs and room for one, and the first on each device waits for the second on the other.

    No single device shows this, so only CP-SAT finds it.
    """
    jobs = [(device, job) for device in range(2) for job in range(2)]
    tasks = {(*job, end): Task(job[0], 1) for job in jobs for end in ("take", "return")}
    waits = [
        ((*one, "take"), (*other, "return"), 0) for one in jobs for other in jobs if one == other or one[0] != other[0]
    ]
    holds = [Hold((*job, "take"), 1, (((*job, "return"), 1),)) for job in jobs]
    found = search(Problem(2, tasks, waits, holds, [1, 1]), seconds=20)
    assert (found.status, found.best) == ("infeasible", None)
    assert search(Problem(2, tasks, waits, holds, [1, 2]), seconds=20).status == "optimal"


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ([["a"], []], "device 1: b is missing"),
        ([["a", "b"], []], "device 0: b belongs to device 1"),
        ([["a", "a"], ["b"]], "device 0: a appears twice"),
    ],
)
def test_a_start_that_is_no_schedule_of_the_problem_is_refused(orders: Orders, message: str) -> None:
    problem = Problem(2, {"a": Task(0, 1), "b": Task(1, 1)}, [("a", "b", 0)])
    with pytest.raises(InputError, match=message):
        search(problem, starts=[orders])


def test_a_cycle_of_precedences_is_refused() -> None:
    problem = Problem(1, {"a": Task(0, 1), "b": Task(0, 1)}, [("a", "b", 0), ("b", "a", 0)])
    with pytest.raises(InputError, match="cycle"):
        search(problem, seconds=1)


@pytest.mark.skipif(find_spec("numba") is None, reason="needs numba")
def test_what_all_turns_need_is_found_once_unless_the_clock_cuts_it_short() -> None:
    state = Search(job_shop(FT06, 6), "makespan", 10)
    asked: list[float] = []

    def find(deadline: float) -> int:
        asked.append(deadline)
        return len(asked)

    ends = perf_counter() + 60
    assert [state.once("it", find, deadline) for deadline in (0.0, ends, ends)] == [1, 2, 2]
    assert asked == [0.0, ends]


@pytest.mark.parametrize("workers", [2, 3])
def test_where_only_local_search_is_of_use_all_cores_anneal(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class AllAnnealError(Exception):
        pass

    compile_all()
    threads: set[int] = set()
    all_of_them = threading.Barrier(workers)

    def noted(self: LocalSearch, *rest: Any) -> None:
        threads.add(threading.get_ident())
        all_of_them.wait(60)
        raise AllAnnealError

    monkeypatch.setattr(LocalSearch, "run_round", noted)
    with pytest.raises(AllAnnealError):  # nothing meets the bound of the plain problem, so list schedules do not end it
        search(job_shop(FT06, 6), tools=("local search",), seconds=60, workers=workers)
    assert len(threads) == workers
