"""The search for a feeding order: two seconds of it against a minute of an annealing that knows nothing but replays.

``python -m benchmarks.feeding [instances] [seconds of the reference]`` draws lengths as variable sequences and packs
have them, 1F1B on 8 devices with 32 microbatches, ten instances and 60 seconds by default. Each line gives the makespan
over a bound for every schedule (the work of a device, and what must precede and follow it) with the list, the pyramid,
the search, and the reference, and how much longer the search is than the reference at most. The last lines give the
seconds for 1,024 microbatches on 16 devices.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from time import perf_counter, process_time

import numpy as np

import ppopt
from ppopt import Pipeline
from ppopt.feeding.feeding import search_feed

DEVICES, MICROBATCHES = 8, 32
SEARCH_SECONDS = 2.0


def drawn(name: str, seed: int, number: int = MICROBATCHES) -> list[float]:
    """Draw the work of microbatches, with mean 1."""
    draw = np.random.default_rng(seed)
    lengths = draw.lognormal(0, 0.5, number)
    packs = [sum(each**2 for each in _pack(draw)) / 131_072**2 for _ in range(number)]
    work: np.ndarray = {
        "normal 0.1": draw.normal(1, 0.1, number).clip(0.1),
        "normal 0.2": draw.normal(1, 0.2, number).clip(0.1),
        "lognormal 0.5, attention": lengths + lengths**2 / 4,
        "packs of 128 K": 1 + 3 * np.array(packs),
    }[name]
    return [float(round(each, 4)) for each in work / work.mean()]


def _pack(draw: np.random.Generator) -> list[float]:
    documents: list[float] = []
    while (left := 131_072 - sum(documents)) > 0:
        documents.append(min(left, float(draw.lognormal(8, 1.5))))
    return documents


def pipeline(work: list[float], devices: int = DEVICES) -> Pipeline:
    """Make a pipeline of equal stages."""
    listed = [{"size": each} for each in work]
    return Pipeline.from_mapping({"devices": devices, "microbatches": listed, "times": {"forward": 1, "backward": 2}})


def replay_1f1b(work: list[float]) -> float:
    """Replay 1F1B by its recurrence, a code of its own."""
    number, devices = len(work), DEVICES
    ends = {}
    orders = []
    for device in range(devices):
        warmup = min(number, devices - 1 - device)
        steps = [("F", k) for k in range(warmup)]
        for k in range(number - warmup):
            steps += [("F", warmup + k), ("B", k)]
        orders.append(steps + [("B", k) for k in range(number - warmup, number)])
    place, free = [0] * devices, [0.0] * devices
    while any(place[device] < 2 * number for device in range(devices)):
        for device in range(devices):
            while place[device] < 2 * number:
                kind, k = orders[device][place[device]]
                other = device - 1 if kind == "F" else device + 1
                if 0 <= other < devices and (other, kind, k) not in ends:
                    break
                start = max(free[device], ends.get((other, kind, k), 0.0))
                free[device] = ends[device, kind, k] = start + (1 if kind == "F" else 2) * work[k]
                place[device] += 1
    return max(free)


def reference(work: list[float], cost: Callable[[list[float]], float], seconds: float, seed: int) -> float:
    """Anneal by plain exchanges, from the pyramid, on replays alone."""
    draw = random.Random(seed)
    rising = sorted(work)
    order = [*rising[::2], *reversed(rising[1::2])]
    now = best = cost(order)
    began = perf_counter()
    while (passed := (perf_counter() - began) / seconds) < 1:
        one, other = draw.sample(range(len(order)), 2)
        order[one], order[other] = order[other], order[one]
        found = cost(order)
        heat = best * 0.01 * 0.02**passed
        if found <= now or draw.random() < math.exp((now - found) / heat):
            now = found
            best = min(best, now)
        else:
            order[one], order[other] = order[other], order[one]
    return best


def compiled_cost(costs: Pipeline) -> Callable[[list[float]], float]:
    """Return a compiled replay of the same order, so that the reference has a fair number of tries."""
    from ppopt.feeding.feeding import write_fed
    from solver.search.feeding import Feeding

    made = ppopt.evaluate(costs, "1f1b", "graph")
    classes = [float(factors.at(0)[0]) for factors in made.pipeline.items.classes]
    feeding = Feeding(
        write_fed(made.pipeline, made.layout, made.actions), len(classes), made.pipeline.items.of.tolist()
    )
    listed = [classes[each] for each in made.pipeline.items.of]

    def cost(work: list[float]) -> float:
        places: dict[float, list[int]] = {}
        for place, each in enumerate(listed):
            places.setdefault(each, []).append(place)
        return feeding.makespan([places[each].pop() for each in work])

    return cost


def main(instances: int, seconds: float) -> None:
    """Print the table."""
    for name in ("normal 0.1", "normal 0.2", "lognormal 0.5, attention", "packs of 128 K"):
        rows: list[tuple[float, ...]] = []
        for seed in range(instances):
            work = drawn(name, seed)
            costs = pipeline(work)
            made = ppopt.evaluate(costs, "1f1b", "graph")
            assert abs(made.makespan - replay_1f1b(work)) < 1e-9 * made.makespan
            bound = 3 * (sum(work) + (DEVICES - 1) * min(work))
            until = perf_counter() + SEARCH_SECONDS
            found = search_feed(made.pipeline, made.layout, made.actions, deadline=until)[0].makespan
            by_size = ppopt.evaluate(costs.model_copy(update={"feed": "pyramid"}), "1f1b", "graph").makespan
            best = reference(work, compiled_cost(costs), seconds, seed)
            rows.append(tuple(each / bound for each in (made.makespan, by_size, found, best)))
        given, by_size, found, best = np.array(rows).T
        longer = max(found / best) - 1
        print(
            f"{name:26} list {given.mean():.3f}  pyramid {by_size.mean():.3f}  search {found.mean():.4f}  "
            f"reference {best.mean():.4f}  at most {longer:+.2%}",
            flush=True,
        )
    many = pipeline(drawn("normal 0.2", 0, 1024), 16)
    began = process_time()
    made = ppopt.evaluate(many, "1f1b", "graph")
    print(f"1,024 microbatches on 16 devices: evaluated in {process_time() - began:.2f} s of processor time")
    began = perf_counter()
    fed = ppopt.best_feed(many, "1f1b", time_limit=20)
    print(f"fed in {perf_counter() - began:.1f} s: {made.makespan:.6g} to {fed.makespan:.6g}, bound {fed.bound:.6g}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, float(sys.argv[2]) if len(sys.argv) > 2 else 60.0)
