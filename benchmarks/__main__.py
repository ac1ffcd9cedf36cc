"""Run all benchmarks, each in a process of its own, so that peak memory is its own too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py") if file.stem != "timing")

print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
for name in sys.argv[1:] or BENCHMARKS:
    print(f"\n== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
