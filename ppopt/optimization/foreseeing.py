"""How long what follows a search takes, foreseen from what has been measured."""

from __future__ import annotations

from functools import partial
from time import perf_counter

from ppopt.optimization.explain import quick_bounds_in_explanation
from ppopt.optimization.finishing import Draft
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.robust import MOST_COMPARED, MOST_OF_TIME, REPLAYED
from ppopt.optimization.starts import one_at_a_time
from ppopt.optimization.unwritten import Long
from ppopt.process.time_limit import DRAWING, TimeLimit, least_seconds
from solver.search.long_search import SHORTEST
from solver.search.state import Search
from solver.states import Objective
from strategies.model.pipeline import Pipeline

CAUTION = 1.2
"""What was measured may take this much longer the next time."""

MOST_FOR_OTHERS = 0.5
"""The part of the time that schedules beside the result may take at most; more are left out."""

MOST_FOR_STARTS = 0.25
"""The part of the time that is kept at most for published schedules of all microbatches, after those of the first."""

MOST_FOR_FILES = 0.8
"""The part of the time that is kept at most for writing all of a long order as a file."""

MOST_FOR_BOUNDS = 0.25
"""The part of the time that the bounds of an explanation, and those of a report, may take at most."""

BOUNDS_OF_A_REPORT = 6.0
"""With two kinds of schedules, up to three bounds each."""


def to_write_out(long: Long, ops: int, options: SearchOptions, limit: TimeLimit) -> float:
    """Estimate how many seconds it takes to write a whole out and finish it, by what a few microbatches take."""
    scale = CAUTION * ops / _few_operations(long)
    least = least_seconds(partial(_seconds_to_write_few, long, options.objective))
    writing, offering, finishing = (scale * seconds for seconds in least)
    shown = sum(options.overlap or not strategy.overlaps for strategy in long.strategies)
    published = min(offering * len(long.strategies), MOST_FOR_STARTS * limit.left_of_turn)
    behind, files = _after(finishing, shown, limit)
    return writing + offering + published + behind + files


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
    seconds = CAUTION * exporting * finishing * ops / _few_operations(long)
    return min(seconds, MOST_FOR_FILES * limit.left_of_turn)


def _few_operations(long: Long) -> int:
    """Count the operations of a few microbatches."""
    kinds = 3 if long.allowed.split_backward else 2
    return kinds * (long.pipeline.stages or 0) * long.directions * SHORTEST


def for_choosing(finishing: float, options: SearchOptions, limit: TimeLimit) -> float:
    """Count the seconds of a turn in which the robust schedule is chosen: each of those met is replayed, too."""
    if options.robust is None:
        return 0.0
    seconds = CAUTION * finishing * (REPLAYED + DRAWING * MOST_COMPARED * options.robust.samples)
    return min(seconds, MOST_OF_TIME * limit.left_of_turn)


def after_search(finishing: float, published: int, limit: TimeLimit) -> float:
    """Count the seconds of a turn that belong to what follows the search; put aside those for files."""
    seconds, files = _after(CAUTION * finishing, published, limit)
    limit.put_aside(files=files)
    return seconds


def _after(finishing: float, published: int, limit: TimeLimit) -> tuple[float, float]:
    """Count the seconds of a turn that belong to what follows the search, and those for files."""
    after = limit.afterwards
    beside = min(finishing * published, MOST_FOR_OTHERS * limit.left_of_turn) if after.beside else 0.0
    shown = finishing * (1 + after.shown) + beside
    files = finishing * (after.per_result + after.exporting) + shown * after.per_schedule
    return finishing + beside, files


def after_bounding(pipeline: Pipeline, limit: TimeLimit) -> float:
    """Count the seconds that an explanation will take, none where they are too many; put aside those for a report."""
    most = MOST_FOR_BOUNDS * limit.left_of_turn
    if limit.afterwards.bounded:
        limit.put_aside(bounds=min(BOUNDS_OF_A_REPORT * limit.bounding, most))
    if not limit.afterwards.explained:
        return 0.0
    seconds = CAUTION * limit.bounding * quick_bounds_in_explanation(pipeline)
    return seconds if seconds < most else 0.0
