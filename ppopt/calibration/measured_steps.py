"""Measured steps, what replays predict for them at given costs, and steps that are too short to be true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import isclose
from typing import NamedTuple

from ppopt.evaluation.evaluate import evaluate_with
from ppopt.schedules.schedule import Schedule
from reports.numbers import number, percent, with_unit
from solver.counted import counted
from solver.errors import InputError
from solver.states import Objective
from strategies.given_model.stages import CutChoice, GivenModel
from strategies.model.communication import Communication
from strategies.model.overhead import Step
from strategies.model.pipeline import Pipeline
from strategies.order_files.given_order import Named


class FoundCosts(NamedTuple):
    """The costs that a calibration may find.

    Attributes
    ----------
    overhead : Fraction
        The overhead of every operation.
    transfer : Fraction
        The time of a transfer, beside the latency; 0 leaves it as configured.
    after : Fraction
        What a step takes after its last operation.
    """

    overhead: Fraction
    transfer: Fraction
    after: Fraction

    def put_into(self, pipeline: Pipeline) -> Pipeline:
        """Return a pipeline with these costs in place of its own."""
        changes: dict[str, object] = {"overhead": self.overhead, "step": Step(after=self.after) if self.after else None}
        if self.transfer:
            given = pipeline.communication or Communication(latency=pipeline.p2p_latency)
            changes["communication"] = given.model_copy(update={"transfer": self.transfer})
            changes["p2p_latency"] = Fraction(0)
        return pipeline.model_copy(update=changes)


def leaves_transfers_open(pipeline: Pipeline) -> bool:
    """Return whether a pipeline has transfers, and does not say how long they are on their links."""
    given = pipeline.communication
    return pipeline.devices > 1 and (given is None or (given.transfer is None and given.bytes is None))


@dataclass(frozen=True, eq=False)
class MeasuredStep:
    """How long a step of a schedule took.

    Attributes
    ----------
    name : str or GivenOrder
        The schedule.
    length : Fraction
        The measured time.
    pipeline : Pipeline
        What ran.
    objective : {"makespan", "span"}
        Whether a step is as long as the makespan, or as the span: where each device begins the next step when it has
        finished this one.
    times_of : int or None
        As for `GivenModel`.
    cut : {"plan", "even"}
        As for `GivenModel`.
    """

    name: Named
    length: Fraction
    pipeline: Pipeline
    objective: Objective = "makespan"
    times_of: int | None = None
    cut: CutChoice = "plan"
    _replayed: dict[tuple[Fraction, Fraction], Fraction] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """The schedule's name."""
        return self.name if isinstance(self.name, str) else self.name.name

    def predicted(self, costs: FoundCosts) -> Fraction:
        """Return how long the replay takes at given costs; an order that depends on times is made for them."""
        key = costs.overhead, costs.transfer
        if key not in self._replayed:
            schedule = self.replayed(costs.put_into(self.pipeline))
            self._replayed[key] = self.length_of(schedule)
        return self._replayed[key] + costs.after

    def replayed(self, pipeline: Pipeline) -> Schedule:
        """Replay the schedule on a pipeline, without what a step takes after its last operation."""
        model = GivenModel(pipeline.model_copy(update={"step": None}), self.times_of, self.cut)
        return evaluate_with(model, self.name, "graph", {})

    def length_of(self, schedule: Schedule) -> Fraction:
        """Return the length of a replayed step."""
        return schedule.exact_span if self.objective == "span" else schedule.exact_makespan

    def refuse_if_impossible(self, least: Schedule) -> None:
        """Refuse a step that is shorter than the work of a device.

        Parameters
        ----------
        least : Schedule
            The replay without overhead.

        Raises
        ------
        InputError
            With the work, and what may be wrong.
        """
        work = max(least.figures.busy)
        if float(self.length) >= work:
            return
        unit = self.pipeline.unit
        took, shortest = with_unit(number(float(self.length)), unit), with_unit(number(work, 4), unit)
        questions = ", or ".join(self._doubts(least, work))
        raise InputError(
            f"{self.label}: {_work_in_words(least)} are {shortest} of work for a device; a step of {took} is "
            f"impossible: {questions}?"
        )

    def too_short(self, least: Schedule) -> str:
        """Say by how much the replay without overhead, and what follows its last operation, is longer than the step."""
        unit = self.pipeline.unit
        shortest, took = self.length_of(least) + self.pipeline.after, with_unit(number(float(self.length)), unit)
        return (
            f"{self.label}: even without overhead a step takes {with_unit(number(float(shortest)), unit)}, "
            f"{percent(float(shortest / self.length - 1))} more than the measured {took}"
        )

    def _doubts(self, least: Schedule, work: float) -> Iterator[str]:
        given = self.pipeline.stages
        chunks = least.pipeline.stages_per_device
        as_given = given is None or given == least.pipeline.stages
        yield "are these times of a whole stage" if chunks > 1 and as_given else "are the costs those of this run"
        microbatches = fewer = self.pipeline.microbatches
        while fewer > 1 and work * fewer / microbatches > self.length:
            fewer //= 2
        if work * fewer / microbatches <= self.length:
            yield f"is m {fewer}"


def _work_in_words(least: Schedule) -> str:
    """Write the work of the busiest device: as a formula if its stages are all the same."""
    busy = least.figures.busy
    device = max(range(len(busy)), key=busy.__getitem__)
    microbatches = counted(least.pipeline.microbatches, "microbatch")
    for stages, forward, backward in _equal_stages(least, device):
        if isclose(least.pipeline.microbatches * stages * (forward + backward), busy[device], rel_tol=1e-9):
            times = f"{number(float(forward), 4)} + {number(float(backward), 4)}"
            return f"{microbatches} of {f'{stages} × ({times})' if stages > 1 else times}"
    return f"{microbatches} on device {device}"


def _equal_stages(least: Schedule, device: int) -> Iterator[tuple[int, Fraction, Fraction]]:
    """Yield the number of a device's stages, their forward and their backward, as a whole and in halves."""
    homes = [stage for copy in least.layout.homes for stage, home in enumerate(copy) if home == device]
    costs = {least.pipeline.costs_on(device)[stage] for stage in homes}
    if len(costs) == len(least.layout.homes) == 1:
        (cost,) = costs
        yield len(homes), cost.forward, cost.backward
        yield len(homes), cost.forward, cost.backward_input + cost.backward_weight
