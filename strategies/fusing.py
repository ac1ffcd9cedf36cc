"""Which forwards and backwards may share an overlapped block, and how long it lasts."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction

from solver.exact import in_ticks
from solver.problem import Fusing, Key, Task
from strategies.actions import Op
from strategies.pipeline import Pipeline
from strategies.placements import Placement

Pair = tuple[int, int]
"""The class of a forward and that of a backward."""


@dataclass(frozen=True)
class Blocks:
    """The blocks that a placement allows; stages whose costs are alike are one class.

    Attributes
    ----------
    forwards, backwards : tuple of int
        For each stage, the class of its forwards and of its backwards.
    on_devices : tuple of set of (int, int)
        For each device, the pairs that it can run as a block.
    durations : mapping of (int, int) to Fraction
        How long each pair lasts.
    """

    forwards: tuple[int, ...]
    backwards: tuple[int, ...]
    on_devices: tuple[frozenset[Pair], ...]
    durations: Mapping[Pair, Fraction]

    def fusing(self, tasks: Mapping[Key, Task], second_kind: str, scale: int) -> Fusing:
        """Write the blocks for a problem.

        Parameters
        ----------
        tasks : mapping of Key to Task
            The operations.
        second_kind : {"B", "I"}
            The kind of operation that is a second half.
        scale : int
            How many ticks make one unit of time.
        """
        firsts = [{forward for forward, _ in pairs} for pairs in self.on_devices]
        seconds = [{backward for _, backward in pairs} for pairs in self.on_devices]
        return Fusing(
            self._halves(tasks, "F", self.forwards, firsts),
            self._halves(tasks, second_kind, self.backwards, seconds),
            {pair: in_ticks(duration, scale) for pair, duration in self.durations.items()},
        )

    @staticmethod
    def _halves(
        tasks: Mapping[Key, Task], kind: str, classes: Sequence[int], on_devices: Sequence[Set[int]]
    ) -> dict[Key, int]:
        """Give the class of each operation of a kind that can be in a block on its device."""
        ops = (op for op in tasks if isinstance(op, Op) and op.kind == kind)
        return {op: classes[op.stage] for op in ops if classes[op.stage] in on_devices[tasks[op].device]}


def find_blocks(pipeline: Pipeline, placement: Placement) -> Blocks:
    """List the blocks of any forward with any full backward on its device.

    Parameters
    ----------
    pipeline : Pipeline
        With a settled number of stages.
    placement : Placement
        Which device holds which stage.
    """
    forwards = _classes((cost.forward, cost.overlapped) for cost in pipeline.costs)
    backwards = _classes((cost.backward, cost.backward_input, cost.backward_weight) for cost in pipeline.costs)
    on_devices: list[frozenset[Pair]] = []
    durations: dict[Pair, Fraction] = {}
    for local in placement.local_stages:
        stages = [each.stage for each in local if each.microbatches]
        first = {forwards[stage]: stage for stage in stages}
        second = {backwards[stage]: stage for stage in stages}
        on_devices.append(frozenset((forward, backward) for forward in first for backward in second))
        for forward, backward in on_devices[-1] - durations.keys():
            durations[forward, backward] = pipeline.block_duration(first[forward], second[backward])
    return Blocks(forwards, backwards, tuple(on_devices), durations)


def find_saving_blocks(pipeline: Pipeline, placement: Placement, *, split_backward: bool) -> Blocks:
    """List those blocks that are shorter than their halves one after the other.

    No schedule needs others: their halves one after the other take no longer, hold no more, and are done no later.

    Parameters
    ----------
    pipeline, placement
        As for `find_blocks`.
    split_backward : bool
        Whether a backward may be I and W, where that is shorter than B.
    """
    found = find_blocks(pipeline, placement)
    alone = dict(zip(found.forwards, (cost.forward for cost in pipeline.costs), strict=True))
    behind = dict(zip(found.backwards, (cost.least_backward(split_backward) for cost in pipeline.costs), strict=True))
    durations = {pair: each for pair, each in found.durations.items() if each < alone[pair[0]] + behind[pair[1]]}
    saving = tuple(pairs & durations.keys() for pairs in found.on_devices)
    return Blocks(found.forwards, found.backwards, saving, durations)


def _classes(values: Iterable[Hashable]) -> tuple[int, ...]:
    """Give each value a number, equal ones the same."""
    numbers: dict[Hashable, int] = {}
    return tuple(numbers.setdefault(value, len(numbers)) for value in values)
