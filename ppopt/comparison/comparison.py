"""Schedules of one model side by side, ranked, each with its ladder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ppopt.comparison.communicators import CommunicatorFigures
from ppopt.process.internal_error import internal_errors
from ppopt.schedules.flat_figures import flat
from ppopt.schedules.schedule import Schedule
from ppopt.schedules.twins import as_one, twins
from reports.ladder import STEPS, Ladder
from reports.margins import Margin, Margins
from reports.numbers import grouped, signed_percent, with_unit
from solver.counted import counted
from strategies.layouts.runs_in import find_framework
from strategies.model.pipeline import Pipeline

if TYPE_CHECKING:
    import pandas as pd

    from ppopt.noise.noise import Noise
    from reports.content import Section
    from reports.table import Row


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What `ppopt.compare` returns.

    Attributes
    ----------
    pipeline : Pipeline
        The model, with the number of stages that its times are meant for.
    schedules : tuple of Schedule
        Best first: schedules that fit the memory, by makespan and then by least memory (`Schedule.memory_taken`);
        then those whose memory lacks a second copy of the weights (`Schedule.lacks_second_copy`), and those that do
        not fit. The bound of each is its ladder's.
    ladders : tuple of Ladder
        For each schedule, where its time goes.
    bound : float or None
        No schedule that fits the memory has a shorter makespan, on any of the placements shown; without those of
        schedules whose memory lacks a second copy of the weights, if there are others.
    baseline : Schedule or None
        The one among them that all are compared with.
    left_out : tuple of (str, str)
        Schedules left out, with the reason: they do not fit, the time was too short, or an internal error.
    infeasible : tuple of str
        For each placement on which no schedule fits the memory, the reason.
    searched : tuple of str
        The placements searched; after an interruption, up to the interrupted one.
    interrupted : bool
        Whether Ctrl-C ended the search.
    bounds_cut_short : bool
        Whether the clock, or the size of the pipeline, left out some argument for a bound: all bounds hold, but
        another run may find higher ones.
    seconds : float
        The time it all took.
    notes : tuple of str
        Notes on the comparison as a whole.
    communicators : mapping of str to CommunicatorFigures
        By schedule name, if transfers take time: which communicators the schedule runs with, and the cost of
        PyTorch's placement of its communication.
    noise : Noise or None
        The noise with which the schedules were also replayed.
    framework : str or None
        The framework that runs all of them, if one was asked for.
    reach : Margins
        How far the verdict holds: `margins`, and what lies between them.
    by_resident : tuple of Schedule
        The winner with 1, 2, … stages of a device that have their parameters at once; empty if nothing is sharded.
    """

    pipeline: Pipeline
    schedules: tuple[Schedule, ...]
    ladders: tuple[Ladder, ...]
    bound: float | None
    baseline: Schedule | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    infeasible: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    interrupted: bool = False
    bounds_cut_short: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    communicators: Mapping[str, CommunicatorFigures] = field(default_factory=dict)
    noise: Noise | None = None
    framework: str | None = None
    reach: Margins = field(default_factory=Margins)
    by_resident: tuple[Schedule, ...] = ()

    @property
    def contenders(self) -> list[Schedule]:
        """The schedules that can win, best first: those that fit the memory.

        Those whose memory lacks a second copy of the weights count only where there are no others.
        """
        fitting = [schedule for schedule in self.schedules if schedule.fits]
        return [schedule for schedule in fitting if not schedule.lacks_second_copy] or fitting

    @property
    def winner(self) -> Schedule | None:
        """The shortest schedule that can win, if any does."""
        return next(iter(self.contenders), None)

    @property
    def margins(self) -> tuple[Margin, ...]:
        """The costs at which another schedule takes the lead, cost by cost, from the present costs up."""
        return self.reach.margins

    @property
    def fastest(self) -> Schedule | None:
        """The shortest schedule, regardless of memory."""
        return min(self.schedules, key=lambda schedule: schedule.makespan, default=None)

    @property
    def internal_errors(self) -> tuple[str, ...]:
        """Internal errors, one line per schedule; the results of the other schedules stand."""
        return internal_errors(self.left_out)

    def figures(self) -> list[dict[str, Any]]:
        """Return the figures of each schedule, including its ladder, as plain values."""
        pairs = zip(self.schedules, self.ladders, strict=True)
        return [
            {**_figures(*pair), "vs_baseline": self.vs_baseline(pair[0]), **self._with_communicators(pair[0])}
            for pair in pairs
        ]

    def frame(self) -> pd.DataFrame:
        """Make a table: one row per schedule, best first, with the columns of ``--format csv``.

        Returns
        -------
        pandas.DataFrame
            The entries of the ladder are ``ladder_ideal`` and so on. ``peak_memory`` is a list, one number per device.
        """
        import pandas as pd

        return pd.DataFrame([flat(figures) for figures in self.figures()])

    def _with_communicators(self, schedule: Schedule) -> dict[str, Any]:
        found = self.communicators.get(schedule.strategy)
        if found is None:
            return {"communicators": None, "lost_as_pytorch_places": None} if self.communicators else {}
        return {"communicators": dict(found.runs), "lost_as_pytorch_places": dict(found.lost)}

    def vs_baseline(self, schedule: Schedule) -> float | None:
        """Return how much longer than the baseline's a schedule's makespan is, as a ratio; negative if shorter."""
        return None if self.baseline is None else schedule.makespan / self.baseline.makespan - 1

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values, as in ``--format json``."""
        search = {"placements": list(self.searched), "interrupted": self.interrupted} if self.searched else None
        rows = zip(self.figures(), self.schedules, strict=True)
        return {
            "pipeline": self.pipeline.to_mapping(),
            "schedules": [{**figures, "idle": _idle(schedule)} for figures, schedule in rows],
            "left_out": [{"strategy": name, "reason": reason} for name, reason in self.left_out],
            "infeasible": list(self.infeasible),
            "bound": self.bound,
            "baseline": None if self.baseline is None else self.baseline.strategy,
            "margins": [margin.to_dict() for margin in self.margins],
            "bounds_cut_short": self.bounds_cut_short,
            "search": search,
            **({} if self.noise is None else {"noise": self.noise.to_dict()}),
            **({} if self.framework is None else {"framework": self.framework}),
            **({"by_resident": list(map(_by_resident, self.by_resident))} if self.by_resident else {}),
        }

    @cached_property
    def shown(self) -> Comparison:
        """The comparison as tables, charts and pages show it: schedules with the same order share an entry."""
        groups = twins(self.schedules)
        if len(groups) == len(self.schedules):
            return self
        one = {id(group[0]): as_one(group) for group in groups}
        pairs = [pair for pair in zip(self.schedules, self.ladders, strict=True) if id(pair[0]) in one]
        baseline = next((one[id(group[0])] for group in groups if any(each is self.baseline for each in group)), None)
        named = {one[id(group[0])].strategy: group[0].strategy for group in groups}
        return replace(
            self,
            schedules=tuple(one[id(schedule)] for schedule, _ in pairs),
            ladders=tuple(ladder for _, ladder in pairs),
            baseline=self.baseline if baseline is None else baseline,
            reach=self.reach.renamed({first: name for name, first in named.items()}),
            communicators={
                name: self.communicators[first] for name, first in named.items() if first in self.communicators
            },
        )

    @property
    def _runner(self) -> str:
        """The title of the framework that was asked for; empty if none was."""
        return "" if self.framework is None else find_framework(self.framework).title

    @property
    def baseline_row(self) -> Row | None:
        """The row of the baseline, if there is one."""
        return None if self.baseline is None else self.baseline.table_row()

    @property
    def verdict(self) -> str:
        """Which schedule wins, against baseline and bound; how far that holds; the fastest of each framework."""
        from reports.source import on_costs
        from reports.verdict import by_framework, verdict

        rows = [schedule.table_row() for schedule in self.shown.schedules]
        first = verdict(
            rows,
            self.bound,
            self.shown.baseline_row,
            is_infeasible=bool(self.infeasible),
            framework=self._runner,
            has_cuts=self.pipeline.layers is not None,
        )
        reach = self.shown.reach.sentences(self.pipeline.unit or "")
        frameworks = "" if self.framework else by_framework(rows)
        told = " ".join(filter(None, (first, self.shown.overlapped, reach, frameworks, self._of_resident)))
        return on_costs(told, self.pipeline.source)

    @property
    def _of_resident(self) -> str:
        """What other numbers of resident stages cost and save; empty if there is no choice."""
        best = self.winner
        if best is None or len(self.by_resident) < 2:
            return ""
        parts: list[str] = []
        for each in self.by_resident:
            longer = float(each.exact_makespan / best.exact_makespan - 1)
            change = f" ({signed_percent(longer)})" if longer else ""
            over = "" if each.fits else ", over the limit"
            time = with_unit(grouped(each.makespan), self.pipeline.unit)
            held = with_unit(grouped(max(each.peak_memory)), self.pipeline.memory.unit)
            parts.append(f"{_resident(each)}: {time}{change}, memory {held}{over}")
        return f"{best.strategy} by resident stages: {'; '.join(parts)}."

    @property
    def overlapped(self) -> str:
        """Whether overlapped blocks are worth it, where layers have parts: the best schedule with, and without."""
        from reports.verdict import worth_of_blocks

        best: dict[bool, Schedule] = {}
        for each in self.contenders:
            if each.hidden_communication is not None:
                best.setdefault(each.has_blocks, each)
        if len(best) < 2:
            return ""
        return worth_of_blocks(best[True].table_row(), best[False].table_row(), best[True].hidden_communication or 0)

    def section(self, title: str = "", *, replayable: bool = False, drawn: int | None = None) -> Section:
        """Make the section of a report.

        Parameters
        ----------
        title : str
            Its title, such as its configuration file.
        replayable : bool
            Whether the schedules can be replayed on other costs, as on a page.
        drawn : int, optional
            How many of them, best first, are drawn and replayed; by default all.
        """
        from ppopt.comparison.what_if import what_if
        from reports.content import Section

        shown = self.shown
        parts = zip(shown.schedules, shown.ladders, shown.to_dict()["schedules"], strict=True)
        return Section(
            title=title,
            pipeline=self.pipeline.to_mapping(),
            schedules=[
                replace(schedule.presented(ladder, values), is_drawn=drawn is None or rank < drawn)
                for rank, (schedule, ladder, values) in enumerate(parts)
            ],
            left_out=self.left_out,
            infeasible=self.infeasible,
            bound=self.bound,
            baseline=shown.baseline_row,
            search=" ".join(_search_sentences(self)),
            noise="" if self.noise is None else str(self.noise),
            framework=self._runner,
            overlapped=shown.overlapped,
            margins=shown.reach,
            what_if=what_if(self.pipeline, shown.schedules, drawn) if replayable else None,
        )

    def _repr_html_(self) -> str:
        """Show the verdict and the table in a notebook."""
        from reports.page.notebook import comparison_html

        return comparison_html(self.section(), self.verdict)

    def __repr__(self) -> str:
        return f"<Comparison of {counted(len(self.schedules), 'schedule')}: {self.verdict}>"


def _figures(schedule: Schedule, ladder: Ladder) -> dict[str, Any]:
    steps = {step: float(getattr(ladder, step)) for step in ("ideal", "saved", *STEPS)}
    return {
        **schedule.to_dict(),
        "placement": schedule.placement,
        "searched": schedule.is_searched,
        "ladder": {**steps, "limited": ladder.limited},
    }


def _result_of_search(schedule: Schedule) -> str:
    ended = f", {schedule.ended}" if schedule.ended else ""
    return f"{schedule.strategy} {schedule.status} after {schedule.seconds:.1f} s{ended}"


def _resident(schedule: Schedule) -> int | str:
    assert schedule.pipeline.sharding is not None
    return schedule.pipeline.sharding.resident


def _by_resident(schedule: Schedule) -> dict[str, Any]:
    return {
        "resident": _resident(schedule),
        "makespan": schedule.makespan,
        "peak_memory": list(schedule.peak_memory),
        "over_memory_limit": schedule.over_limit,
    }


def _idle(schedule: Schedule) -> list[dict[str, float]]:
    from reports.idle import CAUSES

    devices = schedule.waiting.devices
    scale = schedule.problem.ticks_per_unit
    return [{cause: getattr(idle, cause) / scale for cause in CAUSES} for idle in devices]


def _search_sentences(comparison: Comparison) -> Iterable[str]:
    found = [each for each in comparison.schedules if each.is_searched]
    if not comparison.searched:
        best = comparison.winner
        met = best is not None and comparison.bound is not None and best.makespan <= comparison.bound
        yield (
            "Nothing was searched: the quick bound is met."
            if met
            else "Nothing was searched: the bound is a quick one, and better schedules may exist."
        )
        return
    if found:
        results = "; ".join(_result_of_search(each) for each in found)
        yield f"Searched placements: {', '.join(comparison.searched)}; {results}."
    if comparison.interrupted:
        yield "The search was interrupted: these are the best schedules found so far."
    if comparison.bounds_cut_short:
        yield "Some bounds were cut short by time or size: all are valid, but another run may find higher ones."
    twofold = [each for each in comparison.schedules if len(each.layout.homes) > 1]
    if any(not cost.static for each in twofold for cost in each.pipeline.costs):
        yield "Bidirectional placements keep two copies of the weights, which the peak memory does not include."
