"""Plans as a section of a report."""

from __future__ import annotations

from dataclasses import replace

from ppopt.optimization.ladders import QuickBounds, measure_ladders
from ppopt.planning.plans import MOST_SHOWN, Planning
from reports.content import Section
from reports.numbers import grouped, percent, with_unit
from reports.source import on_costs
from solver.counted import counted


def plan_section(planning: Planning, title: str, *, deadline: float | None = None) -> Section:
    """Make the section of a report for plans: the best ones, each on its own cut.

    Parameters
    ----------
    planning : Planning
        With at least one plan.
    title : str
        Its title, such as its configuration file.
    deadline : float, optional
        When to stop looking for the ladders' bounds, on the clock of `time.perf_counter`.
    """
    shown = planning.plans[:MOST_SHOWN]
    schedules = [
        replace(
            plan.schedule,
            strategy=plan.label,
            status=plan.status,
            proven=plan.bound or None,
            bound_held_by=None,
            allowed=plan.schedule.allowed,
        )
        for plan in shown
    ]
    ladders = measure_ladders([plan.schedule for plan in shown], QuickBounds(deadline)).ladders
    best = shown[0]
    return Section(
        title=title,
        pipeline=planning.pipeline.to_mapping(),
        schedules=[
            replace(
                schedule.presented(ladder, schedule.to_dict() | plan.to_dict() | {"strategy": plan.label}),
                searched=plan.is_free,
                given=not plan.is_free and plan.strategy is None,
            )
            for schedule, ladder, plan in zip(schedules, ladders, shown, strict=True)
        ],
        left_out=[*((each.name, each.reason) for each in planning.unplanned), *planning.left_out],
        headline=_headline(planning),
        reasons=best.reasons,
        search=_what_was_planned(planning),
    )


def _headline(planning: Planning) -> str:
    best = planning.plans[0]
    text = f"The best plan is {best.label}, with {with_unit(grouped(best.makespan), best.pipeline.unit)}"
    text += ", proven." if best.status == "optimal" else f"; at most {percent(best.gap)} could be gained."
    return on_costs(text, best.pipeline.source)


def _what_was_planned(planning: Planning) -> str:
    count = len(planning.plans)
    proven = sum(plan.status == "optimal" for plan in planning)
    text = f"{counted(count, 'plan')}, {proven} of them proven, in {planning.seconds:.1f} s; bounds are over all cuts"
    if count > MOST_SHOWN:
        text += f"; the {MOST_SHOWN} best are shown"
    return f"{text}. It was interrupted." if planning.interrupted else f"{text}."
