"""A bound from one device, whatever the others do: a separate problem, made of the device's own slices of the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ppopt.cutting.linear_bound import Scales
from solver.bounds.makespan import makespan_bound
from solver.errors import InfeasibleError
from solver.exact import in_ticks
from solver.problem import Hold, Key, Precedence, Problem, Task
from strategies.model.actions import Op
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

_START, _END = "start", "end"


def device_bound(
    pipeline: Pipeline, placement: Placement, device: int, scales: Scales, *, split_backward: bool
) -> int | None:
    """Bound the makespan by the work of one device, its memory, and the time microbatches spend elsewhere.

    Whatever the other devices do, a microbatch that leaves the device stays away at least for the sum of the operations
    and transfers on its way; the same holds for its way to the device and from there to its end. With these as lags,
    the device's own operations form a problem that every schedule solves. The problem depends only on the layers on the
    device and where in the model they begin: all cuts that agree in this have the same bound.

    Parameters
    ----------
    pipeline : Pipeline
        With a cut.
    placement : Placement
        Which device holds which stage, in one direction.
    device : int
        The device.
    scales : Scales
        The ticks.
    split_backward : bool
        Whether backwards may be I and W.

    Returns
    -------
    int or None
        In ticks; None if not even one microbatch fits the memory.
    """
    problem = device_problem(pipeline, placement, device, scales, split_backward=split_backward)
    try:
        return makespan_bound(problem).value + in_ticks(pipeline.after, scales.time)
    except InfeasibleError:
        return None


def device_problem(
    pipeline: Pipeline, placement: Placement, device: int, scales: Scales, *, split_backward: bool
) -> Problem:
    """Write the problem of one device; the parameters are those of `device_bound`."""
    return _Writer(pipeline, placement, device, scales, split_backward).problem()


class _Writer:
    def __init__(
        self, pipeline: Pipeline, placement: Placement, device: int, scales: Scales, split_backward: bool
    ) -> None:
        self.pipeline, self.device, self.scales, self.split = pipeline, device, scales, split_backward
        (self.homes,) = placement.homes
        self.held = [stage for stage, home in enumerate(self.homes) if home == device]
        self.latency = in_ticks(pipeline.least_lag, scales.time)
        columns = zip(*(cost.durations for cost in pipeline.costs_at(self.homes)), strict=True)
        self.forward, self.whole, self.to_input, self.to_weight = (
            [in_ticks(value, scales.time) for value in column] for column in columns
        )
        self.back = self.to_input if split_backward else self.whole
        self.kinds = "FIW" if split_backward else "FB"

    def problem(self) -> Problem:
        tasks: dict[Key, Task] = {_START: Task(1, 0), _END: Task(2, 0)}
        precedences: list[Precedence] = []
        count = self.pipeline.microbatches
        durations = dict(zip("FBIW", (self.forward, self.whole, self.to_input, self.to_weight), strict=True))
        for microbatch in range(count):
            for stage in self.held:
                for kind in self.kinds:
                    tasks[Op(stage, kind, microbatch)] = Task(0, durations[kind][stage])
            precedences += self._waits(microbatch)
        chains = [[Op(stage, kind, each) for each in range(count)] for stage in self.held for kind in self.kinds]
        merged: dict[Key, int] = {
            Op(stage, "I", each): self.whole[stage]
            for stage in self.held
            for each in range(count)
            if self.split and self.whole[stage] < self.to_input[stage] + self.to_weight[stage]
        }
        in_turn = "FBI" if merged else "FBIW"
        precedences += [
            (before, after, 0) for chain in chains if chain[0].kind in in_turn for before, after in pairwise(chain)
        ]
        return Problem(
            devices=3,
            tasks=tasks,
            precedences=precedences,
            holds=self._holds(),
            capacities=[self._room(), None, None],
            partners={op: op._replace(kind="W") for op in tasks if isinstance(op, Op) and op.kind == "I"},
            merged_durations=merged,
            chains=chains,
            ticks_per_unit=self.scales.time,
            amounts_per_unit=self.scales.memory,
        )

    def _waits(self, microbatch: int) -> list[Precedence]:
        """List the lags of a microbatch: to the device, between its visits there, and from there to its end."""
        backward = "I" if self.split else "B"
        forwards = [Op(stage, "F", microbatch) for stage in self.held]
        backwards = [Op(stage, backward, microbatch) for stage in self.held]
        first, last = self.held[0], self.held[-1]
        waits: list[Precedence] = [(_START, forwards[0], self._way(self.forward, 0, first))]
        for here, there in pairwise(self.held):
            place = self.held.index(here)
            waits.append((forwards[place], forwards[place + 1], self._way(self.forward, here + 1, there)))
            waits.append((backwards[place + 1], backwards[place], self._way(self.back, here + 1, there)))
        stages = len(self.homes)
        turn = self._way(self.forward, last + 1, stages) + self._way(self.back, last + 1, stages)
        waits.append((forwards[-1], backwards[-1], turn))
        waits += [(after, after._replace(kind="W"), 0) for after in backwards if self.split]
        waits.append((backwards[0], _END, self._way(self.back, 0, first) + self._last_weight(first)))
        return waits

    def _way(self, durations: Sequence[int], start: int, stop: int) -> int:
        """Sum the operations between two stages, and the transfers on the way."""
        near = range(max(0, start - 1), min(stop + 1, len(self.homes)))
        crossings = sum(self.homes[here] != self.homes[there] for here, there in pairwise(near))
        return sum(durations[start:stop]) + self.latency * crossings

    def _last_weight(self, first: int) -> int:
        """Return W of stage 0, which follows a microbatch's last operation here unless the device runs it itself."""
        if not self.split or first == 0:
            return 0
        return min(self.to_weight[0], self.whole[0] - self.to_input[0])

    def _holds(self) -> list[Hold]:
        holds: list[Hold] = []
        for stage in self.held:
            changes = self.pipeline.costs[stage].changes
            amounts = {kind: in_ticks(abs(amount), self.scales.memory) for kind, amount in changes.items()}
            for each in range(self.pipeline.microbatches):
                returns = tuple((Op(stage, kind, each), amounts[kind]) for kind in ("IW" if self.split else "B"))
                holds.append(Hold(Op(stage, "F", each), amounts["F"], returns))
        return holds

    def _room(self) -> int | None:
        limit = self.pipeline.limits[self.device]
        if limit is None:
            return None
        static = sum((self.pipeline.costs[stage].static for stage in self.held), limit * 0)
        return in_ticks(limit - static, self.scales.memory)
