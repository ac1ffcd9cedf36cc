"""The sentences of the page that belong to no panel: the verdict, and what timelines show."""

from __future__ import annotations

from reports.charts.timeline_layout import memory_scale
from reports.content import Presented, Section
from reports.numbers import digits_of, grouped, percent, with_unit
from reports.source import on_costs
from reports.verdict import by_framework, excess
from reports.verdict import verdict as say_verdict


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
    return on_costs(told, section.pipeline.get("source"))


def frameworks(section: Section) -> str:
    """Say which schedule is the fastest that each framework runs; empty for a section with another headline."""
    return "" if section.headline or section.framework else by_framework([each.summary for each in section.schedules])


def whole_verdict(section: Section) -> str:
    """Say which schedule wins, and how far that holds."""
    return f"{verdict(section)} {section.margins.sentences(section.unit)}".rstrip()


def timeline(presented: Presented, *, whole: bool) -> str:
    """Say how long a schedule takes, how much it idles, and what was proven about it."""
    summary, figures = presented.summary, presented.summary.figures
    makespan = with_unit(grouped(figures.makespan, digits_of(summary.status)), summary.unit)
    text = f"Makespan {makespan}, {percent(figures.bubble_ratio)} idle"
    text += f", peak memory {grouped(presented.peak)}"
    if summary.over:
        text += f"; it {excess(summary)}"
        if (others := len(summary.over) - 1) > 0:
            over = "devices are over their limits" if others > 1 else "device is over its limit"
            text += f", and {others} more {over}"
    if not presented.is_drawn:
        text += ". Its timeline is not drawn: the time limit was used up"
    elif not whole:
        text += (
            f". With {len(presented.timeline):,} operations it is too long to draw in full; below are the idle "
            "share of each device over time and three windows in full"
        )
    return text + "."


def strips(section: Section) -> str:
    """Say which memory a full strip below a timeline stands for."""
    full = memory_scale(section.schedules)
    highest = max((each.peak for each in section.schedules), default=0.0)
    limits = {limit for each in section.schedules for limit in each.summary.limits if limit is not None}
    if not highest and not any(limits):
        return ""
    text = f"A full memory strip is {grouped(full)} in all timelines"
    limit = "limit" if len(limits) == 1 else "highest limit"
    if full in limits:
        return f"{text}, the {limit}."
    return f"{text}, twice the {limit}; the rest is cut off." if highest > full else f"{text}, the highest peak."
