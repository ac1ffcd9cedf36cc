"""Sweeps: two processes against one, a cluster with a worker killed midway, and a sweep killed at ten moments.

``python -m benchmarks.sweeps`` runs all three; add ``speed``, ``cluster`` or ``kills`` to run one of them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ppopt.sweeps.grid import read_grid
from ppopt.sweeps.sweeping import SweepStanding, run_sweep

PAPER = {"forward": 18522, "backward_input": 18086, "backward_weight": 9337}
STRATEGIES = ["1f1b", "zb-h1", "zb-h2", "zb-v", "dualpipe", "dualpipe-v", "interleaved:stages=16", "v-half", "gpipe"]
EVALUATIONS: dict[str, Any] = {
    "base": {"devices": 8, "microbatches": 32, "stages": 8, "times": PAPER},
    "axes": {"p2p_latency": {"from": 0, "to": 2000, "steps": 100}},
    "run": [*STRATEGIES, "looped-bfs:stages=16"],
}
SEARCHES: dict[str, Any] = {
    "base": {"devices": 4, "microbatches": 8, "stages": 4},
    "axes": {"p2p_latency": {"from": 0, "to": 1, "steps": 50}, "times.forward.3": [1, 1.25, 1.5, 2]},
    "run": [{"optimize": "linear"}],
    "time_limit": 0.3,
}


def speed() -> None:
    walls = {}
    for workers in (1, 2):
        began = time.perf_counter()
        rows = run_sweep(read_grid(EVALUATIONS), None, workers=workers).rows
        walls[workers] = time.perf_counter() - began
        print(f"{len(rows)} evaluations on {workers}: {walls[workers]:.1f} s", flush=True)
    print(f"two processes are {walls[1] / walls[2]:.2f} times as fast as one", flush=True)


def figures(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Keep figures that do not depend on the clock; a search ended by its time limit may vary in bounds and status."""
    return [(row["p2p_latency"], row["strategy"], row["makespan"], row["status"]) for row in rows]


def cluster() -> None:
    from distributed import LocalCluster

    grid = read_grid(SEARCHES)
    tables = []
    for kills in (False, True):
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made:
            pid = next(iter(made.workers.values())).pid

            def kill(standing: SweepStanding, wanted: bool = kills, victim: int = pid) -> None:
                if wanted and standing.done == 100:
                    os.kill(victim, signal.SIGKILL)

            began = time.perf_counter()
            outcome = run_sweep(grid, None, workers=2, cluster=made.scheduler_address, on_progress=kill)
            tables.append(figures(outcome.rows))
            what = "one worker killed" if kills else "two workers"
            print(f"{len(outcome.rows)} searches, {what}: {time.perf_counter() - began:.1f} s", flush=True)
    different = sum(one != other for one, other in zip(*tables, strict=True))
    print(f"rows that differ: {different} of {len(tables[0])}", flush=True)


def kills(times: int = 10) -> None:
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name) / "results", Path(name) / "grid.json"
        file.write_text(json.dumps(EVALUATIONS))
        command = [
            sys.executable,
            "-m",
            "ppopt",
            "sweep",
            str(file),
            "-o",
            str(folder),
            "--format",
            "json",
            "--jobs",
            "2",
        ]
        for _ in range(times):
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            time.sleep(draw.uniform(1, 6))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done = sum(path.read_bytes().count(b"\n") for path in folder.glob("jobs-*"))
            print(f"killed with {done} done", flush=True)
        last = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line for path in folder.glob("jobs-*") for line in path.read_text().splitlines()]
    rows = json.loads(last.stdout)["rows"]
    same = figures(rows) == figures(run_sweep(read_grid(EVALUATIONS), None, workers=1).rows)
    print(f"{len(rows)} rows, {len(lines)} lines on disk, the same table as without: {same}", flush=True)


if __name__ == "__main__":
    every = {"speed": speed, "cluster": cluster, "kills": kills}
    for each in sys.argv[1:] or every:
        every[each]()
