"""The splits of some GPUs that fit the memory, each with the quick plan of its best schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from ppopt.estimation.assumptions import Assumptions
from ppopt.estimation.counts import CountedModel
from ppopt.estimation.estimated_layers import estimated_layers
from ppopt.estimation.layers_file import Entry, LayersFile
from ppopt.estimation.splits import Cluster, Split, fits, least_step, splits, usual_step
from ppopt.planning.planning import plan
from ppopt.planning.plans import Plan, Planning
from reports.numbers import percent
from reports.source import on_costs
from solver.counted import counted
from strategies.model.pipeline import Pipeline

HANDED_ON = 10
"""How many of the best are handed on."""

USUAL_SCHEDULES = ("1f1b", "interleaved", "zb-h1", "zb-v")
"""The schedules that are tried if no framework is named."""

SHORTEST_TURN, LONGEST_TURN = 1.0, 6.0
"""Seconds for the plans of one split."""

SHARE_OF_FIRST = 0.6
"""Share of the time for first turns."""


@dataclass(frozen=True)
class Shortlisted:
    """A split with its best plan.

    Attributes
    ----------
    split : Split
        The split.
    planning : Planning
        Its plans.
    layers : LayersFile
        Its costs.
    tokens_per_second : float
        Tokens of a step over its time.
    utilization : float
        FLOPs of the model over what the peak of all GPUs could do in that time.
    """

    split: Split
    planning: Planning
    layers: LayersFile
    tokens_per_second: float
    utilization: float

    @property
    def best(self) -> Plan:
        """The shortest plan."""
        best = self.planning.best
        assert best is not None
        return best

    @property
    def file(self) -> LayersFile:
        """Its layers file, with the numbers of devices and microbatches."""
        sizes = [Entry("devices", self.split.pipeline), Entry("microbatches", self.split.microbatches)]
        return replace(self.layers, values=[*sizes, *self.layers.values])

    def to_dict(self) -> dict[str, Any]:
        """Return its figures."""
        division, best = self.split.division, self.best
        return {
            "tensor_parallel": division.tensor,
            "context_parallel": division.context,
            "expert_parallel": division.expert,
            "pipeline_parallel": self.split.pipeline,
            "data_parallel": division.data,
            "microbatch_size": self.split.microbatch_size,
            "microbatches": self.split.microbatches,
            "strategy": best.name,
            "stages_per_device": best.stages_per_device,
            "step": best.makespan,
            "bound": float(best.bound),
            "gap": best.gap,
            "status": best.status,
            "tokens_per_second": self.tokens_per_second,
            "mfu": self.utilization,
            "peak_memory": max(best.peak_memory),
            "layers_per_stage": list(best.layers_per_stage),
            "recomputed_per_stage": list(best.recomputed_per_stage),
        }


@dataclass
class Shortlist:
    """What was found.

    Attributes
    ----------
    cluster : Cluster
        What was split.
    found : list of Shortlisted
        The splits with a plan that fits, the shortest step first.
    considered : int
        All splits.
    too_large : list of str
        Those that do not fit the memory, which is proven.
    slower : list of str
        Those that cannot be among the first, whatever their schedule.
    unplanned : list of str
        Those for which there was no time, or too little.
    """

    cluster: Cluster
    found: list[Shortlisted] = field(default_factory=list)
    considered: int = 0
    too_large: list[str] = field(default_factory=list)
    slower: list[str] = field(default_factory=list)
    unplanned: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Which split is the best, and what is known of the others."""
        if not self.found:
            time = ", as far as there was time to plan it" if self.unplanned else ""
            return f"None of {counted(self.considered, 'split')} fits the memory{time}."
        best = self.found[0]
        text = f"{best.split.name} with {best.best.label} is the fastest of {counted(len(self.found), 'split')} planned"
        if len(self.found) > 1:
            ahead = self.found[1].best.makespan / best.best.makespan - 1
            text += f", {percent(ahead)} ahead of {self.found[1].split.name}"
        return on_costs(f"{text}.", "estimated") + self._others

    @property
    def _others(self) -> str:
        parts = [
            f"{len(self.too_large)} do not fit the memory" if self.too_large else "",
            f"{len(self.slower)} cannot be among the first {HANDED_ON} with any schedule" if self.slower else "",
            f"{len(self.unplanned)} were not planned, for lack of time" if self.unplanned else "",
        ]
        told = "; ".join(part for part in parts if part)
        return f" Of {self.considered} splits, {told}." if told else ""

    def to_dict(self) -> dict[str, Any]:
        """Return all figures."""
        return {
            "gpus": self.cluster.gpus,
            "global_batch": self.cluster.batch,
            "splits": [each.to_dict() for each in self.found],
            "considered": self.considered,
            "too_large": self.too_large,
            "slower": self.slower,
            "unplanned": self.unplanned,
            "verdict": self.verdict,
        }


def shortlist(
    model: CountedModel,
    assumed: Assumptions,
    cluster: Cluster,
    *,
    title: str,
    framework: str | None = None,
    time_limit: float = 60.0,
    say: Callable[[str], None] = lambda _: None,
) -> Shortlist:
    """Plan the splits of some GPUs.

    Parameters
    ----------
    model : CountedModel
        The model, counted for one sequence.
    assumed : Assumptions
        Everything else, but for the division.
    cluster : Cluster
        What to split.
    title : str
        What to call the model.
    framework : str or None
        The framework that must run the schedules; None for `USUAL_SCHEDULES`.
    time_limit : float
        Seconds.
    say : callable
        Is told how far it is.

    Raises
    ------
    InputError
        If the GPUs cannot be split.
    """
    race = _Race(model, assumed, cluster, framework, perf_counter() + time_limit, say)
    race.gather(title)
    race.plan_each(SHARE_OF_FIRST * time_limit)
    race.plan_best_again()
    return race.result


@dataclass
class _Entry:
    """A split that is to be planned, with what no schedule of it is shorter than, and about how long 1F1B takes."""

    split: Split
    layers: LayersFile
    least: float
    usual: float


@dataclass
class _Race:
    """Plans splits in the order in which they are likely to be the best."""

    model: CountedModel
    assumed: Assumptions
    cluster: Cluster
    framework: str | None
    ends: float
    say: Callable[[str], None]
    waiting: list[_Entry] = field(default_factory=list)
    is_interrupted: bool = False

    def __post_init__(self) -> None:
        self.result = Shortlist(self.cluster)

    def gather(self, title: str) -> None:
        """Collect the splits whose weights fit."""
        for split in splits(self.model, self.cluster):
            self.result.considered += 1
            model, assumed = of_size(self.model, split.microbatch_size), replace(self.assumed, division=split.division)
            layers = estimated_layers(model, assumed, f"{title}, {split.name}", split.pipeline)
            limit = float(layers.to_mapping()["memory"]["limit"])
            if fits(model, assumed, split, limit):
                usual = usual_step(model, assumed, split, limit)
                self.waiting.append(_Entry(split, layers, least_step(model, assumed, split), usual))
            else:
                self.result.too_large.append(split.name)
        self.waiting.sort(key=lambda each: (each.usual, each.least))

    def plan_each(self, seconds: float) -> None:
        """Give every split a short turn, as long as there is time; leave out those that cannot be among the first."""
        ends, found = perf_counter() + seconds, self.result.found
        for place, entry in enumerate(self.waiting):
            if len(found) >= HANDED_ON and entry.least >= found[HANDED_ON - 1].best.makespan:
                self.result.slower.append(entry.split.name)
                continue
            if self.is_interrupted or (perf_counter() >= ends and place):
                self.result.unplanned.append(entry.split.name)
                continue
            self.say(f"{place + 1} of {len(self.waiting)}: {entry.split.name}")
            share = (ends - perf_counter()) / min(len(self.waiting) - place, 2 * HANDED_ON)
            planned = self._planned(entry, max(SHORTEST_TURN, min(LONGEST_TURN, share)), first=True)
            if planned is not None:
                found.append(planned)
                found.sort(key=lambda each: each.best.makespan)

    def plan_best_again(self) -> None:
        """Use the time that is left for longer turns of the best."""
        entries = {entry.split: entry for entry in self.waiting}
        found = self.result.found
        for split in [each.split for each in found[:HANDED_ON]]:
            left = self.ends - perf_counter()
            if self.is_interrupted or left < SHORTEST_TURN:
                break
            self.say(f"again: {split.name}")
            planned = self._planned(entries[split], min(LONGEST_TURN, left))
            place = next(place for place, each in enumerate(found) if each.split == split)
            if planned is not None and planned.best.makespan < found[place].best.makespan:
                found[place] = planned
        found.sort(key=lambda each: each.best.makespan)

    def _planned(self, entry: _Entry, seconds: float, *, first: bool = False) -> Shortlisted | None:
        """Plan a split; None if nothing was found that fits, which is noted the first time."""
        split = entry.split
        names = None if self.framework is not None else USUAL_SCHEDULES[: 1 if split.pipeline == 1 else None]
        pipeline = Pipeline.from_mapping(_sized(split, entry.layers))
        planning = plan(pipeline, names, framework=self.framework, time_limit=seconds, raise_infeasible=False)
        self.is_interrupted |= planning.interrupted
        if planning.best is None:
            if first:
                noted = self.result.unplanned if planning.infeasible is None else self.result.too_large
                noted.append(split.name)
            return None
        step, sequences = planning.best.makespan / 1000, self.cluster.batch
        peak = self.cluster.gpus * self.assumed.gpu.peak[self.assumed.dtype] * 1e12
        return Shortlisted(
            split,
            planning,
            entry.layers,
            tokens_per_second=sequences * self.model.seq / step,
            utilization=sequences * _flops(self.model) / (step * peak),
        )


def _sized(split: Split, layers: LayersFile) -> dict[str, Any]:
    return {"devices": split.pipeline, "microbatches": split.microbatches} | layers.to_mapping()


def _flops(model: CountedModel) -> int:
    """Add up the FLOPs of a sequence, nothing recomputed."""
    costs = ((row.count, row.whole) for row in model.rows)
    return sum(count * (cost.forward + cost.backward_input + cost.backward_weight) for count, cost in costs)


def of_size(model: CountedModel, sequences: int) -> CountedModel:
    """Return a model that was counted for one sequence for several of them: all but parameters grows with them."""
    rows = tuple(replace(row, cost=row.cost.of_size(sequences)) for row in model.rows)
    return replace(model, rows=rows, microbatch_size=sequences)
