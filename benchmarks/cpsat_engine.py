"""A whole evaluation with the CP-SAT engine against a bare CP-SAT model of the same order.

The bare model is solved twice: with the parameters known to help (no presolve, no probing, no symmetry, no linear
relaxation, one worker), and with the other two that the engine uses: the older linear propagation, and no closure of
precedences.
"""

from __future__ import annotations

from itertools import pairwise

from ortools.sat.python import cp_model

import ppopt
from benchmarks.timing import compare, median_seconds
from ppopt import Pipeline, Schedule


def bare_cpsat(made: Schedule, **more: object) -> float:
    tasks = made.problem.tasks
    horizon = sum(task.duration for task in tasks.values())
    model = cp_model.CpModel()
    starts = {op: model.new_int_var(0, horizon, "") for op in tasks}
    makespan = model.new_int_var(0, horizon, "")
    for before, after, lag in made.problem.precedences:
        model.add(starts[after] >= starts[before] + tasks[before].duration + lag)
    for order in made.actions:
        for before, after in pairwise(order):
            model.add(starts[after] >= starts[before] + tasks[before].duration)
        model.add(makespan >= starts[order[-1]] + tasks[order[-1]].duration)
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.cp_model_presolve = False
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.symmetry_level = 0
    solver.parameters.linearization_level = 0
    solver.parameters.num_workers = 1
    for key, value in more.items():
        setattr(solver.parameters, key, value)
    assert solver.solve(model) == cp_model.OPTIMAL
    return solver.objective_value


SAME = {"new_linear_propagation": False, "transitive_precedences_work_limit": 0}

for devices, microbatches in ((16, 208), (32, 500)):
    costs = Pipeline.from_mapping({"devices": devices, "microbatches": microbatches})
    made = ppopt.evaluate(costs, "zb1p", engine="cpsat")
    ops = len(made.rows)
    ours = median_seconds(lambda costs=costs: ppopt.evaluate(costs, "zb1p", engine="cpsat"))
    same = median_seconds(lambda made=made: bare_cpsat(made, **SAME))
    compare(f"{ops:,} ops, whole evaluation", ours, same, "bare model, same parameters")
    theirs = median_seconds(lambda made=made: bare_cpsat(made), runs=1)
    compare(f"{ops:,} ops, whole evaluation", ours, theirs, "bare model, default propagation")
