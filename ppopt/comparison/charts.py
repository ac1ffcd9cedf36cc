"""The report's charts for notebooks and papers: each is an Altair chart that can be restyled.

They fill the width of their container; ``chart.properties(width=600)`` sets another width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from ppopt.comparison.comparison import Comparison
from ppopt.comparison.ranking import comparison_of
from ppopt.schedules.schedule import Schedule
from solver.errors import InputError
from strategies.model.numbers import shown as name_value

if TYPE_CHECKING:
    import altair as alt

    from reports.content import Section

Shown: TypeAlias = Comparison | Schedule | Sequence[Schedule]
"""A comparison, or schedules of one model."""


def bubble_chart(shown: Shown) -> alt.LayerChart:
    """Draw the bubble ratio of each schedule; ``figure`` chooses bubble over ideal or makespan instead.

    Parameters
    ----------
    shown : Comparison, Schedule or sequence of Schedule
        What to draw.
    """
    from reports.charts.bubbles import bubble_chart as draw

    return draw(_section(shown))


def memory_chart(shown: Shown) -> alt.LayerChart:
    """Draw makespan against peak memory, with the limit and the bound as lines.

    Parameters
    ----------
    shown : Comparison, Schedule or sequence of Schedule
        What to draw.
    """
    from reports.charts.trade import memory_chart as draw

    return draw(_section(shown))


def ladder_chart(shown: Shown) -> alt.LayerChart:
    """Draw each makespan as steps up from the ideal time of the work; each step names a cause of lost time.

    Parameters
    ----------
    shown : Comparison, Schedule or sequence of Schedule
        What to draw.
    """
    from reports.charts.losses import ladder_chart as draw

    return draw(_section(shown))


def idle_chart(shown: Shown) -> alt.Chart:
    """Draw the average idle time of each schedule's devices, by cause.

    Parameters
    ----------
    shown : Comparison, Schedule or sequence of Schedule
        What to draw.
    """
    from reports.charts.losses import idle_chart as draw

    return draw(_section(shown))


def device_idle_chart(shown: Shown) -> alt.Chart:
    """Draw the idle time of each device of a schedule, by cause; ``schedule`` selects the schedule.

    Parameters
    ----------
    shown : Comparison, Schedule or sequence of Schedule
        What to draw.
    """
    from reports.charts.losses import device_idle_chart as draw

    return draw(_section(shown))


def timeline_chart(schedule: Schedule) -> alt.LayerChart | alt.Chart:
    """Draw a schedule's timeline with its memory; above 20,000 operations, each device's share of idle time over time.

    Parameters
    ----------
    schedule : Schedule
        What to draw.
    """
    from reports.charts.overview import any_timeline_chart

    if not isinstance(schedule, Schedule):
        raise InputError(f"schedule: must be a Schedule, see ppopt.evaluate; found {name_value(schedule)}")
    return any_timeline_chart(schedule.presented())


def _section(shown: Shown) -> Section:
    if isinstance(shown, Comparison):
        return shown.section()
    schedules = [shown] if isinstance(shown, Schedule) else list(shown) if isinstance(shown, Sequence) else []
    if not schedules or not all(isinstance(each, Schedule) for each in schedules):
        raise InputError("schedules: must be a Comparison, a Schedule or a list of Schedules")
    if len({_model(each) for each in schedules}) > 1:
        raise InputError("schedules: must be of one model: the same devices, microbatches, work, latency and limits")
    return comparison_of(schedules[0].pipeline, schedules).section()


def _model(schedule: Schedule) -> tuple[object, ...]:
    """Return everything that stays the same when a model is re-partitioned."""
    pipeline = schedule.pipeline
    return (
        pipeline.devices,
        pipeline.microbatches,
        pipeline.ideal,
        pipeline.p2p_latency,
        pipeline.communication,
        pipeline.limits,
    )
