"""CP-SAT's search is exact on small instances, honest about bounds, and always stoppable."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from time import perf_counter, process_time
from typing import Any, NamedTuple

import pytest

import ppopt
from ppopt.schedules.replaying import replay_orders
from solver.bounds.heads_tails import heads_and_tails
from solver.problem import Action, Block, Hold, Key, Merged, Problem, Task
from solver.search.cpsat_lane import Lane
from solver.search.cpsat_search import search
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement, make_placement
from strategies.problem.search_problem import build_search_problem, pipeline_actions

Solved = tuple[str, int | None, list[list[Action]] | None, int]


def solved(
    problem: Problem,
    *,
    seconds: float = 20.0,
    stop: Callable[[], bool] = lambda: False,
    until: Callable[[int, int], bool] = lambda value, bound: False,
    **more: Any,
) -> Solved:
    """Search until proven, or until value and bound are as wanted; return status, best value, orders and bound."""
    heads, tails = heads_and_tails(problem)
    found: list[tuple[int, list[list[Action]]]] = []
    bounds = [more.pop("bound", 0)]
    status = search(
        problem,
        edges=[],
        heads=heads,
        tails=tails,
        bound=bounds[0],
        incumbent=more.pop("incumbent", None),
        objective=more.pop("objective", "makespan"),
        deadline=perf_counter() + seconds,
        stop=lambda: stop() or (bool(found) and until(found[-1][0], bounds[-1])),
        workers=more.pop("workers", 2),
        seed=0,
        on_solution=lambda value, orders: found.append((value, orders)),
        on_bound=bounds.append,
    )
    assert [value for value, _ in found] == sorted({value for value, _ in found}, reverse=True)
    assert bounds == sorted(bounds)
    value, orders = found[-1] if found else (None, None)
    return status, value, orders, bounds[-1]


def made(placement: str, devices: int, microbatches: int, times: Any, *, stages: int = 1, **more: Any) -> Any:
    options = {key: more.pop(key) for key in ("split_backward", "overlap") if key in more}
    costs = Pipeline.from_mapping(
        {"devices": devices, "stages": stages * devices, "microbatches": microbatches, "times": times, **more}
    )
    where = make_placement(placement, devices, stages * devices, microbatches)
    return costs, where, build_search_problem(costs, where, **options)


def check(costs: Pipeline, where: Placement, orders: Sequence[Sequence[Action]]) -> ppopt.Schedule:
    schedule = replay_orders("found", costs, where, pipeline_actions(orders), "graph")
    assert ppopt.violations(schedule.problem, schedule.rows) == []
    return schedule


def split(forward: Any = 1, to_input: Any = 1, to_weight: Any = 1, **more: Any) -> dict[str, Any]:
    return {"forward": forward, "backward_input": to_input, "backward_weight": to_weight, **more}


KNOWN = [
    ("linear", 4, 8, split(), {"memory": {"limit": 3}}, 31),
    ("linear", 8, 16, split(), {"memory": {"limit": 5}}, 68),
    ("linear", 8, 16, split(185, 181, 93), {"memory": {"limit": 8}, "p2p_latency": 20}, 9815),
    ("v", 4, 8, split(), {"memory": {"limit": 8}, "stages": 2}, 51),
    (
        "bidirectional",
        4,
        8,
        {"forward": 2, "backward": 4, "overlapped_forward_backward": 5},
        {"memory": {"limit": 5}, "split_backward": False, "overlap": True},
        51,
    ),
]


@pytest.mark.parametrize(("placement", "devices", "microbatches", "times", "more", "makespan"), KNOWN)
def test_known_optima_are_found(
    placement: str, devices: int, microbatches: int, times: Any, more: dict[str, Any], makespan: int
) -> None:
    costs, where, problem = made(placement, devices, microbatches, times, **more)
    status, value, orders, _ = solved(problem, bound=makespan)
    assert (status, value) == ("optimal", makespan)
    assert check(costs, where, orders or []).makespan == makespan


@pytest.mark.parametrize("capacity", [8, 15])
def test_the_span_meets_its_closed_form(capacity: int) -> None:
    costs, where, problem = made("linear", 8, 16, split(), memory={"limit": capacity})
    best = {8: 55, 15: 48}[capacity]
    status, value, orders, _ = solved(problem, objective="span", bound=best)
    assert (status, value) == ("optimal", best)
    assert check(costs, where, orders or []).span == best


SMALL = [
    ("linear", 2, 3, split(2, 1, 3), {"memory": {"limit": 2}}),
    ("linear", 3, 2, split([1, 2, 4], [2, 1, 3], [1, 3, 1]), {"p2p_latency": 0.5}),
    ("linear", 2, 3, split(2, 3, 2), {"memory": {"limit": [2, 1], "held_for_weight": 0.5}}),
    ("v", 2, 2, split(1, 2, 1), {"stages": 2, "memory": {"limit": [3, 2]}}),
    ("interleaved", 2, 2, {"forward": [1, 2, 1, 3], "backward": 3}, {"stages": 2, "split_backward": False}),
    (
        "bidirectional",
        2,
        4,
        {"forward": 2, "backward": 3, "overlapped_forward_backward": 4},
        {"split_backward": False, "overlap": True, "memory": {"limit": 3}},
    ),
    ("bidirectional", 2, 2, split(2, 2, 2, overlapped_forward_backward=5), {"overlap": True}),
    ("linear", 2, 2, split(2, 2, 2, backward=3.7), {"p2p_latency": 1}),
]


@pytest.mark.exhaustive(2)
@pytest.mark.no_cover
@pytest.mark.parametrize("objective", ["makespan", "span"])
@pytest.mark.parametrize(("placement", "devices", "microbatches", "times", "more"), SMALL)
def test_small_instances_are_solved_exactly(
    placement: str, devices: int, microbatches: int, times: Any, more: dict[str, Any], objective: str
) -> None:
    costs, where, problem = made(placement, devices, microbatches, times, **more)
    best = brute_force(problem, objective)
    is_enough = objective == "span"  # this tool does not prove spans
    status, value, orders, bound = solved(
        problem, objective=objective, seconds=60, until=lambda value, bound: is_enough and value <= best
    )
    assert value == best
    assert bound <= best
    assert objective == "span" or status == "optimal"
    figures = check(costs, where, orders or [])
    assert getattr(figures, objective) * problem.ticks_per_unit <= best


class Trail(NamedTuple):
    """The state of a brute-force search: the ends of tasks, and each device's first start, end and memory."""

    ends: dict[Key, int]
    firsts: tuple[int | None, ...]
    free: tuple[int, ...]
    held: tuple[int, ...]

    def value(self, objective: str) -> int:
        if objective == "makespan":
            return max(self.free)
        return max(end - (first or 0) for end, first in zip(self.free, self.firsts, strict=True))

    def name(self) -> Hashable:
        return frozenset(self.ends.items()), self.firsts


class BruteForce:
    """Tries every order, with every block and every merger, at its earliest starts."""

    def __init__(self, problem: Problem, objective: str) -> None:
        self.problem, self.objective = problem, objective
        self.best = 10**30
        self.seen: set[Hashable] = set()
        self.waits: dict[Key, list[tuple[Key, int]]] = {key: [] for key in problem.tasks}
        for before, after, lag in problem.precedences:
            self.waits[after].append((before, lag))
        self.taken = {hold.take: hold.amount for hold in problem.holds}
        self.returned = Counter[Key]()
        for hold in problem.holds:
            self.returned.update(dict(hold.returns))
        self.groups = [group for task in problem.tasks for group in self.groups_of(task)]
        nothing = (0,) * problem.devices
        self.extend(Trail({}, (None,) * problem.devices, nothing, nothing))

    def groups_of(self, task: Key) -> Iterator[tuple[tuple[Key, ...], int]]:
        problem = self.problem
        yield (task,), problem.tasks[task].duration
        if task in problem.merged_durations:
            yield (task, problem.partners[task]), problem.merged_durations[task]
        fusing = problem.fusing
        for second in fusing.seconds if task in fusing.firsts else ():
            duration = fusing.durations.get((fusing.firsts[task], fusing.seconds[second]))
            if duration is not None and problem.tasks[second].device == problem.tasks[task].device:
                partner = (problem.partners[second],) if second in problem.partners else ()
                yield (task, second, *partner), duration

    def extend(self, trail: Trail) -> None:
        if trail.value(self.objective) >= self.best or trail.name() in self.seen:
            return
        self.seen.add(trail.name())
        if len(trail.ends) == len(self.problem.tasks):
            self.best = trail.value(self.objective)
            return
        for group, duration in self.groups:
            longer = self.placed(trail, group, duration)
            if longer is not None:
                self.extend(longer)

    def placed(self, trail: Trail, group: tuple[Key, ...], duration: int) -> Trail | None:
        device = self.problem.tasks[group[0]].device
        outside = [
            (before, lag)
            for task in group
            for before, lag in self.waits[task]
            if not (before in group and self.problem.partners.get(before) == task)
        ]
        if any(task in trail.ends for task in group) or any(before not in trail.ends for before, _ in outside):
            return None
        capacity = self.problem.capacities[device]
        level = trail.held[device] + sum(self.taken.get(task, 0) for task in group)
        if capacity is not None and level > capacity:
            return None
        start = max([trail.free[device], *(trail.ends[before] + lag for before, lag in outside)])
        first = trail.firsts[device]
        return Trail(
            trail.ends | dict.fromkeys(group, start + duration),
            put(trail.firsts, device, start if first is None else first),
            put(trail.free, device, start + duration),
            put(trail.held, device, level - sum(self.returned[task] for task in group)),
        )


def put(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])


def brute_force(problem: Problem, objective: str) -> int:
    return BruteForce(problem, objective).best


def test_too_little_memory_is_proven_infeasible() -> None:
    _, _, problem = made("linear", 2, 2, split(), memory={"limit": 1, "activation": 2})
    assert solved(problem)[0] == "infeasible"


def test_a_deadlock_by_memory_is_proven_infeasible() -> None:
    problem = Problem(
        devices=1,
        tasks={key: Task(0, 1) for key in ("a", "b", "c", "d")},
        precedences=[("a", "d", 0), ("b", "c", 0), ("a", "b", 0)],
        holds=[Hold("a", 1, (("d", 1),)), Hold("b", 1, (("c", 1),)), Hold("c", 1, (("d", 1),))],
        capacities=[2],
    )
    assert solved(replace(problem, capacities=[1]))[0] == "infeasible"


def test_precedences_in_a_circle_are_infeasible() -> None:
    tasks: dict[Key, Task] = {"a": Task(0, 1), "b": Task(1, 1)}
    problem = Problem(2, tasks, [("a", "b", 0)], capacities=[None, None])
    status = search(
        problem,
        edges=[("b", "a", 0)],
        heads=dict.fromkeys(tasks, 0),
        tails=dict.fromkeys(tasks, 0),
        bound=0,
        incumbent=None,
        objective="makespan",
        deadline=perf_counter() + 5,
        stop=lambda: False,
        workers=1,
        seed=0,
        on_solution=lambda value, orders: None,
        on_bound=lambda bound: None,
    )
    assert status == "infeasible"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_is_obeyed_within_moments(workers: int) -> None:
    _, _, problem = made("v", 8, 16, split(185, 181, 93), stages=2, memory={"limit": 7})
    ends, started = perf_counter() + 0.3, process_time()
    solved(problem, stop=lambda: perf_counter() > ends, workers=workers, seconds=60)
    assert process_time() - started < 30 * workers


def test_a_tiny_time_limit_is_kept_and_the_bound_stays() -> None:
    _, _, problem = made("linear", 8, 64, split(185, 181, 93), memory={"limit": 8}, p2p_latency=20)
    started = process_time()
    status, _, _, bound = solved(problem, bound=30000, seconds=0.1)
    assert process_time() - started < 30
    assert bound >= 30000
    assert status in {"unknown", "feasible", "optimal"}


def test_an_exception_reaches_the_caller() -> None:
    class InterruptError(Exception):
        pass

    def stop() -> bool:
        raise InterruptError

    _, _, problem = made("linear", 4, 8, split(), memory={"limit": 3})
    with pytest.raises(InterruptError):
        solved(problem, stop=stop)


def test_an_incumbent_at_the_bound_needs_no_search() -> None:
    _, _, problem = made("linear", 4, 8, split())
    assert solved(problem, bound=30, incumbent=(30, []), seconds=math.inf)[0] == "optimal"


def test_huge_durations_are_rounded_without_lifting_the_bound() -> None:
    scale = 10**15 + 37
    generator = random.Random(1)
    lengths = {kind: generator.randint(1, 5) * scale + generator.randint(1, 999) for kind in ("F", "I", "W")}
    _, _, problem = made("linear", 2, 3, split(lengths["F"], lengths["I"], lengths["W"]), memory={"limit": 2})
    exact = brute_force(problem, "makespan")
    _, value, _, bound = solved(
        problem, seconds=60, until=lambda value, bound: value <= exact and bound >= exact * (1 - 1e-9)
    )
    assert value == exact
    assert exact * (1 - 1e-9) <= bound <= exact


def test_blocks_and_merged_tasks_are_read_back() -> None:
    costs, where, problem = made("bidirectional", 2, 2, split(2, 2, 2, overlapped_forward_backward=5), overlap=True)
    _, _, orders, _ = solved(problem, seconds=2)
    actions = [action for order in orders or [] for action in order]
    assert all(isinstance(action.second, Merged) for action in actions if isinstance(action, Block))
    check(costs, where, orders or [])


def test_a_kind_of_schedules_that_does_not_exist_is_given_up() -> None:
    costs, where, problem = made(
        "linear", 8, 32, split(185, 181, 93), p2p_latency=20, memory={"limit": 6}
    )  # no steady period of one microbatch fits into this memory
    status, _, orders, bound = solved(problem, objective="span", bound=19899, seconds=2)
    assert status in {"feasible", "unknown"}
    assert bound < 21042
    assert orders is None or check(costs, where, orders).span > 19899


def test_a_question_may_take_as_long_as_it_took_to_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """In short turns a large model would be built again and again, and never solved."""
    _, _, problem = made("linear", 2, 3, split(), memory={"limit": 2})
    build, run = Lane._model, Lane._run
    given: list[float] = []

    def slow(lane: Lane, *asked: Any) -> Any:
        time.sleep(0.1)
        return build(lane, *asked)

    def noted(lane: Lane, variables: Any, seconds: float, *more: Any) -> Any:
        given.append(seconds)
        return run(lane, variables, seconds, *more)

    monkeypatch.setattr(Lane, "_model", slow)
    monkeypatch.setattr(Lane, "_run", noted)
    solved(problem, bound=9 * problem.ticks_per_unit, seconds=0.3, workers=1)
    assert given[0] >= 0.1
