"""What is known at every memory limit: the shortest schedule found, and a bound for each placement.

Both are kept where they were found and asked for anywhere: a schedule runs at every limit from its own peak up, and a
bound that was proven at a limit holds at every smaller one. So the curve of schedules never rises and the curve of
bounds never does either, whatever the searches find and in whatever order they end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ppopt.cutting.least_memory import least_memory
from ppopt.schedules.schedule import Schedule, refuse_below_bound
from reports.memory import peak_memory
from solver.bounds.bound import Bound
from solver.problem import Problem
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement


@dataclass(frozen=True, eq=False)
class Found:
    """A schedule with its exact length and memory.

    Attributes
    ----------
    schedule : Schedule
        What was found.
    makespan, memory : Fraction
        Its length, and its largest peak of a device, in the user's units.
    """

    schedule: Schedule
    makespan: Fraction
    memory: Fraction

    @classmethod
    def of(cls, schedule: Schedule) -> Found:
        """Read both off the times, without rounding."""
        problem = schedule.problem
        peak = max(peak_memory(problem, schedule.rows))
        return cls(schedule, schedule.exact_makespan, Fraction(peak, problem.amounts_per_unit))

    @property
    def rank(self) -> tuple[Fraction, Fraction]:
        """The shorter comes first; of equally short ones, that with less memory."""
        return self.makespan, self.memory


@dataclass(frozen=True)
class Proof:
    """No schedule on a placement whose devices hold at most so much is shorter.

    Attributes
    ----------
    limit : Fraction or None
        The memory that each device may hold; None for any.
    value : Fraction
        The makespan that nothing beats, in the user's unit of time.
    bound : Bound or None
        The same in ticks, with the argument that proves it; None where it holds for several cuts, each of which has an
        argument of its own.
    """

    limit: Fraction | None
    value: Fraction
    bound: Bound | None

    def holds_at(self, limit: Fraction | None) -> bool:
        """Return whether it holds at a limit: at its own and at every smaller one."""
        return self.limit is None or (limit is not None and limit <= self.limit)


@dataclass
class Lane:
    """A placement that is searched, with what is known of it: on one cut of the model, or on all cuts of its layers.

    Schedules and bounds of one cut say nothing of another, so two cuts that are searched each on its own are two.

    Attributes
    ----------
    name : str
        What it is called; no two have the same name.
    pipeline : Pipeline
        The model as it is cut for it, without a memory limit. Where all cuts are searched, as the cut that needs the
        least memory.
    layout : Placement
        Which device holds which stage.
    problem : Problem
        What a search of it schedules, without a memory limit.
    over_cuts : bool
        Whether the cut is searched, too: then schedules are of any cut, and bounds hold for every cut.
    found : list of Found
        Schedules of which no other is both as short and as frugal; the shortest comes last.
    proofs : list of Proof
        Bounds, by falling limits.
    """

    name: str
    pipeline: Pipeline
    layout: Placement
    problem: Problem
    over_cuts: bool = False
    found: list[Found] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)

    @property
    def least(self) -> Fraction:
        """The smallest limit under which a schedule exists."""
        return max(memory for memory, _ in least_memory(self.pipeline, self.layout))

    def is_of(self, schedule: Schedule) -> bool:
        """Return whether a schedule has this placement, and this cut or one of those that are searched."""
        pipeline = schedule.pipeline.with_limit(None)
        if self.over_cuts and pipeline.layers is not None and not any(map(any, pipeline.recomputed_per_stage or ())):
            pipeline = pipeline.with_cut(self.pipeline.layers_per_stage or ())
        return schedule.layout.homes == self.layout.homes and pipeline == self.pipeline

    @property
    def amounts(self) -> list[Fraction]:
        """What the memory of every schedule is a sum of."""
        layers = self.pipeline.layers
        if not self.over_cuts or layers is None:
            return [amount for cost in self.pipeline.costs for amount in cost.amounts if amount]
        glued = (kind.costs.times(kind.glue) for kind in layers.kinds)
        return [
            amount for costs in glued for amount in (costs.activation, costs.held_for_weight, costs.static) if amount
        ]

    @property
    def activations(self) -> list[Fraction]:
        """What a stage may keep of a microbatch, where that is anything."""
        layers = self.pipeline.layers
        if not self.over_cuts or layers is None:
            return [cost.activation for cost in self.pipeline.costs if cost.activation]
        return [kind.costs.activation * kind.glue for kind in layers.kinds if kind.costs.activation]

    def add(self, found: Found) -> bool:
        """Keep a schedule unless another is as short and takes no more memory; drop those that it makes idle."""
        if any(each.makespan <= found.makespan and each.memory <= found.memory for each in self.found):
            return False
        kept = [each for each in self.found if not (found.makespan <= each.makespan and found.memory <= each.memory)]
        self.found = sorted([*kept, found], key=lambda each: each.memory)
        return True

    def prove(self, bound: Bound, limit: Fraction | None) -> None:
        """Keep a bound, in ticks of the problem, that was proven at a limit."""
        self.prove_for_cuts(Fraction(bound.value, self.problem.ticks_per_unit), limit, bound)

    def prove_for_cuts(self, value: Fraction, limit: Fraction | None, bound: Bound | None = None) -> None:
        """Keep a bound, in the user's unit of time, that was proven at a limit for every cut that is searched."""
        if value > self.bound_at(limit):
            self.proofs.append(Proof(limit, value, bound))

    def refuse_contradictions(self) -> None:
        """Drop bounds that a schedule is below, since schedules are replayed and checked, and say so.

        Raises
        ------
        InternalError
            If there are any.
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

    def best_at(self, limit: Fraction | None) -> Found | None:
        """Find the shortest schedule that holds at most so much."""
        fitting = (each for each in self.found if limit is None or each.memory <= limit)
        return min(fitting, key=lambda each: each.rank, default=None)


@dataclass
class Curves:
    """All placements together.

    Attributes
    ----------
    lanes : sequence of Lane
        One for each placement; at least one.
    """

    lanes: Sequence[Lane]

    @property
    def placements(self) -> tuple[str, ...]:
        """The names of the placements, each once."""
        return tuple(dict.fromkeys(lane.layout.name for lane in self.lanes))

    @property
    def least(self) -> Fraction:
        """The smallest limit under which any schedule exists, on any of the placements."""
        return min(lane.least for lane in self.lanes)

    @property
    def enough(self) -> Fraction:
        """The memory of the shortest schedule found; of equally short ones, of the most frugal: more buys nothing."""
        return self._best(None).memory

    def feasible(self, limit: Fraction | None) -> list[Lane]:
        """List the placements on which a schedule exists at a limit."""
        return [lane for lane in self.lanes if limit is None or lane.least <= limit]

    def best_at(self, limit: Fraction | None) -> Found:
        """Find the shortest schedule at a limit that is not below the least."""
        return self._best(limit)

    def _best(self, limit: Fraction | None) -> Found:
        found = (lane.best_at(limit) for lane in self.lanes)
        return min((each for each in found if each is not None), key=lambda each: each.rank)

    def bound_at(self, limit: Fraction | None) -> Fraction:
        """Return what no schedule at a limit beats, on any of the placements."""
        return min(lane.bound_at(limit) for lane in self.feasible(limit))

    def open_part(self, lane: Lane, limit: Fraction | None) -> Fraction:
        """Return which part of the best step at a limit a schedule on this placement could still save at most."""
        if limit is not None and limit < lane.least:
            return Fraction(0)
        best = self.best_at(limit).makespan
        return max(Fraction(0), best - lane.bound_at(limit)) / best

    def stairs(self) -> list[Found]:
        """List the schedules at which the curve falls, by rising memory."""
        every = sorted((each for lane in self.lanes for each in lane.found), key=lambda each: (each.memory, each.rank))
        stairs: list[Found] = []
        for each in every:
            if not stairs or each.makespan < stairs[-1].makespan:
                stairs.append(each)
        return stairs

    def bound_steps(self, limits: Iterable[Fraction]) -> list[tuple[Fraction, Fraction]]:
        """List limits up to which a bound holds from the one before, by rising limits.

        Parameters
        ----------
        limits : iterable of Fraction
            Where the curve is asked for beside the limits at which something was proven.
        """
        proven = {proof.limit for lane in self.lanes for proof in lane.proofs if proof.limit is not None}
        starts = {lane.least for lane in self.lanes}
        every = sorted(limit for limit in {*proven, *starts, *limits} if limit >= self.least)
        return [(limit, self.bound_at(limit)) for limit in every]
