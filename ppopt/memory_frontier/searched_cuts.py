"""Chooses the cuts of a model to search on each placement, and says which cuts the bounds hold for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from time import perf_counter
from typing import NamedTuple

from ppopt.memory_frontier.curves import Record
from ppopt.optimization.cuts import searched_cut
from ppopt.optimization.options import SearchOptions
from solver.errors import InfeasibleError, TimeTooShortError
from strategies.given_model.stages import GivenModel
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement, make_placement
from strategies.problem.fusing import saving_blocks

LEAST_SECONDS, SHARE = 2.0, 0.1
"""Time for cutting the layers for the least memory: these seconds, or this share of the time limit if longer."""

MOST_CUTS = 4
"""The most cuts of one placement that are searched separately."""


class SearchedCut(NamedTuple):
    """A cut to search on a placement.

    Attributes
    ----------
    name : str
        Its unique name.
    pipeline : Pipeline
        The model with this cut, without a memory limit.
    layout : Placement
        Which device holds which stage.
    is_open : bool
        Whether all other cuts are searched as well.
    """

    name: str
    pipeline: Pipeline
    layout: Placement
    is_open: bool = False


def searched_cuts_of(
    model: Pipeline, name: str, options: SearchOptions, limits: Sequence[Fraction | None], kept: Sequence[Counts]
) -> list[SearchedCut]:
    """Choose the cuts of a model to search on a placement.

    Given stages are re-partitioned as everywhere. Layers without a given cut are searched on all cuts if a bound for
    all cuts exists: in one direction, without blocks that save time. Otherwise they are searched on a few cuts, each
    separately: those that are good at a limit, and the one that needs the least memory.

    Parameters
    ----------
    model : Pipeline
        The costs, without a memory limit.
    name : str
        The placement.
    options : SearchOptions
        Options of the search.
    limits : sequence of Fraction or None
        The limits at which cuts should be good; None for no limit.
    kept : sequence of sequence of int
        Cuts that an earlier run searched.

    Raises
    ------
    InputError
        If the model cannot be cut for the placement.
    OutOfTimeError
        If the time is too short to cut layers for the least memory.
    """
    given = GivenModel(model, cut=options.cut)
    cut = given.for_placement(name).pipeline
    layout = make_placement(name, cut.devices, cut.stages or 0, cut.microbatches)
    if not given.leaves_cut_open(len(cut.costs)):
        return [SearchedCut(name, cut, layout)]
    from ppopt.cutting.least_memory_cut import cut_of_least_memory  # loads CP-SAT

    ends = perf_counter() + max(LEAST_SECONDS, SHARE * options.time_limit)
    frugal = cut_of_least_memory(cut, layout, ends)
    if len(layout.homes) == 1 and not (options.overlap and _saves_by_blocks(cut, layout)):
        return [SearchedCut(name, cut.with_cut(frugal), layout, is_open=True)]
    shares = len(limits) * len(options.placements)
    found: list[Counts] = []
    for limit in limits:
        with suppress(InfeasibleError, TimeTooShortError):  # the frugal cut fits whatever limit any cut fits
            planned, _ = searched_cut(model.with_limit(limit), name, options, shares=shares)
            found.append(planned.layers_per_stage or ())
    cuts = list(dict.fromkeys([frugal, *found, *map(tuple, kept)]))[:MOST_CUTS]
    names = [name, *(f"{name} ({place})" for place in range(2, len(cuts) + 1))]
    return [SearchedCut(each, cut.with_cut(counts), layout) for each, counts in zip(names, cuts, strict=True)]


def _saves_by_blocks(cut: Pipeline, layout: Placement) -> bool:
    """Return whether blocks may save time: with parts, on other cuts even if not on this one."""
    return cut.has_parts or bool(saving_blocks(cut, layout, split_backward=True)[1])


def least_makespan(pipeline: Pipeline, layout: Placement) -> Fraction:
    """Bound the makespan for every cut and order by two quick arguments: the total work, and the way of a microbatch.

    Some device does at least the average share of the work, and a microbatch passes all forwards and backwards, with a
    transfer wherever neighbouring stages lie on different devices. A backward counts as the shorter of B and I + W, or
    of B and I for the one microbatch. Operations count with their overhead. A device that takes f times as long does
    work of (T − its overheads) ÷ f within a makespan T.

    Parameters
    ----------
    pipeline : Pipeline
        On any cut.
    layout : Placement
        Which device holds which stage, in one direction.
    """
    assert pipeline.layers is not None
    overheads, (homes,) = pipeline.overheads, layout.homes
    back = min(overheads["B"], overheads["I"] + overheads["W"])
    work = sum(((overheads["F"] + back) / pipeline.pace(device) for device in homes), Fraction(0))
    way = len(homes) * (overheads["F"] + overheads["I"])
    for kind in pipeline.layers.kinds:
        costs = kind.costs
        work += kind.count * (costs.forward + min(costs.backward, costs.backward_input + costs.backward_weight))
        way += kind.count * (costs.forward + min(costs.backward, costs.backward_input))
    hops = 2 * sum(here != there for here, there in pairwise(homes))
    share = sum(1 / pipeline.pace(device) for device in range(pipeline.devices))
    return max(pipeline.microbatches * work / share, way + hops * pipeline.least_lag) + pipeline.after


def scope_of(records: Sequence[Record], pipeline: Pipeline, *, blocks_left_out: bool) -> str:
    """Say what the bounds hold for: which cuts, if layers have no given cut, and which orders; empty if for all.

    Parameters
    ----------
    records : sequence of Record
        The searched placements.
    pipeline : Pipeline
        The model as given.
    blocks_left_out : bool
        Whether blocks save time in some schedule shown, but no search was allowed to use them.
    """
    parts = [
        *(_cuts_of(records) if pipeline.layers is not None else ()),
        *["without overlapped blocks"] * blocks_left_out,
    ]
    return "; ".join(parts)


def _cuts_of(records: Sequence[Record]) -> list[str]:
    every = [record.layout.name for record in records if record.over_cuts]
    cuts: dict[str, list[str]] = {}
    for record in records:
        if not record.over_cuts:
            cuts.setdefault(record.layout.name, []).append(" ".join(map(str, record.pipeline.layers_per_stage or ())))
    parts = [f"for every cut of the layers on {', '.join(every)}, with nothing recomputed"] if every else []
    return [*parts, *(f"on {name} for the layers cut as {' or '.join(each)} alone" for name, each in cuts.items())]
