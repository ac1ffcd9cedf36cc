"""Compiles all inner loops before the tests begin: ``python -m tests.compiling search`` or ``partitioning``."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from solver.search.compile_all import compile_partitioning, compile_search

ROOT = Path(__file__).parents[1]
PARTS = ("search", "partitioning")


def compile_beforehand() -> None:
    """Compile each part that is not compiled yet, in its own process.

    Otherwise each test process that needs a loop compiles it, or its search runs ten times as slowly meanwhile.
    """
    if importlib.util.find_spec("numba") is None:
        return
    begun = [subprocess.Popen([sys.executable, "-m", "tests.compiling", part], cwd=ROOT) for part in PARTS]
    for process in begun:
        process.wait()


def main(part: str) -> None:
    {"search": compile_search, "partitioning": compile_partitioning}[part]()


if __name__ == "__main__":
    main(sys.argv[1])
