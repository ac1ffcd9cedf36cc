"""The cost of placing communication by time, and rehearsals with queues against their predictions.

    python -m benchmarks.communication placement [COUNT]
    python -m benchmarks.communication rehearsal [SCHEDULE...]

`placement`: searched orders, transfers of 0.05 F, one communicator per rank, random durations drawn after lowering.
`rehearsal`: PyTorch's placement and placement by time, with queues, on 4 local processes.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import ppopt
from ppopt.schedules.communicated import Order
from solver.program_faults import find_crossings
from solver.rendezvous import run
from strategies.lowering.as_program import as_programs
from strategies.model.communicators import COMMUNICATORS, queues

TRANSFER = 0.05
DRAWS = 10
SECONDS = 0.12


def searched(count: int, first: int) -> Iterator[ppopt.Schedule]:
    for number in range(first, first + count):
        draws = random.Random(number)
        devices = draws.choice((2, 3, 4, 8))
        placement = draws.choice(("linear", "interleaved", "v", "bidirectional"))
        microbatches = draws.choice((devices, 2 * devices, 3 * devices))
        stages = devices * {"linear": 1, "bidirectional": 1}.get(placement, 2)
        forward = [draws.choice((1, 1, 1, 1.2, 1.5)) for _ in range(stages)]
        costs = {
            "devices": devices,
            "stages": stages,
            "microbatches": microbatches - microbatches % 2 if placement == "bidirectional" else microbatches,
            "times": {"forward": forward, "backward": [2 * each for each in forward]},
            "memory": {"limit": draws.choice((devices, 2 * devices, 4 * devices))},
            "communication": {"transfer": TRANSFER},
        }
        try:
            yield ppopt.optimize(
                ppopt.Pipeline.from_mapping(costs),
                placement=placement,
                split_backward=draws.random() < 0.7,
                time_limit=SECONDS,
                workers=1,
                seed=number,
            )
        except (ppopt.InfeasibleError, ppopt.InputError):
            continue


def placement(count: int, first: int) -> None:
    losses: list[float] = []
    draws = random.Random(first)
    for made in searched(count, first):
        order = Order(made.strategy, made.pipeline, made.layout, made.problem, made.actions, made.rows)
        rows = order.lowered_rows("timed")
        lowered = order.lowered("timed")
        unhindered = max(row.end for row in made.rows)
        losses.append(run(lowered.programs, lowered.transfers, queues("rank")).makespan / unhindered - 1)
        for _ in range(DRAWS):
            drawn = as_programs(
                rows, made.layout, lambda _: draws.choice((1, 5, 40)), lambda _: (draws.choice((0, 1, 9)), 0)
            )
            assert not find_crossings(drawn.programs, drawn.transfers)
            for name in COMMUNICATORS:
                run(drawn.programs, drawn.transfers, queues(name))
    losses.sort()
    print(f"{len(losses)} searched orders, {DRAWS} draws of durations each: no deadlock, no crossing")
    over = sum(each > 0.01 for each in losses)
    print(f"loss with rank: median {median(losses):.3%}, worst {losses[-1]:.2%}, over 1 %: {over}")


def rehearsal(names: list[str]) -> None:
    costs = ppopt.Pipeline.from_mapping(
        {"devices": 4, "microbatches": 8, "unit": "ms", "times": {"forward": 40, "backward": 80}, "stages": 4}
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            model = costs.recut(8) if name in ("interleaved", "looped-bfs", "searched") else costs
            made = (
                ppopt.optimize(model, placement="interleaved", time_limit=5, workers=1)
                if name == "searched"
                else ppopt.evaluate(model, name)
            )
            path = Path(folder, f"{name}.csv")
            ppopt.export(made, path, lowered=True)
            for communicators in ("pair", "rank"):
                for how, run_it in (("pytorch", made), ("timed", path)):
                    found = ppopt.rehearse(model, run_it, steps=3, communicators=communicators)
                    print(
                        f"| {name} | {how} | {communicators} | {found.predicted_nominal.makespan:.1f} | "
                        f"{found.predicted_calibrated.makespan:.1f} | {found.median:.1f} | "
                        f"{found.errors['nominal']:+.1%} | {found.errors['calibrated']:+.1%} | "
                        f"{found.gradient_difference:.0e} |",
                        flush=True,
                    )


if __name__ == "__main__":
    what, *more = sys.argv[1:]
    if what == "placement":
        placement(int(more[0]) if more else 500, int(more[1]) if more[1:] else 0)
    else:
        rehearsal(more or ["interleaved", "looped-bfs", "zb-h1", "searched"])
