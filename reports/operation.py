"""What reports know of a task: which stage, which kind, which microbatch."""

from __future__ import annotations

from typing import NamedTuple, cast

from solver.problem import Key


class Operation(NamedTuple):
    """A task of a pipeline; any tuple of these three will do."""

    stage: int
    kind: str
    microbatch: int


def operation(task: Key) -> Operation:
    """Read a task as (stage, kind, microbatch)."""
    return cast("Operation", task)
