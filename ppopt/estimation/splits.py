"""The ways to split GPUs into tensor, pipeline, expert and data parallel ranks, with the microbatch size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from ppopt.estimation.assumptions import Assumptions
from ppopt.estimation.counts import CountedModel
from ppopt.estimation.division import Division
from ppopt.estimation.estimated_layers import even_stages
from ppopt.estimation.gpus import GIGA
from ppopt.estimation.times import time_after_step, times_of
from solver.errors import InputError

LARGEST_MICROBATCH = 8
"""Sequences; more only lengthen the warm-up and take memory."""

LARGEST_EXPERT_PARALLEL = 64

ROUNDING = 0.999
"""A layers file rounds its numbers by less than that."""


@dataclass(frozen=True)
class Cluster:
    """The GPUs to split, and the batch that they share.

    Attributes
    ----------
    gpus : int
        All GPUs.
    batch : int
        Sequences of one step.
    most_tensor : int
        The largest tensor parallelism.
    context : int
        Context parallelism.
    expert : int or None
        Expert parallelism; None for any.
    """

    gpus: int
    batch: int
    most_tensor: int
    context: int = 1
    expert: int | None = None


@dataclass(frozen=True)
class Split:
    """One way to split them.

    Attributes
    ----------
    division : Division
        Everything but the stages.
    pipeline : int
        Pipeline ranks.
    microbatch_size, microbatches : int
        Sequences of a microbatch, and microbatches of each copy of the pipeline.
    """

    division: Division
    pipeline: int
    microbatch_size: int
    microbatches: int

    @property
    def name(self) -> str:
        """What it is called, in file names as well."""
        each = self.division
        expert = f"-ep{each.expert}" if each.expert > 1 else ""
        context = f"-cp{each.context}" if each.context > 1 else ""
        return f"tp{each.tensor}{context}-pp{self.pipeline}-dp{each.data}{expert}-mb{self.microbatch_size}"


def splits(model: CountedModel, cluster: Cluster) -> list[Split]:
    """Return the splits that Megatron takes.

    Raises
    ------
    InputError
        If there is none.
    """
    found = list(_splits(model, cluster))
    if not found:
        raise InputError(
            f"--gpus: {cluster.gpus} GPUs cannot be split for a batch of {cluster.batch} sequences; the data-parallel "
            "copies must divide it"
        )
    return found


def _splits(model: CountedModel, cluster: Cluster) -> Iterator[Split]:
    layers = sum(row.count for row in model.rows[1:-1])
    for tensor in _divisors(cluster.gpus, cluster.most_tensor):
        for pipeline in _divisors(cluster.gpus // tensor, layers):
            if cluster.gpus % (tensor * pipeline * cluster.context):
                continue
            data = cluster.gpus // (tensor * pipeline * cluster.context)
            for expert in _expert_parallels(model, cluster, data * cluster.context):
                division = Division(tensor, cluster.context, expert, data)
                if not _is_taken(division, model) or cluster.batch % data:
                    continue
                for size in _divisors(cluster.batch // data, LARGEST_MICROBATCH):
                    yield Split(division, pipeline, size, cluster.batch // (data * size))


def _divisors(number: int, most: int) -> list[int]:
    return [each for each in range(1, min(number, most) + 1) if number % each == 0]


def _expert_parallels(model: CountedModel, cluster: Cluster, ranks: int) -> list[int]:
    if cluster.expert is not None or not model.experts:
        return [cluster.expert or 1]
    return [each for each in _divisors(ranks, LARGEST_EXPERT_PARALLEL) if model.experts % each == 0]


def _is_taken(division: Division, model: CountedModel) -> bool:
    try:
        division.check(model.heads, model.seq, model.experts)
    except InputError:
        return False
    return True


def least_step(model: CountedModel, assumed: Assumptions, split: Split) -> float:
    """Return what no schedule of a split is shorter than: its work on an average GPU, and what follows a step."""
    work = sum(row.count * time.value for row in model.rows for time in times_of(row.whole, assumed).values())
    after = time_after_step(even_stages(model, split.pipeline), assumed).value
    return ROUNDING * (split.microbatches * work / split.pipeline + after)


def usual_step(model: CountedModel, assumed: Assumptions, split: Split, limit: float) -> float:
    """Return about how long a step of 1F1B takes, with as many layers recomputed as its memory requires.

    It is a guess of which splits to plan first: infinite where even recomputing all layers does not help.
    """
    inner, ranks = model.rows[1:-1], assumed.division.of_work * GIGA
    held = sum(
        row.count * assumed.division.static_bytes(row.cost, assumed.optimizer, assumed.dtype) for row in model.rows
    )
    room = (limit - held / GIGA / split.pipeline) * split.pipeline / min(split.pipeline, split.microbatches)
    kept = sum(row.count * row.cost.activation for row in inner) / ranks
    least = sum(row.count * row.cost.passed for row in inner) / ranks
    if room < least or (room < kept and assumed.recompute == "none"):
        return inf
    recomputed = 0.0 if kept <= room else (kept - room) / (kept - least)
    again = recomputed * sum(row.count * times_of(row.cost, assumed)["forward"].value for row in inner)
    least_time, after = least_step(model, assumed, split), time_after_step(even_stages(model, split.pipeline), assumed)
    per_microbatch = (least_time - after.value) / split.microbatches + again / split.pipeline
    return (split.microbatches + split.pipeline - 1) * per_microbatch + after.value


def fits(model: CountedModel, assumed: Assumptions, split: Split, limit: float) -> bool:
    """Return whether what GPUs hold at all times may fit them: on average, and the largest layer alone."""
    held = [
        (row.count, assumed.division.static_bytes(row.cost, assumed.optimizer, assumed.dtype) / GIGA)
        for row in model.rows
    ]
    return (
        max(each for _, each in held) <= limit and sum(count * each for count, each in held) <= limit * split.pipeline
    )
