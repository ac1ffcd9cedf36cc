"""The memory frontier: what `ppopt.frontier` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ppopt.process.internal_error import internal_errors
from ppopt.schedules.schedule import BETWEEN, Schedule, refuse_below_bound
from ppopt.schedules.twins import as_one, twins
from reports.frontier_points import CopiedPoint, FrontierPoint, PublishedPoint, Saving, ShownCopies, ShownFrontier
from reports.numbers import percent
from reports.units import Units
from solver.counted import counted
from solver.errors import InputError
from solver.exact import written_bound
from solver.states import Status
from strategies.model.numbers import read_amount
from strategies.model.pipeline import Pipeline

if TYPE_CHECKING:
    import altair as alt

    from reports.content import Section


@dataclass(frozen=True, eq=False)
class Point:
    """The result at one memory limit.

    Attributes
    ----------
    limit : float
        The memory that each device may hold.
    schedule : Schedule
        The shortest known schedule that fits: found by a search at this limit or a smaller one, or published.
    proven : Fraction
        An exact lower bound on the makespan at this limit, on all placements searched.
    """

    limit: float
    schedule: Schedule
    proven: Fraction

    def __post_init__(self) -> None:
        refuse_below_bound(f"within {self.limit:.10g}", self.schedule.exact_makespan, self.proven)

    @property
    def bound(self) -> float:
        """The proven bound."""
        return written_bound(self.proven, self.schedule.exact_makespan)

    @property
    def status(self) -> Status:
        """``optimal`` if the makespan equals the bound exactly, else ``feasible``."""
        return "optimal" if self.schedule.exact_makespan == self.proven else "feasible"

    @property
    def placement(self) -> str:
        """The placement's name."""
        return self.schedule.placement

    @property
    def makespan(self) -> float:
        """The schedule's length."""
        return self.schedule.makespan

    @property
    def gap(self) -> float:
        """(makespan − bound) ÷ makespan."""
        return (self.makespan - self.bound) / self.makespan

    def to_dict(self) -> dict[str, Any]:
        """Write the point as in ``--format json``."""
        keys = ("limit", "placement", "makespan", "bound", "gap", "status")
        cut = self.schedule.pipeline.layers_per_stage
        figures = {key: getattr(self, key) for key in keys}
        figures |= {"runs_in": [each.name for each in self.schedule.runs_in]}
        return figures | ({} if cut is None else {"layers_per_stage": list(cut)}) | _resident(self.schedule)


def _resident(schedule: Schedule) -> dict[str, Any]:
    sharding = schedule.pipeline.sharding
    return {} if sharding is None else {"resident": sharding.resident}


@dataclass(frozen=True, eq=False)
class Copied:
    """What is known with copies: the orders of a frontier, replayed with activations offloaded.

    Attributes
    ----------
    points : tuple of Point
        The shortest schedule with copies at each limit of the frontier that one fits, and where it saves most.
    without : tuple of float or None
        For each of them, the shortest step known without copies within the same memory; None if nothing fits it.
    stairs : tuple of Schedule
        The schedules at which the curve with copies falls, by increasing memory.
    saving : Saving
        What copies save, and what they cost.
    """

    points: tuple[Point, ...]
    without: tuple[float | None, ...]
    stairs: tuple[Schedule, ...]
    saving: Saving

    def to_dict(self, units: Units) -> dict[str, Any]:
        """Write it as in ``--format json``."""
        rows = [
            {**point.to_dict(), "strategy": point.schedule.strategy, "memory": max(point.schedule.peak_memory)}
            | {"without_copies": least}
            for point, least in zip(self.points, self.without, strict=True)
        ]
        for row in rows:
            del row["runs_in"]  # no framework makes these copies
        saved = {"memory_saved": self.saving.share, "time_cost": self.saving.cost, "copy": self.saving.copy}
        return {"sentence": self.saving.sentence(units), **saved, "points": rows}


@dataclass(frozen=True, eq=False, repr=False)
class Frontier:
    """What `ppopt.frontier` returns.

    Attributes
    ----------
    pipeline : Pipeline
        The model, with the number of stages that its times are meant for, and the user's memory limit.
    points : tuple of Point
        By increasing limit; neither their makespans nor their bounds ever rise.
    published : tuple of Schedule
        The published schedules that fit the pipeline, by increasing memory, whatever their memory.
    comparable : frozenset of int
        Positions of the published schedules that the bounds hold for: on a searched placement and cut, without blocks
        that the search could not use.
    stairs : tuple of Schedule
        The schedules at which the curve falls, by increasing memory: those of the points, and others between them.
    bounds : tuple of (float, float)
        Limits with their bounds, increasing; each bound holds from the previous limit up to its own.
    top : Schedule
        The shortest known schedule, with the least memory among equally short ones: more memory gains nothing.
    highest_bound : float
        A lower bound on the makespan with any memory.
    searched : tuple of str
        The placements.
    scope : str
        What bounds and proofs hold for: for layers without a given cut, which cuts; and which orders, if blocks save
        time and no search was allowed to use them.
    left_out : tuple of (str, str)
        Placements and published schedules that do not fit the pipeline, with the reason.
    notes : tuple of str
        Notes for the user.
    interrupted : bool
        Whether Ctrl-C ended the searches.
    seconds : float
        The time it all took.
    copied : Copied or None
        The curve with copies, if it was asked for. Everything else is without copies.
    """

    pipeline: Pipeline
    points: tuple[Point, ...]
    published: tuple[Schedule, ...]
    comparable: frozenset[int]
    stairs: tuple[Schedule, ...]
    bounds: tuple[tuple[float, float], ...]
    top: Schedule
    highest_bound: float
    searched: tuple[str, ...]
    scope: str = ""
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    seconds: float = 0.0
    copied: Copied | None = None

    @property
    def mean_gap(self) -> float:
        """The mean of the points' gaps."""
        return sum(point.gap for point in self.points) / len(self.points)

    @property
    def internal_errors(self) -> tuple[str, ...]:
        """Internal errors, one line per schedule or placement; the other results stand."""
        return internal_errors(self.left_out)

    @property
    def sentence(self) -> str:
        """Where the knee is, what the next step of memory gains, and above which limit more memory gains nothing."""
        return self.shown.sentence

    @property
    def shown(self) -> ShownFrontier:
        """The frontier as charts and tables show it."""
        copied = () if self.copied is None else self.copied.points
        return self._shown([*(point.schedule for point in (*self.points, *copied)), *self.published])

    @property
    def _units(self) -> Units:
        return Units(self.pipeline.unit or "", self.pipeline.memory.unit or "")

    def to_dict(self) -> dict[str, Any]:
        """Return the frontier as plain values, as in ``--format json``."""
        published = [
            {
                "strategy": each.strategy,
                "memory": max(each.peak_memory),
                "makespan": each.makespan,
                "runs_in": [framework.name for framework in each.runs_in],
                **_resident(each),
            }
            for each in self.published
        ]
        scope: dict[str, Any] = {"bounds_hold": self.scope} if self.scope else {}
        copied = {} if self.copied is None else {"offload": self.copied.to_dict(self._units)}
        return {"points": [point.to_dict() for point in self.points], "published": published} | scope | copied

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the points as plain values, as in ``--format csv``: with copies, the shortest step with them as well.

        It is empty where nothing that is known with copies fits.
        """
        rows = [point.to_dict() for point in self.points]
        if self.copied is not None:
            least = {point.limit: point.makespan for point in self.copied.points}
            rows = [{**row, "makespan_with_copies": least.get(row["limit"], "")} for row in rows]
        return rows

    def chart(self) -> alt.LayerChart:
        """Draw makespan over memory: the curve of the schedules found, the bound below it, and published schedules."""
        from reports.charts.frontier import frontier_chart

        return frontier_chart(self.shown)

    def slide(self, title: str = "", compared: tuple[Any, Any] | None = None) -> alt.LayerChart:
        """Draw the same as `chart` for a slide, with large letters and a title in words.

        Parameters
        ----------
        title : str
            The name of the model.
        compared : (number, number), optional
            Two memory limits: a bracket says how much shorter a step is with the greater one.

        Raises
        ------
        InputError
            If the first is not below the second, or no schedule found fits it.
        """
        from reports.charts.slide import frontier_slide

        if compared is None:
            return frontier_slide(self.shown, title)
        low, high = (read_amount(limit) for limit in compared)
        least = max(self.stairs[0].figures.peaks)
        if low >= high:
            raise InputError(f"from: must be below --to; found {float(low):.10g} and {float(high):.10g}")
        if low < least:
            raise InputError(
                f"from: must be at least {float(least):.10g}, which a schedule needs; found {float(low):.10g}"
            )
        ends = (float(low), self._shortest_within(low)), (float(high), self._shortest_within(high))
        return frontier_slide(self.shown, title, ends)

    def _shortest_within(self, limit: Fraction) -> float:
        """Return the shortest step on the curve at a limit, which some schedule fits."""
        return min(each.makespan for each in self.stairs if max(each.figures.peaks) <= limit)

    def section(self, title: str = "") -> Section:
        """Make the section of a report: the curve, and the timelines of all its schedules.

        Parameters
        ----------
        title : str
            Its title, such as its configuration file.
        """
        from reports.content import Section

        schedules = self._ranked()
        limits = self.pipeline.memory.limit
        named = [
            replace(self._as_proven(each), pipeline=each.pipeline.with_limit(limits), strategy=self._name(each))
            for each in schedules
        ]
        shown = self._shown(schedules)
        return Section(
            title=title,
            pipeline=self.pipeline.to_mapping(),
            schedules=[schedule.presented() for schedule in named],
            left_out=self.left_out,
            headline=self.sentence,
            search=self._search_sentence,
            frontier=shown,
        )

    def _as_proven(self, schedule: Schedule) -> Schedule:
        """Give a schedule the bound of the least limit that it is shown for; its search may have had another limit."""
        point = next((point for point in self.points if point.schedule is schedule), None)
        status = schedule.status if point is None or not schedule.is_searched else point.status
        return replace(schedule, proven=None if point is None else point.proven, bound_held_by=None, status=status)

    def _name(self, schedule: Schedule) -> str:
        """Name a searched schedule after the least limit that it is shown for, and say if it has copies."""
        copied = () if self.copied is None else self.copied.points
        limit = next((point.limit for point in (*self.points, *copied) if point.schedule is schedule), None)
        has_copies = any(point.schedule is schedule for point in copied)
        named, ending = self._with_resident(schedule), " with copies" if has_copies else ""
        if limit is not None and (schedule.is_searched or (has_copies and not schedule.is_published)):
            return f"{named} at {limit:.10g}{ending}"
        return f"{named}{ending}"

    def _with_resident(self, schedule: Schedule) -> str:
        """Name a schedule with its number of resident stages, where each limit has its own."""
        number = self._chosen_resident(schedule)
        return schedule.strategy if number is None else f"{schedule.strategy}, resident {number}"

    def _chosen_resident(self, schedule: Schedule) -> int | None:
        given, own = self.pipeline.sharding, schedule.pipeline.sharding
        if given is None or own is None or given.resident != "auto":
            return None
        return int(own.resident)

    def _ranked(self) -> list[Schedule]:
        """List the schedules of the points and the published ones, each once: those that fit first, by makespan."""

        def rank(schedule: Schedule) -> tuple[Any, ...]:
            over = schedule.figures.excesses(self.pipeline.limits)
            return bool(over), schedule.makespan, *schedule.memory_taken, self._with_resident(schedule)

        points = (*self.points, *(() if self.copied is None else self.copied.points))
        every = {id(each): each for each in (*(point.schedule for point in points), *self.published)}
        return sorted(every.values(), key=rank)

    def _shown(self, schedules: Sequence[Schedule]) -> ShownFrontier:
        ranks = {id(schedule): rank for rank, schedule in reversed(list(enumerate(schedules)))}
        places = {id(schedule): place for place, schedule in enumerate(self.published)}
        limits = set(self.pipeline.limits)
        limit = next(iter(limits)) if len(limits) == 1 else None
        return ShownFrontier(
            points=[
                FrontierPoint(
                    **self._at_limit(point, ranks),
                    layers=point.schedule.pipeline.layers_per_stage or (),
                    runs_in=point.schedule.table_row().runs_in or {},
                    searched=point.schedule.is_searched,
                    resident=self._chosen_resident(point.schedule),
                )
                for point in self.points
            ],
            published=[
                PublishedPoint(
                    name=BETWEEN.join(dict.fromkeys(map(self._with_resident, group))),
                    memory=max(group[0].peak_memory),
                    makespan=group[0].makespan,
                    is_comparable=places[id(group[0])] in self.comparable,
                    best=self._best_within(max(group[0].figures.peaks)),
                    rank=ranks[id(group[0])],
                    runs_in=as_one(group).table_row().runs_in or {},
                )
                for group in twins(self.published)
            ],
            stairs=[(max(each.peak_memory), each.makespan) for each in self.stairs],
            bounds=self.bounds,
            top=(max(self.top.peak_memory), self.top.makespan),
            highest_bound=self.highest_bound,
            limit=None if limit is None else float(limit),
            units=self._units,
            scope=self.scope,
            source=self.pipeline.source or "",
            copies=None if self.copied is None else self._shown_copies(self.copied, ranks),
        )

    def _at_limit(self, point: Point, ranks: Mapping[int, int]) -> dict[str, Any]:
        """Return what every point at a limit shows, as `PointAtLimit` names it."""
        return {
            "limit": point.limit,
            "makespan": point.makespan,
            "bound": point.bound,
            "memory": max(point.schedule.peak_memory),
            "name": self._name(point.schedule),
            "placement": point.placement,
            "status": point.status,
            "rank": ranks[id(point.schedule)],
        }

    def _shown_copies(self, copied: Copied, ranks: Mapping[int, int]) -> ShownCopies:
        return ShownCopies(
            points=[
                CopiedPoint(**self._at_limit(point, ranks), without=without)
                for point, without in zip(copied.points, copied.without, strict=True)
            ],
            stairs=[(max(each.peak_memory), each.makespan) for each in copied.stairs],
            saving=copied.saving,
        )

    def _best_within(self, memory: Fraction) -> float:
        """Return the shortest known step within a memory limit, by any schedule."""
        known = (*self.stairs, *self.published)
        return min(each.makespan for each in known if max(each.figures.peaks) <= memory)

    @property
    def _search_sentence(self) -> str:
        ended = ", interrupted" if self.interrupted else ""
        return (
            f"Searched placements: {', '.join(self.searched)}; {counted(len(self.points), 'limit')} in "
            f"{self.seconds:.0f} s{ended}, mean gap {percent(self.mean_gap)}."
        )

    def _repr_html_(self) -> str:
        """Show the sentence and the points in a notebook."""
        from reports.page.notebook import frontier_html

        return frontier_html(self.shown)

    def __repr__(self) -> str:
        return f"<Frontier of {counted(len(self.points), 'limit')}: {self.sentence}>"
