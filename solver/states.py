"""The words for what is minimised, what computes times, what is known of a schedule, and why no other is shorter."""

from __future__ import annotations

from typing import Literal, TypeAlias

Objective: TypeAlias = Literal["makespan", "span"]
"""What is minimised: the last end, or the longest time from a device's first start to its last end."""

Engine: TypeAlias = Literal["cpsat", "graph"]
"""What replays an order."""

EngineChoice: TypeAlias = Literal["auto", "cpsat", "graph"]
"""What may be asked for; ``auto`` takes CP-SAT where a problem is small enough for it."""

Source: TypeAlias = Literal["cpsat", "graph", "measured"]
"""Where the times of a schedule come from."""

Answer: TypeAlias = Literal["optimal", "feasible", "infeasible", "unknown"]
"""How a search stands: it has a schedule, the best or not yet, has shown that there is none, or knows nothing."""

Status: TypeAlias = Literal["optimal", "feasible", "replayed", "measured"]
"""How a schedule was come by: a search has proven it the best, or found it; or its order was replayed; or it ran."""

Argument: TypeAlias = Literal[
    "path",
    "heads and tails",
    "turns",
    "load",
    "window",
    "jackson",
    "area",
    "blocks",
    "block area",
    "device relaxation",
    "work",
    "span",
    "lengths",
    "search",
]
"""What proves a lower bound; see `solver.bounds.bound.Bound`."""
