"""The claims about the ends hold in every schedule: the lengths of passages, and how fast they are served."""

from __future__ import annotations

from contextlib import suppress

import pytest

from solver.bounds.analysis import analyse
from solver.bounds.ends import Ends, held_on
from solver.bounds.makespan import implied_network, makespan_bound
from solver.bounds.passages import Passage
from solver.errors import InfeasibleError
from solver.problem import Key, Problem
from solver.repetition import is_regular
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import random_problem
from tests.solver.bounds.test_block_area import random_fused_problem
from tests.solver.bounds.test_bounds import pipeline_problem

Times = dict[Key, int]


def served(problem: Problem, passage: Passage, place: int, starts: Times, ends: Times) -> list[tuple[int, int]]:
    """List the spans that serve a hold at an index of its chains: the actions on its passage, and the lags between."""
    tasks = {chain: problem.chains[chain][place] for chain in passage.chains}
    spans = {(starts[key], ends[key]) for key in tasks.values()}
    spans |= {
        (ends[tasks[before]], ends[tasks[before]] + lag)
        for before, after, lag in passage.links
        if starts[tasks[before]] != starts[tasks[after]] or ends[tasks[before]] != ends[tasks[after]]
    }
    return sorted(span for span in spans if span[0] < span[1])


def lengthened(problem: Problem, passage: Passage, place: int, starts: Times, ends: Times) -> int:
    """Return the claimed length of a passage, given which of its tasks are in blocks."""
    fusing, length = problem.fusing, passage.length
    for chain, counted in passage.counted.items():
        key = problem.chains[chain][place]
        others = fusing.seconds if key in fusing.firsts else fusing.firsts if key in fusing.seconds else ()
        if any(
            (starts[key], ends[key]) == (starts[other], ends[other])
            and problem.tasks[key].device == problem.tasks[other].device
            and starts[key] < ends[key]
            for other in others
        ):
            length += ends[key] - starts[key] - counted
    return length


def within(spans: list[tuple[int, tuple[int, int]]], window: int) -> int:
    return sum(part * max(0, min(b, window) - min(a, window)) for part, (a, b) in spans)


def check(problem: Problem, starts: Times, ends: Times) -> int:
    """Check all claims on a schedule; return the number of inequalities checked."""
    held = held_on(problem, [len(chain) for chain in problem.chains])
    known = Ends(problem, analyse(problem, implied_network(problem)), held)
    last, checked = max(ends.values()), 0
    for device, each in held.items():
        spans: list[tuple[int, tuple[int, int]]] = []
        for part, passage in each.parts:
            for place in range(len(problem.chains[next(iter(passage.counted))])):
                found = served(problem, passage, place, starts, ends)
                assert sum(b - a for a, b in found) >= lengthened(problem, passage, place, starts, ends)
                spans += [(part, span) for span in found]
        holds, capacity = known.holds[device], problem.capacities[device] or 0
        live = [(part, (starts[hold.take], ends[task])) for hold in holds for task, part in hold.returns]
        for back in (False, True):
            rises = known.rises(each.parts, back=back)
            turned = [[(part, (last - b, last - a) if back else (a, b)) for part, (a, b) in it] for it in (spans, live)]
            for window in range(0, last + 1, max(1, last // 12)):
                free = (known.behind_returns if back else known.before_takes)(holds, capacity, window)
                assert within(turned[1], window) <= capacity * window - free
                if rises is not None:
                    most = sum(rate * max(0, window - time) for time, rate in rises)
                    assert within(turned[0], window) <= most
                checked += 2
    return checked


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(12))
def test_no_schedule_is_served_faster(block: int) -> None:
    checked = 0
    for seed in range(5 * block, 5 * (block + 1)):
        for problem, _ in (random_fused_problem(seed, 4), random_problem(seed)):
            schedule = ExactModel(problem, chains=True).any_schedule(seed) if is_regular(problem) else None
            if schedule is not None:
                with suppress(InfeasibleError):
                    checked += check(problem, *schedule)
    assert checked > 125


@pytest.mark.parametrize(("devices", "microbatches", "cap", "before"), [(8, 64, 6, 76916), (6, 40, 4, 54743)])
def test_it_raises_the_area_of_v_placements_with_little_memory(
    devices: int, microbatches: int, cap: int, before: int
) -> None:
    """With at most as many activations as devices, the area decides the bound."""
    problem = pipeline_problem("v", devices, microbatches, (185, 181, 93), cap, latency=20)
    bound = makespan_bound(problem)
    assert bound.piece == "area"
    assert bound.value > before
