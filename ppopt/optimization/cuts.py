"""How the model of a search is cut into stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from time import perf_counter

from ppopt.cutting.quick import planned_for_search, shortest_published
from ppopt.optimization.one_search import search_placement
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.sizes import is_large
from ppopt.optimization.unwritten import Long, repeats
from ppopt.process.time_limit import MOMENT, TimeLimit
from ppopt.schedules.schedule import Schedule
from solver.budget import CUT
from solver.errors import InfeasibleError, InputError, TimeTooShortError
from solver.repetition import LONG
from strategies.given_model.model_notes import PLANNED, TWO_COPIES, halves_notes
from strategies.given_model.stages import USUAL_STAGES_PER_DEVICE, Cut, GivenModel
from strategies.model.pipeline import Pipeline
from strategies.model.placements import PLACEMENTS, Placement, make_placement
from strategies.problem.search_problem import Allowed


def cut_or_none(
    model: GivenModel, name: str, allowed: Allowed, seconds: float
) -> Cut | InfeasibleError | TimeTooShortError:
    """Cut a model as `_cut_for` does, or tell why there is no cut to be searched."""
    try:
        return _cut_for(model, name, allowed, seconds)
    except (InfeasibleError, TimeTooShortError) as error:
        return error


def _cut_for(model: GivenModel, name: str, allowed: Allowed, seconds: float) -> Cut:
    """Cut a model for the search of a placement; ``seconds`` are the most that it may take."""
    cut = model.for_placement(name)
    pipeline = cut.pipeline
    if not model.leaves_cut_open(len(pipeline.costs)):
        return cut
    placement = make_placement(name, pipeline.devices, len(pipeline.costs), pipeline.microbatches)
    return cut._replace(pipeline=_planned_once(pipeline, placement, seconds, allowed))


def planned(pipeline: Pipeline, placement: Placement, seconds: float, allowed: Allowed) -> Pipeline:
    """Cut a model's layers for the search of a placement.

    The bound that chooses the cut knows no overlapped blocks. Where a search may use them, its cut must show that it is
    good: within a brief search, a schedule must be found that is as short as every published one, whatever its cut.
    Otherwise the cut of the shortest published schedule is taken.

    Parameters
    ----------
    pipeline, placement, seconds
        As for `planned_for_search`.
    allowed : Allowed
        What the search may use.

    Raises
    ------
    InfeasibleError, TimeTooShortError
        As for `planned_for_search`.
    """
    if not (allowed.overlap and pipeline.blocks_may_save):
        return planned_for_search(pipeline, placement, seconds, split_backward=allowed.split_backward)
    seconds = max(seconds, MOMENT)
    until = perf_counter() + seconds
    options = SearchOptions(placement=placement.name, workers=1, **allowed._asdict())
    brief, layout = pipeline.averaged().without_waiting(), placement
    if is_large(brief, options) and repeats(brief, layout):
        brief, layout = Long(brief, layout, allowed, ()).fewer(LONG * brief.devices)
    rival = shortest_published(brief, layout, seconds / 2, split_backward=allowed.split_backward)
    usual = planned_for_search(pipeline, placement, seconds / 4, split_backward=allowed.split_backward)
    own = usual.layers_per_stage or ()
    if rival is None or own == rival[1]:
        return usual
    length, cut = rival
    found = _searched_briefly(brief.with_cut(own), options, until - perf_counter())
    return usual if found is not None and found <= length else pipeline.with_cut(cut)


def _searched_briefly(pipeline: Pipeline, options: SearchOptions, seconds: float) -> Fraction | None:
    """Return the makespan of the best schedule that a brief search finds on a cut, if there is one."""
    with suppress(InfeasibleError, TimeTooShortError):
        found = search_placement(pipeline, options.placement, options, TimeLimit(max(0.0, seconds)))
        if found.interrupted:
            raise KeyboardInterrupt
        return found.exact_makespan
    return None


_planned_once = lru_cache(maxsize=16)(planned)
"""A comparison asks for the cut of a search first for its bounds: it must be the same, and takes its time once."""


def searched_cuts(
    pipeline: Pipeline, placements: Sequence[str], options: SearchOptions
) -> Iterator[tuple[Pipeline, Placement]]:
    """List what is searched for each placement: the model as it is cut, and where its stages are, without a name."""
    for name in placements:
        with suppress(InputError, InfeasibleError, TimeTooShortError):
            cut, placement = searched_cut(pipeline, name, options, shares=len(placements))
            yield cut, replace(placement, name="")


def searched_cut(
    pipeline: Pipeline, name: str, options: SearchOptions, *, shares: int = 1
) -> tuple[Pipeline, Placement]:
    """Cut the model as a search of a placement does, and lay out its stages.

    Parameters
    ----------
    pipeline : Pipeline
        The costs.
    name : str
        The placement.
    options : SearchOptions
        What the search may do.
    shares : int
        Among how many placements its time is shared.

    Raises
    ------
    InputError
        If the model cannot be cut so.
    InfeasibleError, TimeTooShortError
        As for `planned_for_search`.
    """
    seconds = CUT.within(options.time_limit) / shares
    cut = _cut_for(GivenModel(pipeline, cut=options.cut), name, options.allowed, seconds).pipeline
    return cut, make_placement(name, cut.devices, cut.stages or 0, cut.microbatches)


def model_notes(result: Schedule, cut: Cut, options: SearchOptions) -> Iterator[str]:
    """Say how the model was taken."""
    if cut.pipeline.layers is not None and cut.given.layers_per_stage != cut.pipeline.layers_per_stage:
        yield PLANNED if options.cut == "plan" else next(cut.notes(result.strategy, result.layout))
    else:
        yield from cut.notes(result.strategy, result.layout)
    chunks, usual = result.pipeline.stages_per_device, USUAL_STAGES_PER_DEVICE
    if PLACEMENTS[result.placement].stages_per_device is None and chunks > usual:
        yield (
            f"{result.strategy} runs all {result.pipeline.stages} stages as they were given, {chunks} per device; "
            f"--recut --stages {usual * result.pipeline.devices} cuts the model into {usual} per device"
        )
    if options.split_backward:
        yield from halves_notes(cut.given)
    if len(result.layout.homes) > 1 and not any(cost.static for cost in result.pipeline.costs):
        yield f"{result.strategy} {TWO_COPIES}"
