"""Turns a schedule's steps into actions by counting microbatches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from solver.errors import InputError
from strategies.language.steps import Step
from strategies.model.actions import KINDS, OpNames
from strategies.model.placements import LocalStage


def count_microbatches(
    steps: Iterable[Step], local_stages: Sequence[LocalStage], names: OpNames
) -> Iterator[tuple[int, ...]]:
    """Assign each step of one device its microbatch.

    Forwards take a stage's microbatches in increasing order, and so do its backwards (B and I count together). A W
    belongs to the oldest I that still owes one.

    Parameters
    ----------
    steps : iterable of Step
        The steps of the device.
    local_stages : sequence of LocalStage
        The stages of the device.
    names : OpNames
        How operations are coded.

    Yields
    ------
    tuple of int
        For each action the code of its operation, or of both its halves.

    Raises
    ------
    InputError
        If a step names a stage that is not on the device, or no microbatch is left for it.
    """
    counter = _Counter(local_stages, names)
    for step in steps:
        if step.fused_with is None:
            yield (counter.code(step),)
        else:
            yield counter.code(step), counter.code(step.fused_with)


class _Counter:
    """Counts the operations of one device so far."""

    def __init__(self, local_stages: Sequence[LocalStage], names: OpNames) -> None:
        self.local_stages, self.names = local_stages, names
        self.forwards, self.backwards = ([iter(self._codes(held)) for held in local_stages] for _ in range(2))
        self.owed: deque[tuple[int, int]] = deque()

    def _codes(self, held: LocalStage) -> range:
        """Count through the forwards of a stage."""
        first, last = (
            self.names.code(held.stage, microbatch) for microbatch in (held.microbatches.start, held.microbatches.stop)
        )
        return range(first, last, self.names.code(0, 1))

    def code(self, step: Step) -> int:
        kind, chosen, microbatch, _ = step
        if kind == "W":
            return self.weight_gradient(step)
        chunk = chosen or 0
        if chunk >= len(self.local_stages):
            raise InputError(f"a step names stage {chunk} of a device that holds {len(self.local_stages)}")
        if microbatch is None:
            forward = next((self.forwards if kind == "F" else self.backwards)[chunk], None)
        else:
            forward = self.names.code(self.local_stages[chunk].stage, microbatch)
        if forward is None:
            stage = self.local_stages[chunk].stage
            raise InputError(f"there are more {kind} on stage {stage} than it has microbatches")
        if kind == "I":
            self.owed.append((chunk, forward))
        return forward + _OFFSET[kind]

    def weight_gradient(self, step: Step) -> int:
        wanted = step.microbatch
        for place, (chunk, forward) in enumerate(self.owed):
            if step.chunk in (None, chunk) and wanted in (None, self.names.microbatch(forward)):
                del self.owed[place]
                return forward + _OFFSET["W"]
        raise InputError("there is a W without an earlier I that still needs one")


_OFFSET = {kind: place for place, kind in enumerate(KINDS)}
