"""The names of objectives, engines and states of a search."""

from __future__ import annotations

from typing import Literal, TypeAlias

Objective: TypeAlias = Literal["makespan", "span"]
"""The quantity to minimise: the last end, or the longest time from a device's first start to its last end."""

Engine: TypeAlias = Literal["cpsat", "graph"]
"""An engine that replays an order."""

EngineChoice: TypeAlias = Literal["auto", "cpsat", "graph"]
"""The choice of an engine; ``auto`` takes CP-SAT if the problem is small enough for it."""

Source: TypeAlias = Literal["cpsat", "graph", "measured"]
"""The source of a schedule's times."""

Answer: TypeAlias = Literal["optimal", "feasible", "infeasible", "unknown"]
"""The state of a search: it has a schedule, proven best or not; or proof that none exists; or nothing."""

Status: TypeAlias = Literal["optimal", "feasible", "replayed", "measured"]
"""The origin of a schedule: a search proved it the best, or found it; its order was replayed; or it was measured."""
