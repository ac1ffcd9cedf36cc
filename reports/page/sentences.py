"""The sentences of the page that belong to no panel: the verdict, and what timelines show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from reports.charts.timeline_layout import LIMIT_SHARE, highest_peak
from reports.content import Presented, Section
from reports.numbers import digits_of, grouped, percent, with_unit
from reports.source import on_costs
from reports.units import in_best_unit
from reports.verdict import by_framework, excess
from reports.verdict import verdict as say_verdict
from solver.counted import counted


def verdict(section: Section) -> str:
    """Say which schedule wins, how it compares, and what prevents a faster one."""
    rows = [each.summary for each in section.schedules]
    told = say_verdict(
        rows,
        section.bound,
        section.baseline,
        is_infeasible=bool(section.infeasible),
        framework=section.framework,
        has_cuts="layers" in section.pipeline,
    )
    return on_costs(" ".join(filter(None, (told, section.overlapped))), section.pipeline.get("source"))


def frameworks(section: Section) -> str:
    """Say which schedule is the fastest that each framework runs; empty for a section with another headline."""
    return "" if section.headline or section.framework else by_framework([each.summary for each in section.schedules])


def shared_notes(section: Section) -> Iterator[tuple[str, str]]:
    """Yield each note that several schedules have, with the number of them, or all of them."""
    holders = Counter(note for each in section.schedules for note in dict.fromkeys(each.notes))
    for note, count in holders.items():
        if count > 1:
            everyone = count == len(section.schedules)
            yield note, "all schedules" if everyone else f"{count} of {counted(len(section.schedules), 'schedule')}"


def timeline(presented: Presented) -> str:
    """Say how long a schedule takes, how much it idles, and what was proven about it."""
    summary, figures = presented.summary, presented.summary.figures
    makespan = with_unit(grouped(figures.makespan, digits_of(summary.status)), summary.units.time)
    text = f"Makespan {makespan}, {percent(figures.bubble_ratio)} idle"
    text += f", peak memory {with_unit(grouped(presented.peak), summary.units.memory)}"
    if summary.over:
        text += f"; it {excess(summary)}"
        if (others := len(summary.over) - 1) > 0:
            over = "devices are over their limits" if others > 1 else "device is over its limit"
            text += f", and {others} more {over}"
    if not presented.is_drawn:
        text += ". Its timeline is not drawn: the time limit was used up"
    return text + "."


def strips(section: Section) -> str:
    """Say which memory the strips below a timeline stand for."""
    highest = max((each.peak for each in section.schedules), default=0.0)
    limits = {limit for each in section.schedules for limit in each.summary.limits if limit}
    if limits:
        limit = (
            f"its limit, {in_best_unit(min(limits), section.units.memory)}"
            if len(limits) == 1
            else "its device's limit"
        )
        return f"The line across a memory strip is {limit}; a strip ends at {1 / LIMIT_SHARE:.0%} of it."
    full = in_best_unit(highest_peak(section.schedules), section.units.memory)
    return f"A full memory strip is {full}, the highest peak." if highest else ""
