"""Times a call: the median of several runs, with garbage collected before each."""

from __future__ import annotations

import gc
import resource
import statistics
from collections.abc import Callable
from time import perf_counter


def median_seconds(call: Callable[[], object], runs: int = 3) -> float:
    seconds: list[float] = []
    for _ in range(runs):
        gc.collect()
        started = perf_counter()
        call()
        seconds.append(perf_counter() - started)
    return statistics.median(seconds)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(label: str, ours: float, theirs: float, other: str) -> None:
    print(f"{label}: {ours:.3f} s, {other} {theirs:.3f} s, ratio {ours / theirs:.2f}", flush=True)
