"""Pipelines of too many operations to be written out one by one: their schedules in periodic form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from ppopt.optimization.finishing import why_ended
from ppopt.optimization.unwritten import Long, Unwritten, least_microbatches, repeats
from ppopt.process.interrupt import interrupt_noted
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule, overhead_in_ticks
from reports.metrics import Extents, figures_of
from solver.budget import Budget
from solver.errors import InputError
from solver.exact import in_ticks
from solver.problem import Block, tasks_of
from solver.search.compiled import compile_problem
from solver.search.long_search import UnwrittenSearch
from solver.search.state import Progress
from solver.search.string_runner import Runner, orders_of
from strategies.model.actions import Op, PipelineAction
from strategies.problem.search_problem import pipeline_actions

if TYPE_CHECKING:
    from pathlib import Path

MOST_REPLAYED_OPS = 30_000_000
"""More operations than this are refused, as everywhere."""

MOST_EXPORTED_OPS = 5_000_000
"""An order of more operations than this is not written as a file."""

MOST_LOWERED_OPS = 300_000
"""For an order of more operations it is not found out when each runs, which placing its communication needs."""

SHOWN_PERIODS = 2
"""So many periods are written out."""


@dataclass(frozen=True, eq=False, repr=False)
class PeriodicSchedule(Schedule):
    """A schedule of so many operations that only a part of them is written out.

    Of each device's order, a part repeats. ``actions``, ``rows``, ``problem`` and all that is made from them (timeline,
    orders, trace) are those of a short form, with two periods and fewer microbatches; ``figures`` are those of the
    whole, exactly (see `Runner.whole` in `solver.search.string_runner`).

    Attributes
    ----------
    begins, ends : tuple of int
        For each device, where in its short order the first period begins and the second ends.
    period : int
        How many microbatches of each direction a period has.
    copies, shown : int
        How many periods there are in all, and how many are written out.
    ticks : int
        The makespan of the whole.
    """

    begins: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    period: int = 1
    copies: int = SHOWN_PERIODS
    shown: int = SHOWN_PERIODS
    ticks: int = 0

    @cached_property
    def exact_makespan(self) -> Fraction:
        """The makespan of the whole without rounding; the span is not searched so."""
        return Fraction(self.ticks, self.problem.ticks_per_unit) + self.pipeline.after

    @property
    def operations(self) -> int:
        """How many operations the whole has."""
        total = 0
        for order, begin, end in zip(self.actions, self.begins, self.ends, strict=True):
            sizes = [len(tasks_of(action)) for action in order]
            repeated = sum(sizes[begin:end]) // max(1, self.shown)
            total += sum(sizes) + (self.copies - self.shown) * repeated
        return total

    def whole(self, *, timed: bool = False) -> Schedule:
        """Return the schedule with all its actions in place of the short form, to be exported.

        Parameters
        ----------
        timed : bool
            Whether all of it is replayed, so that its rows are those of the whole, too: where its communication is to
            be placed.

        Raises
        ------
        InputError
            If these are more than are written as a file, or more than are replayed one by one.
        """
        most = MOST_LOWERED_OPS if timed else MOST_EXPORTED_OPS
        if self.operations > most:
            how = "written with their communication" if timed else "written as a file"
            raise InputError(
                f"{self.strategy}: has {self.operations:,} operations; at most {most:,} are {how} "
                "(`actions`, `begins`, `ends` and `copies` describe it completely)"
            )
        layout = replace(self.layout, microbatches=self.pipeline.microbatches)
        actions = [list(self._whole(device)) for device in range(len(self.actions))]
        if timed:
            return replay_orders(self.strategy, self.pipeline, layout, actions, "graph", check_memory=True)
        given = {each.name: getattr(self, each.name) for each in fields(Schedule)}
        return Schedule(**{**given, "layout": layout, "actions": actions, "proven": None, "bound_held_by": None})

    def to_dict(self) -> dict[str, Any]:
        """Write the figures as plain values, with how the order repeats."""
        periodic = {"microbatches": self.period * len(self.layout.homes), "copies": self.copies, "written": self.shown}
        return {**super().to_dict(), "period": periodic}

    def export(
        self,
        path: str | Path,
        force_order_only: bool = False,
        *,
        lowered: bool = False,
        unshard: bool = False,
    ) -> tuple[str, ...]:
        """Write the whole order as a file that PyTorch's pipeline runtime loads; see `Schedule.export`."""
        return self.whole(timed=lowered).export(path, force_order_only, lowered=lowered, unshard=unshard)

    def _whole(self, device: int) -> Iterator[PipelineAction]:
        order, begin, end = self.actions[device], self.begins[device], self.ends[device]
        middle = begin + (end - begin) // max(1, self.shown)
        yield from (self._later(action, 0) for action in order[:begin])
        for copy in range(self.copies):
            yield from (self._later(action, copy) for action in order[begin:middle])
        yield from (self._later(action, self.copies - self.shown) for action in order[end:])

    def _later(self, action: PipelineAction, periods: int) -> PipelineAction:
        """Return the same action so many periods later, with the number that its microbatch has in the whole."""
        if isinstance(action, Block):
            return Block(*(self._later(cast("Op", half), periods) for half in action))
        op = action
        directions = len(self.layout.homes)
        direction, place = divmod(op.microbatch, self.layout.microbatches // directions)
        first = direction * (self.pipeline.microbatches // directions)
        return op._replace(microbatch=first + place + periods * self.period)


def search_unwritten(
    long: Long, *, ops: int, seconds: float | Budget, workers: int, seed: int, progress: Progress | None
) -> PeriodicSchedule:
    """Search for the best schedule of a pipeline of which only the first microbatches are written down.

    Parameters
    ----------
    long : Long
        What is searched.
    ops : int
        How many operations it has.
    seconds, workers, seed, progress
        As for `ppopt.optimize`.

    Raises
    ------
    InputError
        If it has too many operations, or too few microbatches to repeat.
    InfeasibleError
        If no schedule fits the memory.
    """
    started = perf_counter()
    _refuse(long, ops)
    chains = ops // long.pipeline.microbatches * long.directions
    unwritten = Unwritten(long, chains, seconds, seed, progress)
    with interrupt_noted(unwritten.search.interrupt), suppress(KeyboardInterrupt):
        if not unwritten.begin():
            raise InputError(f"optimize: these are {ops:,} operations, and what they wait for does not repeat")
        unwritten.run(workers)
    if unwritten.search.found is None:
        unwritten.offer_one_at_a_time()
    return _made(long, unwritten.search, ops, started)


def _refuse(long: Long, ops: int) -> None:
    pipeline = long.pipeline
    if ops > MOST_REPLAYED_OPS:
        raise InputError(f"optimize: these are {ops:,} operations; at most {MOST_REPLAYED_OPS:,} are searched")
    if not repeats(pipeline, long.placement):
        least = least_microbatches(pipeline, long.placement)
        even = " and an even number" if long.directions > 1 else ""
        raise InputError(
            f"optimize: these are {ops:,} operations of {pipeline.microbatches} microbatches; a search of "
            f"this size needs a steady middle that repeats, with at least {least} microbatches{even}"
        )


def _made(long: Long, search: UnwrittenSearch, ops: int, started: float) -> PeriodicSchedule:
    found, whole = search.found, search.whole
    assert found is not None
    assert whole is not None
    periodic, problem = found.periodic, search.repetition.problem
    label = f"optimized-{long.placement.name}"
    shown = min(SHOWN_PERIODS, found.copies)
    compiled = compile_problem(search.rounded)
    tokens = periodic.unrolled(shown)
    size = Runner(compiled, may_compile=False).sizes(tokens)[0]
    part, layout = long.fewer(size)
    orders = pipeline_actions(orders_of(long.write(size).chains, compiled, tokens))
    made = replay_orders(label, part, layout, orders, "graph", check_memory=True)
    peaks = [problem.static_of(device) + peak for device, peak in enumerate(whole.peaks)]
    begins = tuple(map(len, periodic.before))
    lengths = list(map(len, periodic.period))
    repeated = (order[begin : begin + length] for order, begin, length in zip(orders, begins, lengths, strict=True))
    overhead = [
        all_of_it + (found.copies - shown) * in_ticks(part.overhead_of(period), problem.ticks_per_unit)
        for all_of_it, period in zip(overhead_in_ticks(part, problem, orders), repeated, strict=True)
    ]
    given = {each.name: getattr(made, each.name) for each in fields(made)}
    given |= {
        "pipeline": long.pipeline,
        "figures": figures_of(
            problem,
            Extents(whole.first, whole.last, whole.busy, peaks),
            long.pipeline.ideal,
            overhead,
            long.pipeline.after,
        ),
        "proven": Fraction(search.bound, problem.ticks_per_unit) + long.pipeline.after,
        "ticks": max(whole.last) - min(whole.first),
        "bound_held_by": search.held_by,
        "status": "optimal" if search.closed else "feasible",
        "ended": "" if search.closed else why_ended(search, long.pipeline),
        "seconds": perf_counter() - started,
        "interrupted": search.interrupted,
        "allowed": long.allowed,
        "notes": (*_notes(search, label, ops, (len(made.rows), layout.microbatches)), *made.notes),
    }
    return PeriodicSchedule(
        **given,
        begins=begins,
        ends=tuple(begin + shown * length for begin, length in zip(begins, lengths, strict=True)),
        period=periodic.tasks,
        copies=found.copies,
        shown=shown,
    )


def _notes(search: UnwrittenSearch, label: str, ops: int, written: tuple[int, int]) -> Iterator[str]:
    if search.interrupted:
        yield "the search was interrupted; this is the best schedule found so far"
    assert search.found is not None
    yield (
        f"{label}: {written[0]:,} of {ops:,} operations are written out, those of {written[1]} microbatches; a part of "
        f"each device's order runs {search.found.copies:,} times; all figures describe the whole schedule, timelines "
        "and traces only the part that is written out"
    )
