"""The timelines of a section: their data, and the texts that the template puts next to them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import altair as alt

from reports.charts.overview import idle_shares, overview_layer, windows
from reports.charts.records import label
from reports.charts.timeline_layout import columns, cut_out, memory_scale
from reports.charts.timelines import timeline_layers, timeline_start
from reports.content import Presented, Section
from reports.numbers import grouped, with_unit
from reports.page import sentences
from solver.counted import counted


class Drawn(NamedTuple):
    """A timeline of the page: one chart, or, for a long schedule, the idle shares and three windows.

    Attributes
    ----------
    key, name, sentence : str
        Its key in the page, the schedule's name, and the sentence that explains it.
    parts : list of (str, str)
        The key and the caption of each of its charts.
    order : str
        The actions of each device, one line per device.
    notes : tuple of str
        Notes on the schedule for the reader.
    """

    key: str
    name: str
    sentence: str
    parts: list[tuple[str, str]]
    order: str
    notes: tuple[str, ...]


@dataclass
class ChartData:
    """The data for the page's script: specifications by key, and the data of timelines."""

    charts: dict[str, Any] = field(default_factory=dict)
    timelines: dict[str, Any] = field(default_factory=dict)
    shares: dict[str, Any] = field(default_factory=dict)


class Timelines:
    """Draws the timelines of a section on one time axis.

    Parameters
    ----------
    section : Section
        The section.
    place : int
        Its index on the page.
    data : ChartData
        The collected data of the page.
    whole : set of int
        The schedules (by id) whose timelines are drawn whole.
    """

    def __init__(self, section: Section, place: int, data: ChartData, whole: set[int]) -> None:
        self.place, self.data, self.whole = place, data, whole
        linked = [each for each in section.schedules if id(each) in whole]
        self.start = min(map(timeline_start, linked), default=0.0)
        self.end = max((timeline_start(each) + each.summary.figures.makespan for each in linked), default=1.0)
        self.full_strip = memory_scale(section.schedules)

    def draw(self, rank: int, presented: Presented) -> Drawn:
        """Make one of the timelines, and add its data.

        Parameters
        ----------
        rank : int
            The schedule's place in the section.
        presented : Presented
            The schedule.
        """
        key = f"timeline-{self.place}-{rank}"
        whole = id(presented) in self.whole
        if not presented.is_drawn:
            return Drawn(key, label(presented), sentences.timeline(presented, whole=False), [], "", presented.notes)
        timeline = columns(presented)
        if whole:
            self._add(key, timeline, self.start, self.end, linked=True)
            parts = [(key, "")]
        else:
            parts = self._add_overview(key, presented, timeline)
        sentence = sentences.timeline(presented, whole=whole)
        order = "\n".join(",".join(actions) for actions in presented.orders) if whole else ""
        return Drawn(key, label(presented), sentence, parts, order, presented.notes)

    def _add(self, key: str, timeline: dict[str, Any], start: float, end: float, *, linked: bool) -> None:
        devices = timeline["devices"]
        chart = f"timeline of {counted(devices, 'device')}, {start!r} to {end!r}"
        if chart not in self.data.charts:
            self.data.charts[chart] = _timeline_chart(devices, start, end, timeline["unit"])
        more = {"from": start, "to": end, "scale": self.full_strip, "group": self.place if linked else None}
        self.data.timelines[key] = timeline | more | {"chart": chart}

    def _add_overview(self, key: str, presented: Presented, timeline: dict[str, Any]) -> list[tuple[str, str]]:
        shares = f"{key}-shares"
        self.data.charts[shares] = overview_layer(presented, alt.NamedData(name="shares")).to_dict()
        self.data.shares[shares] = {
            "start": timeline_start(presented),
            "makespan": presented.summary.figures.makespan,
            "idle": idle_shares(presented),
        }
        parts = [(shares, "The whole step: idle share of each device")]
        for name, start, end in windows(presented):
            self._add(f"{key}-{name}", cut_out(timeline, start, end), start, end, linked=False)
            stretch = f"from {grouped(start)} to {with_unit(grouped(end), presented.summary.unit)}"
            parts.append((f"{key}-{name}", f"{name.capitalize()}: {stretch}"))
        return parts


_SOME_START, _SOME_END = 1.2345678901234567e-101, 7.654321098765432e-101
"""Placeholders for each timeline's start and end, with values that no timeline has."""


def _timeline_chart(devices: int, start: float, end: float, unit: str) -> dict[str, Any]:
    """Specify a timeline whose rows and tooltips come from the page's script."""
    text = _any_timeline_chart(devices, unit)
    for stands, meant in ((_SOME_START, start), (_SOME_END, end), (_SOME_END - _SOME_START, end - start)):
        text = text.replace(repr(stands), repr(meant))
    specification: dict[str, Any] = json.loads(text)
    return specification


@cache
def _any_timeline_chart(devices: int, unit: str) -> str:
    """Write one specification for all timelines with this many devices: Altair takes a tenth of a second for each."""
    named = {name: alt.NamedData(name=name) for name in ("bars", "memory", "transfers")}
    chart = timeline_layers(devices, _SOME_START, _SOME_END, **named, tooltip=alt.value(" "), unit=unit)
    settings = [alt.param(name="colour_by", value="kind"), alt.param(name="critical_path", value=False)]
    return json.dumps(chart.add_params(*settings).to_dict())
