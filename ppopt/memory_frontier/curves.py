"""The shortest schedule and the best bound at every memory limit, for each placement.

Both are stored at one limit and valid at others: a schedule runs at every limit from its own peak up, and a bound
proven at a limit holds at every smaller one. So neither the curve of schedules nor the curve of bounds ever rises,
whatever the searches find and in whatever order they end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ppopt.cutting.least_memory import least_memory
from ppopt.schedules.replaying import with_each_resident
from ppopt.schedules.schedule import Schedule, refuse_below_bound
from solver.bounds.bound import Bound
from solver.problem import Problem
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

ONE_AT_A_TIME = "one microbatch at a time"
"""The schedule that needs the least memory, with which every curve begins; no framework has a program for it."""


@dataclass(frozen=True, eq=False)
class FoundSchedule:
    """A schedule with its exact length and memory.

    Attributes
    ----------
    schedule : Schedule
        The schedule.
    makespan, memory : Fraction
        Its length, and the largest memory peak of any device, in the user's units.
    """

    schedule: Schedule
    makespan: Fraction
    memory: Fraction

    @classmethod
    def of(cls, schedule: Schedule) -> FoundSchedule:
        """Compute both from the schedule's times, without rounding."""
        return cls(schedule, schedule.exact_makespan, max(schedule.figures.peaks))

    @property
    def rank(self) -> tuple[Fraction, Fraction]:
        """The sort key: by makespan, then by memory."""
        return self.makespan, self.memory


def stairs_of(found: Iterable[FoundSchedule]) -> list[FoundSchedule]:
    """List the schedules at which a curve falls, by increasing memory."""
    stairs: list[FoundSchedule] = []
    for each in sorted(found, key=lambda each: (each.memory, each.rank)):
        if not stairs or each.makespan < stairs[-1].makespan:
            stairs.append(each)
    return stairs


@dataclass(frozen=True)
class Proof:
    """A lower bound on the makespan of all schedules on a placement within a memory limit.

    Attributes
    ----------
    limit : Fraction or None
        The memory that each device may hold; None for any.
    value : Fraction
        The bound, in the user's unit of time.
    bound : Bound or None
        The bound in ticks, with the argument that proves it; None if it holds for several cuts, each with its own
        argument.
    """

    limit: Fraction | None
    value: Fraction
    bound: Bound | None

    def holds_at(self, limit: Fraction | None) -> bool:
        """Return whether the proof holds at a limit, that is, at its own limit or a smaller one."""
        return self.limit is None or (limit is not None and limit <= self.limit)


@dataclass
class Record:
    """A searched placement with its schedules and bounds: on one cut of the model, or on all cuts of its layers.

    Schedules and bounds of one cut do not hold for another, so two cuts that are searched separately are two records.

    Attributes
    ----------
    name : str
        The record's unique name.
    pipeline : Pipeline
        The model with this cut, without a memory limit. If all cuts are searched, it has the cut that needs the least
        memory.
    layout : Placement
        Which device holds which stage.
    problem : Problem
        The problem to schedule, without a memory limit.
    over_cuts : bool
        Whether the cut is searched as well: schedules then have any cut, and bounds hold for every cut.
    found : list of FoundSchedule
        The schedules that no other one beats in both makespan and memory; the shortest comes last.
    proofs : list of Proof
        Bounds, sorted by decreasing limit.
    """

    name: str
    pipeline: Pipeline
    layout: Placement
    problem: Problem
    over_cuts: bool = False
    found: list[FoundSchedule] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)

    @property
    def least(self) -> Fraction:
        """The smallest limit under which a schedule can exist; work beside computing may take more."""
        return max(memory for memory, _ in least_memory(self.pipeline, self.layout))

    def is_of(self, schedule: Schedule) -> bool:
        """Return whether a schedule has this placement and this cut, or any cut if all are searched."""
        pipeline = schedule.pipeline.with_limit(None)
        if pipeline.sharding is not None and self.chooses_resident:
            pipeline = pipeline.with_resident("auto")
        if self.over_cuts and pipeline.layers is not None and not any(map(any, pipeline.recomputed_per_stage or ())):
            pipeline = pipeline.with_cut(self.pipeline.layers_per_stage or ())
        return schedule.layout.homes == self.layout.homes and pipeline == self.pipeline

    @property
    def amounts(self) -> list[Fraction]:
        """The amounts that add up to the memory of every schedule."""
        layers = self.pipeline.layers
        if not self.over_cuts or layers is None:
            every = [amount for costs in self.pipeline.costs_by_class for cost in costs for amount in cost.amounts]
            return list(filter(None, [*every, *self.pipeline.side_amounts]))
        glued = (kind.costs.times(kind.glue) for kind in layers.kinds)
        return [
            amount for costs in glued for amount in (costs.activation, costs.held_for_weight, costs.static) if amount
        ]

    @property
    def activations(self) -> list[Fraction]:
        """The activations that a stage may keep of a microbatch, without zeros."""
        layers = self.pipeline.layers
        if not self.over_cuts or layers is None:
            return [cost.activation for costs in self.pipeline.costs_by_class for cost in costs if cost.activation]
        return [kind.costs.activation * kind.glue for kind in layers.kinds if kind.costs.activation]

    @property
    def chooses_resident(self) -> bool:
        """Whether each schedule runs with any number of resident stages (``sharding.resident: auto``)."""
        return self.pipeline.sharding is not None and self.pipeline.sharding.resident == "auto"

    def add_each(self, schedule: Schedule) -> None:
        """Add a schedule, with each number of resident stages if that is open."""
        for each in with_each_resident(schedule) if self.chooses_resident else [schedule]:
            self.add(FoundSchedule.of(each))

    def add(self, found: FoundSchedule) -> bool:
        """Keep a schedule unless another is as short with no more memory; drop the schedules that it beats."""
        if any(each.makespan <= found.makespan and each.memory <= found.memory for each in self.found):
            return False
        kept = [each for each in self.found if not (found.makespan <= each.makespan and found.memory <= each.memory)]
        self.found = sorted([*kept, found], key=lambda each: each.memory)
        return True

    def prove(self, bound: Bound, limit: Fraction | None) -> None:
        """Store a bound proven at a limit, in ticks of the problem."""
        value = Fraction(bound.value, self.problem.ticks_per_unit) + self.pipeline.after
        self.prove_for_cuts(value, limit, bound)

    def prove_for_cuts(self, value: Fraction, limit: Fraction | None, bound: Bound | None = None) -> None:
        """Store a bound proven at a limit for every searched cut, in the user's unit of time."""
        if value > self.bound_at(limit):
            self.proofs.append(Proof(limit, value, bound))

    def refuse_contradictions(self) -> None:
        """Drop bounds that a schedule beats (schedules are replayed and checked, so the bound is wrong), and say so.

        Raises
        ------
        InternalError
            If there is such a bound.
        """
        broken = [
            (proof, found)
            for proof in self.proofs
            for found in self.found
            if proof.holds_at(found.memory) and found.makespan < proof.value
        ]
        self.proofs = [proof for proof in self.proofs if all(proof is not wrong for wrong, _ in broken)]
        for proof, found in broken:
            refuse_below_bound(found.schedule.strategy, found.makespan, proof.value)

    def best_proof(self, limit: Fraction | None) -> Proof | None:
        """Find the highest bound that holds at a limit."""
        holding = (proof for proof in self.proofs if proof.holds_at(limit))
        return max(holding, key=lambda proof: proof.value, default=None)

    def bound_at(self, limit: Fraction | None) -> Fraction:
        """Return the highest bound that holds at a limit."""
        proof = self.best_proof(limit)
        return Fraction(0) if proof is None else proof.value

    def best_at(self, limit: Fraction | None) -> FoundSchedule | None:
        """Find the shortest schedule whose memory is within a limit."""
        fitting = (each for each in self.found if limit is None or each.memory <= limit)
        return min(fitting, key=lambda each: each.rank, default=None)


@dataclass
class Curves:
    """All placements together.

    Attributes
    ----------
    records : sequence of Record
        One for each placement; at least one.
    """

    records: Sequence[Record]

    @property
    def placements(self) -> tuple[str, ...]:
        """The names of the placements, each once."""
        return tuple(dict.fromkeys(record.layout.name for record in self.records))

    @property
    def least(self) -> Fraction:
        """The smallest limit within which a schedule is known, on any of the placements.

        No schedule needs less than one microbatch at a time, unless work beside computing takes memory, too.
        """
        return min(each.memory for record in self.records for each in record.found)

    @property
    def enough(self) -> Fraction:
        """The memory of the shortest schedule found, the least among equally short ones: more memory gains nothing."""
        return self._best(None).memory

    def feasible(self, limit: Fraction | None) -> list[Record]:
        """List the placements on which a schedule exists at a limit."""
        return [record for record in self.records if limit is None or record.least <= limit]

    def best_at(self, limit: Fraction | None) -> FoundSchedule:
        """Find the shortest schedule at a limit, which must be at least the least."""
        return self._best(limit)

    def _best(self, limit: Fraction | None) -> FoundSchedule:
        found = (record.best_at(limit) for record in self.records)
        return min((each for each in found if each is not None), key=lambda each: each.rank)

    def bound_at(self, limit: Fraction | None) -> Fraction:
        """Return the bound on all schedules at a limit, on any of the placements."""
        return min(record.bound_at(limit) for record in self.feasible(limit))

    def open_part(self, record: Record, limit: Fraction | None) -> Fraction:
        """Return the largest share of the best step at a limit that a schedule on this placement could still save."""
        if limit is not None and limit < record.least:
            return Fraction(0)
        best = self.best_at(limit).makespan
        return max(Fraction(0), best - record.bound_at(limit)) / best

    def stairs(self) -> list[FoundSchedule]:
        """List the schedules at which the curve falls, by increasing memory."""
        return stairs_of(each for record in self.records for each in record.found)

    def bound_steps(self, limits: Iterable[Fraction]) -> list[tuple[Fraction, Fraction]]:
        """List limits with their bounds, increasing; each bound holds from the previous limit up to its own.

        Parameters
        ----------
        limits : iterable of Fraction
            Further limits to include, besides those at which something was proven.
        """
        proven = {proof.limit for record in self.records for proof in record.proofs if proof.limit is not None}
        starts = {record.least for record in self.records}
        every = sorted(limit for limit in {*proven, *starts, *limits} if limit >= self.least)
        return [(limit, self.bound_at(limit)) for limit in every]
