"""Ladders of schedules: which lower bounds hold for each, and what lies between them.

Each bound is of a plainer problem than the next: no latency and no memory limit, then latency, then the limit. Bounds
belong to what schedules are free to do, so that schedules with the same freedom share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import perf_counter
from typing import NamedTuple, cast

from ppopt.cutting.least_memory import refuse_infeasible
from ppopt.optimization.options import QuickBound
from ppopt.process.garbage import collection_paused
from ppopt.schedules.schedule import Schedule
from reports.ladder import Ladder
from solver.bounds.loads import least_loads
from solver.bounds.makespan import load_bound, makespan_bound, sizes_to_write
from solver.errors import InfeasibleError
from solver.exact import in_ticks
from solver.problem import Block, Problem
from solver.repetition import LONG, Repetition
from strategies.model.actions import Op
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.problem.fusing import saves, saving_blocks
from strategies.problem.search_problem import Allowed, build_repetition, build_search_problem

SECONDS_PER_BOUND = 4.0
"""A quick bound that takes longer ends with what it has."""

SECONDS_FOR_ALL = 12.0
"""All quick bounds of a comparison together; each has its share of what is left."""

SECONDS_FOR_CUTS = 6.0
"""What another cut would save is looked for so long at most, for all schedules together."""

MOST_BOUNDED_OPS, MOST_BOUNDED_PAIRS = 50_000, 150_000_000
"""So many operations, or pairs of operations of one device, are written down; where a pipeline is long, of its first
microbatches only. Beyond, only paths and loads are looked at."""


class Freedom(NamedTuple):
    """What a schedule is free to do; its bounds hold for every schedule with this freedom or less.

    Attributes
    ----------
    pipeline : Pipeline
        The costs, with a settled number of stages.
    layout : Placement
        Which device holds which stage, without a name: the same map is the same freedom.
    split_backward : bool
        Whether backwards may be I and W.
    overlap : bool
        Whether forwards and backwards may share blocks that save time.
    """

    pipeline: Pipeline
    layout: Placement
    split_backward: bool
    overlap: bool

    def includes(self, other: Freedom) -> bool:
        """Return whether a bound with this freedom holds with the other, too."""
        same = self.layout == other.layout and self.pipeline == other.pipeline
        return same and self.split_backward >= other.split_backward and self.overlap >= other.overlap

    @property
    def limited(self) -> bool:
        """Whether any device has a memory limit."""
        return any(limit is not None for limit in self.pipeline.limits)

    def problem(self, microbatches: int) -> Problem:
        """Write what is to be scheduled, with so many microbatches; with all of them if they differ."""
        pipeline, layout = self.pipeline, self.layout
        if pipeline.has_unequal_items:
            microbatches = pipeline.microbatches
        if microbatches != pipeline.microbatches:
            pipeline = pipeline.model_copy(update={"microbatches": microbatches})
            layout = replace(layout, microbatches=microbatches)
        return build_search_problem(pipeline, layout, split_backward=self.split_backward, overlap=self.overlap)


@dataclass(frozen=True)
class Bounds:
    """Lower bounds with one freedom, each at least as high as the one before, in the user's unit of time.

    Attributes
    ----------
    loads : tuple of Fraction
        The least time for which each device is busy.
    plain, delayed : Fraction
        The makespan without latency and limit, and with latency.
    limited : Fraction or None
        With latency and limit; None where no schedule fits the memory.
    even : (Fraction, Fraction) or None
        The average of the loads without any overhead, and with it, if all devices ran at full speed; None if that of
        the loads is both.
    quick : QuickBound or None
        What holds the last, where it is of the whole problem and neither clock nor size left an argument out.
    """

    loads: tuple[Fraction, ...]
    plain: Fraction
    delayed: Fraction
    limited: Fraction | None
    even: tuple[Fraction, Fraction] | None = None
    quick: QuickBound | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Measured:
    """The ladders of a comparison.

    Attributes
    ----------
    ladders : tuple of Ladder
        One for each schedule.
    bound : Fraction or None
        What nothing that fits the memory can beat, on any of the placements and with any of the freedoms; None where
        nothing fits. Those whose memory lacks a second copy of the weights count only where no others fit.
    cut_short : bool
        Whether the clock, or the size of the pipeline, left some argument for a bound out: all are true, but may be
        higher in another run.
    """

    ladders: tuple[Ladder, ...]
    bound: Fraction | None
    cut_short: bool


@dataclass
class QuickBounds:
    """Quick bounds with several freedoms, by the time that there is for them.

    Parameters
    ----------
    deadline : float, optional
        On the clock of `time.perf_counter`; in any case they take twelve seconds at most, all together.

    Attributes
    ----------
    cut_short : bool
        Whether the clock, or the size of a pipeline, left some argument out.
    """

    deadline: float | None = None
    cut_short: bool = False
    found: dict[Freedom, Bounds] = field(default_factory=dict)

    @collection_paused()
    def find(self, freedoms: Iterable[Freedom]) -> None:
        """Find those that are not known yet."""
        wanted = [freedom for freedom in dict.fromkeys(freedoms) if freedom not in self.found]
        clock = _Clock(sum(map(_bounds_needed, wanted)), self.deadline)
        self.found |= {freedom: _quick_bounds(freedom, clock) for freedom in wanted}
        self.cut_short |= clock.was_over


def measure_ladders(schedules: Sequence[Schedule], quick: QuickBounds | None = None) -> Measured:
    """Compute the ladder of each schedule.

    Parameters
    ----------
    schedules : sequence of Schedule
        Of one model. Those that a search found bring its bound along, where it is one of the makespan.
    quick : QuickBounds, optional
        What is known already; the rest is found by its deadline.
    """
    from ppopt.cutting.saved_by_cut import saved_by_another_cut  # loads all searches, which a bound does not need

    quick = quick or QuickBounds()
    freedoms = [freedom_of(schedule) for schedule in schedules]
    known = [(freedom, _proven(schedule)) for freedom, schedule in zip(freedoms, schedules, strict=True)]
    quick.find(freedoms)
    bounds = {freedom: _raised(quick.found[freedom], freedom, known) for freedom in dict.fromkeys(freedoms)}
    made = (make_ladder(schedule, bounds[each]) for schedule, each in zip(schedules, freedoms, strict=True))
    deadline = perf_counter() + SECONDS_FOR_CUTS
    if quick.deadline is not None:
        deadline = min(deadline, quick.deadline)
    ladders = tuple(
        ladder.with_cut(saved_by_another_cut(schedule, deadline))
        for schedule, ladder in zip(schedules, made, strict=True)
    )
    fair = {freedom for freedom, each in zip(freedoms, schedules, strict=True) if not each.lacks_second_copy}
    if any(each.fits for each in schedules) and not any(each.may_win for each in schedules):
        fair = set()  # one with two copies is the shortest that fits, and no bound may be above it
    shown = [(each, freedom.pipeline) for freedom, each in bounds.items() if freedom in (fair or bounds)]
    highest = (each.limited + model.after for each, model in shown if each.limited is not None)
    return Measured(ladders, min(highest, default=None), quick.cut_short)


def freedom_of(schedule: Schedule) -> Freedom:
    """Return what a schedule was free to do: a search as it was allowed, a published one as it does.

    Blocks that save nothing are no freedom: their halves one after the other take no longer, hold no more, and are
    done no later.
    """
    pipeline, layout = schedule.pipeline, replace(schedule.layout, name="")
    split, overlap = schedule.allowed
    if schedule.is_searched:
        overlap = overlap and bool(saving_blocks(pipeline, layout, split_backward=split)[1])
        return Freedom(pipeline, layout, split, overlap)
    split = split or any(cast("Op", key).kind == "I" for key in schedule.problem.tasks)
    return Freedom(pipeline, layout, split, _saves_by_blocks(schedule, split))


def _saves_by_blocks(schedule: Schedule, split_backward: bool) -> bool:
    class_of = schedule.pipeline.items.of
    blocks = {
        (first.stage, second.stage, device, int(class_of[first.microbatch]), int(class_of[second.microbatch]))
        for device, order in enumerate(schedule.actions)
        for action in order
        if isinstance(action, Block)
        for first, second in [cast("tuple[Op, Op]", action)]
    }
    return any(
        saves(schedule.pipeline, *block[:3], split_backward=split_backward, classes=block[3:]) for block in blocks
    )


def _proven(schedule: Schedule) -> Fraction:
    """Look up, exactly, what a search has proven of the makespan."""
    bound = schedule.bound_held_by
    if not schedule.is_searched or schedule.objective != "makespan" or bound is None:
        return Fraction(0)
    return Fraction(bound.value, schedule.problem.ticks_per_unit)  # without what follows the last operation


def make_ladder(schedule: Schedule, bounds: Bounds) -> Ladder:
    """Lay the bounds below a schedule's makespan."""
    unhindered, after = schedule.unhindered_makespan, schedule.pipeline.after
    makespan = schedule.exact_makespan - after
    if unhindered is not None:
        unhindered -= after
    without_waiting = makespan if unhindered is None else min(makespan, unhindered)
    ideal, largest = schedule.pipeline.ideal, max(bounds.loads)
    mean, with_overhead = bounds.even or (_mean(bounds.loads),) * 2
    limited = _is_limited(schedule) and bounds.limited is not None
    highest = bounds.limited if limited and bounds.limited is not None else bounds.delayed
    return Ladder(
        ideal=ideal,
        saved=ideal - mean,
        overhead=with_overhead - mean,
        imbalance=largest - with_overhead,
        filling_and_draining=bounds.plain - largest,
        latency=bounds.delayed - bounds.plain,
        memory=highest - bounds.delayed,
        order=without_waiting - highest,
        limited=limited,
        communication=makespan - without_waiting,
        after=after,
    )


def _mean(loads: Sequence[Fraction]) -> Fraction:
    return sum(loads, Fraction(0)) / len(loads)


def _even_loads(freedom: Freedom) -> tuple[Fraction, Fraction] | None:
    """Average the loads of devices of full speed, without and with overhead; None if neither makes a difference."""
    pipeline = freedom.pipeline
    if pipeline.slowdown is None and not any(pipeline.overheads.values()):
        return None
    at_full_speed = pipeline.model_copy(update={"slowdown": None})
    without, with_it = (
        _mean(device_loads(freedom._replace(pipeline=each)))
        for each in (at_full_speed.model_copy(update={"overhead": None}), at_full_speed)
    )
    return without, with_it


def _is_limited(schedule: Schedule) -> bool:
    """Return whether there is a limit and the schedule keeps it."""
    return schedule.fits and any(limit is not None for limit in schedule.pipeline.limits)


class _Clock:
    """Shares the time of all quick bounds."""

    def __init__(self, bounds: int, deadline: float | None = None) -> None:
        self.left = bounds
        self.ends = perf_counter() + SECONDS_FOR_ALL
        if deadline is not None:
            self.ends = min(self.ends, deadline)
        self.was_over = False

    def is_over(self) -> bool:
        """Return whether nothing is left."""
        return perf_counter() >= self.ends

    def next_deadline(self) -> float:
        """Give the next bound its share."""
        now = perf_counter()
        share = max(0.0, self.ends - now) / max(1, self.left)
        self.left -= 1
        return now + min(SECONDS_PER_BOUND, share)


def _bounds_needed(freedom: Freedom) -> int:
    return 1 + bool(freedom.pipeline.longest_lag) + freedom.limited


def _quick_bounds(freedom: Freedom, clock: _Clock) -> Bounds:
    latency, loads, even = bool(freedom.pipeline.longest_lag), device_loads(freedom), _even_loads(freedom)
    problem = None if clock.is_over() else _written(freedom)
    free = problem and _changed(problem, _without_limit)
    quick = _quick_bound(free and _changed(free, _without_latency), clock)
    plain = max(_simple_bound(freedom, loads, latency=False), *loads, _value(quick, problem))
    delayed = plain
    if latency:
        quick = _quick_bound(free, clock)
        delayed = max(plain, _simple_bound(freedom, loads, latency=True), _value(quick, problem))
    if not freedom.limited:
        return Bounds(loads, plain, delayed, delayed, even, _whole(quick, problem, clock))
    try:
        refuse_infeasible(freedom.pipeline, freedom.layout)
        quick = _quick_bound(problem, clock)
    except InfeasibleError:
        return Bounds(loads, plain, delayed, None, even)
    return Bounds(loads, plain, delayed, max(_value(quick, problem), delayed), even, _whole(quick, problem, clock))


def _raised(bounds: Bounds, freedom: Freedom, known: Iterable[tuple[Freedom, Fraction]]) -> Bounds:
    """Raise the first bound that what searches have proven, with the limit and the latency, holds for."""
    proven = max((value for each, value in known if each.includes(freedom)), default=Fraction(0))
    if freedom.limited:
        return bounds if bounds.limited is None else replace(bounds, limited=max(bounds.limited, proven))
    delayed = max(bounds.delayed, proven)
    plain = bounds.plain if freedom.pipeline.longest_lag else delayed
    return replace(bounds, plain=plain, delayed=delayed, limited=delayed)


def _written(freedom: Freedom) -> Problem | Repetition | None:
    """Write a problem down as a whole or, of one that is long, as much as shows the rest; None if that is too much."""
    pipeline, layout = freedom.pipeline, freedom.layout
    kinds = 3 if freedom.split_backward else 2
    if _is_read_quickly(pipeline.devices, kinds * (pipeline.stages or 0) * pipeline.microbatches):
        return freedom.problem(pipeline.microbatches)
    directions = [len(microbatches) for microbatches, _ in layout.directions()]
    chains = kinds * (pipeline.stages or 0) * len(directions)
    size = sizes_to_write(pipeline.devices, chains)[-1]
    if pipeline.has_unequal_items:
        return None
    if min(directions) < LONG * pipeline.devices or not _is_read_quickly(pipeline.devices, chains * size):
        return None
    return build_repetition(pipeline, layout, Allowed(freedom.split_backward, freedom.overlap), size)


def _is_read_quickly(devices: int, ops: int) -> bool:
    return ops <= MOST_BOUNDED_OPS and ops * ops // devices <= MOST_BOUNDED_PAIRS


def _changed(problem: Problem | Repetition, change: Callable[[Problem], Problem]) -> Problem | Repetition:
    if isinstance(problem, Repetition):
        return replace(problem, problem=change(problem.problem))
    return change(problem)


def _without_limit(problem: Problem) -> Problem:
    return replace(problem, capacities=[None] * problem.devices)


def _without_latency(problem: Problem) -> Problem:
    precedences = [(before, after, 0) for before, after, _ in problem.precedences]
    return replace(problem, precedences=precedences, moves={})


def _quick_bound(problem: Problem | Repetition | None, clock: _Clock) -> QuickBound | None:
    """Find the quick bound of what is written down; None where there is no time, or nothing is."""
    if problem is None or clock.is_over():
        clock.was_over = True
        return None
    began, deadline = perf_counter(), clock.next_deadline()
    bound = makespan_bound(problem, deadline=deadline)
    ended = perf_counter()
    clock.was_over |= ended >= deadline
    return QuickBound(bound, ended - began)


def _value(quick: QuickBound | None, problem: Problem | Repetition | None) -> Fraction:
    """Write a quick bound in the user's unit; 0 where there is none, since what is linear has been found apart."""
    if quick is None or problem is None:
        return Fraction(0)
    small = problem.problem if isinstance(problem, Repetition) else problem
    return Fraction(quick.bound.value, small.ticks_per_unit)


def _whole(quick: QuickBound | None, problem: Problem | Repetition | None, clock: _Clock) -> QuickBound | None:
    """Return a quick bound of all of a problem, by all arguments."""
    return quick if isinstance(problem, Problem) and not clock.was_over else None


def simple_bound(freedom: Freedom) -> Fraction:
    """Bound the makespan by what takes no longer than a look at the stages: one microbatch's path, and the loads.

    The memory limit is not looked at, so it holds with any.
    """
    loads = device_loads(freedom)
    return max(_simple_bound(freedom, loads, latency=True), *loads) + freedom.pipeline.after


def _simple_bound(freedom: Freedom, loads: Sequence[Fraction], *, latency: bool) -> Fraction:
    """Bound the makespan by one microbatch's path, and by each device's load with what must precede and follow it.

    One microbatch a direction is enough for that: all others wait for the same, and whatever a device does waits for
    the first thing that any of them does there.
    """
    problem = freedom.problem(min(len(freedom.layout.homes), freedom.pipeline.microbatches))
    scale = problem.ticks_per_unit
    bound = load_bound(problem if latency else _without_latency(problem), [in_ticks(load, scale) for load in loads])
    return Fraction(bound.value, scale)


def device_loads(freedom: Freedom) -> tuple[Fraction, ...]:
    """Find for each device the least time for which it is busy in any schedule; one microbatch a direction shows it."""
    directions = freedom.layout.directions()
    problem = freedom.problem(min(len(directions), freedom.pipeline.microbatches))
    written = len(problem.tasks) if freedom.pipeline.has_unequal_items else 0
    loads = least_loads(problem, lambda key: 1 if written else len(directions[cast("Op", key).microbatch][0]))
    return tuple(Fraction(load, problem.ticks_per_unit) for load in loads)
