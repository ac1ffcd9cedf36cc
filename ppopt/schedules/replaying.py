"""Replaying given orders: times, an independent check, figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from time import perf_counter

from ppopt.process.internal_error import InternalError
from ppopt.schedules.as_run import Transferred, moved_by_links
from ppopt.schedules.communicated import Order, communicate
from ppopt.schedules.schedule import Schedule, overhead_in_ticks
from reports.metrics import measure
from solver.checker import violations
from solver.counted import counted
from solver.deadline import is_over
from solver.errors import InputError
from solver.problem import Placed, Problem
from solver.replay import choose_engine, timeline
from solver.states import EngineChoice
from strategies.lowering.receive_buffers import ReceiveBuffers
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.order_files.given_order import GivenOrder
from strategies.order_files.schedule_file import Token
from strategies.problem.dependencies import build_problem, split_as_in
from strategies.problem.short_blocks import note_on_short_blocks

CHOSEN = " (sharding.resident: auto)"
"""The end of the note on the number of resident stages that a schedule took."""


def replay_orders(
    label: str,
    pipeline: Pipeline,
    placement: Placement,
    orders: Sequence[Sequence[PipelineAction]],
    engine: EngineChoice,
    *,
    notes: Iterable[str] = (),
    started: float | None = None,
    check_memory: bool = False,
    given: GivenOrder | None = None,
    searched: bool = False,
    copied: Sequence[Sequence[Token]] | None = None,
    until: float | None = None,
) -> Schedule:
    """Replay given orders: times, check, figures.

    Parameters
    ----------
    label : str
        What the schedule is called.
    pipeline, placement, orders, engine
        What is replayed, and how.
    notes : iterable of str
        What is known of it already.
    started : float, optional
        When the work for it began.
    check_memory : bool
        Whether exceeding the memory limit is a fault.
    given : GivenOrder, optional
        The file that the orders come from.
    searched : bool
        Whether a search found them or begins with them: their communication is then placed by time.
    copied : sequence of sequence of token, optional
        The computations of each device with the copies that were chosen, in place of the rule's.
    until : float, optional
        With ``resident: auto``: the time of `time.perf_counter` after which the first number that fits is taken.

    Raises
    ------
    InputError
        If the orders are not complete or deadlock.
    InternalError
        If the independent checker finds fault with the result.
    """
    started = perf_counter() if started is None else started
    if pipeline.sharding is not None and pipeline.sharding.resident == "auto":
        again = partial(
            replay_orders, engine=engine, notes=notes, started=started, check_memory=check_memory, given=given,
            searched=searched, copied=copied,
        )  # fmt: skip
        numbers = list(_with_each_number(pipeline, placement))
        made: list[Schedule] = []
        for each in numbers:
            made.append(again(label, each, placement, orders))
            if made[-1].fits and is_over(until):
                break
        return _shortest_that_fits(made, "" if len(made) == len(numbers) else ", and the time was up for other numbers")
    problem = build_problem(pipeline, placement, split_as_in(orders))
    chosen = choose_engine(engine, problem)
    try:
        rows = timeline(problem, orders, chosen)
        unhindered = rows
        if problem.moves:
            free = replace(problem, moves={})
            unhindered = timeline(free, orders)
    except InputError as error:
        error.args = (f"{label}: {error}",)
        raise
    transfers: Mapping[Op, Transferred] = {}
    placed_by, sides = "", None
    buffers: tuple[ReceiveBuffers, ...] = ()
    if pipeline.follows_lowering:
        order = Order(label, pipeline, placement, problem, orders, rows, given, searched=searched, copied=copied)
        rows, transfers, placed_by, buffers, sides = communicate(order)
    elif problem.moves:
        transfers = moved_by_links(problem, rows)
    beside = None if sides is None else sides.beside
    _check(label, problem, rows, check_memory and beside is None)
    overhead = overhead_in_ticks(pipeline, problem, orders)
    figures = measure(problem, rows, pipeline.ideal, overhead, pipeline.after, beside)
    short = note_on_short_blocks(pipeline, orders)
    seconds = perf_counter() - started
    return Schedule(
        strategy=label,
        pipeline=pipeline,
        layout=placement,
        figures=figures,
        engine=chosen,
        seconds=seconds,
        status="replayed",
        problem=problem,
        actions=orders,
        rows=rows,
        notes=(*notes, *([] if short is None else [short])),
        unhindered_makespan=_makespan(problem, unhindered) + pipeline.after if pipeline.waits else None,
        transfers=transfers,
        placed_by=placed_by,
        receive_buffers=buffers,
        lowered=None if given is None else given.lowered,
        sides=sides,
    )


def _with_each_number(pipeline: Pipeline, placement: Placement) -> Iterator[Pipeline]:
    """Let 1, 2, … stages of a device have their parameters at once."""
    for number in range(1, max(map(len, placement.local_stages)) + 1):
        yield pipeline.with_resident(number)


def with_each_resident(schedule: Schedule) -> list[Schedule]:
    """Replay a schedule with 1, 2, … stages of a device that have their parameters at once.

    Parameters
    ----------
    schedule : Schedule
        The schedule.

    Returns
    -------
    list of Schedule
        One for each number; the schedule alone where nothing is sharded, or where its file says what is gathered when.
    """
    sides = schedule.sides
    if schedule.pipeline.sharding is None or sides is None or sides.order.gathers_as_given or schedule.lowered:
        return [schedule]
    found: list[Schedule] = []
    for each in _with_each_number(schedule.pipeline, schedule.layout):
        label, orders = schedule.strategy, schedule.actions
        made = replay_orders(label, each, schedule.layout, orders, "graph", searched=schedule.is_searched)
        kept = {key: getattr(schedule, key) for key in ("status", "objective", "proven", "bound_held_by", "allowed")}
        notes = tuple(note for note in schedule.notes if not note.endswith(CHOSEN))
        found.append(replace(made, notes=notes, **kept))
    return found


def _shortest_that_fits(schedules: Iterable[Schedule], why: str) -> Schedule:
    """Choose the shortest schedule that fits, and of equally short ones the one that takes least memory."""
    best = min(schedules, key=lambda each: (not each.fits, each.exact_makespan, each.memory_taken))
    sides = best.sides
    if sides is None or sides.order.gathers_as_given or best.pipeline.sharding is None:
        return best
    number = counted(int(best.pipeline.sharding.resident), "stage")
    return replace(best, notes=(*best.notes, f"{best.strategy} keeps at most {number} gathered{why}{CHOSEN}"))


def _makespan(problem: Problem, rows: Sequence[Placed]) -> Fraction:
    return Fraction(max(row.end for row in rows) - min(row.start for row in rows), problem.ticks_per_unit)


def _check(label: str, problem: Problem, rows: Sequence[Placed], memory: bool) -> None:
    """Check the result against the problem; a mere replay may exceed the memory limit, and the figures say so."""
    found = violations(problem, rows, memory=memory)
    if found:
        raise InternalError(f"{label}: the checker found {len(found)} faults, the first: {found[0]}")
