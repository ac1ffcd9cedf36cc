"""Runs the benchmarks, each in its own process, so that its peak memory is its own, too.

``python -m benchmarks`` runs the short ones; ``python -m benchmarks optimality`` runs those named.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NOT_BY_THEMSELVES = {
    "timing",
    "atlas",
    "optimality",
    "plan",
    "plan_layouts",
    "memory_frontier",
    "scale",
    "sweeps",
    "zero_bubble_world",
    "fidelity",
    "rehearsal",
    "communication",
    "pp_emulation",
    "feeding",
}  # these take minutes or half an hour, or need torch or a checkout
BENCHMARKS = sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py") if file.stem not in NOT_BY_THEMSELVES)

print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
for name in sys.argv[1:] or BENCHMARKS:
    print(f"\n== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
