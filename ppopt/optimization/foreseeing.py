"""How long what follows a search takes, foreseen from what has been measured, and kept for it."""

from __future__ import annotations

from functools import partial
from time import perf_counter

from ppopt.optimization.explain import quick_bounds_in_explanation
from ppopt.optimization.finishing import Draft
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.robust import MOST_COMPARED, REPLAYED
from ppopt.optimization.starts import one_at_a_time
from ppopt.optimization.unwritten import Long
from ppopt.process.time_limit import DRAWING, TimeLimit, least_seconds
from solver.budget import BESIDE, CHOICE, EXPLANATION, FILES, REPORT, RESULT, STARTS, WHOLE
from solver.search.long_search import SHORTEST
from solver.search.state import Search
from solver.states import Objective
from strategies.model.pipeline import Pipeline

BOUNDS_OF_A_REPORT = 6
"""With two kinds of schedules, up to three bounds each."""


def keep_for_whole(long: Long, ops: int, options: SearchOptions, limit: TimeLimit) -> None:
    """Keep the time that it takes to write a whole out and finish it, by what a few microbatches take."""
    scale = ops / _few_operations(long)
    least = least_seconds(partial(_seconds_to_write_few, long, options.objective))
    writing, offering, finishing = (WHOLE.foreseen(scale * seconds) for seconds in least)
    published = STARTS.foreseen(offering * len(long.strategies), limit.left_of_turn)
    beside = _beside(finishing, long, options, limit)
    files = _files(finishing, beside, limit)
    limit.keep(WHOLE, writing + offering + published + finishing + beside + files)


def _seconds_to_write_few(long: Long, objective: Objective) -> tuple[float, float, float]:
    """Write a few microbatches out, offer a schedule of them and finish it; return how many seconds each takes."""
    part, layout = long.fewer(SHORTEST)
    began = perf_counter()
    search = Search(long.write(SHORTEST), objective, 0.0)
    written = perf_counter()
    search.offer(one_at_a_time(layout, search.problem))
    offered = perf_counter()
    return written - began, offered - written, Draft.of(search, part, layout).seconds


def to_export(long: Long, ops: int, limit: TimeLimit) -> float:
    """Estimate how many seconds it takes to write the whole order as a file, where that is asked for."""
    exporting = limit.afterwards.exporting_unwritten
    if not exporting:
        return 0.0
    *_, finishing = least_seconds(partial(_seconds_to_write_few, long, "makespan"))
    return FILES.foreseen(exporting * finishing * ops / _few_operations(long), limit.left_of_turn)


def _few_operations(long: Long) -> int:
    """Count the operations of a few microbatches."""
    kinds = 3 if long.allowed.split_backward else 2
    return kinds * (long.pipeline.stages or 0) * long.directions * SHORTEST


def keep_for_result(finishing: float, long: Long, options: SearchOptions, limit: TimeLimit) -> None:
    """Keep the time for the result, the choice of a robust one, schedules beside it, and files.

    Parameters
    ----------
    finishing : float
        How many seconds it took to finish a schedule: its replay, its check and its figures.
    long, options, limit
        What is searched, and the clock.
    """
    if options.robust is not None:  # each of those met is replayed, too
        replaying = finishing * (REPLAYED + DRAWING * MOST_COMPARED * options.robust.samples)
        limit.keep(CHOICE, CHOICE.foreseen(replaying, limit.left_of_turn))
    result = RESULT.foreseen(finishing)
    beside = _beside(result, long, options, limit)
    limit.keep(RESULT, result)
    limit.keep(BESIDE, beside)
    limit.put_aside(files=_files(result, beside, limit))


def _beside(finishing: float, long: Long, options: SearchOptions, limit: TimeLimit) -> float:
    """Estimate how many seconds the published schedules beside a result take."""
    if not limit.afterwards.beside:
        return 0.0
    shown = sum(options.overlap or not strategy.overlaps for strategy in long.strategies)
    return BESIDE.foreseen(finishing * shown, limit.left_of_turn)


def _files(finishing: float, beside: float, limit: TimeLimit) -> float:
    """Estimate how many seconds files take."""
    after = limit.afterwards
    shown = finishing * (1 + after.shown) + beside
    return finishing * (after.per_result + after.exporting) + shown * after.per_schedule


def keep_for_bounds(pipeline: Pipeline, limit: TimeLimit) -> None:
    """Keep the time for the bounds of an explanation, unless they take too long, and for those of a report."""
    left = limit.left_of_turn
    if limit.afterwards.bounded:
        limit.put_aside(bounds=REPORT.foreseen(BOUNDS_OF_A_REPORT * limit.bounding, left))
    if limit.afterwards.explained:
        seconds = EXPLANATION.caution * limit.bounding * quick_bounds_in_explanation(pipeline)
        limit.keep(EXPLANATION, seconds if seconds < EXPLANATION.within(left) else 0.0)
