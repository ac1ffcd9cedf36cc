"""A task as reports see it: its stage, its kind, its microbatch."""

from __future__ import annotations

from typing import NamedTuple, cast

from solver.problem import Key


class Operation(NamedTuple):
    """A task of a pipeline; any tuple of these three can be read as one."""

    stage: int
    kind: str
    microbatch: int


def operation(task: Key) -> Operation:
    """Read a task as (stage, kind, microbatch)."""
    return cast("Operation", task)
