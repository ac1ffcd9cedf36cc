"""Exploring the frontier: chooses which placement to search next, at which limit, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import perf_counter

from ppopt.memory_frontier.curves import Curves, FoundSchedule, Record
from ppopt.memory_frontier.job import Answer, Failure, Job, OverCuts
from ppopt.memory_frontier.limits import respaced_limits, spaced_limits
from ppopt.memory_frontier.searchers import Searchers
from ppopt.optimization.options import SearchOptions
from ppopt.process.internal_error import InternalError, as_reason
from ppopt.process.interrupt import interrupt_noted
from ppopt.schedules.schedule import Schedule
from solver.counted import counted
from strategies.model.numbers import SEEDS
from strategies.model.pipeline import Pipeline

FIRST_SHARE = 0.4
"""Share of the time for the first round, in which everything is searched once if possible."""

TOP_SHARE = 0.25
"""Share of the time for finding the limit above which more memory gains nothing."""

LATER_SHARE = 0.5
"""Share of the time left that a later search would get if no other gap were open; scaled by its share of all gaps."""

SHORTEST, SHORTEST_PER_OP = 1.0, 5e-4
"""Least seconds of a search, and extra seconds per operation: anything less only covers the setup."""

SHORTEST_LATER = 4.0
"""Least seconds of a later search."""

LAST_WORDS, LAST_SHARE = 0.4, 0.03
"""Seconds, plus a share of the time limit, that a stopped search has to report its result."""

LEAST_PER_OP = 5e-5
"""Seconds per operation below which no search is started: it could not even return its start."""

BETWEEN_LOOKS = 0.25
"""Seconds between two checks of the clock."""

OnProgress = Callable[[str], None]
"""Called with a short text about the exploration's progress."""

Cell = tuple[str, Fraction | None]
"""A placement and a limit."""


@dataclass
class Exploration:
    """Searches placements at limits, in parallel, until the time is up or no gap is open.

    Every search starts from the best schedule that fits its limit, and from the best bound of a greater limit. The next
    search is the one whose gap is largest relative to the time it has had, so each gets time in proportion to what it
    could still gain. If a search gains nothing, its time counts double from then on.

    Parameters
    ----------
    model : Pipeline
        The model with a fixed number of stages, without a memory limit.
    curves : Curves
        The known schedules and bounds; new ones are added.
    options : SearchOptions
        Options of the searches.
    limits : sequence of Fraction or None
        The limits; None to choose them, between the least and the limit above which more memory gains nothing.
    points : int
        The number of limits to choose.
    wanted : sequence of Fraction
        Limits to include among the chosen ones, if they lie in the range.
    earlier : sequence of Fraction
        Limits chosen by an earlier run; none for the first run.
    ends : float
        When the searches must have ended, on the clock of `time.perf_counter`.
    processes : int
        The number of parallel searches.
    on_progress : callable
        Called with the progress.

    Attributes
    ----------
    interrupted : bool
        Whether Ctrl-C ended the exploration.
    died : int
        The number of processes that ended unexpectedly.
    faults : mapping of str to str
        Internal errors by placement; these placements are not searched again.
    is_chosen : bool
        Whether the limits are chosen here.
    """

    model: Pipeline
    curves: Curves
    options: SearchOptions
    limits: Sequence[Fraction] | None
    points: int
    wanted: Sequence[Fraction]
    earlier: Sequence[Fraction]
    ends: float
    processes: int
    on_progress: OnProgress
    interrupted: bool = False
    died: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    is_chosen: bool = field(init=False)
    started: float = field(default_factory=perf_counter)
    spent: dict[Cell, float] = field(default_factory=dict)
    visits: int = 0

    def __post_init__(self) -> None:
        self.is_chosen = self.limits is None

    def run(self, searchers: Searchers) -> None:
        """Search until the time is up, no gap is open, or Ctrl-C is pressed."""
        if self.interrupted or self.ends <= perf_counter():
            return
        with interrupt_noted(self._note), suppress(KeyboardInterrupt):
            try:
                self._search(searchers)
            except KeyboardInterrupt:
                self.interrupted = True
            for job, answer in searchers.last_answers(LAST_WORDS + LAST_SHARE * self.options.time_limit):
                self._take(job, answer)

    def settle(self) -> list[Fraction]:
        """List the limits to show; chosen ones end where more memory gains nothing."""
        limits = self._chosen() if self.limits is None else list(self.limits)
        if not self.is_chosen:
            return limits
        return [*(limit for limit in limits if limit < self.curves.enough), self.curves.enough]

    def _note(self) -> None:
        self.interrupted = True

    def _search(self, searchers: Searchers) -> None:
        while (left := self.ends - perf_counter()) > 0 and not self.interrupted:
            while searchers.idle and (job := self._next(searchers.jobs)) is not None:
                searchers.give(job)
            if not searchers.jobs:
                return
            self._tell()
            self.died = searchers.died
            for asked, answer in searchers.answers(min(left, BETWEEN_LOOKS)):
                self._take(asked, answer)

    def _take(self, job: Job, answer: Answer) -> None:
        """Store a search's result; a placement whose search failed is not searched again."""
        if answer is None:
            return
        record, cell = self._record(job.placement), (job.placement, job.limit)
        before = _standing(record, job.limit)
        try:
            _keep(record, job.limit, answer)
        except InternalError as error:
            within = "without a limit" if job.limit is None else f"within {float(job.limit):g}"
            self.faults[record.name] = as_reason(record.name, InternalError(f"the search {within}: {error}"))
            return
        if _standing(record, job.limit) == before:
            self.spent[cell] *= 2

    # ---- what comes next

    def _next(self, running: Sequence[Job]) -> Job | None:
        """Choose the next search; None if every open one is running already."""
        busy = {(job.placement, job.limit) for job in running}
        records = [record for record in self._searchable() if self._has_time(record)]
        if fresh := [record.name for record in records if (record.name, None) not in self.spent]:
            return self._job((fresh[0], None), self._brief_seconds())
        if self.limits is None and not self._top_is_settled(busy):
            cell = self._probe(busy)
            has_time = cell is not None and self._has_time(self._record(cell[0]))
            return self._job(cell, self._brief_seconds()) if cell is not None and has_time else None
        if self.limits is None:
            self.limits = self._chosen()
        if self.is_chosen and self.limits[-1] != self.curves.enough:
            self.limits = respaced_limits(
                self.curves.records, self.limits, self.curves.enough, self.points, self.wanted
            )
        opened = {cell: part for cell, part in self._open() if cell not in busy}
        if not opened:
            return None
        cell = max(opened, key=lambda cell: (cell not in self.spent, opened[cell] / Fraction(self._spent(cell))))
        if cell not in self.spent:
            return self._job(cell, self._brief_seconds())
        share = float(opened[cell] / sum(opened.values()))
        return self._job(cell, max(LATER_SHARE * share * self._left * self.processes, SHORTEST_LATER))

    def _searchable(self) -> list[Record]:
        """List the placements whose searches have not failed."""
        return [record for record in self.curves.records if record.name not in self.faults]

    def _open(self) -> Iterator[tuple[Cell, Fraction]]:
        """Yield the cells with an open gap, each with the share of the step that could still be gained."""
        for limit in (*(self.limits or ()), None):
            for record in self._searchable():
                if self._has_time(record) and (part := self.curves.open_part(record, limit)):
                    yield (record.name, limit), part

    def _top_is_settled(self, busy: set[Cell]) -> bool:
        """Return whether the start of the top is known closely enough, or its share of the time is used up.

        An earlier run has settled it already.
        """
        if any(limit is None for _, limit in busy):
            return False
        enough, least = self.curves.enough, self.curves.least
        late = perf_counter() - self.started > TOP_SHARE * (self.ends - self.started)
        return late or bool(self.earlier) or (enough - self._not_enough(busy)) * self.points <= enough - least

    def _not_enough(self, busy: set[Cell]) -> Fraction:
        """Return the greatest limit at which a search did not reach the shortest step."""
        tried = {limit for placement, limit in self.spent if limit is not None and (placement, limit) not in busy}
        short = (limit for limit in tried if self.curves.best_at(limit).makespan > self._top.makespan)
        return max(short, default=self.curves.least)

    def _probe(self, busy: set[Cell]) -> Cell | None:
        """Choose a limit that narrows down where the top begins: between one too small and the least that suffices.

        Until the searches without a limit have ended, choose the least limit: it will be shown in any case.
        """
        if any(limit is None for _, limit in busy):
            feasible = self.curves.feasible(self.curves.least)
            first = ((record.name, self.curves.least) for record in self._searchable() if record in feasible)
            return next((cell for cell in first if cell not in self.spent), None)
        low = self._not_enough(busy)
        apart = self.curves.enough - low
        ranked = ((record, record.best_at(None)) for record in self._searchable())
        record = next((record for record, best in ranked if best is not None and best.rank == self._top.rank), None)
        if record is None:
            return None
        probed = [limit for _, limit in busy if limit is not None]
        for part in range(1, self.processes + 1):
            limit = low + apart * part / (self.processes + 1)
            if all(abs(limit - other) * 4 >= apart for other in probed):
                return record.name, limit
        return None

    @property
    def _top(self) -> FoundSchedule:
        return self.curves.best_at(None)

    def _chosen(self) -> list[Fraction]:
        curves = self.curves
        if self.earlier:
            limits = sorted({curves.least, *self.earlier})
            return respaced_limits(curves.records, limits, curves.enough, self.points, self.wanted)
        return spaced_limits(curves.records, curves.least, curves.enough, self.points, self.wanted)

    # ---- one search

    def _job(self, cell: Cell, seconds: float) -> Job:
        name, limit = cell
        record = self._record(name)
        seconds = min(max(seconds, self._shortest_search(record)), self._left)
        self.spent[cell] = self.spent.get(cell, 0.0) + seconds
        self.visits += 1
        best, proof = record.best_at(limit), record.best_proof(limit)
        options = replace(
            self.options,
            placement=record.layout.name,
            time_limit=seconds,
            workers=1,
            seed=(self.options.seed + self.visits - 1) % SEEDS,
            starts=() if best is None else (best.schedule,),
            known=None if proof is None else proof.bound,
        )
        model = self.model if record.pipeline.layers is None else record.pipeline
        layout = record.layout if record.over_cuts else None
        shortest = self._shortest_search(record)
        return Job(name, limit, model.with_limit(limit), options, layout, record.bound_at(limit), shortest)

    def _record(self, name: str) -> Record:
        return next(record for record in self.curves.records if record.name == name)

    def _shortest_search(self, record: Record) -> float:
        return SHORTEST + SHORTEST_PER_OP * len(record.problem.tasks)

    def _has_time(self, record: Record) -> bool:
        return self._left >= LEAST_PER_OP * len(record.problem.tasks)

    def _brief_seconds(self) -> float:
        """Divide the time of the first round among its searches."""
        expected = len(self.curves.records) * (1 + (self.points if self.limits is None else len(self.limits)))
        return FIRST_SHARE * (self.ends - self.started) * self.processes / expected

    def _spent(self, cell: Cell) -> float:
        return self.spent.get(cell, 1.0)

    @property
    def _left(self) -> float:
        return max(0.0, self.ends - perf_counter())

    def _tell(self) -> None:
        if self.limits is None:
            self.on_progress("finding the point beyond which memory saves nothing")
            return
        gaps = [self._gap(limit) for limit in self.limits]
        done = sum(gap == 0 for gap in gaps)
        text = f"{done} of {counted(len(gaps), 'limit')} proven, mean gap {float(100 * sum(gaps) / len(gaps)):.2f}%"
        seen = sum(any((record.name, limit) in self.spent for record in self.curves.records) for limit in self.limits)
        self.on_progress(f"{seen} of {counted(len(gaps), 'limit')} searched, {text}, {self._left:.0f} s left")

    def _gap(self, limit: Fraction) -> Fraction:
        best = self.curves.best_at(limit).makespan
        return (best - self.curves.bound_at(limit)) / best


def _keep(record: Record, limit: Fraction | None, answer: Schedule | OverCuts | Failure) -> None:
    """Store the schedule and the bound of a search at a limit.

    Raises
    ------
    InternalError
        If the search failed.
    """
    if isinstance(answer, Failure):
        raise InternalError(answer.message)
    found = answer.best if isinstance(answer, OverCuts) else answer
    if found is not None and not record.is_of(found):
        raise InternalError(f"{found.strategy} is on another cut, for which these bounds do not hold")
    if found is not None:
        record.add_each(found)
    if isinstance(answer, OverCuts):
        record.prove_for_cuts(answer.proven, limit)
    elif answer.bound_held_by is not None:
        record.prove(answer.bound_held_by, limit)
    record.refuse_contradictions()


def _standing(record: Record, limit: Fraction | None) -> tuple[Fraction, Fraction]:
    """Return a placement's shortest makespan and bound at a limit."""
    best = record.best_at(limit)
    return Fraction(0) if best is None else best.makespan, record.bound_at(limit)
