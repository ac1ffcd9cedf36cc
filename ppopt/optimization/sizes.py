"""How much of a pipeline a search writes out: all of it, first its first microbatches and then all, or only those."""

from __future__ import annotations

from ppopt.optimization.options import SearchOptions
from ppopt.optimization.unwritten import repeats
from solver.errors import InputError
from solver.search.long_search import stretches
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

MANY_OPS = 20_000
"""Up to this many operations, looking at the whole is worth its time even where the first microbatches are steady."""

MOST_WRITTEN_OPS = 100_000
"""Above this many operations, only the first microbatches are written out, where they are enough."""

MOST_SEARCHED_OPS = 300_000
"""Above this many operations, no search writes all of them out: it would spend its time on reading the problem."""


def count_operations(pipeline: Pipeline, options: SearchOptions) -> int:
    """Count the operations of a search."""
    return (3 if options.split_backward else 2) * (pipeline.stages or 0) * pipeline.microbatches


def stays_unwritten(pipeline: Pipeline, placement: Placement, options: SearchOptions) -> bool:
    """Return whether only the first microbatches are written out."""
    ops = count_operations(pipeline, options)
    needs_all = options.starts or options.robust is not None
    may_stay = options.periodic and not needs_all and shows_at_first(pipeline, placement, options)
    return ops > MOST_SEARCHED_OPS or (ops > MOST_WRITTEN_OPS and may_stay)


def shows_at_first(pipeline: Pipeline, placement: Placement, options: SearchOptions) -> bool:
    """Return whether the first microbatches show what is searched for."""
    return options.objective == "makespan" and not pipeline.waits and repeats(pipeline, placement)


def starts_with_few(pipeline: Pipeline, placement: Placement, options: SearchOptions) -> bool:
    """Return whether the first microbatches are searched before the whole is written out."""
    length = pipeline.microbatches // len(placement.homes)
    is_worth_it = is_large(pipeline, options) or stretches(length, pipeline.devices)
    return is_worth_it and shows_at_first(pipeline, placement, options)


def is_large(pipeline: Pipeline, options: SearchOptions) -> bool:
    """Return whether a look at the whole takes long."""
    return count_operations(pipeline, options) > MANY_OPS


def refuse_to_write(pipeline: Pipeline, options: SearchOptions) -> None:
    """Refuse what is too large to be written out, and needs to be.

    Raises
    ------
    InputError
        If the search is for the span, may not leave operations out, or transfers wait.
    """
    found = f"optimize: these are {count_operations(pipeline, options):,} operations; "
    if pipeline.has_unequal_items:
        raise InputError(f"{found}of microbatches that differ, at most {MOST_SEARCHED_OPS:,} are searched")
    if not options.periodic or options.objective != "makespan":
        beyond = " for the span" if options.periodic else ""
        raise InputError(f"{found}at most {MOST_SEARCHED_OPS:,} are searched{beyond}")
    if pipeline.waits:
        why = f"transfers wait (communication: p2p: {pipeline.semantics})"
        if pipeline.semantics == "async":
            why = f"there is {' and '.join(pipeline.streams)}"
        raise InputError(f"{found}where {why}, at most {MOST_SEARCHED_OPS:,} are searched")
