"""A whole evaluation with the graph engine against only building and walking the same networkx graph."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx

import ppopt
from benchmarks.timing import compare, median_seconds, peak_megabytes
from ppopt import Pipeline, Schedule


def evaluate(name: str, devices: int, microbatches: int) -> Schedule:
    made = ppopt.evaluate(
        Pipeline.from_mapping({"devices": devices, "microbatches": microbatches}), name, engine="graph"
    )
    assert len(made.timeline) == len(made.rows)
    return made


def bare_networkx(made: Schedule) -> int:
    graph = nx.DiGraph()
    tasks = made.problem.tasks
    for order in made.actions:
        for op in order:
            graph.add_node(op, duration=tasks[op].duration)
    for before, after, lag in made.problem.precedences:
        graph.add_edge(before, after, lag=lag)
    for order in made.actions:
        for before, after in pairwise(order):
            if not graph.has_edge(before, after):
                graph.add_edge(before, after, lag=0)
    ends: dict[object, int] = {}
    for op in nx.topological_sort(graph):
        start = 0
        for before in graph.predecessors(op):
            start = max(start, ends[before] + graph.edges[before, op]["lag"])
        ends[op] = start + graph.nodes[op]["duration"]
    return max(ends.values())


def bare_sweep(made: Schedule) -> int:
    """Time a walk of pointers along the devices' orders, without the numbering and the edges, which are made before."""
    number = {op: place for place, op in enumerate(op for order in made.actions for op in order)}
    waits: list[list[int]] = [[] for _ in number]
    for before, after, _ in made.problem.precedences:
        waits[number[after]].append(number[before])
    lengths = [made.problem.tasks[op].duration for op in number]
    orders = [[number[op] for op in order] for order in made.actions]

    def sweep() -> int:
        ends = [0] * len(lengths)
        pointers, free = [0] * len(orders), [0] * len(orders)
        moved = True
        while moved:
            moved = False
            for device, order in enumerate(orders):
                at, now = pointers[device], free[device]
                while at < len(order):
                    op = order[at]
                    start = now
                    for before in waits[op]:
                        end = ends[before]
                        if end == 0:
                            break
                        start = max(start, end)
                    else:
                        now = ends[op] = start + lengths[op]
                        at += 1
                        continue
                    break
                moved = moved or at > pointers[device]
                pointers[device], free[device] = at, now
        return max(ends)

    compare(
        f"  {len(number):,} ops, whole evaluation against a bare pointer sweep",
        made.seconds,
        median_seconds(sweep),
        "sweep",
    )
    return sweep()


for name in ("1f1b", "zb1p"):
    made = evaluate(name, 64, 1024)
    print(
        f"{name}, 64 devices × 1,024 microbatches, {len(made.rows):,} ops: peak {peak_megabytes():.0f} MB", flush=True
    )
    ours = median_seconds(lambda name=name: evaluate(name, 64, 1024))
    theirs = median_seconds(lambda made=made: bare_networkx(made))
    assert bare_networkx(made) == bare_sweep(made) == made.makespan
    compare("  whole evaluation", ours, theirs, "bare networkx")
    del made


def per_op(devices: int, microbatches: int) -> tuple[float, float]:
    """Return the microseconds per operation of the whole evaluation and of bare networkx."""
    made = evaluate("zb1p", devices, microbatches)
    ours = median_seconds(lambda: evaluate("zb1p", devices, microbatches))
    theirs = median_seconds(lambda: bare_networkx(made))
    return ours / len(made.rows) * 1e6, theirs / len(made.rows) * 1e6


small, large = per_op(16, 340), per_op(64, 1024)
for label, few, many in zip(("whole evaluation", "bare networkx"), small, large, strict=True):
    print(f"{label} per op: {few:.2f} µs at 16,320 ops, {many:.2f} µs at 196,608, ratio {many / few:.2f}")

for microbatches in (512, 2048):
    seconds = median_seconds(lambda microbatches=microbatches: evaluate("1f1b", 32, microbatches))
    print(f"1f1b, 32 devices × {microbatches:,} microbatches ({64 * microbatches:,} ops): {seconds:.2f} s")
