"""The exact optimum of a small problem, without any imposed order, as the reference for bounds.

The model shares nothing with the bounds: every action that a device may run is an optional interval, and memory is a
cumulative resource.
"""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise, product

from ortools.sat.python import cp_model

from solver.problem import Key, Precedence, Problem


def without_chains(problem: Problem) -> list[Precedence]:
    along = {pair for chain in problem.chains for pair in pairwise(chain)}
    return [edge for edge in problem.precedences if edge[:2] not in along]


class ExactModel:
    def __init__(self, problem: Problem, *, chains: bool = False) -> None:
        self.problem = problem
        self.model = model = cp_model.CpModel()
        longest = [task.duration for task in problem.tasks.values()] + list(problem.fusing.durations.values())
        longest += list(problem.merged_durations.values())
        given = list(problem.precedences) if chains else without_chains(problem)
        self.horizon = 2 * sum(longest) + sum(lag for *_, lag in given)
        self.start = {key: model.new_int_var(0, self.horizon, "") for key in problem.tasks}
        self.end = {key: model.new_int_var(0, self.horizon, "") for key in problem.tasks}
        self.presences: dict[Key, list[cp_model.IntVar]] = defaultdict(list)
        self.intervals: dict[int, list[cp_model.IntervalVar]] = defaultdict(list)
        self.together: dict[tuple[Key, Key], list[cp_model.IntVar]] = defaultdict(list)
        self._add_actions()
        for key in problem.tasks:
            model.add_exactly_one(self.presences[key])
        for intervals in self.intervals.values():
            model.add_no_overlap(intervals)
        for before, after, lag in given:
            apart = [literal.Not() for literal in self.together.get((before, after), [])]
            model.add(self.start[after] >= self.end[before] + lag).only_enforce_if(apart)
        self._add_memory()
        self.makespan = model.new_int_var(0, self.horizon, "")
        model.add_max_equality(self.makespan, list(self.end.values()))

    def _add_actions(self) -> None:
        problem = self.problem
        for key, task in problem.tasks.items():
            self._action([key], task.duration)
        for first, duration in problem.merged_durations.items():
            self._action([first, problem.partners[first]], duration)
        fusing = problem.fusing
        for first, second in product(fusing.firsts, fusing.seconds):
            duration = fusing.durations.get((fusing.firsts[first], fusing.seconds[second]))
            if duration is not None and problem.tasks[second].device == problem.tasks[first].device:
                partner = [problem.partners[second]] if second in problem.partners else []
                self._action([first, second, *partner], duration)

    def _action(self, keys: list[Key], duration: int) -> None:
        present = self.model.new_bool_var("")
        start = self.start[keys[0]]
        interval = self.model.new_optional_fixed_size_interval_var(start, duration, present, "")
        self.intervals[self.problem.tasks[keys[0]].device].append(interval)
        for key in keys:
            self.presences[key].append(present)
            self.model.add(self.start[key] == start).only_enforce_if(present)
            self.model.add(self.end[key] == start + duration).only_enforce_if(present)
        if len(keys) > 1 and self.problem.partners.get(keys[-2]) == keys[-1]:
            self.together[keys[-2], keys[-1]].append(present)

    def _add_memory(self) -> None:
        live: dict[int, list[tuple[cp_model.IntervalVar, int]]] = defaultdict(list)
        for hold in self.problem.holds:
            for task, part in hold.returns:
                length = self.model.new_int_var(0, self.horizon, "")
                interval = self.model.new_interval_var(self.start[hold.take], length, self.end[task], "")
                live[self.problem.tasks[hold.take].device].append((interval, part))
        for device, parts in live.items():
            capacity = self.problem.capacities[device]
            if capacity is not None:
                self.model.add_cumulative([i for i, _ in parts], [part for _, part in parts], capacity)

    def _solver(self, seconds: float) -> cp_model.CpSolver:
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        # a limit on work, which is the same however busy the machine is; a unit takes about five seconds
        solver.parameters.max_deterministic_time = seconds / 5
        solver.parameters.catch_sigint_signal = False
        return solver

    def solve(self, seconds: float = 20.0) -> int | None:
        """Minimise the makespan; None if there is no schedule. Raise an error if it is not proven in time."""
        self.model.minimize(self.makespan)
        solver = self._solver(seconds)
        status = solver.solve(self.model)
        if status == cp_model.INFEASIBLE:
            return None
        if status != cp_model.OPTIMAL:
            raise TimeoutError
        return solver.value(self.makespan)

    def is_shorter_than(self, bound: int | None, seconds: float = 1.0) -> bool:
        """Return whether a schedule shorter than the bound is found; with None, whether any schedule is found."""
        if bound is not None:
            self.model.add(self.makespan < bound)
        return self._solver(seconds).solve(self.model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)

    def any_schedule(self, seed: int) -> tuple[dict[Key, int], dict[Key, int]] | None:
        """Find some schedule, chosen by the seed, as starts and ends."""
        draw = random.Random(seed)
        late = [draw.choice([-1, 0, 1, 2]) * end for end in self.end.values()]
        self.model.minimize(self.makespan + sum(late) if draw.random() < 0.7 else 10 * self.makespan + sum(late))
        solver = self._solver(0.3)
        if solver.solve(self.model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None
        return (
            {key: solver.value(start) for key, start in self.start.items()},
            {key: solver.value(end) for key, end in self.end.items()},
        )
