"""Turns a schedule's steps into actions by counting microbatches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from solver.errors import InputError
from solver.problem import Block
from strategies.language.steps import Step
from strategies.model.actions import Op, PipelineAction
from strategies.model.placements import LocalStage


def count_microbatches(steps: Iterable[Step], local_stages: Sequence[LocalStage]) -> Iterator[PipelineAction]:
    """Assign each step of one device its microbatch.

    Forwards take a stage's microbatches in increasing order, and so do its backwards (B and I count together). A W
    belongs to the oldest I that still owes one.

    Parameters
    ----------
    steps : iterable of Step
        The steps of the device.
    local_stages : sequence of LocalStage
        The stages of the device.

    Raises
    ------
    InputError
        If a step names a stage that is not on the device, or no microbatch is left for it.
    """
    counter = _Counter(local_stages)
    for step in steps:
        if step.fused_with is None:
            yield counter.op(step)
        else:
            yield Block(counter.op(step), counter.op(step.fused_with))


class _Counter:
    """Counts the operations of one device so far."""

    def __init__(self, local_stages: Sequence[LocalStage]) -> None:
        self.local_stages = local_stages
        self.forwards = [iter(held.microbatches) for held in local_stages]
        self.backwards = [iter(held.microbatches) for held in local_stages]
        self.owed: deque[tuple[int, Op]] = deque()

    def op(self, step: Step) -> Op:
        if step.kind == "W":
            return self.weight_gradient(step)
        chunk = step.chunk or 0
        if chunk >= len(self.local_stages):
            raise InputError(f"a step names stage {chunk} of a device that holds {len(self.local_stages)}")
        stage = self.local_stages[chunk].stage
        microbatch = step.microbatch
        if microbatch is None:
            microbatch = next((self.forwards if step.kind == "F" else self.backwards)[chunk], None)
        if microbatch is None:
            raise InputError(f"there are more {step.kind} on stage {stage} than it has microbatches")
        op = Op(stage, step.kind, microbatch)
        if step.kind == "I":
            self.owed.append((chunk, op))
        return op

    def weight_gradient(self, step: Step) -> Op:
        for place, (chunk, op) in enumerate(self.owed):
            if step.chunk in (None, chunk) and step.microbatch in (None, op.microbatch):
                del self.owed[place]
                return op._replace(kind="W")
        raise InputError("there is a W without an earlier I that still needs one")
